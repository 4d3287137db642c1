using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Vcmm.Allocation;

/// <summary>
/// A node of a <see cref="GapTree"/>: up to 64 entries in the order of their addresses. Entries that are not in use have the
/// key 2^64-1 and the rank 0, so that searches look at all 64 without asking how many there are.
/// </summary>
internal abstract class GapNode
{
    public const int FanOut = 64;

    /// <summary>What a merge may leave behind: room for as many as fit again before the next split.</summary>
    public const int MergedMost = 48;

    private const int QuarterCount = FanOut / 4;

    private Words _keys;
    private Bytes _ranks;

    protected GapNode() => Keys.Fill(ulong.MaxValue);

    public GapIndex? Parent { get; set; }

    /// <summary>Which entry of the parent stands for this node.</summary>
    public int Slot { get; set; }

    public int Count { get; set; }

    /// <summary>While the node is not in use: the next such.</summary>
    public GapNode? NextSpare { get; set; }

    /// <summary>The first address of each entry.</summary>
    public Span<ulong> Keys => _keys;

    /// <summary>One more than the order of the largest block, aligned to its size, that lies in a gap of the entry.</summary>
    public Span<byte> Ranks => _ranks;

    /// <summary>The last entry whose key is not after <paramref name="address"/>; -1 if there is none.</summary>
    public int LastAtOrBefore(ulong address)
    {
        // Two rounds of independent comparisons, the second of neighbours: no branch to guess, and two waits.
        ReadOnlySpan<ulong> keys = Keys;
        int quarter = QuarterCount * (AsOne(keys[QuarterCount] <= address) + AsOne(keys[2 * QuarterCount] <= address) + AsOne(keys[3 * QuarterCount] <= address));
        Vector256<ulong> limit = Vector256.Create(address);
        ref ulong first = ref Unsafe.Add(ref MemoryMarshal.GetReference(keys), quarter);
        uint before = 0;
        for (int i = 0; i < QuarterCount; i += Vector256<ulong>.Count)
            before |= Vector256.LessThanOrEqual(Vector256.LoadUnsafe(ref first, (nuint)i), limit).ExtractMostSignificantBits() << i;
        // Those that are not in use do not count.
        return unchecked(Math.Min(quarter + BitOperations.PopCount(before), Count) - 1);
    }

    /// <summary>One bit for each entry: whether its rank is at least <paramref name="rank"/>, which is not 0.</summary>
    public ulong SlotsOfRank(int rank)
    {
        ReadOnlySpan<byte> ranks = Ranks;
        Vector256<byte> least = Vector256.Create((byte)rank);
        uint low = Vector256.GreaterThanOrEqual(Vector256.Create(ranks[..32]), least).ExtractMostSignificantBits();
        uint high = Vector256.GreaterThanOrEqual(Vector256.Create(ranks[32..]), least).ExtractMostSignificantBits();
        return low | (ulong)high << 32;
    }

    public byte HighestRank()
    {
        ReadOnlySpan<byte> ranks = Ranks;
        Vector256<byte> wide = Vector256.Max(Vector256.Create(ranks[..32]), Vector256.Create(ranks[32..]));
        Vector128<byte> highest = Vector128.Max(wide.GetLower(), wide.GetUpper());
        highest = Vector128.Max(highest, Vector128.ShiftRightLogical(highest.AsUInt64(), 32).AsByte());
        highest = Vector128.Max(highest, Vector128.ShiftRightLogical(highest.AsUInt64(), 16).AsByte());
        highest = Vector128.Max(highest, Vector128.ShiftRightLogical(highest.AsUInt64(), 8).AsByte());
        return Math.Max(highest.ToScalar(), highest.GetElement(8));
    }

    /// <summary>Makes room for an entry; there is some.</summary>
    public virtual void Open(int slot)
    {
        int moved = Count - slot;
        Keys.Slice(slot, moved).CopyTo(Keys[(slot + 1)..]);
        Ranks.Slice(slot, moved).CopyTo(Ranks[(slot + 1)..]);
        Count++;
    }

    /// <summary>Takes an entry out.</summary>
    public virtual void Close(int slot)
    {
        Count--;
        int moved = Count - slot;
        Keys.Slice(slot + 1, moved).CopyTo(Keys[slot..]);
        Ranks.Slice(slot + 1, moved).CopyTo(Ranks[slot..]);
        Keys[Count] = ulong.MaxValue;
        Ranks[Count] = 0;
    }

    /// <summary>Appends the entries of <paramref name="from"/> from <paramref name="slot"/> on, and takes them out there.</summary>
    public virtual void TakeTail(GapNode from, int slot)
    {
        int moved = from.Count - slot;
        from.Keys.Slice(slot, moved).CopyTo(Keys[Count..]);
        from.Ranks.Slice(slot, moved).CopyTo(Ranks[Count..]);
        from.Keys[slot..].Fill(ulong.MaxValue);
        from.Ranks[slot..].Clear();
        Count += moved;
        from.Count = slot;
    }

