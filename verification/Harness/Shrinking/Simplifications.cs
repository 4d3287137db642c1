using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Shrinking;

/// <summary>What is simpler than a scenario by one thing.</summary>
internal static class Simplifications
{
    private const ulong Page = World.PageBytes;

    /// <summary>One step without its mishap, or with a smaller or rounder number; a length is changed everywhere it stands.</summary>
    public static IEnumerable<Scenario> OfSteps(Scenario scenario)
    {
        foreach (ulong length in scenario.Steps.Select(step => LengthOf(step.Operation)).OfType<ulong>().Distinct().Where(length => length > Page))
        {
            foreach (ulong shorter in (ulong[])[Page, 2 * Page, 64 << 10])
            {
                if (shorter < length) yield return Replace(scenario, operation => LengthOf(operation) == length ? WithLength(operation, shorter) : operation);
            }
        }

        for (int i = 0; i < scenario.Steps.Length; i++)
        {
            Step step = scenario.Steps[i];
            if (step.Mishap is not null) yield return scenario with { Steps = scenario.Steps.SetItem(i, new(step.Operation)) };
            foreach (Operation simpler in Of(step.Operation)) yield return scenario with { Steps = scenario.Steps.SetItem(i, step with { Operation = simpler }) };
        }
    }

    /// <summary>Regions that begin at 0 and are short, with what lies in them; names that count from 0.</summary>
    public static IEnumerable<Scenario> OfNames(Scenario scenario)
    {
        foreach (CreateVcm create in scenario.Steps.Select(step => step.Operation).OfType<CreateVcm>())
        {
            AddressRange range = create.Range;
            if (range.First != 0) yield return Replace(scenario, operation => Move(operation, create, 0UL));
            foreach (ulong byteCount in (ulong[])[64 << 10, 4 << 20])
            {
                if (range.Last - range.First >= byteCount)
                    yield return Replace(scenario, operation => operation == create ? create with { Range = new(range.First, range.First + (byteCount - 1)) } : operation);
            }
        }

        foreach (CreateBound create in scenario.Steps.Select(step => step.Operation).OfType<CreateBound>())
        {
            yield return Replace(scenario, operation => operation switch
            {
                Reserve o when o.In == create.Bound => o with { In = create.Vcm },
                ReserveAt o when o.In == create.Bound => o with { In = create.Vcm },
                _ => operation,
            });
        }

        foreach (CloneVcm clone in scenario.Steps.Select(step => step.Operation).OfType<CloneVcm>()) yield return Renaming.WithoutClone(scenario, clone);
        yield return Renaming.FromZero(scenario);
    }

    /// <summary>The machine, closer to the plainest one.</summary>
    public static IEnumerable<Scenario> OfTopology(Scenario scenario)
    {
        Topology now = scenario.Topology;
        int devices = Math.Max(1, CountOf(ObjectKind.Device)), processes = CountOf(ObjectKind.Process);
        int cores = Math.Max(CountOf(ObjectKind.Core), processes == 0 ? 0 : 1);
        Topology[] simpler =
        [
            now with { Devices = now.Devices.First(devices) }, now with { CachingMode = false }, now with { QueuedInvalidation = true }, now with { Events = EventUse.Polled }, now with { PassThrough = true }, now with { Nesting = false }, now with { Levels = 4 }, now with { Pages2M = true },
            now with { MemoryMiB = 8 }, now with { ContextCache = 4 }, now with { WalkCache = 4 }, now with { IotlbSets = 4, IotlbWays = 2 },
            now with { FlushCapacity = 4, FlushAtCount = 3, FlushAtMilliseconds = 10 },
            now with { RangeCache = true }, now with { Banks = null }, now with { TracksUse = false }, now with { FirstStage = true }, now with { Pasids = true }, now with { FaultRecords = 16 },
            now with { Eagerness = 0 }, now with { CoherentWalk = true },
            now with { Cores = cores, Processes = processes }, now with { TlbSets = 4, TlbWays = 2 }, now with { Pcids = true }, now with { BroadcastShootdown = false },
        ];
        IEnumerable<Topology> plainer = Enumerable.Range(0, now.Devices.Count)
            .SelectMany(i => now.Devices[i] == DeviceKind.Paging ? [DeviceKind.Plain, DeviceKind.Ats] : new[] { DeviceKind.Plain }, (i, kind) => now with { Devices = now.Devices.With(i, kind) });
        if (scenario.Steps.Any(static step => step.Operation is DeviceAccess { IsStray: true } or CrossingAccess or Deactivate { Meanwhile: not null })) plainer = plainer.Where(topology => topology.Devices.Count(static kind => kind == DeviceKind.Wild) == now.Devices.Count(static kind => kind == DeviceKind.Wild));
        return simpler.Concat(plainer).Where(topology => topology != now).Select(topology => scenario with { Topology = topology });

        int CountOf(ObjectKind kind) => 1 + scenario.Steps.SelectMany(step => step.Operation.Uses).Where(id => id.Kind == kind).Select(id => id.Number).DefaultIfEmpty(-1).Max();
    }

