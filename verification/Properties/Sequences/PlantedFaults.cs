using Harness.Foreign;
using Harness.Passing;
using Harness.Running;
using Harness.Scenarios;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Spec;
using Vcmm.Tables;
using Access = Vcmm.Access;
using Translation = Vcmm.Tables.Translation;

namespace Properties.Sequences;

/// <summary>Something that is wrong on purpose, so that it can be seen that the sequences find it.</summary>
/// <param name="Name">What is wrong.</param>
/// <param name="CaughtBy">The invariant that names it.</param>
/// <param name="MostSteps">How many steps its shrunk counterexample may have.</param>
/// <param name="Parts">The library with the fault in it.</param>
public sealed record PlantedFault(string Name, Invariant CaughtBy, int MostSteps, SubjectParts Parts)
{
    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        new("a range allocator that looks at the start of a range only", Invariant.NoOverlap, 3,
            new() { Ranges = static space => new StartsOnly(space) }),
        new("a reservation one page too high", Invariant.NoOverlap, 2,
            new() { Around = static (o, run) => run(o is ReserveAt at ? at with { First = unchecked(at.First + World.PageBytes) } : o) }),
        new("a table that maps the chunks of memory in another order", Invariant.TablesAreTruth, 6,
            new() { Iommu = static iommu => new OtherTables(iommu, static table => new ReversedChunks(table)) }),
        new("a second device that is given a table of its own", Invariant.SharedTable, 5,
            new() { Iommu = static iommu => new OwnTableForSecond(iommu) })
        {
            // Where the hardware does not take it, its table is left.
            OrElse = Invariant.Conservation,
        },
        new("an unback that does not invalidate", Invariant.NoStaleAccess, 8,
            new() { Iommu = static iommu => new Invalidating(iommu, static _ => null) })
        {
            // In caching mode devices would find mapped pages absent first.
            Topology = new() { CachingMode = false },
            // Where the call ends the memory, too.
            OrElse = Invariant.FrameSafety,
        },
        new("an unback that invalidates the first page only", Invariant.NoStaleAccess, 8,
            new() { Iommu = static iommu => new Invalidating(iommu, static command => command with { Range = IovaRange.FromLength(command.Range.First, World.PageBytes) }) })
        {
            // In caching mode devices would find mapped pages absent first.
            Topology = new() { CachingMode = false },
            // Where the call ends the memory, too.
            OrElse = Invariant.FrameSafety,
        },
        new("an unback that invalidates the next domain", Invariant.NoStaleAccess, 8,
            new() { Iommu = static iommu => new Invalidating(iommu, static command => command with { Domain = new(command.Domain.Value + 1) }) })
        {
            // In caching mode devices would find mapped pages absent first.
            Topology = new() { CachingMode = false },
            // Where the call ends the memory, too.
            OrElse = Invariant.FrameSafety,
        },
        new("an invalidation that leaves the walk caches alone", Invariant.FrameSafety, 8,
            new() { Iommu = static iommu => new Invalidating(iommu, static command => command with { LeavesOnly = true }) })
        {
            // In caching mode devices would find mapped pages absent first.
            Topology = new() { CachingMode = false },
        },
        new("tables that are freed before the invalidation", Invariant.FrameSafety, 8,
            new() { Iommu = static iommu => new OtherTables(iommu, static table => new EarlyRelease(table)) })
        {
            // Where a flush is deferred they are freed once more.
            OrElse = Invariant.Conservation,
        },
        new("memory that is not given back", Invariant.Conservation, 3,
            new() { Frames = static frames => new LosesFrees(frames) }),
        new("a failed allocation that keeps what it had", Invariant.Conservation, 5,
            new() { Frames = static frames => new KeepsOnFailure(frames) }),
        new("a table that grants more than the reservation", Invariant.TablesAreTruth, 5,
            new() { Iommu = static iommu => new OtherTables(iommu, static table => new WritableAlways(table)) }),
        new("hardware that lets a device write where it may only read", Invariant.Permission, 6, SubjectParts.Own)
        {
            Bench = static bench => new WritesThrough(bench, isOwnedUp: true),
            // Where the access was granted once, and narrowed away.
            OrElse = Invariant.NoStaleAccess,
        },
        new("hardware that writes where it says that it was refused", Invariant.Permission, 7, SubjectParts.Own)
        {
            Bench = static bench => new WritesThrough(bench, isOwnedUp: false),
            // Where the access was granted once, and narrowed away.
            OrElse = Invariant.NoStaleAccess,
        },
        new("hardware that writes to the next frame where it says that it was refused", Invariant.Isolation, 9, SubjectParts.Own)
        {
            Bench = static bench => new WritesThrough(bench, isOwnedUp: false, World.PageBytes),
            // Where the access was granted once, and narrowed away.
            OrElse = Invariant.NoStaleAccess,
        },
        new("a detach that is not done", Invariant.Isolation, 4,
            new() { Iommu = static iommu => new StaysAttached(iommu) }),
        new("one domain id for all regions", Invariant.Isolation, 6,
            new() { Iommu = static iommu => new OneDomain(iommu) }),
        new("a narrowing that does not invalidate", Invariant.NoStaleAccess, 8,
            new() { Iommu = static iommu => new OtherTables(iommu, static table => new SilentProtect(table)) }),
        new("a narrowing that changes the first page only", Invariant.TablesAreTruth, 7,
            new() { Iommu = static iommu => new OtherTables(iommu, static table => new ProtectsFirst(table)) }),
        new("a split that loses a page", Invariant.TablesAreTruth, 7,
            new() { Iommu = static iommu => new OtherTables(iommu, static table => new LosesPage(table)) }),
        new("a sub-range unback that unmaps the whole", Invariant.TablesAreTruth, 6,
            new() { Around = UnbackAll }),
        new("a clone that shares backings", Invariant.TablesAreTruth, 6,
            new() { Around = Both }),
        new("an owner count that ends too early", Invariant.NoOverlap, 4,
            new() { Around = EndEarly }),
        new("a copy that goes forward where ranges overlap", Invariant.Conservation, 5,
            new() { Memory = static memory => new ForwardCopy(memory) }),
        new("a copy that goes one word too far", Invariant.Isolation, 6,
            new() { Memory = static memory => new WritesOneMore(memory) }),
        new("a bound that lets others in", Invariant.NoOverlap, 4,
            new() { Ranges = new OpenBounds().Make }),
        new("a reverse look-up that forgets one", Invariant.TablesAreTruth, 7,
            new() { Around = static (o, run) => ForgetOne(run(o)) }),
        .. FlushFaults.All,
        .. PlacementFaults.All,
        .. HookFaults.All,
        .. AttributeFaults.All,
        .. UseFaults.All,
        .. CallFaults.All,
        .. PlantedSpaceFaults.All,
        .. PlantedPassingFaults.All,
        .. PlantedNestingFaults.All,
        .. PlantedEventFaults.All,
        .. PlantedDeviceFaults.All,
        .. PlantedCleaningFaults.All,
        .. PlantedWildFaults.All,
        .. PlantedCpuFaults.All,
    ];

    /// <summary>The machine on which this invariant names it; null: any.</summary>
    public Topology? Topology { get; init; }

    /// <summary>What else names it, rightly, in some scenarios; null: nothing.</summary>
    public Invariant? OrElse { get; init; }

    /// <summary>The machine, where the fault is in it.</summary>
    public Func<IBench, IBench> Bench { get => _bench ?? (static bench => bench); init => _bench = value; }

    private readonly Func<IBench, IBench>? _bench;

    /// <summary>Whether it is in the library's parts alone.</summary>
    public bool IsOfLibrary => Parts != SubjectParts.Own && _bench is null;

    public override string ToString() => Name;

    private static Observation Both(Operation operation, Func<Operation, Observation> run)
    {
        Observation seen = run(operation);
        if (operation is Unback { Reservation.In: not null } unback && seen.Outcome == Outcome.None) run(new Unback(unback.Reservation.Original));
        return seen;
    }

    private static Observation UnbackAll(Operation operation, Func<Operation, Observation> run)
    {
        Observation seen = run(operation);
        if (operation is UnbackPart part && seen.Outcome == Outcome.None) run(new Unback(part.Reservation));
        return seen;
    }

    private static Observation ForgetOne(Observation seen) => seen.Places.Length > 1 ? seen with { Places = seen.Places[1..] } : seen;

    private static Observation EndEarly(Operation operation, Func<Operation, Observation> run)
    {
        Observation seen = run(operation);
        if (operation is Release release && seen.Outcome == Outcome.None) run(new Unmap(release.Reservation));
        return seen;
    }
}

