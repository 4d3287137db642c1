using System.Numerics;
using Platform;

namespace Vcmm;

/// <summary>The reservations of a region by their first page: a radix tree of 64 ways, above its leaves with a bit for each way that was in use.</summary>
/// <remarks>
/// <para><b>Cost.</b> One step for each six bits of the region's page numbers: three for 1 GiB. A leaf stands for 256 KiB and stays,
/// as do the bits above it, until the region ends; a search backwards may pass leaves that have become empty. Leaves have no bits:
/// threads whose reservations lie in one leaf would contend for them.</para>
/// <para><b>Threads.</b> Any number at once, without a lock. Who adds owns the addresses, so that no two write one place. A search
/// that misses a reservation was overtaken by it: there was a moment of the search at which it was not there.</para>
/// </remarks>
internal sealed class ReservationIndex
{
    private const int WayBits = 6;
    private const int WayCount = 1 << WayBits;
    private const int PageLog2 = 12;

    /// <summary>A cache line at both ends: what everybody reads, such as the array's length, does not lie beside what one thread writes.</summary>
    private const int UnusedStates = 8;

    private readonly ulong _firstPage;
    private readonly int _levelCount;
    private readonly Node _root;

    public ReservationIndex(IovaRange range)
    {
        _firstPage = range.First.Value >> PageLog2;
        // Survives as `… + _firstPage`: performance only, with more levels than it takes the same is found
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
        if (page < _firstPage) return null;
        while (true)
        {
            // Beyond the region it is the last before some other page, which does not have the address.
            if (FindLast(_root, _levelCount, page - _firstPage) is not { } state) return null;
            // A state is used again: what is read of it counts if it was alive, and the same, before and after.
            generation = Volatile.Read(ref state.Generation);
            IovaRange range = state.Range;
            Interlocked.MemoryBarrier();
            if (ReservationState.IsAlive(generation) && Volatile.Read(ref state.Generation) == generation)
            {
                if (range.Contains(address)) return state;
                // Survives as `… < address.Value`: equivalent, a range that starts at the address has it
                if (range.First.Value <= address.Value) return null;
            }
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
            // Survives as `… << way`: performance only, a way that is marked is marked again
            // Survives as `… >>> way`: equivalent, of what is shifted only the lowest bit counts
            if ((Volatile.Read(ref node.Ways) >> way & 1) == 0) Interlocked.Or(ref node.Ways, 1L << way);
            node = child;
        }

        Volatile.Write(ref node.States[StateAt(key)], state);
    }

    /// <summary>Removes a reservation that is still alive.</summary>
    public void Remove(ReservationState state)
    {
        ulong key = KeyOf(state);
        Node node = _root;
        for (int level = _levelCount; level > 1; level--) node = node.Children[WayAt(key, level)]!;
        Volatile.Write(ref node.States[StateAt(key)], null);
    }

    private static int WayAt(ulong key, int level) => (int)(key >> (WayBits * (level - 1)) & (WayCount - 1));

    private static int StateAt(ulong key) => UnusedStates + WayAt(key, 1);

    private ulong KeyOf(ReservationState state) => (state.Range.First.Value >> PageLog2) - _firstPage;

    private static Node AddChild(Node node, int way, int level)
    {
        var added = new Node(isLeaf: level == 2);
        return Interlocked.CompareExchange(ref node.Children[way], added, null) ?? added;
    }

    /// <summary>The last reservation that starts at or before a page; null: there is none.</summary>
    private static ReservationState? FindLast(Node node, int level, ulong key)
    {
        int way = WayAt(key, level);
        if (level == 1)
        {
            for (; way >= 0; way--)
            {
                if (Volatile.Read(ref node.States[UnusedStates + way]) is { } state) return state;
            }

            return null;
        }

        ulong ways = unchecked((ulong)Volatile.Read(ref node.Ways)) & (ulong.MaxValue >> (WayCount - 1 - way));
        for (; ways != 0; ways &= ~(1UL << BitOperations.Log2(ways)))
        {
            int used = BitOperations.Log2(ways);
            Node child = Volatile.Read(ref node.Children[used])!;
            if (FindLast(child, level - 1, used == way ? key : ulong.MaxValue) is { } state) return state;
        }

        return null;
    }

    private static IEnumerable<ReservationState> AllIn(Node node)
    {
        foreach (ReservationState? state in node.States)
        {
            if (state is not null) yield return state;
        }

        for (ulong ways = unchecked((ulong)Volatile.Read(ref node.Ways)); ways != 0; ways &= ways - 1)
        {
            foreach (ReservationState state in AllIn(node.Children[BitOperations.TrailingZeroCount(ways)]!)) yield return state;
        }
    }

    /// <summary>Made by the thread that needed it first, beside what that thread writes to all the time.</summary>
    private sealed class Node(bool isLeaf) : CacheLineBefore
    {
        // Survives as `(false?…`: performance only, a leaf then has room for children that it never has
        // Survives as `[default]`: equivalent, nobody looks for children of a leaf
        public readonly Node?[] Children = isLeaf ? [] : new Node?[WayCount];

        // Survives as `(true?…`: performance only, what is no leaf then has room for reservations that stays empty
        // Survives as `[default]`: equivalent, of what is no leaf all places are looked at, and this one is empty
        public readonly ReservationState?[] States = isLeaf ? new ReservationState?[UnusedStates + WayCount + UnusedStates] : [];

        /// <summary>Children that there are. Of a leaf: none.</summary>
        public long Ways;
    }
}