    private static IEnumerable<Operation> Of(Operation operation)
    {
        switch (operation)
        {
            case AllocateMemory o:
                if (o.From != default) yield return o with { From = default };
                if (o.Scattered) yield return o with { Scattered = false };
                if (o.ChunkSizes != Page) yield return o with { ChunkSizes = Page };
                break;
            case Reserve o:
                if (o.Alignment != Page) yield return o with { Alignment = Page };
                foreach (Attributes plainer in Plainer(o.Attributes)) yield return o with { Attributes = plainer };
                break;
            case CreateVcm o:
                if (o.Kind != VcmKind.Device) yield return o with { Kind = VcmKind.Device };
                if (o.IsDeferred) yield return o with { IsDeferred = false };
                if (o.IsTopDown) yield return o with { IsTopDown = false };
                break;
            case CreateBound o:
                if (o.Alignment != Page) yield return o with { Alignment = Page };
                break;
            case AllocateContiguous o:
                if (o.From != default) yield return o with { From = default };
                if (o.Alignment != Page) yield return o with { Alignment = Page };
                break;
            case Bind o:
                if (o.From != default) yield return o with { From = default };
                if (o.Scattered) yield return o with { Scattered = false };
                if (o.ChunkSizes != Page) yield return o with { ChunkSizes = Page };
                foreach (Attributes plainer in Plainer(o.Attributes)) yield return o with { Attributes = plainer };
                break;
            case Map o:
                if (o.Alignment != Page) yield return o with { Alignment = Page };
                foreach (Attributes plainer in Plainer(o.Attributes)) yield return o with { Attributes = plainer };
                break;
            case BackPart o:
                if (o.Offset != 0) yield return o with { Offset = 0 };
                if (o.MemoryOffset != 0) yield return o with { MemoryOffset = 0 };
                if (o.ByteCount > Page) yield return o with { ByteCount = Page };
                break;
            case UnbackPart o:
                if (o.Offset != 0) yield return o with { Offset = 0 };
                if (o.Offset > Page) yield return o with { Offset = Page };
                if (o.ByteCount > Page) yield return o with { ByteCount = Page };
                break;
            case FindMappings o:
                if (o.Offset != 0) yield return o with { Offset = 0 };
                break;
            case Copy o:
                if (o.SourceOffset != 0) yield return o with { SourceOffset = 0 };
                if (o.DestinationOffset != 0) yield return o with { DestinationOffset = 0 };
                if (o.ByteCount > 8) yield return o with { ByteCount = 8 };
                if (o.ByteCount > Page) yield return o with { ByteCount = Page };
                break;
            case CollectUse o:
                if (o.Offset != 0) yield return o with { Offset = 0 };
                if (o.ByteCount > Page) yield return o with { ByteCount = Page };
                if (o.Use != Use.Written) yield return o with { Use = Use.Written };
                if (o.Clears) yield return o with { Clears = false };
                break;
            case ReserveAt o:
                foreach (Attributes plainer in Plainer(o.Attributes)) yield return o with { Attributes = plainer };
                if (o.First != 0) yield return o with { First = 0 };
                if (o.First % (2 << 20) != 0) yield return o with { First = o.First & ~((2UL << 20) - 1) };
                break;
            case SetAttributes o:
                // What is asked for last need not be all that was.
                foreach (Attributes plainer in Plainer(o.Attributes).Where(plainer => plainer != Permissions.ReadWrite)) yield return o with { Attributes = plainer };
                break;
            case GuestMap o:
                if (o.Permissions != Permissions.ReadWrite) yield return o with { Permissions = Permissions.ReadWrite };
                if (o.Page != 0) yield return o with { Page = 0 };
                break;
            case GuestUnmap o:
                if (o.Page != 0) yield return o with { Page = 0 };
                break;
            case Associate o:
                if (o.Guest is not null) yield return o with { Guest = null };
                if (o.Base != TableBase.Only) yield return o with { Base = TableBase.Only };
                if (o.Split is not null) yield return o with { Split = null };
                break;
            case ChangeAssociation o:
                if (o.Base != TableBase.Only) yield return o with { Base = TableBase.Only };
                if (o.Split is not null) yield return o with { Split = null };
                break;
            case SetFaultHook o:
                if (o.Kind is FaultHookKind.Retry or FaultHookKind.Back) yield return o with { Kind = FaultHookKind.Refuse };
                break;
            case AdvanceTime o:
                if (o.Milliseconds > 10) yield return o with { Milliseconds = 10 };
                break;
            case DeviceAccess o:
                if (o.IsStray) yield return o with { IsStray = false };
                if (o.IsPrivileged) yield return o with { IsPrivileged = false };
                if (o.Address % Page != 0) yield return o with { Address = o.Address & ~(Page - 1) };
                break;
            case Deactivate o:
                if (o.Meanwhile is not null) yield return o with { Meanwhile = null };
                break;
            case CoreAccess o:
                if (o.Kind != Permissions.Read) yield return o with { Kind = Permissions.Read };
                if (o.Address % Page != 0) yield return o with { Address = o.Address & ~(Page - 1) };
                break;
        }
    }

