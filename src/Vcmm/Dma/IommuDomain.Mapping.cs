using System.Numerics;
using Platform;
using Vcmm.Invalidations;
using Vcmm.Tables;

namespace Vcmm.Dma;

// Mapping: what happens between the caller's addresses and the table. Under the stripes of the range.
public sealed partial class IommuDomain
{
    private const ulong PageBytes = VcmManager.PageBytes;

    /// <summary>The widest physical address of any architecture with such tables: 52 bits.</summary>
    private const ulong LastPhysAddr = (1UL << 52) - 1;

    private readonly RangeStripes _stripes = new();
    private readonly PendingRanges _pending = new();
    private readonly Worker[] _workers = new Worker[RangeStripes.Count];

    /// <summary>Maps one piece of memory.</summary>
    /// <param name="first">The first device address, a multiple of 4 KiB.</param>
    /// <param name="memory">Whole 4 KiB frames.</param>
    /// <param name="attributes">What a device may do.</param>
    /// <returns>As <see cref="TryMap(Iova, ReadOnlySpan{PhysRange}, MappingAttributes)"/>.</returns>
    public VcmmError TryMap(Iova first, PhysRange memory, MappingAttributes attributes) => TryMap(first, new ReadOnlySpan<PhysRange>(in memory), attributes);

    /// <summary>Maps one piece of memory.</summary>
    /// <param name="first">The first device address, a multiple of 4 KiB.</param>
    /// <param name="memory">A multiple of 4 KiB.</param>
    /// <param name="byteCount">Whole 4 KiB pages, not 0.</param>
    /// <param name="attributes">What a device may do.</param>
    /// <returns>As <see cref="TryMap(Iova, ReadOnlySpan{PhysRange}, MappingAttributes)"/>.</returns>
    public VcmmError TryMap(Iova first, PhysAddr memory, ulong byteCount, MappingAttributes attributes)
    {
        // Survives as `byteCount - 1 >= ulong.MaxValue - memory.Value`: equivalent, memory up to the last byte of 64 bits lies beyond every format, and is invalid below
        if (byteCount == 0 || byteCount - 1 > ulong.MaxValue - memory.Value) return VcmmError.Invalid;
        return TryMap(first, PhysRange.FromLength(memory, byteCount), attributes);
    }

    /// <summary>Maps pieces of memory one behind the other, all or none, with the largest leaves that fit.</summary>
    /// <param name="first">The first device address, a multiple of 4 KiB.</param>
    /// <param name="segments">At least one; whole 4 KiB frames.</param>
    /// <param name="attributes">What a device may do.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/>: misaligned, beyond what the format or the IOMMU can address, in an address range that the
    /// IOMMU does not translate, or attributes that an entry cannot express; <see cref="VcmmError.Busy"/> if part of the range is
    /// mapped, or was unmapped and its sync is not complete; <see cref="VcmmError.NoMemory"/> if there is no frame for a table
    /// page; <see cref="VcmmError.HardwareFailure"/> where absent entries are cached or empty tables had to go first.
    /// </returns>
    /// <remarks>
    /// <b>Errors.</b> Where a port fails at the mapping and at its undoing, be it that the hardware, which caches absent entries, does
    /// not answer or that a port throws, the mapping stands, and this returns no error: a later call meets the failure. What a port
    /// has thrown comes out if nothing is mapped; also if memory throws a third time, as the mapping is made whole, and then a part of the range
    /// may be mapped: <see cref="TryTranslate"/> tells. Empty tables that stood in the place of a large
    /// leaf may be gone after a refusal; what is mapped is the same.
    /// </remarks>
    public VcmmError TryMap(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes)
    {
        if (!CanExpress(attributes) || !TryMeasure(first, segments, out IovaRange range)) return VcmmError.Invalid;
        foreach (IovaRange reserved in _reserved)
        {
            if (reserved.Overlaps(range)) return VcmmError.Invalid;
        }

        ulong stripes = _stripes.Enter(range);
        try
        {
            return _freed ? VcmmError.Invalid : Map(range, segments, attributes, WorkerOf(stripes));
        }
        finally
        {
            _stripes.Exit(stripes);
        }
    }

