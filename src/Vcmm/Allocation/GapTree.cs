using System.Numerics;

namespace Vcmm.Allocation;

/// <summary>A gap that a search found, and the place in it.</summary>
internal readonly record struct GapPlace(GapLeaf Leaf, int Slot, ulong First);

/// <summary>
/// The gaps of a space in a B+-tree ordered by address. Ranks, which say the largest aligned power of two that fits, are exact
/// everywhere. Bounds, which say the longest fit at an alignment, are only made for alignments that were asked for, are raised
/// at once and lowered when a search found them too high: each such search is paid for by the change before it.
/// </summary>
/// <remarks>
/// <para><b>Source.</b> Comer, The ubiquitous B-tree, ACM Computing Surveys 11 (2), 1979.</para>
/// <para><b>Threads.</b> One at a time.</para>
/// </remarks>
internal sealed class GapTree
{
    private GapNode _root;
    private GapNode? _spareLeaves;
    private GapNode? _spareIndexes;

    /// <summary>The alignments, by their logarithms, of which there may be bounds.</summary>
    private ulong _boundedAlignments;

    /// <summary>A tree of one gap.</summary>
    public GapTree(ulong first, ulong last)
    {
        var leaf = new GapLeaf();
        _root = leaf;
        Insert(leaf, 0, first, last);
    }

    /// <summary>Finds the last gap that does not start after <paramref name="address"/>.</summary>
    /// <param name="address">Where.</param>
    /// <param name="slot">Which gap of the leaf; -1: all gaps start after it, and the first of the leaf is the first of all.</param>
    public GapLeaf Find(ulong address, out int slot)
    {
        GapNode node = _root;
        while (node is GapIndex index) node = index.Children[Math.Max(0, index.LastAtOrBefore(address))]!;
        slot = node.LastAtOrBefore(address);
        return (GapLeaf)node;
    }

    /// <summary>Finds the first place that fits, from the end that the request says.</summary>
    public bool TryFind(in GapRequest request, out GapPlace place)
    {
        if (request is { IsRankExact: true, IsBounded: false }) return TryFindRank(_root, request, out place);
        if (!request.IsRankExact) _boundedAlignments |= 1UL << request.AlignmentLog2;
        return TryFind(_root, request, out place);
    }

    /// <summary>Where ranks tell all, the way down is straight.</summary>
    private static bool TryFindRank(GapNode node, in GapRequest request, out GapPlace place)
    {
        ulong slots = node.SlotsOfRank(request.LeastRank);
        if (slots == 0)
        {
            place = default;
            return false;
        }

        int slot = request.FirstOf(slots);
        while (node is GapIndex index)
        {
            node = index.Children[slot]!;
            slot = request.FirstOf(node.SlotsOfRank(request.LeastRank));
        }

        var leaf = (GapLeaf)node;
        place = new(leaf, slot, request.PlaceIn(leaf.Keys[slot], leaf.Lasts[slot]));
        return true;
    }

    /// <summary>Takes <paramref name="first"/> to <paramref name="last"/> out of the gap that they lie in.</summary>
    public void Carve(GapLeaf leaf, int slot, ulong first, ulong last)
    {
        bool leavesBefore = leaf.Keys[slot] < first;
        bool leavesAfter = leaf.Lasts[slot] > last;
        ulong end = leaf.Lasts[slot];
        if (leavesBefore)
        {
            leaf.Lasts[slot] = first - 1;
            Rerank(leaf, slot);
            if (leavesAfter) Insert(leaf, slot + 1, last + 1, end);
        }
        else if (leavesAfter)
        {
            leaf.Keys[slot] = last + 1;
            Rerank(leaf, slot);
            if (slot == 0) RefreshKey(leaf);
        }
        else
        {
            Remove(leaf, slot);
        }
    }

