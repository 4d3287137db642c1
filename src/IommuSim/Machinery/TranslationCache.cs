using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Platform;

namespace IommuSim.Machinery;

/// <summary>What a look-up of an access has come to.</summary>
internal enum Reach : byte
{
    /// <summary>No line is for it.</summary>
    Absent,

    /// <summary>It goes on.</summary>
    Goes,

    /// <summary>There is a line, and it does not simply let the access through.</summary>
    Unclear,
}

/// <summary>
/// A set-associative cache of lines tagged by address space, level and page number. An IOTLB is one, a core's TLB is, and so is the
/// paging-structure cache of each level (with a single set).
/// </summary>
/// <remarks><b>Threads.</b> Any number, without a lock.</remarks>
/// <typeparam name="TSizes">The pages.</typeparam>
internal sealed class TranslationCache<TSizes>
    where TSizes : struct, IPageSizes
{
    private readonly CacheLine[] _lines;
    private readonly int _ways;
    private readonly int _setMask;
    private readonly CacheReplacement _replacement;

    // Each set has a time of its own, which goes on by 2 when it is filled; what is used then is from one later. So a line that is used
    // again and again is written once, and devices that hit in one set do not take it from each other. What a race may get wrong is
    // which line is replaced.
    private readonly uint[] _times;
    private readonly Xorshift _random = new(1);
    private LevelCounts _countAtLevel;
    private int _count;
    private int _firstStageCount;
    private bool _isHeld;
    private ChangeCounter _changes;

    /// <summary>A cache of <paramref name="sets"/> (a power of two) times <paramref name="ways"/> lines; 0 of either is no cache.</summary>
    public TranslationCache(int sets, int ways, CacheReplacement replacement)
    {
        _lines = new CacheLine[sets * ways];
        _ways = ways;
        _setMask = sets - 1;
        _replacement = replacement;
        _times = new uint[sets];
    }

    /// <summary>Whether it keeps nothing.</summary>
    public bool IsOff => _lines.Length == 0;

    public ReadOnlySpan<CacheLine> Lines => _lines;

    /// <summary>Whether any line is of the level: otherwise none is looked for.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool HasLevel(int level) => _countAtLevel[level] != 0;

    /// <summary>Whether any line may be one that <paramref name="filter"/> says: otherwise an invalidation is over at once.</summary>
    public bool MayHave(in LineFilter filter) => _count != 0 && (!filter.IsOfFirstStage || _firstStageCount != 0);

    /// <summary>
    /// The line for <paramref name="address"/> at <paramref name="level"/>. One that is changed meanwhile counts as not there, as
    /// hardware may drop any line at any time. If there is none, <paramref name="line"/> is anything.
    /// </summary>
    public bool TryFind(CacheTag tag, ulong address, int level, out CacheLine line)
    {
        Unsafe.SkipInit(out line);
        if (!HasLevel(level)) return false;
        int seen = _changes.Look();
        ref CacheLine found = ref Find(tag, address, level, out int set);
        if (Unsafe.IsNullRef(ref found)) return false;
        line = found;
        if (!_changes.IsAsSeen(seen)) return false;
        Use(set, ref found);
        return true;
    }

    /// <summary>The same of a pointer to a table: where it leads, what it grants, and its fault.</summary>
    public bool TryFindTable(CacheTag tag, ulong address, int level, out ulong table, out Rights rights, out byte fault)
    {
        Unsafe.SkipInit(out table);
        Unsafe.SkipInit(out rights);
        Unsafe.SkipInit(out fault);
        if (!HasLevel(level)) return false;
        int seen = _changes.Look();
        ref CacheLine found = ref Find(tag, address, level, out int set);
        if (Unsafe.IsNullRef(ref found)) return false;
        (table, rights, fault) = (found.Target, found.Rights, found.Fault);
        if (!_changes.IsAsSeen(seen)) return false;
        Use(set, ref found);
        return true;
    }

    /// <summary>Where an access goes whose line grants <paramref name="needed"/>; whether there is one.</summary>
    public Reach TryReach(CacheTag tag, ulong iova, Rights needed, out ulong address)
    {
        // The smallest pages apart, which nearly all are: what their number is taken for is then known when this is compiled.
        Reach reach = TryReach(tag, iova, needed, 1, out address);
        return reach == Reach.Absent ? TryReachLarger(tag, iova, needed, out address) : reach;
    }

    private Reach TryReachLarger(CacheTag tag, ulong iova, Rights needed, out ulong address)
    {
        address = 0;
        for (int level = 2; level <= TSizes.HighestLeafLevel; level++)
        {
            Reach reach = TryReach(tag, iova, needed, level, out address);
            if (reach != Reach.Absent) return reach;
        }

        return Reach.Absent;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Reach TryReach(CacheTag tag, ulong iova, Rights needed, int level, out ulong address)
    {
        address = 0;
        if (!HasLevel(level)) return Reach.Absent;
        int seen = _changes.Look();
        ref CacheLine line = ref Find(tag, iova, level, out int set);
        if (Unsafe.IsNullRef(ref line)) return Reach.Absent;
        address = line.Target | (iova & unchecked((1UL << TSizes.Shift(level)) - 1));
        bool goes = (line.Rights & needed) == needed && line.Fault == 0;
        if (!goes || !_changes.IsAsSeen(seen)) return Reach.Unclear;
        Use(set, ref line);
        return Reach.Goes;
    }

    /// <summary>Keeps <paramref name="line"/>, in the place of the line of the same tag or of the one that is to be replaced.</summary>
    /// <param name="line">What to keep.</param>
    /// <param name="guard">Is asked when no invalidation can come in between any more.</param>
    /// <returns>False if the guard objects.</returns>
    public bool TryInsert(in CacheLine line, in FillGuard guard)
    {
        // Hardware need not keep anything, and does not while it is busy.
        if (IsOff || !_changes.TryBegin()) return true;
        bool isGood = guard.IsGood;
        if (isGood)
        {
            int set = SetOf(line.Tag, line.Page);
            ref CacheLine victim = ref VictimFor(line, set);
            Drop(ref victim);
            Set(ref victim, line);
            _count++;
            _countAtLevel[line.Level]++;
            if (line.IsFirstStage) _firstStageCount++;
            victim.LastUse = _times[set] = unchecked(_times[set] + 2);
        }

        _changes.End();
        return isGood;
    }

    /// <summary>Drops the lines that <paramref name="filter"/> says, and no other.</summary>
    /// <remarks>Comes after a fence that follows the change of what a <see cref="FillGuard"/> looks at.</remarks>
    public void Invalidate(in LineFilter filter)
    {
        // While a line is filled in, the counts say nothing: the line that it replaces is gone, and it does not count yet. A fill
        // that begins after this look meets its guard.
        // Survives as `!_isHeld || _changes.IsUnderWay`: performance only, where there is no such line it is looked for all the same
        if ((!_isHeld && _changes.IsUnderWay) || MayHave(filter))
        {
            if (!_isHeld) _changes.Begin();
            for (int level = 1; level <= TSizes.HighestLevel; level++)
            {
                if (HasLevel(level)) Invalidate(filter, level);
            }

            if (!_isHeld) _changes.End();
        }
    }

    /// <summary>Before several invalidations by one thread: nobody finds or fills anything until <see cref="Release"/>.</summary>
    public void Hold()
    {
        _changes.Begin();
        _isHeld = true;
    }

    /// <summary>After them.</summary>
    public void Release()
    {
        _isHeld = false;
        _changes.End();
    }

    /// <summary>Drops each line or not.</summary>
    public void Evict(Xorshift random)
    {
        _changes.Begin();
        foreach (ref CacheLine line in _lines.AsSpan())
        {
            // Survives as `random.Next(2) != 0`: equivalent, the other side of the coin
            if (random.Next(2) == 0) Drop(ref line);
        }

        _changes.End();
    }

    private void Invalidate(in LineFilter filter, int level)
    {
        ulong setMask = unchecked((ulong)_setMask);
        IovaRange range = filter.Range;
        ulong page = range.First.Value >> TSizes.Shift(level);
        // Survives as `… + page`: performance only, sets are looked through beyond those of the range
        ulong count = unchecked((range.Last.Value >> TSizes.Shift(level)) - page + 1);
        // Which set a line is in is known where all bits of the tag are that count for it.
        // Survives as `count < setMask`: performance only, the sets are then all looked through
        if ((filter.TagMask & setMask) == setMask && count <= setMask)
        {
            for (; count != 0; count--) Invalidate(filter, level, SetOf(filter.Tag, page++) * _ways, _ways);
        }
        else
        {
            Invalidate(filter, level, 0, _lines.Length);
        }
    }

    private void Invalidate(in LineFilter filter, int level, int first, int count)
    {
        foreach (ref CacheLine line in _lines.AsSpan(first, count))
        {
            if (line.Level == level && filter.Matches<TSizes>(line)) Drop(ref line);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ref CacheLine Find(CacheTag tag, ulong address, int level, out int set)
    {
        ulong page = address >> TSizes.Shift(level);
        ulong key = CacheLine.KeyOf(tag, level);
        set = SetOf(tag, page);
        ref CacheLine line = ref Unsafe.Add(ref MemoryMarshal.GetArrayDataReference(_lines), (nint)(uint)unchecked(set * _ways));
        for (int way = _ways; way != 0; way--)
        {
            if (line.Page == page && line.Key == key) return ref line;
            line = ref Unsafe.Add(ref line, 1);
        }

        return ref Unsafe.NullRef<CacheLine>();
    }

    private ref CacheLine VictimFor(in CacheLine line, int set)
    {
        Span<CacheLine> lines = _lines.AsSpan(set * _ways, _ways);
        int victim = 0;
        long oldest = long.MaxValue;
        for (int i = 0; i < lines.Length; i++)
        {
            ref readonly CacheLine other = ref lines[i];
            if (other.Page == line.Page && other.Key == line.Key) return ref lines[i];
            // Survives as `+1`: equivalent, a line that is filled is from time 2 or later, and in a set that has been filled 2^31 times any may go
            long use = other.Valid ? other.LastUse : -1;
            // Survives as `use > oldest`: equivalent, of lines that are free, or were all used since the same fill, any may go
            if (use >= oldest) continue;
            oldest = use;
            victim = i;
        }

        bool isFull = lines[victim].Valid;
        return ref lines[isFull && _replacement == CacheReplacement.Random ? _random.Next(_ways) : victim];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Use(int set, ref CacheLine line)
    {
        if (_replacement != CacheReplacement.LeastRecentlyUsed) return;
        uint now = unchecked(_times[set] + 1);
        if (line.LastUse != now) line.LastUse = now;
    }

    // Field by field: to copy the whole would wait until the stores that made the line have left the processor.
    private static void Set(ref CacheLine place, in CacheLine line)
    {
        place.Page = line.Page;
        place.Target = line.Target;
        place.Key = line.Key;
        place.IsFirstStage = line.IsFirstStage;
        place.Rights = line.Rights;
        place.Dirty = line.Dirty;
        place.Fault = line.Fault;
    }

    private void Drop(ref CacheLine line)
    {
        if (!line.Valid) return;
        _count--;
        _countAtLevel[line.Level]--;
        if (line.IsFirstStage) _firstStageCount--;
        line.Key = 0;
    }

    // Neighbouring pages fall into neighbouring sets; the tag only shifts them, so that sharing a set is easy to provoke.
    private int SetOf(CacheTag tag, ulong page) => unchecked((int)(page + tag.Value) & _setMask);

    [InlineArray(Levels)]
    private struct LevelCounts
    {
        public const int Levels = 8;

        private int _first;
    }
}