    /// <summary>Maps one piece of memory.</summary>
    /// <exception cref="VcmmException">As <see cref="TryMap(Iova, ReadOnlySpan{PhysRange}, MappingAttributes)"/>.</exception>
    public void Map(Iova first, PhysRange memory, MappingAttributes attributes) => VcmmException.ThrowIf(TryMap(first, memory, attributes), nameof(Map));

    /// <summary>Maps pieces of memory one behind the other, all or none.</summary>
    /// <exception cref="VcmmException">As <see cref="TryMap(Iova, ReadOnlySpan{PhysRange}, MappingAttributes)"/>.</exception>
    public void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes) =>
        VcmmException.ThrowIf(TryMap(first, segments, attributes), nameof(Map));

    /// <summary>Ends what is mapped in a range. When this returns no device reaches it.</summary>
    /// <param name="range">Whole 4 KiB pages.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/>: misaligned, or beyond the format; <see cref="VcmmError.NotFound"/> if part of it is not
    /// mapped; <see cref="VcmmError.NoMemory"/> if an end lies inside a large leaf and there is no frame for the table that takes
    /// its place; <see cref="VcmmError.HardwareFailure"/>: everything is still mapped.
    /// </returns>
    /// <remarks>A large leaf that an end lies in is split first; after a failure it stays split, and maps the same.</remarks>
    public VcmmError TryUnmap(IovaRange range)
    {
        if (!IsAddressable(range)) return VcmmError.Invalid;
        ulong stripes = _stripes.Enter(range);
        VcmmError error = VcmmError.Invalid;
        try
        {
            if (!_freed) error = Unmap(range, WorkerOf(stripes));
        }
        finally
        {
            _stripes.Exit(stripes);
        }

        return error == VcmmError.Invalid ? UnmapCutting(range) : error;
    }

    /// <summary>Ends what is mapped in a range. When this returns no device reaches it.</summary>
    /// <exception cref="VcmmException">As <see cref="TryUnmap(IovaRange)"/>.</exception>
    public void Unmap(IovaRange range) => VcmmException.ThrowIf(TryUnmap(range), nameof(Unmap));

    /// <summary>A gather for unmaps of this domain.</summary>
    public UnmapGather CreateGather() => new(this);

    /// <summary>
    /// Takes a range out of the table without waiting for the hardware. Until the gather is synced a device may still reach
    /// what was mapped there, and nothing else can be mapped there.
    /// </summary>
    /// <param name="range">Whole 4 KiB pages.</param>
    /// <param name="gather">One of this domain's.</param>
    /// <returns>
    /// As <see cref="TryUnmap(IovaRange)"/>, but for the hardware; <see cref="VcmmError.Invalid"/> if the gather is another
    /// domain's, <see cref="VcmmError.Busy"/> if a flush queue holds it.
    /// </returns>
    /// <remarks>
    /// <b>Errors.</b> Where memory throws, part of the range may be out of the table already. The range is in the gather then, and the next
    /// sync maps all of that again, as if the hardware failed.
    /// </remarks>
    public VcmmError TryUnmap(IovaRange range, UnmapGather gather)
    {
        ArgumentNullException.ThrowIfNull(gather);
        if (gather.Domain != this || !IsAddressable(range)) return VcmmError.Invalid;
        if (gather.IsDeferred) return VcmmError.Busy;
        ulong stripes = _stripes.Enter(range);
        VcmmError error = VcmmError.Invalid;
        try
        {
            if (!_freed) error = Unmap(range, gather);
        }
        finally
        {
            _stripes.Exit(stripes);
        }

        return error == VcmmError.Invalid ? UnmapCutting(range, gather) : error;
    }

    /// <summary>Waits once for everything in the gather. When this returns no device reaches any of it, and the gather is empty.</summary>
    /// <returns>
    /// <see cref="VcmmError.HardwareFailure"/>: all of it is mapped again, and the gather is empty; <see cref="VcmmError.Invalid"/>
    /// if the gather is another domain's, <see cref="VcmmError.Busy"/> if a flush queue holds it.
    /// </returns>
    public VcmmError TrySync(UnmapGather gather)
    {
        ArgumentNullException.ThrowIfNull(gather);
        if (gather.Domain != this) return VcmmError.Invalid;
        if (gather.IsDeferred) return VcmmError.Busy;
        // What is half done can only be mapped again.
        VcmmError error = gather.IsHalfDone ? VcmmError.HardwareFailure : Invalidate(gather.Tables);
        if (error == VcmmError.None) Complete(gather);
        else Restore(gather);
        return error;
    }

    /// <summary>Waits once for everything in the gather.</summary>
    /// <exception cref="VcmmException">As <see cref="TrySync"/>.</exception>
    public void Sync(UnmapGather gather) => VcmmException.ThrowIf(TrySync(gather), nameof(Sync));

    /// <summary>
    /// Leaves the wait to a flush queue. Until that has released it devices may reach what was mapped, so memory and addresses
    /// stay the caller's until <paramref name="after"/> is told.
    /// </summary>
    /// <param name="gather">Filled; empty and free for use again when the queue has released it.</param>
    /// <param name="queue">Any.</param>
    /// <param name="after">Told when nothing is reachable any more; null: nobody.</param>
    /// <returns>
    /// <see cref="VcmmError.HardwareFailure"/> if the queue is full and cannot be flushed: all of it is mapped again, and the
    /// gather is empty; otherwise as <see cref="TrySync"/>.
    /// </returns>
    public VcmmError TryDefer(UnmapGather gather, FlushQueue queue, IQuarantined? after = null)
    {
        ArgumentNullException.ThrowIfNull(gather);
        ArgumentNullException.ThrowIfNull(queue);
        if (gather.Domain != this) return VcmmError.Invalid;
        if (gather.IsDeferred) return VcmmError.Busy;
        VcmmError error = gather.IsHalfDone ? VcmmError.HardwareFailure : gather.TryDefer(queue, _iommu, Id, after);
        if (error != VcmmError.None) Restore(gather);
        return error;
    }

    /// <summary>The hardware has forgotten: table pages go back, and the ranges can be mapped again.</summary>
    internal void Complete(UnmapGather gather)
    {
        _table.Release(gather.Tables);
        _pending.Remove(gather.Ranges);
        gather.Clear();
    }

    /// <summary>The hardware may still hold the translations, so they become again what they were.</summary>
    private void Restore(UnmapGather gather)
    {
        // Nobody may find a part of it mapped and the rest not yet.
        _stripes.Enter(RangeStripes.All);
        try
        {
            // If memory throws on the way all of it is done again by the next call.
            gather.IsHalfDone = true;
            _table.Relink(gather.Tables);
            gather.Runs.MapAgain(_table, _workers[0].Pages);
            _pending.Remove(gather.Ranges);
            gather.Clear();
        }
        finally
        {
            _stripes.Exit(RangeStripes.All);
        }
    }

    private VcmmError Map(IovaRange range, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, Worker worker)
    {
        if (_pending.Overlaps(range) || !IsUnmapped(range)) return VcmmError.Busy;
        VcmmError error = DropEmptyTables(range, worker);
        if (error != VcmmError.None) return error;
        int missing = _table.CountMissingTables(range.First, segments);
        if (missing != 0) error = worker.Pages.TryFill(_frames, PageBytes, missing);
        if (error != VcmmError.None) return error;
        try
        {
            _table.Map(range.First, segments, attributes, worker.Pages);
            if (_iommu.CachesAbsent) error = InvalidateAbsent(range);
        }
        catch
        {
            // What cannot be taken back stands, and so the call has done what it was asked for: the next one meets the failure.
            if (IsTakenBack(range, segments, attributes, worker)) throw;
            return VcmmError.None;
        }
        finally
        {
            if (worker.Pages.Count != 0) worker.Pages.ReturnAll(_frames);
        }

        return error == VcmmError.None || !IsTakenBack(range, segments, attributes, worker) ? VcmmError.None : error;
    }

    /// <returns>False if the mapping stands.</returns>
    private bool IsTakenBack(IovaRange range, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, Worker worker)
    {
#pragma warning disable CA1031 // Whatever a port throws here, it has failed twice.
        try
        {
            _table.Unmap(range, worker.Tables);
            if (Finish(worker) == VcmmError.None) return true;
        }
        catch (Exception)
        {
            // The same as an error that is returned: what stands then is decided below.
            Relink(worker);
        }
#pragma warning restore CA1031

        // Twice the hardware did not answer: it may have walked to the memory. The mapping stands.
        _table.Map(range.First, segments, attributes, worker.Pages);
        return false;
    }

    /// <returns><see cref="VcmmError.Invalid"/> if an end lies inside a leaf.</returns>
    private VcmmError Unmap(IovaRange range, Worker worker)
    {
        VcmmError error = worker.Runs.TryAdd(_table, range);
        if (error != VcmmError.None) return error;
        error = VcmmError.HardwareFailure;
        try
        {
            _table.Unmap(range, worker.Tables);
            error = Finish(worker);
        }
        finally
        {
            // Also where a port throws.
            try
            {
                if (error != VcmmError.None)
                {
                    Relink(worker);
                    worker.Runs.MapAgain(_table, worker.Pages);
                }
            }
            finally
            {
                // What a later call on these stripes would map again is its own.
                worker.Runs.Clear();
            }
        }

        return error;
    }

    /// <returns><see cref="VcmmError.Invalid"/> if an end lies inside a leaf.</returns>
    private VcmmError Unmap(IovaRange range, UnmapGather gather)
    {
        VcmmError error = gather.Runs.TryAdd(_table, range);
        if (error != VcmmError.None) return error;
        _pending.Add(range);
        gather.Ranges.Add(range);
        try
        {
            _table.Unmap(range, gather.Tables);
        }
        catch
        {
            // What was cleared before memory threw need not be among what the hardware would be told of.
            gather.IsHalfDone = true;
            throw;
        }

        return VcmmError.None;
    }

    /// <summary>
    /// Empty tables of smaller mappings that are gone would stand in a large leaf's place. A live pointer cannot turn into a
    /// leaf, so they go first, with an invalidation.
    /// </summary>
    private VcmmError DropEmptyTables(IovaRange range, Worker worker)
    {
        if (range.Last.Value - range.First.Value < _largeLeafBytes - 1) return VcmmError.None;
        try
        {
            _table.Unmap(range, worker.Tables);
        }
        catch
        {
            Relink(worker);
            throw;
        }

        return Finish(worker);
    }

    /// <summary>Invalidates, waits, and only then frees the unlinked tables; links them again if the hardware fails.</summary>
    private VcmmError Finish(Worker worker)
    {
        VcmmError error = VcmmError.HardwareFailure;
        try
        {
            error = Invalidate(worker.Tables);
        }
        finally
        {
            // Also where a port throws.
            if (error != VcmmError.None) Relink(worker);
        }

        if (error != VcmmError.None) return error;
        try
        {
            _table.Release(worker.Tables);
        }
        finally
        {
            worker.Tables.Clear();
        }

        return VcmmError.None;
    }

    private void Relink(Worker worker)
    {
        try
        {
            _table.Relink(worker.Tables);
        }
        finally
        {
            worker.Tables.Clear();
        }
    }

    /// <summary>The entries were cleared, and fenced, before the count is read; without a device nothing is cached.</summary>
    private VcmmError Invalidate(InvalidationGather gather)
    {
        ReadOnlySpan<IovaRange> ranges = gather.Ranges;
        if (ranges.IsEmpty || Volatile.Read(ref _attachmentCount) == 0) return VcmmError.None;
        if (ranges.Length == 1) return _iommu.Invalidate([new(Id, ranges[0], gather.LeavesOnly)]);
        return InvalidateSeveral(ranges, gather.LeavesOnly);
    }

    private VcmmError InvalidateSeveral(ReadOnlySpan<IovaRange> ranges, bool leavesOnly)
    {
        Span<Invalidation> commands = stackalloc Invalidation[InvalidationGather.MaxRangeCount];
        for (int i = 0; i < ranges.Length; i++) commands[i] = new(Id, ranges[i], leavesOnly);
        return _iommu.Invalidate(commands[..ranges.Length]);
    }

    private VcmmError InvalidateAbsent(IovaRange range) =>
        Volatile.Read(ref _attachmentCount) == 0 ? VcmmError.None : _iommu.Invalidate([new(Id, range, LeavesOnly: false)]);

    private bool IsUnmapped(IovaRange range)
    {
        ulong address = range.First.Value;
        while (!_table.TryWalk(new(address), out _))
        {
            ulong last = address | (AbsentBytes(address, range) - 1);
            if (last >= range.Last.Value) return true;
            address = last + 1;
        }

        return false;
    }

    /// <summary>
    /// How much is absent around an absent address: as much as the lowest table that is missing there would map. Known where
    /// tables are known to have 512 entries; a page elsewhere.
    /// </summary>
    private ulong AbsentBytes(ulong address, IovaRange range)
    {
        const int tableLog2 = 9;
        // Survives as `range.Last.Value - address <= 2 * PageBytes`: equivalent, the left is a byte less than whole pages
        // Survives as `2 / PageBytes`: performance only, a page or two are looked at as quickly one by one
        if (!_hasTablesOf512 || range.Last.Value - address < 2 * PageBytes) return PageBytes;
        var page = PhysRange.FromLength(default, PageBytes);
        int missing = _table.CountMissingTables(new(address), new ReadOnlySpan<PhysRange>(in page));
        return PageBytes << (tableLog2 * missing);
    }

    private bool TryMeasure(Iova first, ReadOnlySpan<PhysRange> segments, out IovaRange range)
    {
        range = default;
        ulong byteCount = 0;
        foreach (PhysRange segment in segments)
        {
            if (!segment.First.IsAligned(PageBytes) || (segment.Last.Value & (PageBytes - 1)) != PageBytes - 1) return false;
            // Survives as `segment.ByteCount >= ulong.MaxValue - byteCount`: equivalent, the left is whole pages and the right is a byte less than whole pages
            if (segment.Last.Value > LastPhysAddr || segment.ByteCount > ulong.MaxValue - byteCount) return false;
            byteCount += segment.ByteCount;
        }

        if (byteCount == 0 || byteCount - 1 > ulong.MaxValue - first.Value) return false;
        range = IovaRange.FromLength(first, byteCount);
        return IsAddressable(range) && (_table is not IdentityTable || AreOneToOne(first, segments));
    }

    /// <summary>Where nothing translates, every byte has its own address or none.</summary>
    private static bool AreOneToOne(Iova first, ReadOnlySpan<PhysRange> segments)
    {
        ulong next = first.Value;
        foreach (PhysRange segment in segments)
        {
            if (segment.First.Value != next) return false;
            next = unchecked(segment.Last.Value + 1);
        }

        return true;
    }

    private bool IsAddressable(IovaRange range) =>
        range.First.IsAligned(PageBytes) && (range.Last.Value & (PageBytes - 1)) == PageBytes - 1
        && _table.Covers(range) && _iommu.CanTranslate(_table.Format, range);

    private Worker WorkerOf(ulong stripes) => _workers[BitOperations.TrailingZeroCount(stripes)];

    /// <summary>What one call needs, kept for the next one. It belongs to whoever holds the stripe.</summary>
    private sealed class Worker
    {
        public InvalidationGather Tables { get; } = new();

        public TablePagePool Pages { get; } = new();

        public MappedRuns Runs { get; } = new();
    }
}
