using System.Numerics;
using System.Runtime.CompilerServices;

namespace IommuSim.Machinery;

/// <summary>
/// A direct-mapped cache of the structures that say whose address space a request is for: context and PASID entries, stream table
/// entries, device contexts.
/// </summary>
/// <remarks><b>Threads.</b> Changed under the unit's lock; looked up by any number of threads without one.</remarks>
/// <typeparam name="TKey">What an entry is looked up by.</typeparam>
/// <typeparam name="TEntry">What is kept of it; no references.</typeparam>
internal class EntryCache<TKey, TEntry>(int count)
    where TKey : struct, IEquatable<TKey>
    where TEntry : struct
{
    private readonly Line[] _lines = new Line[count];

    // Every bit: the count is no power of two, and must be divided by.
    // Survives as `(false?…`: performance only, the division has the same remainder
    private readonly uint _mask = BitOperations.IsPow2(count) ? (uint)count - 1 : uint.MaxValue;
    private ChangeCounter _changes;

    public delegate bool Match(in TKey key, in TEntry entry);

    public ReadOnlySpan<Line> Lines => _lines;

    /// <summary>
    /// The line that may have an entry; a null reference where it has not. What is read of it counts only if <see cref="IsAsSeen"/>
    /// says so then: one that is changed meanwhile is not there.
    /// </summary>
    /// <param name="key">What the entry is looked up by.</param>
    /// <param name="place">Which line, for a cache that is large enough.</param>
    /// <param name="seen">For <see cref="IsAsSeen"/>.</param>
    public ref readonly TEntry Look(TKey key, uint place, out int seen)
    {
        seen = _changes.Look();
        if (_lines.Length != 0)
        {
            ref readonly Line line = ref _lines[IndexOf(place)];
            if (line.Valid && line.Key.Equals(key)) return ref line.Entry;
        }

        return ref Unsafe.NullRef<TEntry>();
    }

    /// <summary>Whether what was read since was there at one instant.</summary>
    public bool IsAsSeen(int seen) => _changes.IsAsSeen(seen);

    public void Insert(TKey key, uint place, in TEntry entry)
    {
        if (_lines.Length == 0) return;
        _changes.Begin();
        _lines[IndexOf(place)] = new() { Valid = true, Key = key, Entry = entry };
        _changes.End();
    }

    public void InvalidateAll() => Invalidate(static (in TKey _, in TEntry _) => true);

    public void Invalidate(Match matches)
    {
        _changes.Begin();
        foreach (ref Line line in _lines.AsSpan())
        {
            if (line.Valid && matches(line.Key, line.Entry)) line = default;
        }

        _changes.End();
    }

    /// <summary>Drops each line or not.</summary>
    public void Evict(Xorshift random)
    {
        _changes.Begin();
        foreach (ref Line line in _lines.AsSpan())
        {
            // Survives as `random.Next(2) != 0`: equivalent, the other side of the coin
            if (random.Next(2) == 0) line = default;
        }

        _changes.End();
    }

    // The division shows where it can be avoided.
    // Survives as `(false?…`: performance only, the division has the same remainder
    private uint IndexOf(uint place) => _mask != uint.MaxValue ? place & _mask : place % unchecked((uint)_lines.Length);

    internal struct Line
    {
        public bool Valid;
        public TKey Key;
        public TEntry Entry;
    }
}