    private static int AsOne(bool condition) => condition ? 1 : 0;

    [InlineArray(FanOut)]
    protected struct Words
    {
        private ulong _first;
    }

    [InlineArray(FanOut)]
    private struct Bytes
    {
        private byte _first;
    }
}

/// <summary>A leaf: the entries are gaps.</summary>
internal sealed class GapLeaf : GapNode
{
    private Words _lasts;

    /// <summary>The last address of each gap.</summary>
    public Span<ulong> Lasts => _lasts;

    public override void Open(int slot)
    {
        Lasts.Slice(slot, Count - slot).CopyTo(Lasts[(slot + 1)..]);
        base.Open(slot);
    }

    public override void Close(int slot)
    {
        Lasts.Slice(slot + 1, Count - slot - 1).CopyTo(Lasts[slot..]);
        base.Close(slot);
    }

    public override void TakeTail(GapNode from, int slot)
    {
        ((GapLeaf)from).Lasts[slot..from.Count].CopyTo(Lasts[Count..]);
        base.TakeTail(from, slot);
    }
}

/// <summary>An inner node: the entries are nodes; each key is the first key of its node, each rank the highest there.</summary>
internal sealed class GapIndex : GapNode
{
    private const int AlignmentCount = 64;

    private Nodes _children;

    /// <summary>By the logarithm of an alignment, then by entry; null: not known.</summary>
    private ulong[]?[]? _bounds;

    public Span<GapNode?> Children => _children;

    /// <summary>No gap below the entry has more bytes than this from its first aligned address on.</summary>
    public ulong BoundOf(int slot, int alignmentLog2) => _bounds?[alignmentLog2] is { } bounds ? bounds[slot] : ulong.MaxValue;

    public void LowerBound(int slot, int alignmentLog2, ulong byteCount)
    {
        if (byteCount >= BoundOf(slot, alignmentLog2)) return;
        _bounds ??= new ulong[AlignmentCount][];
        if (_bounds[alignmentLog2] is null)
        {
            _bounds[alignmentLog2] = new ulong[FanOut];
            Array.Fill(_bounds[alignmentLog2]!, ulong.MaxValue);
        }

        _bounds[alignmentLog2]![slot] = byteCount;
    }

    public void RaiseBound(int slot, int alignmentLog2, ulong byteCount)
    {
        if (_bounds?[alignmentLog2] is { } bounds && bounds[slot] < byteCount) bounds[slot] = byteCount;
    }

    /// <summary>The bounds of the entry become those of <paramref name="from"/>, where these are higher or <paramref name="isNew"/>.</summary>
    public void InheritBounds(int slot, int from, bool isNew)
    {
        foreach (ulong[]? bounds in _bounds ?? [])
        {
            if (bounds is not null) bounds[slot] = isNew ? bounds[from] : Math.Max(bounds[slot], bounds[from]);
        }
    }

    public void ForgetBounds()
    {
        foreach (ulong[]? bounds in _bounds ?? [])
        {
            if (bounds is not null) Array.Fill(bounds, ulong.MaxValue);
        }
    }

    public override void Open(int slot)
    {
        foreach (ulong[]? bounds in _bounds ?? [])
        {
            if (bounds is not null) Array.Copy(bounds, slot, bounds, slot + 1, Count - slot);
        }

        Children[slot..Count].CopyTo(Children[(slot + 1)..]);
        base.Open(slot);
        Renumber(slot + 1);
    }

    public override void Close(int slot)
    {
        foreach (ulong[]? bounds in _bounds ?? [])
        {
            if (bounds is not null) Array.Copy(bounds, slot + 1, bounds, slot, Count - slot - 1);
        }

        Children[(slot + 1)..Count].CopyTo(Children[slot..]);
        base.Close(slot);
        Children[Count] = null;
        Renumber(slot);
    }

    public override void TakeTail(GapNode from, int slot)
    {
        var other = (GapIndex)from;
        int first = Count;
        int moved = other.Count - slot;
        for (int log2 = 0; log2 < AlignmentCount; log2++)
        {
            for (int i = 0; i < moved; i++) SetBound(first + i, log2, other.BoundOf(slot + i, log2));
        }

        other.Children[slot..other.Count].CopyTo(Children[first..]);
        other.Children[slot..].Clear();
        base.TakeTail(from, slot);
        for (int i = first; i < Count; i++) Children[i]!.Parent = this;
        Renumber(first);
    }

    private void SetBound(int slot, int alignmentLog2, ulong byteCount)
    {
        if (_bounds?[alignmentLog2] is { } bounds) bounds[slot] = byteCount;
        else LowerBound(slot, alignmentLog2, byteCount);
    }

    private void Renumber(int slot)
    {
        for (; slot < Count; slot++) Children[slot]!.Slot = slot;
    }

    [InlineArray(FanOut)]
    private struct Nodes
    {
        private GapNode? _first;
    }
}