/// <summary>Tells the hardware something else than it is told: another command in place of each, or none.</summary>
internal sealed class Invalidating(IIommu inner, Func<Invalidation, Invalidation?> how) : PassingIommu(inner)
{
    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        Invalidation[] others = [.. commands.ToArray().Select(how).OfType<Invalidation>()];
        return others.Length == 0 ? VcmmError.None : Inner.Invalidate(others);
    }
}

internal sealed class StaysAttached(IIommu inner) : PassingIommu(inner)
{
    public override VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain) => VcmmError.None;
}

internal sealed class OneDomain(IIommu inner) : PassingIommu(inner)
{
    public override VcmmError TryCreateDomain(out DomainId domain)
    {
        domain = new(1);
        return VcmmError.None;
    }

    public override void ReleaseDomain(DomainId domain)
    {
    }
}

internal sealed class OwnTableForSecond(IIommu inner) : PassingIommu(inner)
{
    private readonly Dictionary<DomainId, int> _attached = [];
    private IFrameSource? _frames;

    public override VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
    {
        _frames = frames;
        return Inner.TryCreateTable(format, frames, out table);
    }

    public override VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table)
    {
        _attached[domain] = _attached.GetValueOrDefault(domain) + 1;
        if (_attached[domain] == 2 && Inner.TryCreateTable(table.Format, _frames!, out IPageTable? own) == VcmmError.None) table = own!;
        return Inner.Attach(device, pasid, domain, table);
    }

    public override VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain)
    {
        _attached[domain]--;
        return Inner.Detach(device, pasid, domain);
    }
}

