using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Vcmm.Allocation;

/// <summary>
/// A node of a <see cref="FreeTree"/>: 64 slots of a power of two of bytes, each wholly free, wholly taken or mixed. A rank is one more
/// than the order (logarithm of the bytes) of the largest free block that is aligned to its size; 0 if nothing is free.
/// </summary>
internal abstract class FreeNode
{
    public const int SlotBits = 6;
    public const int SlotCount = 1 << SlotBits;

    /// <summary>By the logarithm of an alignment, then by slot; null: not known.</summary>
    private ulong[]?[]? _bounds;

    public FreeBranch? Parent { get; set; }

    /// <summary>Which slot of the parent this node is.</summary>
    public int Slot { get; set; }

    /// <summary>The lowest address.</summary>
    public ulong First { get; set; }

    /// <summary>The logarithm of the bytes of a slot.</summary>
    public int Shift { get; set; }

    /// <summary>The logarithm of the bytes of the node; above 64 for the root of the whole space, of whose slots not all are addresses.</summary>
    public int Size => unchecked(Shift + SlotBits);

    /// <summary>While the node is not in use: the next such.</summary>
    public FreeNode? NextSpare { get; set; }

    /// <summary>The slots of which every byte is free.</summary>
    public abstract ulong FreeSlots { get; }

    /// <summary>The slots that are addresses and of which some byte is taken.</summary>
    // Survives as `Size >= 64`: equivalent, a size is a multiple of 6, which 64 is not
    public ulong TakenSlots => ~FreeSlots & (Size > 64 ? (1UL << (1 << (64 - Shift))) - 1 : ulong.MaxValue);

    public abstract int Rank { get; }

    /// <summary>Whether every byte of a slot is free.</summary>
    public abstract bool IsFree(int slot);

    /// <summary>The slots that hold a free aligned block of an order, which is not above that of a slot.</summary>
    public abstract ulong SlotsOf(int order);

    public int SlotOf(ulong address) => unchecked((int)(address >> Shift)) & (SlotCount - 1);

    public ulong FirstOf(int slot) => unchecked(First + ((ulong)slot << Shift));

    public ulong LastOf(int slot) => unchecked(FirstOf(slot) + ((1UL << Shift) - 1));

    /// <summary>No gap of which the slot holds an aligned block has more bytes than this from its first aligned address on.</summary>
    public ulong BoundOf(int slot, int alignmentLog2) => _bounds?[alignmentLog2] is { } bounds ? bounds[slot] : ulong.MaxValue;

    public void LowerBound(int slot, int alignmentLog2, ulong byteCount)
    {
        _bounds ??= new ulong[64][];
        if (_bounds[alignmentLog2] is null)
        {
            _bounds[alignmentLog2] = new ulong[SlotCount];
            Array.Fill(_bounds[alignmentLog2]!, ulong.MaxValue);
        }

        _bounds[alignmentLog2]![slot] = byteCount;
    }

    /// <summary>What was known of a slot no longer holds.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void ForgetBound(int slot)
    {
        if (_bounds is not null) ForgetBoundOf(slot);
    }

    public void ForgetBounds()
    {
        if (_bounds is null) return;
        foreach (ulong[]? bounds in _bounds)
        {
            if (bounds is not null) Array.Fill(bounds, ulong.MaxValue);
        }
    }

    private void ForgetBoundOf(int slot)
    {
        foreach (ulong[]? bounds in _bounds!)
        {
            if (bounds is not null) bounds[slot] = ulong.MaxValue;
        }
    }
}

/// <summary>An inner node. A mixed slot has a node of its own; one that is wholly free or wholly taken need not.</summary>
internal sealed class FreeBranch : FreeNode
{
    private Bytes _ranks;
    private Nodes _children;

    /// <summary>The nodes of the slots.</summary>
    public Span<FreeNode?> Children => _children;

    public Span<byte> Ranks => _ranks;

    public override ulong FreeSlots => SlotsOf(Shift);

    public override int Rank
    {
        get
        {
            int highest = Highest();
            // Survives as `highest >= Shift`: equivalent, where the two are the same no slot is free, and a run of none adds nothing
            return highest > Shift ? Shift + FreeBits.RunRank(FreeSlots) : highest;
        }
    }

    public override bool IsFree(int slot) => Ranks[slot] > Shift;

    public override ulong SlotsOf(int order)
    {
        ReadOnlySpan<byte> ranks = Ranks;
        Vector256<byte> least = Vector256.Create(unchecked((byte)(order + 1)));
        uint low = Vector256.GreaterThanOrEqual(Vector256.Create(ranks[..32]), least).ExtractMostSignificantBits();
        uint high = Vector256.GreaterThanOrEqual(Vector256.Create(ranks[32..]), least).ExtractMostSignificantBits();
        return low | (ulong)high << 32;
    }

    /// <summary>Notes what a slot holds now.</summary>
    /// <param name="slot">Which.</param>
    /// <param name="rank">Its rank.</param>
    /// <param name="own">The rank of the node before.</param>
    /// <returns>The rank of the node now.</returns>
    public int SetRank(int slot, int rank, int own)
    {
        int before = Ranks[slot];
        // Survives as `rank >= Shift`: performance only, what holds of free slots is done for another, and Rank is right for each
        bool isFree = rank > Shift;
        // Survives as `!(isFree)`: performance only, nobody asks for the bound of a free slot, and who takes a part of it has it forgotten then
        if (isFree) ForgetBound(slot);
        // Survives as `before >= Shift`: performance only, what is asked of free slots is asked of another, and Rank is right for each
        if (isFree || before > Shift)
        {
            // Whole slots: how many lie in a row counts.
            Ranks[slot] = (byte)rank;
            return Rank;
        }

        // What is no higher than another has no say. That is looked for before the change: a load does not wait for the store.
        // Survives as `own == before || …` and as `before + 1`: performance only, the highest is looked for though it has not changed
        bool isHighest = own == before && (SlotsOf(before - 1) & ~(1UL << slot)) == 0;
        Ranks[slot] = (byte)rank;
        // Survives as `rank > own`: equivalent, where the two are the same each of the results is the rank
        if (rank >= own) return rank;
        return isHighest ? Highest() : own;
    }

    /// <summary>Whether a slot has a node.</summary>
    public bool HasChildren => Children.ContainsAnyExcept((FreeNode?)null);

    /// <summary>All of it free or taken; no slot has a node.</summary>
    public void Reset(bool isFree) => Ranks.Fill(isFree ? (byte)(Shift + 1) : (byte)0);

    private byte Highest()
    {
        ReadOnlySpan<byte> ranks = Ranks;
        Vector256<byte> wide = Vector256.Max(Vector256.Create(ranks[..32]), Vector256.Create(ranks[32..]));
        Vector128<byte> highest = Vector128.Max(wide.GetLower(), wide.GetUpper());
        highest = Vector128.Max(highest, Vector128.ShiftRightLogical(highest.AsUInt64(), 32).AsByte());
        highest = Vector128.Max(highest, Vector128.ShiftRightLogical(highest.AsUInt64(), 16).AsByte());
        highest = Vector128.Max(highest, Vector128.ShiftRightLogical(highest.AsUInt64(), 8).AsByte());
        return Math.Max(highest.ToScalar(), highest.GetElement(8));
    }

    [InlineArray(SlotCount)]
    private struct Bytes
    {
        private byte _first;
    }

    [InlineArray(SlotCount)]
    private struct Nodes
    {
        private FreeNode? _first;
    }
}
