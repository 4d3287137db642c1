using System.Numerics;
using System.Runtime.CompilerServices;

namespace Vcmm.Allocation;

/// <summary>
/// What is free in a space: a radix tree over the bits of the address, six a level, whose leaves are bitmaps of pages. What is wholly
/// free or wholly taken needs no node. Each node knows for each of its slots the largest free block that is aligned to its size, so that the
/// way to the lowest or the highest one is straight.
/// </summary>
/// <remarks>
/// <para><b>Pages in parts.</b> A leaf in which a part of a page is taken gives way to a branch of branches, with bitmaps of bytes below.</para>
/// <para><b>What stays.</b> A node that is wholly taken stays until it is freed as a whole, since of many small ranges one soon goes; of the
/// leaves that are wholly free, the last stays. Nodes that go are kept for use.</para>
/// <para><b>Threads.</b> One at a time.</para>
/// </remarks>
internal sealed partial class FreeTree
{
    private const int LeafShift = FreeLeaf.PageLog2 + FreeNode.SlotBits;

    private readonly ulong _first;
    private readonly ulong _last;
    private FreeNode _root;

    /// <summary>A leaf that was wholly free and stayed in its place.</summary>
    private FreeLeaf? _empty;
    private FreeNode? _spareLeaves;
    private FreeNode? _spareBranches;

    /// <summary>A tree of which all is free.</summary>
    public FreeTree(ulong first, ulong last)
    {
        _first = first;
        _last = last;
        int shift = LeafShift;
        // Survives as `shift + FreeNode.SlotBits <= 64`: equivalent, a shift is a multiple of 6, and 58 is none
        while (shift + FreeNode.SlotBits < 64 && (first ^ last) >> (shift + FreeNode.SlotBits) != 0) shift += FreeNode.SlotBits;
        // Survives as `shift + FreeNode.SlotBits <= 64`: equivalent, a shift is a multiple of 6, and 58 is none
        ulong mask = shift + FreeNode.SlotBits < 64 ? (1UL << (shift + FreeNode.SlotBits)) - 1 : ulong.MaxValue;
        _root = Make(shift, first & ~mask, isFree: false);
        Mark(_root, first, last, isFree: true);
    }

    /// <summary>Finds the lowest or highest free block of 2^<paramref name="order"/> bytes that is aligned to its size.</summary>
    /// <param name="order">0 … 63.</param>
    /// <param name="isTopDown">Whether the highest is wanted.</param>
    /// <param name="leaf">Where it lies, if it lies in a leaf.</param>
    /// <param name="first">Its first address.</param>
    public bool TryFindBlock(int order, bool isTopDown, out FreeLeaf? leaf, out ulong first)
    {
        unchecked
        {
            leaf = null;
            first = 0;
            FreeNode node = _root;
            while (node is FreeBranch branch)
            {
                // Survives as `order >= branch.Shift`: performance only, a block of the length of a slot is a free slot, and its leaf is then found from the root
                if (order > branch.Shift) return TryFindRun(branch, order, isTopDown, ref first);
                ulong slots = branch.SlotsOf(order);
                if (slots == 0) return false;
                int slot = FreeBits.Pick(slots, isTopDown);
                FreeNode? child = branch.Children[slot];
                if (child is null)
                {
                    first = isTopDown ? branch.LastOf(slot) - ((1UL << order) - 1) : branch.FirstOf(slot);
                    return true;
                }

                node = child;
            }

            leaf = Unsafe.As<FreeLeaf>(node);
            // Survives as `order >= leaf.Shift`: equivalent, a block of the length of a word is a free word
            if (order > leaf.Shift) return TryFindRun(leaf, order, isTopDown, ref first);
            ulong words = leaf.SlotsOf(order);
            if (words == 0) return false;
            int word = FreeBits.Pick(words, isTopDown);
            int granules = Math.Max(0, order - leaf.Granule);
            int bit = FreeBits.Pick(FreeBits.RunStarts(leaf.Words[word], granules), isTopDown);
            first = leaf.FirstOf(word) + ((ulong)bit << leaf.Granule);
            // Survives as `order <= leaf.Granule`: equivalent, where the two are the same the difference is 0
            if (isTopDown && order < leaf.Granule) first += (1UL << leaf.Granule) - (1UL << order);
            return true;
        }
    }

