using System.Numerics;
using Platform;

namespace Vcmm;

/// <summary>The reservations of a region by their first page: a radix tree of 64 ways with a bit for each way that is, or was, in use.</summary>
/// <remarks>
/// <para><b>Cost.</b> One step for each six bits of the region's page numbers: three for 1 GiB. A leaf stands for 256 KiB and stays,
/// as do the bits above it, until the region ends; a search backwards may pass leaves that have become empty.</para>
/// <para><b>Threads.</b> Any number at once, without a lock. Who adds owns the addresses, so that no two write one place. A search
/// that misses a reservation was overtaken by it: there was a moment of the search at which it was not there.</para>
/// </remarks>
internal sealed class ReservationIndex
{
    private const int WayBits = 6;
    private const int WayCount = 1 << WayBits;
    private const int PageLog2 = 12;

    private readonly ulong _firstPage;
    private readonly int _levelCount;
    private readonly Node _root;

    public ReservationIndex(IovaRange range)
    {
        _firstPage = range.First.Value >> PageLog2;
        ulong lastKey = (range.Last.Value >> PageLog2) - _firstPage;
        _levelCount = Math.Max(1, (BitOperations.Log2(lastKey | 1) + WayBits) / WayBits);
        _root = new(isLeaf: _levelCount == 1);
    }

    /// <summary>All of them, in the order of their addresses. While nothing is added or removed.</summary>
    public IEnumerable<ReservationState> All => AllIn(_root);

    /// <summary>Whether there is none. While nothing is added or removed.</summary>
    public bool IsEmpty => !All.Any();

    /// <summary>The reservation in which an address lies, and its generation; null: there is none.</summary>
    public ReservationState? Find(Iova address, out uint generation)
    {
        ulong page = address.Value >> PageLog2;
        generation = 0;
        if (page < _firstPage || (page - _firstPage) >> (WayBits * (_levelCount - 1)) >= WayCount) return null;
        while (true)
        {
            Search search = FindLast(_root, _levelCount, page - _firstPage, out ReservationState? state);
            if (search == Search.Nothing) return null;
            if (search == Search.Changed) continue;
            // A state is used again: what is read of it counts if it was alive, and the same, before and after.
            generation = Volatile.Read(ref state!.Generation);
            IovaRange range = state.Range;
            Interlocked.MemoryBarrier();
            if (!ReservationState.IsAlive(generation) || Volatile.Read(ref state.Generation) != generation) continue;
            if (range.Contains(address)) return state;
            if (range.First.Value <= address.Value) return null;
        }
    }

    /// <summary>Adds a reservation that is alive.</summary>
    public void Add(ReservationState state)
    {
        ulong key = KeyOf(state);
        Node node = _root;
        for (int level = _levelCount; level > 1; level--)
        {
            int way = WayAt(key, level);
            Node child = Volatile.Read(ref node.Children[way]) ?? AddChild(node, way, level);
            // The way is marked before anything is found through it, and stays so.
            if ((Volatile.Read(ref node.Ways) >> way & 1) == 0) Interlocked.Or(ref node.Ways, 1L << way);
            node = child;
        }

        int place = WayAt(key, 1);
        Volatile.Write(ref node.States[place], state);
        Interlocked.Or(ref node.Ways, 1L << place);
    }

    /// <summary>Removes a reservation that is still alive.</summary>
    public void Remove(ReservationState state)
    {
        ulong key = KeyOf(state);
        Node node = _root;
        for (int level = _levelCount; level > 1; level--) node = node.Children[WayAt(key, level)]!;
        int place = WayAt(key, 1);
        Interlocked.And(ref node.Ways, ~(1L << place));
        Volatile.Write(ref node.States[place], null);
    }

    private static int WayAt(ulong key, int level) => (int)(key >> (WayBits * (level - 1)) & (WayCount - 1));

    private ulong KeyOf(ReservationState state) => (state.Range.First.Value >> PageLog2) - _firstPage;

    private static Node AddChild(Node node, int way, int level)
    {
        var added = new Node(isLeaf: level == 2);
        return Interlocked.CompareExchange(ref node.Children[way], added, null) ?? added;
    }

    /// <summary>The last reservation that starts at or before a page.</summary>
    private static Search FindLast(Node node, int level, ulong key, out ReservationState? state)
    {
        state = null;
        int way = WayAt(key, level);
        ulong ways = unchecked((ulong)Volatile.Read(ref node.Ways)) & (ulong.MaxValue >> (WayCount - 1 - way));
        if (level == 1)
        {
            if (ways == 0) return Search.Nothing;
            state = Volatile.Read(ref node.States[BitOperations.Log2(ways)]);
            return state is null ? Search.Changed : Search.Found;
        }

        for (; ways != 0; ways &= ~(1UL << BitOperations.Log2(ways)))
        {
            int used = BitOperations.Log2(ways);
            Node child = Volatile.Read(ref node.Children[used])!;
            Search search = FindLast(child, level - 1, used == way ? key : ulong.MaxValue, out state);
            if (search != Search.Nothing) return search;
        }

        return Search.Nothing;
    }

    private static IEnumerable<ReservationState> AllIn(Node node)
    {
        for (ulong ways = unchecked((ulong)Volatile.Read(ref node.Ways)); ways != 0; ways &= ways - 1)
        {
            int way = BitOperations.TrailingZeroCount(ways);
            if (node.IsLeaf) yield return node.States[way]!;
            else foreach (ReservationState state in AllIn(node.Children[way]!)) yield return state;
        }
    }

    private enum Search
    {
        Nothing,
        Found,

        /// <summary>What was found went away meanwhile.</summary>
        Changed,
    }

    private sealed class Node(bool isLeaf)
    {
        public readonly Node?[] Children = isLeaf ? [] : new Node?[WayCount];

        public readonly ReservationState?[] States = isLeaf ? new ReservationState?[WayCount] : [];

        public long Ways;

        public bool IsLeaf => States.Length != 0;
    }
}
