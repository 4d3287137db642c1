using System.Collections.Immutable;
using CsCheck;
using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Generating;

/// <summary>
/// Scenarios of several threads that work on the same few objects: two regions, of which one has two devices, three
/// reservations and two pieces of memory. In some the regions are deferred, in some one is one-to-one, in some they have tables of
/// several formats, and in some they are processes whose cores are at work.
/// </summary>
public sealed partial class HistoryGen : Gen<Scenario>
{
    private const ulong Page = World.PageBytes;
    private const int Threads = 3, MostSteps = 4;

    private static readonly HistoryWorld Plain = new(
        new() { Devices = 2 },
        static (_, _, _) => null,
        "v0 = vcm 0x0-0xffff", "v1 = vcm 0x0-0x3fff", "r0 = reserve-at v0 0x0 8K rw", "r1 = reserve-at v0 0x2000 8K r", "r2 = reserve-at v1 0x1000 8K rw",
        "m0 = allocate 8K of 4K", "m1 = allocate 8K of 4K scattered", "a0 = associate v0 d0", "a1 = associate v0 d1", "a2 = associate v1 d1", "activate a0");

    /// <summary>Whether there are cores; null: in every fifth history. The others are what they are without.</summary>
    public bool? HasCpu { get; init; }

    /// <inheritdoc/>
    public override Scenario Generate(PCG pcg, Size? min, out Size size)
    {
        int made = FirstMade;
        // From a stream of its own, so that the histories of plain regions are the same whatever others there are.
        var others = new PCG(pcg.Stream, pcg.Seed ^ OtherStream);
        HistoryWorld world = Worlds[others.Next((uint)Worlds.Length)];
        if (HasCpu ?? new PCG(pcg.Stream, pcg.Seed ^ CpuStream).Next(5) == 0) world = Cpu;
        PCG? changes = world == Scalable ? new(pcg.Stream, pcg.Seed ^ ChangeStream) : null;
        var threads = ImmutableArray.CreateBuilder<ImmutableArray<Step>>();
        for (int thread = 0; thread < Threads; thread++)
        {
            int count = 1 + (int)pcg.Next(MostSteps);
            ImmutableArray<Step>.Builder steps = ImmutableArray.CreateBuilder<Step>(count);
            for (int i = 0; i < count; i++)
            {
                Operation next = Next(pcg, ref made);
                steps.Add(new(others.Next(3) == 0 && world.Next(others, steps, FirstOther + thread * MostSteps + i) is { } other ? other : next));
            }

            threads.Add(changes?.Next(2) == 0 ? WithChanges(steps.ToImmutable(), changes) : steps.ToImmutable());
        }

        var passages = new PCG(pcg.Stream, pcg.Seed ^ PassStream);
        bool letsThrough = world != Cpu && passages.Next(4) == 0;
        for (int thread = 0; letsThrough && thread < Threads; thread++) threads[thread] = WithPassages(threads[thread], passages);

        size = new((ulong)threads.Sum(thread => thread.Length));
        return new(world.Topology, world.Steps) { Threads = threads.ToImmutable() };
    }

    private static Operation Next(PCG pcg, ref int made)
    {
        var reservation = new ObjectId(ObjectKind.Reservation, (int)pcg.Next(3));
        var memory = new ObjectId(ObjectKind.Memory, (int)pcg.Next(2));
        var association = new ObjectId(ObjectKind.Association, (int)pcg.Next(3));
        var vcm = new ObjectId(ObjectKind.Vcm, (int)pcg.Next(2));
        return pcg.Next(20) switch
        {
            0 or 1 => new Back(reservation, memory),
            2 or 3 => new Unback(reservation),
            4 => new Activate(association),
            5 => new Deactivate(association),
            6 => new Deassociate(association),
            7 => new Unreserve(reservation),
            8 => new Reserve(new(ObjectKind.Reservation, made++), vcm, Page * (1 + pcg.Next(3)), Permissions.ReadWrite, Page),
            9 => new ReserveAt(new(ObjectKind.Reservation, made++), vcm, Page * pcg.Next(6), Page, Permissions.Read),
            10 => new FreeMemory(memory),
            11 => new BackPart(reservation, Page * pcg.Next(2), memory, Page * pcg.Next(2), Page),
            12 => new UnbackPart(reservation, Page * pcg.Next(2), Page),
            13 => new SetAttributes(reservation, (Permissions)(1 + pcg.Next(3))),
            14 => new Acquire(reservation),
            15 => new Release(reservation),
            16 => new Map(new(ObjectKind.Reservation, made++), vcm, memory, Permissions.ReadWrite, Page),
            17 => new Unmap(reservation),
            18 => new CloneVcm(new(ObjectKind.Vcm, made++), vcm),
            _ => new FindReservation(vcm, Page * pcg.Next(8)),
        };
    }
}