    /// <summary>Takes a range of which all is free.</summary>
    /// <param name="leaf">The leaf that it begins in, if it begins in one.</param>
    /// <param name="first">Its first address.</param>
    /// <param name="last">Its last address.</param>
    public void Take(FreeLeaf? leaf, ulong first, ulong last)
    {
        if (leaf is not null && IsIn(leaf, first, last))
        {
            if (!leaf.TryToggle(first, last, isFree: true, out _)) leaf.Mark(first, last, isFree: false);
            Refresh(leaf);
        }
        else
        {
            Mark(_root, first, last, isFree: false);
        }
    }

    /// <summary>Takes a range.</summary>
    /// <returns>False if part of it is taken; then nothing has changed.</returns>
    public bool TryTake(ulong first, ulong last)
    {
        if (!IsAll(_root, first, last, isFree: true)) return false;
        Take(FindLeaf(first), first, last);
        return true;
    }

    /// <summary>Gives a range back.</summary>
    /// <returns>False if part of it is free; then nothing has changed.</returns>
    public bool TryGive(ulong first, ulong last)
    {
        FreeLeaf? leaf = FindLeaf(first);
        if (leaf is not null && IsIn(leaf, first, last))
        {
            if (!leaf.TryToggle(first, last, isFree: false, out bool isDone))
            {
                isDone = leaf.IsAll(first, last, isFree: false);
                if (isDone) leaf.Mark(first, last, isFree: true);
            }

            if (!isDone) return false;
            Refresh(leaf);
        }
        else
        {
            if (!IsAll(_root, first, last, isFree: false)) return false;
            Mark(_root, first, last, isFree: true);
        }

        if (_hasBounds) ForgetBounds(FindLeaf(first), first);
        return true;
    }

