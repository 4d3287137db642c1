using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Spec;

namespace Harness.Running;

/// <summary>
/// Keeps the books of what is handed out and taken back. A block handed out while it is taken breaks I6; one that is freed
/// while hardware can still reach it, I5.
/// </summary>
/// <param name="inner">What hands out.</param>
/// <param name="mishaps">Refuses an allocation now and then.</param>
/// <param name="reach">Everything that hardware can reach now, and how.</param>
/// <remarks>It may be called under the library's locks, so a violation is kept until somebody asks.</remarks>
public sealed class WatchedFrames(IBankedFrameSource inner, Mishaps mishaps, Func<List<(PhysRange Block, string Who)>> reach) : IBankedFrameSource
{
    private readonly object _gate = new();
    private readonly SortedList<ulong, ulong> _live = [];
    private readonly HashSet<PhysRange> _touched = [];
    private List<(PhysRange Block, string Who)>? _reach;

    /// <inheritdoc/>
    public ulong TotalBytes => inner.TotalBytes;

    /// <inheritdoc/>
    public ulong FreeBytes => inner.FreeBytes;

    /// <summary>The first violation, and the first of each other invariant after it.</summary>
    public IReadOnlyList<Violation> Violations { get; private set; } = [];

    /// <summary>How often a freed block was checked.</summary>
    public long Frees { get; private set; }

    /// <summary>Every block that was ever handed out.</summary>
    public IReadOnlyCollection<PhysRange> Touched => _touched;

    /// <summary>The blocks that are handed out, in the order of their addresses.</summary>
    public IReadOnlyList<PhysRange> Live
    {
        get
        {
            lock (_gate) return [.. _live.Select(block => PhysRange.FromLength(new(block.Key), block.Value))];
        }
    }

    /// <summary>What is not handed out, in the order of addresses.</summary>
    public IReadOnlyList<PhysRange> Free
    {
        get
        {
            var free = new List<PhysRange>();
            lock (_gate)
            {
                foreach (PhysRange bank in Banks.Select(static bank => bank.Range).OrderBy(static bank => bank.First))
                {
                    ulong next = bank.First.Value;
                    foreach ((ulong first, ulong byteCount) in _live)
                    {
                        if (!bank.Contains(new PhysAddr(first))) continue;
                        if (first > next) free.Add(new(new(next), new(first - 1)));
                        next = first + byteCount;
                    }

                    if (next <= bank.Last.Value) free.Add(new(new(next), bank.Last));
                }
            }

            return free;
        }
    }

    /// <summary>An operation begins.</summary>
    public void Begin() => _reach = null;

    /// <inheritdoc/>
    public IReadOnlyList<MemoryBank> Banks => inner.Banks;

    /// <inheritdoc/>
    public ulong FreeBytesOf(MemoryBank bank) => inner.FreeBytesOf(bank);

    /// <inheritdoc/>
    public bool TryFindBank(PhysAddr address, out MemoryBank? bank) => inner.TryFindBank(address, out bank);

    /// <inheritdoc/>
    public VcmmError TryAllocate(ulong byteCount, out PhysAddr block) => TryAllocate(byteCount, default, out block);

    /// <inheritdoc/>
    public VcmmError TryAllocateContiguous(ulong byteCount, ulong alignment, out PhysAddr block) => TryAllocateContiguous(byteCount, alignment, default, out block);

    /// <inheritdoc/>
    public VcmmError TryAllocate(ulong byteCount, MemoryRequest request, out PhysAddr block)
    {
        block = default;
        if (mishaps.TakesMemoryAway()) return VcmmError.NoMemory;
        VcmmError error = inner.TryAllocate(byteCount, request, out block);
        if (error == VcmmError.None) Note(PhysRange.FromLength(block, byteCount));
        return error;
    }

    /// <inheritdoc/>
    public VcmmError TryAllocateContiguous(ulong byteCount, ulong alignment, MemoryRequest request, out PhysAddr block)
    {
        block = default;
        if (mishaps.TakesMemoryAway()) return VcmmError.NoMemory;
        VcmmError error = inner.TryAllocateContiguous(byteCount, alignment, request, out block);
        if (error == VcmmError.None) Note(PhysRange.FromLength(block, byteCount));
        return error;
    }

    /// <inheritdoc/>
    public VcmmError TryAllocateWithin(ulong byteCount, ulong alignment, PhysRange within, out PhysAddr block) =>
        TryAllocateWithin(byteCount, alignment, default, within, out block);

    /// <inheritdoc/>
    public VcmmError TryAllocateWithin(ulong byteCount, ulong alignment, MemoryRequest request, PhysRange within, out PhysAddr block)
    {
        block = default;
        if (mishaps.TakesMemoryAway()) return VcmmError.NoMemory;
        VcmmError error = inner.TryAllocateWithin(byteCount, alignment, request, within, out block);
        if (error == VcmmError.None) Note(PhysRange.FromLength(block, byteCount));
        return error;
    }

    /// <inheritdoc/>
    public VcmmError TryFindWithin(ulong byteCount, ulong alignment, PhysRange within, out PhysAddr block) => inner.TryFindWithin(byteCount, alignment, within, out block);

    /// <inheritdoc/>
    public VcmmError TryAllocateAt(PhysRange range)
    {
        if (mishaps.TakesMemoryAway()) return VcmmError.NoMemory;
        VcmmError error = inner.TryAllocateAt(range);
        if (error == VcmmError.None) Note(range);
        return error;
    }

    /// <inheritdoc/>
    public VcmmError TryFree(PhysAddr block)
    {
        lock (_gate)
        {
            Frees++;
            if (!_live.Remove(block.Value, out ulong byteCount))
                Keep(new(Invariant.Conservation, $"{block} was freed and is not handed out", "a block is freed once"));
            else if (WhoReaches(PhysRange.FromLength(block, byteCount)) is { } who)
                Keep(new(Invariant.FrameSafety, $"{PhysRange.FromLength(block, byteCount)} was freed while {who}", "nothing reaches a block that is freed"));
        }

        return inner.TryFree(block);
    }

    private void Keep(Violation found)
    {
        foreach (Violation kept in Violations)
        {
            if (kept.Invariant == found.Invariant) return;
        }

        Violations = [.. Violations, found];
    }

    private void Note(PhysRange range)
    {
        lock (_gate)
        {
            if (Neighbour(range) is { } taken)
                Keep(new(Invariant.Conservation, $"{range} was handed out while {taken.First} was", "a block is handed out once until it is freed"));

            _live[range.First.Value] = range.ByteCount;
            _touched.Add(range);
        }
    }

    /// <summary>A live block that shares a byte with a range: the last one that begins in it, or before it.</summary>
    private PhysRange? Neighbour(PhysRange range)
    {
        int low = 0, high = _live.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_live.Keys[middle] <= range.Last.Value) low = middle + 1;
            else high = middle;
        }

        if (low == 0) return null;
        PhysRange block = PhysRange.FromLength(new(_live.Keys[low - 1]), _live.Values[low - 1]);
        return block.Overlaps(range) ? block : null;
    }

    /// <summary>What was out of reach at the first free of an operation stays so; what was within reach may have left it since.</summary>
    private string? WhoReaches(PhysRange block)
    {
        // Another thread may begin an operation meanwhile.
        List<(PhysRange Block, string Who)> reached = _reach ?? reach();
        if (reached.Exists(one => one.Block.Overlaps(block))) reached = reach();
        _reach = reached;
        return reached.Find(one => one.Block.Overlaps(block)).Who;
    }
}
