namespace Vcmm.Allocation;

/// <summary>Requests that no rank decides: lengths that are no power of two, other alignments, bounds.</summary>
/// <remarks>
/// A bound says the longest fit in a slot at an alignment. There are bounds only for alignments that were asked for. A search that
/// finds nothing in a slot sets one; what is given back makes those on the way to the ends of its gap unknown. So each look into a slot
/// that ends in nothing is paid for by a change before it.
/// </remarks>
internal sealed partial class FreeTree
{
    private bool _hasBounds;

    /// <summary>Finds the first place that fits, from the end that the request says.</summary>
    /// <param name="request">What is wanted.</param>
    /// <param name="leaf">The leaf that it begins in, if it begins in one.</param>
    /// <param name="first">Its first address.</param>
    public bool TryFind(in GapRequest request, out FreeLeaf? leaf, out ulong first)
    {
        if (request is { IsBlock: true, IsBounded: false }) return TryFindBlock(request.Order, request.IsTopDown, out leaf, out first);
        var search = new FreeSearch(request);
        bool isFound = TryFind(_root, ref search);
        first = search.Place;
        // Survives as `(true?FindLeaf(first) :null)`: equivalent, who is told that nothing was found reads no leaf
        // Survives as `(false?FindLeaf(first) :null)`: performance only, what is taken is then found from the root
        leaf = isFound ? FindLeaf(first) : null;
        return isFound;
    }

    private bool TryFind(FreeNode node, ref FreeSearch search)
    {
        var leaf = node as FreeLeaf;
        // Survives as `search.Order >= node.Shift`: equivalent, a slot that holds a block of its own length is a free slot
        if (search.Order > node.Shift) return TryFindIn(leaf, node.FreeSlots, node.First, node.Shift, ref search);
        ulong slots = node.SlotsOf(search.Order);
        while ((slots &= search.BitsIn(node.First, node.Shift)) != 0)
        {
            int slot = FreeBits.Pick(slots, search.IsTopDown);
            slots ^= 1UL << slot;
            if (node.IsFree(slot))
            {
                if (TryGap(leaf, node.FirstOf(slot), node.LastOf(slot), ref search)) return true;
                continue;
            }

            ulong bound = node.BoundOf(slot, search.AlignmentLog2);
            if (bound < search.ByteCount) search.See(bound);
            else if (TryFindIn(node, leaf, slot, ref search)) return true;
        }

        return false;
    }

    /// <summary>Looks into a slot that is not free, and learns the bound of it where nothing fits.</summary>
    private bool TryFindIn(FreeNode node, FreeLeaf? leaf, int slot, ref FreeSearch search)
    {
        ulong first = node.FirstOf(slot);
        ulong last = node.LastOf(slot);
        ulong before = search.Enter(first, last);
        bool isFound = leaf is null
            ? TryFind(((FreeBranch)node).Children[slot]!, ref search)
            : TryFindIn(leaf, leaf.Words[slot], first, leaf.Granule, ref search);
        if (isFound) return true;
        ulong bound = search.Leave(before);
        if (search.IsBlock || !search.IsWithin(first, last)) return false;
        node.LowerBound(slot, search.AlignmentLog2, bound);
        _hasBounds = true;
        return false;
    }

    /// <summary>Looks at the runs of free slots, or of free granules of a word.</summary>
    private bool TryFindIn(FreeLeaf? leaf, ulong free, ulong first, int shift, ref FreeSearch search)
    {
        int order = Math.Max(0, search.Order - shift);
        if (order > FreeNode.SlotBits) return false;
        ulong starts = FreeBits.RunStarts(free, order);
        while ((starts &= search.BitsIn(first, shift)) != 0)
        {
            int start = FreeBits.Pick(starts, search.IsTopDown);
            starts ^= 1UL << start;
            ulong low = first + ((ulong)start << shift);
            if (TryGap(leaf, low, unchecked(low + ((1UL << (shift + order)) - 1)), ref search)) return true;
        }

        return false;
    }