    /// <summary>Adds a gap, joined with those that it touches.</summary>
    /// <returns>False if it overlaps one; then nothing has changed.</returns>
    public bool TryAdd(ulong first, ulong last)
    {
        GapLeaf leaf = Find(first, out int slot);
        if (slot >= 0 && leaf.Lasts[slot] >= first) return false;
        GapLeaf nextLeaf = leaf;
        int next = slot + 1;
        if (next == leaf.Count && NextLeaf(leaf) is { } following)
        {
            nextLeaf = following;
            next = 0;
        }

        bool hasNext = next < nextLeaf.Count;
        if (hasNext && nextLeaf.Keys[next] <= last) return false;

        // What is looked at lies strictly inside the 64-bit space on the side that is looked at, so neither sum wraps.
        bool joinsBefore = slot >= 0 && leaf.Lasts[slot] + 1 == first;
        bool joinsAfter = hasNext && last + 1 == nextLeaf.Keys[next];
        if (joinsBefore)
        {
            ulong end = joinsAfter ? nextLeaf.Lasts[next] : last;
            leaf.Lasts[slot] = end;
            Rerank(leaf, slot);
            RaiseBounds(leaf, leaf.Keys[slot], end);
            if (joinsAfter) Remove(nextLeaf, next);
        }
        else if (joinsAfter)
        {
            nextLeaf.Keys[next] = first;
            Rerank(nextLeaf, next);
            RaiseBounds(nextLeaf, first, nextLeaf.Lasts[next]);
            if (next == 0) RefreshKey(nextLeaf);
        }
        else
        {
            Insert(leaf, slot + 1, first, last);
        }

        return true;
    }

    private static bool TryFind(GapNode node, in GapRequest request, out GapPlace place)
    {
        ulong slots = node.SlotsOfRank(request.LeastRank);
        if (request.IsBounded) slots &= SlotsWithin(node, request);
        while (slots != 0)
        {
            int slot = request.FirstOf(slots);
            slots ^= 1UL << slot;
            if (node is GapIndex index)
            {
                if (!request.IsRankExact && index.BoundOf(slot, request.AlignmentLog2) < request.ByteCount) continue;
                if (TryFind(index.Children[slot]!, request, out place)) return true;
            }
            else
            {
                var leaf = (GapLeaf)node;
                if (!request.TryFit(leaf.Keys[slot], leaf.Lasts[slot], out ulong first)) continue;
                place = new(leaf, slot, first);
                return true;
            }
        }

        if (!request.IsRankExact) node.Parent?.LowerBound(node.Slot, request.AlignmentLog2, LongestFit(node, request));
        place = default;
        return false;
    }

    private static ulong SlotsWithin(GapNode node, in GapRequest request)
    {
        int last = node.LastAtOrBefore(request.Last);
        if (last < 0) return 0;
        int first = Math.Max(0, node.LastAtOrBefore(request.First));
        return ulong.MaxValue >> (63 - last) & ulong.MaxValue << first;
    }

    /// <summary>The most bytes that fit below a node at the alignment of a request, wherever they lie; never less than that.</summary>
    private static ulong LongestFit(GapNode node, in GapRequest request)
    {
        ulong longest = 0;
        for (int slot = 0; slot < node.Count; slot++)
        {
            ulong bound = node is GapIndex index
                ? index.BoundOf(slot, request.AlignmentLog2)
                : GapRequest.FitBytes(node.Keys[slot], ((GapLeaf)node).Lasts[slot], request.AlignmentLog2);
            // What is short of the rank is short of the length too.
            if (node.Ranks[slot] < request.LeastRank) bound = Math.Min(bound, request.ByteCount - 1);
            longest = Math.Max(longest, bound);
        }

        return longest;
    }

    private static GapLeaf? NextLeaf(GapNode node)
    {
        while (node.Parent is { } parent && node.Slot + 1 == parent.Count) node = parent;
        if (node.Parent is null) return null;
        node = node.Parent.Children[node.Slot + 1]!;
        while (node is GapIndex index) node = index.Children[0]!;
        return (GapLeaf)node;
    }

    private static void Rerank(GapLeaf leaf, int slot)
    {
        byte before = leaf.Ranks[slot];
        byte after = GapRequest.RankOf(leaf.Keys[slot], leaf.Lasts[slot]);
        leaf.Ranks[slot] = after;
        if (before != after) RefreshRank(leaf);
    }

    private static void RefreshRank(GapNode node)
    {
        while (node.Parent is { } parent)
        {
            byte highest = node.HighestRank();
            if (parent.Ranks[node.Slot] == highest) return;
            parent.Ranks[node.Slot] = highest;
            node = parent;
        }
    }

    private static void RefreshKey(GapNode node)
    {
        while (node.Parent is { } parent)
        {
            parent.Keys[node.Slot] = node.Keys[0];
            if (node.Slot != 0) return;
            node = parent;
        }
    }

    private void RaiseBounds(GapLeaf leaf, ulong first, ulong last)
    {
        for (ulong rest = _boundedAlignments; rest != 0; rest &= rest - 1)
        {
            int log2 = BitOperations.TrailingZeroCount(rest);
            ulong byteCount = GapRequest.FitBytes(first, last, log2);
            for (GapNode node = leaf; node.Parent is { } parent; node = parent) parent.RaiseBound(node.Slot, log2, byteCount);
        }
    }

