using System.Numerics;
using Platform;

namespace Vcmm.Allocation;

/// <summary>
/// The ranges of the cached sizes, each handed out or at hand: a hash table of one word for each, whose lowest bit says which.
/// </summary>
/// <remarks>
/// An entry never moves but in a rebuild, so that a place can be relied on until then. <b>Threads.</b> One at a time.
/// </remarks>
internal sealed class KnownRanges
{
    /// <summary>4 KiB to 128 KiB.</summary>
    public const int ClassCount = 6;

    private const int SmallestLog2 = 12;
    private const ulong LengthMask = (1UL << SmallestLog2) - 1;

    /// <summary>512 bytes: what a slot writes to all the time does not lie beside what another does.</summary>
    private const int FewestEntries = 64;

    /// <summary>A cache line at the end: what lies behind may be read by all.</summary>
    private const int UnusedEntries = 8;

    // An entry is the first address, which has 12 low bits to spare, one more than the class of its length, and whether it is out.
    private const ulong Empty = 0;
    private const ulong Out = 1;
    private const ulong Gone = 1;

    private ulong[] _entries = new ulong[FewestEntries + UnusedEntries];
    private int _mask = FewestEntries - 1;
    private int _shift = 64 - BitOperations.Log2(FewestEntries);
    private int _count;
    private int _goneCount;

    /// <summary>Whether it must be rebuilt before the next is added. Three quarters keep the searches short.</summary>
    public bool IsFull => _count + _goneCount >= Length / 4 * 3;

    /// <summary>Twice as much, or as much if clearing away what is gone will do.</summary>
    public int LengthWanted => _count >= Length / 8 * 5 ? 2 * Length : Length;

    private int Length => _mask + 1;

    /// <summary>What stands at a place.</summary>
    public ulong this[int place] => _entries[place];

    public static bool IsCached(ulong byteCount) =>
        BitOperations.IsPow2(byteCount) && byteCount >= 1UL << SmallestLog2 && byteCount < 1UL << (SmallestLog2 + ClassCount);

    public static int ClassOf(ulong byteCount) => BitOperations.Log2(byteCount) - SmallestLog2;

    /// <summary>Says what stands for a range that is out; false if it has no cached size or is not aligned to it.</summary>
    public static bool TryEncode(IovaRange range, out ulong entry, out int sizeClass)
    {
        ulong span = range.Last.Value - range.First.Value;
        // Survives as `span <= 1UL << (SmallestLog2 + ClassCount - 1)`: equivalent, a span has its lowest bits set, and a power of two has not
        bool isEncoded = (span & LengthMask) == LengthMask && span < 1UL << (SmallestLog2 + ClassCount - 1) && (span & (span + 1)) == 0
            && (range.First.Value & span) == 0;
        sizeClass = isEncoded ? ClassOf(span + 1) : 0;
        entry = range.First.Value | (ulong)(sizeClass + 1) << 1 | Out;
        return isEncoded;
    }

    /// <summary>Adds one that is out, and is not known.</summary>
    public void Add(ulong entry)
    {
        int place = Home(entry);
        while (_entries[place] > Gone) place = Next(place);
        if (_entries[place] == Gone) _goneCount--;
        _count++;
        _entries[place] = entry;
    }

    /// <summary>Where something stands that does.</summary>
    public int PlaceOf(ulong entry) =>
        TryFind(entry, out int place) ? place : throw new InvalidOperationException($"0x{entry:x} is not known");

    /// <summary>Makes one that is out be at hand.</summary>
    /// <returns>False if no such range is out.</returns>
    public bool TryGiveBack(ulong entry, out int place)
    {
        if (!TryFind(entry, out place)) return false;
        _entries[place] = entry & ~Out;
        return true;
    }

    /// <summary>Hands one out that is at hand.</summary>
    public Iova Take(int place)
    {
        ref ulong entry = ref _entries[place];
        // Survives as `entry ^= Out`: equivalent, what is at hand is not out
        entry |= Out;
        return new(entry & ~LengthMask);
    }

    /// <summary>Forgets one that is out.</summary>
    /// <returns>False if no such range is out.</returns>
    public bool TryForget(ulong entry)
    {
        if (!TryFind(entry, out int place)) return false;
        Remove(place);
        return true;
    }

    /// <summary>Forgets one.</summary>
    public IovaRange Remove(int place)
    {
        ulong entry = _entries[place];
        _count--;
        _goneCount++;
        _entries[place] = Gone;

        // A search goes on past what is gone; at the end of a row there is nothing to go on to.
        if (_entries[Next(place)] == Empty)
        {
            // Survives as `_entries[place] != Gone`: performance only, what is gone is cleared away by the next rebuild
            for (; _entries[place] == Gone; place = Previous(place))
            {
                _entries[place] = Empty;
                _goneCount--;
            }
        }

        int sizeClass = (int)((entry & LengthMask) >> 1) - 1;
        return IovaRange.FromLength(new(entry & ~LengthMask), 1UL << (SmallestLog2 + sizeClass));
    }

    /// <summary>Clears away what is gone, in a table of that length: the same or twice as much.</summary>
    public void Rebuild(int length)
    {
        if (length != Length)
        {
            ulong[] old = _entries;
            _entries = new ulong[length + UnusedEntries];
            _mask = length - 1;
            _shift--;
            foreach (ulong entry in old)
            {
                if (entry > Gone) Put(entry);
            }
        }
        else
        {
            ClearGone();
        }

        _goneCount = 0;
    }

    /// <summary>In place: in the order of a row, from its beginning, each entry moves back to where a search finds it.</summary>
    private void ClearGone()
    {
        // An entry that is empty now begins a row; one always is.
        int start = Array.IndexOf(_entries, Empty);
        _entries.AsSpan().Replace(Gone, Empty);
        for (int place = Next(start); place != start; place = Next(place))
        {
            ulong entry = _entries[place];
            _entries[place] = Empty;
            if (entry != Empty) Put(entry);
        }
    }

    private bool TryFind(ulong entry, out int place)
    {
        ulong[] entries = _entries;
        for (place = Home(entry); ; place = Next(place))
        {
            ulong found = entries[place];
            if (found == entry) return true;
            if (found == Empty) return false;
        }
    }

    private void Put(ulong entry)
    {
        int place = Home(entry);
        while (_entries[place] != Empty) place = Next(place);
        _entries[place] = entry;
    }

    // Source: Knuth, The Art of Computer Programming, volume 3, section 6.4: multiplicative hashing, linear probing.
    private int Home(ulong entry) => (int)(unchecked((entry >> SmallestLog2) * 0x9E3779B97F4A7C15) >> _shift);

    // Survives as `place - 1`: performance only, all rows then go downward, and what is gone before the end of one is cleared away by a rebuild
    private int Next(int place) => unchecked(place + 1) & _mask;

    // Survives as `place + 1`: performance only, what is gone before the end of a row is cleared away by a rebuild
    private int Previous(int place) => unchecked(place - 1) & _mask;
}