    /// <summary>Looks at the gap around the first anchor in free addresses, which may be of a leaf, if there is one.</summary>
    private bool TryGap(FreeLeaf? leaf, ulong first, ulong last, ref FreeSearch search)
    {
        if (!search.TryAnchor(first, last, out ulong anchor)) return false;
        if (search.IsBlock)
        {
            search.Place = anchor;
            return true;
        }

        ulong gapFirst = FirstOfGap(leaf, anchor);
        ulong gapLast = LastOfGap(leaf, anchor);
        if (search.TryFit(gapFirst, gapLast)) return true;
        search.Pass(gapFirst, gapLast);
        return false;
    }

    private ulong FirstOfGap(FreeLeaf? leaf, ulong address) => TryFindTaken(leaf, address, upward: false, out ulong taken) ? taken + 1 : _first;

    private ulong LastOfGap(FreeLeaf? leaf, ulong address) => TryFindTaken(leaf, address, upward: true, out ulong taken) ? taken - 1 : _last;

    /// <summary>Finds the nearest address that is taken, from a free one on, which lies in <paramref name="leaf"/> if that is known.</summary>
    private bool TryFindTaken(FreeLeaf? leaf, ulong from, bool upward, out ulong taken)
    {
        // Most gaps end in the word in which they are looked at.
        if (leaf is not null && TryFindTakenIn(leaf, leaf.SlotOf(from), from, upward, out taken)) return true;
        return TryFindTaken(_root, from, upward, out taken);
    }

    /// <summary>Finds the nearest address of a node that is taken, from one of it on.</summary>
    private static bool TryFindTaken(FreeNode node, ulong from, bool upward, out ulong taken)
    {
        int slot = node.SlotOf(from);
        if (!node.IsFree(slot) && TryFindTakenIn(node, slot, from, upward, out taken)) return true;
        ulong rest = node.TakenSlots & (upward ? ulong.MaxValue << slot << 1 : (1UL << slot) - 1);
        taken = 0;
        if (rest == 0) return false;
        slot = FreeBits.Pick(rest, highest: !upward);
        return TryFindTakenIn(node, slot, upward ? node.FirstOf(slot) : node.LastOf(slot), upward, out taken);
    }

    /// <summary>The same of a slot that is not free.</summary>
    private static bool TryFindTakenIn(FreeNode node, int slot, ulong from, bool upward, out ulong taken)
    {
        taken = from;
        if (node is FreeBranch branch) return branch.Children[slot] is not { } child || TryFindTaken(child, from, upward, out taken);
        var leaf = (FreeLeaf)node;
        int bit = unchecked((int)(from >> leaf.Granule)) & 63;
        ulong bits = ~leaf.Words[slot] & (upward ? FreeBits.Between(bit, 63) : FreeBits.Between(0, bit));
        if (bits == 0) return false;
        ulong first = leaf.FirstOf(slot) + ((ulong)FreeBits.Pick(bits, highest: !upward) << leaf.Granule);
        taken = upward ? Math.Max(from, first) : Math.Min(from, first + ((1UL << leaf.Granule) - 1));
        return true;
    }

    /// <summary>A gap has grown: what was known of the slots that it ends in no longer holds.</summary>
    private void ForgetBounds(FreeLeaf? leaf, ulong address)
    {
        ulong first = FirstOfGap(leaf, address);
        ulong last = LastOfGap(leaf, address);
        FreeNode lowest = ForgetBoundsTo(first);
        if ((first ^ last) >> lowest.Shift != 0) ForgetBoundsTo(last);
    }

    /// <returns>The lowest node on the way.</returns>
    private FreeNode ForgetBoundsTo(ulong address)
    {
        FreeNode node = _root;
        while (true)
        {
            int slot = node.SlotOf(address);
            node.ForgetBound(slot);
            if (node is not FreeBranch branch || branch.Children[slot] is not { } child) return node;
            node = child;
        }
    }
}