    /// <summary>Each with less that is not the default.</summary>
    private static IEnumerable<Attributes> Plainer(Attributes attributes)
    {
        if (attributes != Permissions.ReadWrite) yield return Permissions.ReadWrite;
        if (attributes.Cache != default) yield return attributes with { Cache = default };
        if (attributes.Secure) yield return attributes with { Secure = false };
        if (attributes.SupervisorOnly) yield return attributes with { SupervisorOnly = false };
        if (attributes.Permissions != Permissions.ReadWrite) yield return attributes with { Permissions = Permissions.ReadWrite };
    }

    private static Scenario Replace(Scenario scenario, Func<Operation, Operation> with) =>
        scenario with { Steps = [.. scenario.Steps.Select(step => step with { Operation = with(step.Operation) })] };

    /// <summary>The region somewhere else, with every address that lies in it.</summary>
    private static Operation Move(Operation operation, CreateVcm create, ulong first)
    {
        return operation switch
        {
            CreateVcm o when o == create => o with { Range = new(first, first + (create.Range.Last - create.Range.First)) },
            ReserveAt o when o.In == create.Vcm || o.In.Kind == ObjectKind.Bound => o with { First = Moved(o.First) },
            Translate o when o.Vcm == create.Vcm => o with { Address = Moved(o.Address) },
            TranslateTo o when o.Vcm == create.Vcm => o with { Address = Moved(o.Address) },
            FindReservation o when o.Vcm == create.Vcm => o with { Address = Moved(o.Address) },
            GuestMap o => o with { Target = Moved(o.Target) },
            DeviceAccess o => o with { Address = Moved(o.Address) },
            CrossingAccess o => o with { Boundary = Moved(o.Boundary - sizeof(ulong)) + sizeof(ulong) },
            Deactivate { Meanwhile: { } meanwhile } o => o with { Meanwhile = meanwhile with { Address = Moved(meanwhile.Address) } },
            CoreAccess o => o with { Address = Moved(o.Address) },
            _ => operation,
        };

        ulong Moved(ulong address) => create.Range.Contains(address) ? first + (address - create.Range.First) : address;
    }

    private static ulong? LengthOf(Operation operation) => operation switch
    {
        Reserve o => o.ByteCount,
        ReserveAt o => o.ByteCount,
        CreateBound o => o.ByteCount,
        Bind o => o.ByteCount,
        AllocateMemory o => o.ByteCount,
        AllocateContiguous o => o.ByteCount,
        _ => null,
    };

    private static Operation WithLength(Operation operation, ulong byteCount) => operation switch
    {
        Reserve o => o with { ByteCount = byteCount },
        ReserveAt o => o with { ByteCount = byteCount },
        CreateBound o => o with { ByteCount = byteCount },
        Bind o => o with { ByteCount = byteCount },
        AllocateMemory o => o with { ByteCount = byteCount },
        AllocateContiguous o => o with { ByteCount = byteCount },
        _ => operation,
    };
}