    private void Insert(GapLeaf leaf, int slot, ulong first, ulong last)
    {
        if (leaf.Count == GapNode.FanOut)
        {
            GapNode right = Split(leaf);
            if (slot > leaf.Count)
            {
                slot -= leaf.Count;
                leaf = (GapLeaf)right;
            }
        }

        leaf.Open(slot);
        leaf.Keys[slot] = first;
        leaf.Lasts[slot] = last;
        leaf.Ranks[slot] = GapRequest.RankOf(first, last);
        if (slot == 0) RefreshKey(leaf);
        RefreshRank(leaf);
        RaiseBounds(leaf, first, last);
    }

    private void Remove(GapLeaf leaf, int slot)
    {
        leaf.Close(slot);
        Shrunk(leaf, slot == 0);
    }

    /// <summary>An entry has gone: the parents are told, and nodes with few entries joined.</summary>
    private void Shrunk(GapNode node, bool isFirst)
    {
        if (node.Parent is not { } parent)
        {
            while (_root is GapIndex { Count: 1 } root)
            {
                _root = root.Children[0]!;
                _root.Parent = null;
                root.Close(0);
                Retire(root);
            }

            return;
        }

        if (node.Count == 0)
        {
            Drop(node);
            return;
        }

        if (isFirst) RefreshKey(node);
        RefreshRank(node);
        if (node.Count >= GapNode.FanOut / 2) return;
        if (node.Slot > 0 && parent.Children[node.Slot - 1]!.Count + node.Count <= GapNode.MergedMost) Merge(parent.Children[node.Slot - 1]!, node);
        else if (node.Slot + 1 < parent.Count && parent.Children[node.Slot + 1]!.Count + node.Count <= GapNode.MergedMost) Merge(node, parent.Children[node.Slot + 1]!);
    }

    private void Merge(GapNode left, GapNode right)
    {
        GapIndex parent = left.Parent!;
        left.TakeTail(right, 0);
        parent.InheritBounds(left.Slot, right.Slot, isNew: false);
        parent.Ranks[left.Slot] = Math.Max(parent.Ranks[left.Slot], parent.Ranks[right.Slot]);
        Drop(right);
    }

    private void Drop(GapNode node)
    {
        GapIndex parent = node.Parent!;
        int slot = node.Slot;
        parent.Close(slot);
        Retire(node);
        Shrunk(parent, slot == 0);
    }

    /// <summary>Moves the upper half of a full node into a new one to its right.</summary>
    private GapNode Split(GapNode node)
    {
        GapIndex parent = node.Parent is null ? Grow() : node.Parent;
        if (parent.Count == GapNode.FanOut)
        {
            Split(parent);
            parent = node.Parent!;
        }

        GapNode right = node is GapLeaf ? Take(ref _spareLeaves) ?? new GapLeaf() : TakeIndex();
        right.TakeTail(node, GapNode.FanOut / 2);
        int slot = node.Slot + 1;
        parent.Open(slot);
        parent.Children[slot] = right;
        right.Parent = parent;
        right.Slot = slot;
        parent.Keys[slot] = right.Keys[0];
        parent.Ranks[slot] = right.HighestRank();
        parent.Ranks[node.Slot] = node.HighestRank();
        parent.InheritBounds(slot, node.Slot, isNew: true);
        return right;
    }

    private GapIndex Grow()
    {
        GapIndex root = TakeIndex();
        root.Open(0);
        root.Children[0] = _root;
        root.Keys[0] = _root.Keys[0];
        root.Ranks[0] = _root.HighestRank();
        _root.Parent = root;
        _root.Slot = 0;
        return (GapIndex)(_root = root);
    }

    private GapIndex TakeIndex()
    {
        var index = (GapIndex?)Take(ref _spareIndexes) ?? new GapIndex();
        index.ForgetBounds();
        return index;
    }

    private static GapNode? Take(ref GapNode? spares)
    {
        GapNode? node = spares;
        if (node is null) return null;
        spares = node.NextSpare;
        node.NextSpare = null;
        return node;
    }

    private void Retire(GapNode node)
    {
        node.Parent = null;
        ref GapNode? spares = ref _spareLeaves;
        if (node is GapIndex) spares = ref _spareIndexes;
        node.NextSpare = spares;
        spares = node;
    }
}
