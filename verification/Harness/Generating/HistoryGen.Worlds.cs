using System.Collections.Immutable;
using CsCheck;
using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Generating;

/// <summary>What the threads of a history work on.</summary>
/// <param name="Topology">The machine.</param>
/// <param name="Next">Given what a thread has done so far, and a number that names what no other step makes; an operation that only such a world has, or null.</param>
/// <param name="Lines">What is done before the threads begin.</param>
internal sealed record HistoryWorld(Topology Topology, Func<PCG, ImmutableArray<Step>.Builder, int, Operation?> Next, params string[] Lines)
{
    /// <summary>What is done before the threads begin.</summary>
    public ImmutableArray<Step> Steps { get; } = [.. Lines.Select(OperationText.Parse)];
}

// Worlds in which regions are of other kinds.
public sealed partial class HistoryGen
{
    private const ulong OtherStream = 0x4157_0121, ChangeStream = 0xC4A_4157, PassStream = 0x9A55_4157;

    // Names that threads make: of the generator's own, and those that only these worlds have.
    private const int FirstMade = 10, FirstOther = 100;

    private static readonly ObjectId V0 = new(ObjectKind.Vcm, 0), V1 = new(ObjectKind.Vcm, 1);

    private static readonly HistoryWorld Deferred = new(
        new() { Devices = 2, FlushAtCount = 2, FlushCapacity = 2 },
        NextDeferred,
        "v0 = vcm 0x0-0xffff deferred", "v1 = vcm 0x0-0x3fff deferred", "r0 = reserve-at v0 0x0 8K rw", "r1 = reserve-at v0 0x2000 8K r", "r2 = reserve-at v1 0x1000 8K rw",
        "m0 = allocate 8K of 4K", "m1 = allocate 8K of 4K scattered", "a0 = associate v0 d0", "a1 = associate v0 d1", "a2 = associate v1 d1", "activate a0",
        "back r0 m0", "back r1 m1");

    // The second region lies over the bank that the library has, and over memory that is nobody's.
    private static readonly HistoryWorld OneToOne = new(
        new() { Devices = 2 },
        NextOneToOne,
        "v0 = vcm 0x0-0xffff", "v1 = vcm 0x1000000-0x3ffffff one-to-one", "r0 = reserve-at v0 0x0 8K rw", "r1 = reserve-at v0 0x2000 8K r", "r2 = reserve-at v1 0x3801000 8K rw",
        "m0 = allocate 8K of 4K", "m1 = wrap 0x3801000-0x3802fff", "a0 = associate v0 d0", "a1 = associate v0 d1", "a2 = associate v1 d1", "activate a0");

    private static readonly HistoryWorld Scalable = new(
        new() { Devices = 2, Mode = RemappingMode.Scalable },
        NextScalable,
        "v0 = vcm 0x0-0xffff", "v1 = vcm 0x0-0x3fff", "r0 = reserve-at v0 0x0 8K rw", "r1 = reserve-at v0 0x2000 8K r", "r2 = reserve-at v1 0x1000 8K rw",
        "m0 = allocate 8K of 4K", "m1 = allocate 8K of 4K scattered", "a0 = associate v0 d0", "a1 = associate v0 d1 first-stage", "a2 = associate v1 d1 first-stage pasid 1",
        "activate a0");

    private static readonly HistoryWorld[] Worlds = [Plain, Deferred, OneToOne, Scalable];

    private static Operation? NextDeferred(PCG pcg, ImmutableArray<Step>.Builder steps, int number) => pcg.Next(6) switch
    {
        0 or 1 => new Flush(pcg.Next(2) == 0 ? V0 : V1),
        2 => new PollFlush(),
        3 => new AdvanceTime(10),
        // Addresses and memory of what was unbacked.
        4 => new ReserveAt(new(ObjectKind.Reservation, number), V0, Page * 2 * pcg.Next(2), Page, Permissions.Read),
        _ => new FreeMemory(new(ObjectKind.Memory, (int)pcg.Next(2))),
    };