internal sealed class OtherTables(IIommu inner, Func<IPageTable, IPageTable> wrap) : PassingIommu(inner)
{
    public override VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
    {
        VcmmError error = Inner.TryCreateTable(format, frames, out table);
        if (table is not null) table = wrap(table);
        return error;
    }
}

internal sealed class ReversedChunks(IPageTable inner) : PassingTable(inner)
{
    public override int CountMissingTables(Iova first, ReadOnlySpan<PhysRange> segments) => Inner.CountMissingTables(first, Reverse(segments));

    public override void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, TablePagePool pages) =>
        Inner.Map(first, Reverse(segments), attributes, pages);

    private static PhysRange[] Reverse(ReadOnlySpan<PhysRange> segments)
    {
        PhysRange[] reversed = segments.ToArray();
        Array.Reverse(reversed);
        return reversed;
    }
}

internal sealed class WritableAlways(IPageTable inner) : PassingTable(inner)
{
    public override void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, TablePagePool pages) =>
        Inner.Map(first, segments, attributes with { Access = attributes.Access | Access.Write }, pages);
}

internal sealed class EarlyRelease(IPageTable inner) : PassingTable(inner)
{
    private bool _wasReleased;

    public override void Unmap(IovaRange range, InvalidationGather gather)
    {
        Inner.Unmap(range, gather);
        Inner.Release(gather);
        _wasReleased = true;
    }

    public override void Release(InvalidationGather gather)
    {
        if (!_wasReleased) Inner.Release(gather);
        _wasReleased = false;
    }
}

internal sealed class SilentProtect(IPageTable inner) : PassingTable(inner)
{
    public override void Protect(IovaRange range, MappingAttributes attributes, InvalidationGather gather)
    {
        bool narrows = Inner.TryWalk(range.First, out Translation former) && (former.Access & ~attributes.Access) != 0;
        Inner.Protect(range, attributes, narrows ? new InvalidationGather() : gather);
    }
}