    private static bool TryFindRun(FreeNode node, int order, bool isTopDown, ref ulong first)
    {
        if (order > node.Size) return false;
        ulong starts = FreeBits.RunStarts(node.FreeSlots, order - node.Shift);
        if (starts == 0) return false;
        first = node.FirstOf(FreeBits.Pick(starts, isTopDown));
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsIn(FreeLeaf leaf, ulong first, ulong last) => (first ^ last) >> leaf.Size == 0 && leaf.HasWhole(first, last);

    private FreeLeaf? FindLeaf(ulong address)
    {
        FreeNode? node = _root;
        while (node is FreeBranch branch) node = branch.Children[branch.SlotOf(address)];
        return Unsafe.As<FreeLeaf?>(node);
    }

    /// <summary>Whether all of a range is free, or all of it taken.</summary>
    private static bool IsAll(FreeNode node, ulong first, ulong last, bool isFree)
    {
        if (node is FreeLeaf leaf) return leaf.IsAll(first, last, isFree);
        var branch = (FreeBranch)node;
        int high = branch.SlotOf(last);
        for (int slot = branch.SlotOf(first); slot <= high; slot++)
        {
            int rank = branch.Ranks[slot];
            if (rank == 0 || rank > branch.Shift)
            {
                if (rank != 0 != isFree) return false;
            }
            else
            {
                ulong low = Math.Max(first, branch.FirstOf(slot));
                if (!IsAll(branch.Children[slot]!, low, Math.Min(last, branch.LastOf(slot)), isFree)) return false;
            }
        }

        return true;
    }

    /// <summary>Frees or takes a range of which all is the opposite. Who calls refreshes what is above the node.</summary>
    private void Mark(FreeNode node, ulong first, ulong last, bool isFree)
    {
        if (node is FreeLeaf leaf)
        {
            if (leaf.HasWhole(first, last))
            {
                leaf.Mark(first, last, isFree);
                return;
            }

            node = Expand(leaf);
        }

        var branch = (FreeBranch)node;
        int high = branch.SlotOf(last);
        for (int slot = branch.SlotOf(first); slot <= high; slot++)
        {
            ulong slotFirst = branch.FirstOf(slot);
            ulong slotLast = branch.LastOf(slot);
            if (first <= slotFirst && last >= slotLast)
            {
                branch.SetRank(slot, isFree ? branch.Shift + 1 : 0, 0);
                Drop(branch, slot);
                continue;
            }

            FreeNode child = branch.Children[slot] ?? Grow(branch, slot);
            Mark(child, Math.Max(first, slotFirst), Math.Min(last, slotLast), isFree);
            // Another may be there now.
            child = branch.Children[slot]!;
            branch.SetRank(slot, child.Rank, 0);
            if (!branch.IsFree(slot)) continue;
            if (child is FreeLeaf emptied) KeepEmpty(emptied);
            else if (!((FreeBranch)child).HasChildren) Drop(branch, slot);
        }
    }

    /// <summary>What is above a leaf is told what it holds now.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Refresh(FreeLeaf leaf)
    {
        if (leaf.Parent is { } parent && !leaf.HasRank(parent.Ranks[leaf.Slot])) RefreshAbove(leaf);
    }

    private void RefreshAbove(FreeLeaf leaf)
    {
        FreeNode node = leaf;
        int rank = leaf.Rank;
        while (node.Parent is { } parent && parent.Ranks[node.Slot] != rank)
        {
            int own = parent.Parent is { } above ? above.Ranks[parent.Slot] : 0;
            rank = parent.SetRank(node.Slot, rank, own);
            node = parent;
        }

        if (leaf.Parent!.IsFree(leaf.Slot)) KeepEmpty(leaf);
    }

    /// <summary>
    /// A leaf has become wholly free. One such stays in its place, with what is above it: what is taken next is often there.
    /// </summary>
    private void KeepEmpty(FreeLeaf leaf)
    {
        FreeNode? node = _empty;
        _empty = leaf;
        if (node == leaf) return;
        while (node?.Parent is { } parent && parent.IsFree(node.Slot))
        {
            parent.Children[node.Slot] = null;
            Retire(node);
            if (parent.HasChildren) break;
            node = parent;
        }
    }

    /// <summary>Makes the node of a slot that is about to be mixed.</summary>
    private FreeNode Grow(FreeBranch branch, int slot)
    {
        FreeNode child = Make(branch.Shift - FreeNode.SlotBits, branch.FirstOf(slot), isFree: branch.Ranks[slot] != 0);
        Hang(branch, slot, child);
        return child;
    }

    /// <summary>Puts a branch in the place of a leaf of pages.</summary>
    private FreeBranch Expand(FreeLeaf leaf)
    {
        // Survives as `true`: equivalent, what each slot holds is set below
        FreeBranch branch = MakeBranch(leaf.Shift, leaf.First, isFree: false);
        for (int word = 0; word < FreeNode.SlotCount; word++)
        {
            ulong bits = leaf.Words[word];
            if (bits is 0 or ulong.MaxValue)
            {
                branch.Ranks[word] = bits == 0 ? (byte)0 : (byte)(branch.Shift + 1);
                continue;
            }

            FreeBranch child = MakeBranch(leaf.Granule, leaf.FirstOf(word), isFree: false);
            for (; bits != 0; bits &= bits - 1) child.Ranks[BitOperations.TrailingZeroCount(bits)] = (byte)(child.Shift + 1);
            Hang(branch, word, child);
            branch.Ranks[word] = (byte)child.Rank;
        }

        if (leaf.Parent is { } parent) Hang(parent, leaf.Slot, branch);
        else _root = branch;
        Retire(leaf);
        return branch;
    }

    private static void Hang(FreeBranch parent, int slot, FreeNode child)
    {
        parent.Children[slot] = child;
        child.Parent = parent;
        child.Slot = slot;
    }

    private FreeNode Make(int shift, ulong first, bool isFree)
    {
        if (shift is not (LeafShift or FreeNode.SlotBits)) return MakeBranch(shift, first, isFree);
        FreeLeaf leaf = (FreeLeaf?)_spareLeaves ?? new();
        _spareLeaves = leaf.NextSpare;
        leaf.NextSpare = null;
        leaf.Shift = shift;
        leaf.First = first;
        leaf.Reset(isFree);
        return leaf;
    }

    private FreeBranch MakeBranch(int shift, ulong first, bool isFree)
    {
        FreeBranch branch = (FreeBranch?)_spareBranches ?? new();
        _spareBranches = branch.NextSpare;
        branch.NextSpare = null;
        branch.Shift = shift;
        branch.First = first;
        branch.Reset(isFree);
        return branch;
    }

    /// <summary>A slot that is wholly free or wholly taken needs no nodes.</summary>
    private void Drop(FreeBranch parent, int slot)
    {
        if (parent.Children[slot] is not { } node) return;
        parent.Children[slot] = null;
        for (int i = 0; node is FreeBranch branch && i < FreeNode.SlotCount; i++) Drop(branch, i);
        Retire(node);
    }

    private void Retire(FreeNode node)
    {
        if (_empty == node) _empty = null;
        node.Parent = null;
        node.ForgetBounds();
        ref FreeNode? spares = ref node is FreeLeaf ? ref _spareLeaves : ref _spareBranches;
        node.NextSpare = spares;
        spares = node;
    }
}