    private static Operation? NextOneToOne(PCG pcg, ImmutableArray<Step>.Builder steps, int number)
    {
        Bind? bound = steps.Select(static step => step.Operation).OfType<Bind>().LastOrDefault();
        return pcg.Next(5) switch
        {
            0 or 1 => new Bind(new(ObjectKind.Reservation, number), new(ObjectKind.Memory, number), V1, Page * (1 + pcg.Next(2)), Permissions.ReadWrite, Page, Scattered: false),
            2 when bound is not null => new Unbind(V1, bound.Reservation, bound.Memory),
            3 => new Map(new(ObjectKind.Reservation, number), V1, new(ObjectKind.Memory, 1), Permissions.ReadWrite, Page),
            _ => new ReserveAt(new(ObjectKind.Reservation, number), V1, 0x380_0000 + Page * pcg.Next(4), Page, Permissions.Read),
        };
    }

    private static Operation? NextScalable(PCG pcg, ImmutableArray<Step>.Builder steps, int number)
    {
        Associate? joined = steps.Select(static step => step.Operation).OfType<Associate>().LastOrDefault();
        return pcg.Next(8) switch
        {
            0 or 1 => new Associate(new(ObjectKind.Association, number), pcg.Next(3) == 0 ? V1 : V0, new(ObjectKind.Device, (int)pcg.Next(2)))
            {
                Kind = One<TableKind?>(pcg, null, TableKind.FirstStage, TableKind.FirstStage, TableKind.FirstStageFiveLevels),
                Pasid = 1 + pcg.Next(2),
            },
            2 when joined is not null => new Activate(joined.Association),
            3 when joined is not null => new Deassociate(joined.Association),
            4 when joined is not null => new Deactivate(joined.Association),
            5 => new Deassociate(new(ObjectKind.Association, (int)pcg.Next(3))),
            6 => new SetAttributes(new(ObjectKind.Reservation, (int)pcg.Next(3)), new(Permissions.ReadWrite, SupervisorOnly: pcg.Next(2) == 0, Cache: CachePolicy.NotCached)),
            _ => new BackPart(new(ObjectKind.Reservation, (int)pcg.Next(3)), 0, new(ObjectKind.Memory, (int)pcg.Next(2)), Page, Page),
        };
    }

    /// <summary>Some of what a thread does is to give associations other tables or address spaces, and some of what a device does is done in those.</summary>
    private static ImmutableArray<Step> WithChanges(ImmutableArray<Step> thread, PCG pcg) =>
    [
        .. thread.Select(step => step.Operation switch
        {
            DeviceAccess access => pcg.Next(2) == 0 ? step with { Operation = access with { Pasid = 1 + pcg.Next(2) } } : step,
            _ => pcg.Next(4) == 0 ? new(Change(pcg)) : step,
        }),
    ];

    /// <summary>Some of what a thread does is to let devices through untranslated, and to end that: mostly what it began.</summary>
    private static ImmutableArray<Step> WithPassages(ImmutableArray<Step> thread, PCG pcg)
    {
        var steps = thread.ToBuilder();
        PassThrough? begun = null;
        for (int i = 0; i < steps.Count; i++)
        {
            // What others work on is made all the same.
            if (pcg.Next(3) == 0 || steps[i].Operation.Makes.Any()) continue;
            if (begun is not null)
            {
                steps[i] = new(new EndPassThrough(begun.Device) { Pasid = begun.Pasid });
                begun = null;
                continue;
            }

            var pass = new PassThrough(new(ObjectKind.Device, (int)pcg.Next(2))) { Pasid = pcg.Next(3) == 0 ? 1 : null };
            bool ends = pcg.Next(4) == 0;
            steps[i] = new(ends ? new EndPassThrough(pass.Device) { Pasid = pass.Pasid } : pass);
            begun = ends ? null : pass;
        }

        return steps.ToImmutable();
    }

    private static ChangeAssociation Change(PCG pcg) => new(new ObjectId(ObjectKind.Association, (int)pcg.Next(3)))
    {
        Kind = One<TableKind?>(pcg, null, TableKind.FirstStage, TableKind.SecondStage, TableKind.FirstStageFiveLevels),
        Pasid = One<uint?>(pcg, null, 1, 2),
    };

    private static T One<T>(PCG pcg, params ReadOnlySpan<T> values) => values[(int)pcg.Next((uint)values.Length)];
}