internal sealed class ProtectsFirst(IPageTable inner) : PassingTable(inner)
{
    public override void Protect(IovaRange range, MappingAttributes attributes, InvalidationGather gather)
    {
        if (Inner.TryWalk(range.First, out Translation first)) Inner.Protect(IovaRange.FromLength(range.First, Math.Min(first.LeafBytes, range.ByteCount)), attributes, gather);
    }
}

internal sealed class LosesPage(IPageTable inner) : PassingTable(inner)
{
    public override void Split(IovaRange range, TablePagePool pages, InvalidationGather gather)
    {
        Inner.Split(range, pages, gather);
        Iova next = new(unchecked(range.Last.Value + 1));
        if (Inner.TryWalk(next, out Translation lost) && lost.LeafBytes == World.PageBytes) Inner.Unmap(IovaRange.FromLength(next, World.PageBytes), gather);
    }
}

/// <summary>Reads again, byte by byte, when it writes: what was written over meanwhile is seen.</summary>
internal sealed class ForwardCopy(IPhysicalMemory inner) : PassingMemory(inner)
{
    private readonly Queue<PhysAddr> _read = [];

    public override void Read(PhysAddr address, Span<byte> destination)
    {
        Inner.Read(address, destination);
        for (int i = 0; i < destination.Length; i++) _read.Enqueue(address + (ulong)i);
    }

    public override void Write(PhysAddr address, ReadOnlySpan<byte> source)
    {
        Span<byte> one = stackalloc byte[1];
        for (int i = 0; i < source.Length; i++)
        {
            Inner.Read(_read.Dequeue(), one);
            Inner.Write(address + (ulong)i, one);
        }
    }
}

internal sealed class WritesOneMore(IPhysicalMemory inner) : PassingMemory(inner)
{
    public override void Write(PhysAddr address, ReadOnlySpan<byte> source)
    {
        Inner.Write(address, source);
        if (Inner.Contains(PhysRange.FromLength(address + (ulong)source.Length, sizeof(ulong)))) Inner.Write64(address + (ulong)source.Length, 0);
    }
}

/// <summary>Makes allocators whose bounds are free for everybody: what was taken last is given back when an allocator is made of it.</summary>
internal sealed class OpenBounds
{
    private Allocator? _last;

    public IRangeAllocator Make(IovaRange space)
    {
        _last?.Open(space);
        return new Allocator(this, space);
    }

    private sealed class Allocator(OpenBounds bounds, IovaRange space) : IRangeAllocator
    {
        private readonly RangeAllocator _right = new(space);
        private readonly List<IovaRange> _open = [];
        private IovaRange? _taken;

        public VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range)
        {
            VcmmError error = _right.TryAllocate(byteCount, alignment, placement, within, out range);
            if (error == VcmmError.None) _taken = range;
            bounds._last = this;
            return error;
        }

        public VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range) => _right.TryFind(byteCount, alignment, within, out range);

        public VcmmError TryAllocateAt(IovaRange range)
        {
            VcmmError error = _right.TryAllocateAt(range);
            if (error == VcmmError.None) _taken = range;
            bounds._last = this;
            return error;
        }

        public VcmmError TryFree(IovaRange range) => _open.Remove(range) ? VcmmError.None : _right.TryFree(range);

        public void Open(IovaRange range)
        {
            if (_taken != range) return;
            _taken = null;
            _right.TryFree(range);
            _open.Add(range);
        }
    }
}

/// <summary>Takes a range if the first byte of it is free.</summary>
internal sealed class StartsOnly(IovaRange space) : IRangeAllocator
{
    private readonly RangeAllocator _right = new(space);
    private readonly List<IovaRange> _taken = [];

    public VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range) =>
        _right.TryAllocate(byteCount, alignment, placement, within, out range);

    public VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range) => _right.TryFind(byteCount, alignment, within, out range);

    public VcmmError TryAllocateAt(IovaRange range)
    {
        VcmmError error = _right.TryAllocateAt(range);
        // Small ranges only: large ones are what an IOMMU does not translate.
        if (error != VcmmError.NoSpace || range.ByteCount > 4 * World.PageBytes || _right.TryAllocateAt(IovaRange.FromLength(range.First, 1)) != VcmmError.None) return error;
        _right.TryFree(IovaRange.FromLength(range.First, 1));
        _taken.Add(range);
        return VcmmError.None;
    }

    public VcmmError TryFree(IovaRange range) => _taken.Remove(range) ? VcmmError.None : _right.TryFree(range);
}

internal sealed class LosesFrees(IBankedFrameSource inner) : PassingFrames(inner)
{
    private int _frees;

    public override VcmmError TryFree(PhysAddr block) => ++_frees % 2 == 0 ? VcmmError.None : Inner.TryFree(block);
}

/// <summary>After a refusal, what is given back until the next success is kept.</summary>
internal sealed class KeepsOnFailure(IBankedFrameSource inner) : PassingFrames(inner)
{
    private bool _failed;

    public override VcmmError TryAllocate(ulong byteCount, out PhysAddr block)
    {
        VcmmError error = Inner.TryAllocate(byteCount, out block);
        _failed = error == VcmmError.NoMemory;
        return error;
    }

    public override VcmmError TryFree(PhysAddr block) => _failed ? VcmmError.None : Inner.TryFree(block);
}

/// <summary>Machines whose devices, where a write is refused, write to where they can read.</summary>
internal sealed class WritesThrough(IBench inner, bool isOwnedUp, ulong astray = 0) : IBench
{
    public string Describe(Topology topology) => inner.Describe(topology);

    public IVtdMachine Open(Topology topology) => new Machine(inner.Open(topology), isOwnedUp, astray);

    public void Close(IVtdMachine machine, IEnumerable<PhysRange> touched, bool isClean) => inner.Close(((Machine)machine).Right, touched, isClean);

    public void Dispose() => inner.Dispose();

    private sealed class Machine(IVtdMachine right, bool isOwnedUp, ulong astray) : IVtdMachine
    {
        public IVtdMachine Right => right;

        public string Name => right.Name;

        public PhysRange Window => right.Window;

        public IPhysicalMemory Memory => right.Memory;

        public IMmio Registers { get; } = new Forgetful(right.Registers);

        public IReadOnlyList<IDmaDevice> Devices { get; } = [.. right.Devices.Select(device => device is IPagingDevice ? device : new Device(device, right.Memory, isOwnedUp, astray))];

        public void Dispose() => right.Dispose();
    }

    /// <summary>Registers that show no fault: the device's look at where it may write is nobody's access.</summary>
    private sealed class Forgetful(IMmio right) : IMmio
    {
        // From the simulator's CAP.FRO to the end of the page.
        private const uint Records = 0x220, End = 0x1000;

        public uint Read32(uint offset) => right.Read32(offset);

        public ulong Read64(uint offset) => offset is >= Records and < End ? 0 : right.Read64(offset);

        public void Write32(uint offset, uint value) => right.Write32(offset, value);

        public void Write64(uint offset, ulong value) => right.Write64(offset, value);
    }

    private sealed class Device(IDmaDevice right, IPhysicalMemory memory, bool isOwnedUp, ulong astray) : IPrivilegedDevice
    {
        public StreamId Id => right.Id;

        public IDmaDevice Privileged => ((IPrivilegedDevice)right).Privileged;

        public bool Read(Iova address, Span<byte> destination, Pasid? pasid) => right.Read(address, destination, pasid);

        public bool Write(Iova address, ReadOnlySpan<byte> source, Pasid? pasid)
        {
            if (right.Write(address, source, pasid)) return true;
            Span<byte> word = stackalloc byte[sizeof(ulong)];
            if (!right.Read(address, word, pasid) || Stamps.WhereRead(word) is not { } where) return false;
            memory.Write(new(where + astray), source);
            return isOwnedUp;
        }
    }
}
