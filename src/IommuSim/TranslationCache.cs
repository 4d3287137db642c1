using System.Runtime.CompilerServices;
using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

/// <summary>What cached translations are tagged with, besides their address.</summary>
/// <param name="Domain">The domain id.</param>
/// <param name="Pasid">The PASID, or <see cref="NoPasid"/> where none is part of the tag.</param>
internal readonly record struct CacheTag(ushort Domain, uint Pasid)
{
    /// <summary>More than any PASID's 20 bits.</summary>
    public const uint NoPasid = uint.MaxValue;

    public VtdPasid? PasidOrNull => Pasid == NoPasid ? null : new(Pasid);
}

/// <summary>One line of a <see cref="TranslationCache"/>: a translation, a pointer to a table, or (in caching mode) a fault.</summary>
internal struct CacheLine
{
    public ulong Page;
    public ulong Target;
    public CacheTag Tag;
    public byte Level;
    public bool Valid;
    public bool IsFirstStage;
    public Rights Rights;
    public bool Dirty;
    public VtdFaultReason Fault;

    /// <summary>A line for what an entry of a level translates around an address.</summary>
    public CacheLine(CacheTag tag, Iova address, int level, bool isFirstStage, ulong target, Rights rights)
    {
        Tag = tag;
        Page = address.Value >> VtdEntries.Shift(level);
        Level = (byte)level;
        IsFirstStage = isFirstStage;
        Target = target;
        Rights = rights;
    }

    public readonly IovaRange Range
    {
        get
        {
            ulong first = Page << VtdEntries.Shift(Level);
            return new(new(first), new(first | VtdEntries.PageMask(Level)));
        }
    }
}

/// <summary>Which lines an invalidation drops: those that are all that is named here.</summary>
/// <param name="Domain">Of this domain; null: of any.</param>
internal readonly record struct LineFilter(ushort? Domain)
{
    /// <summary>With this PASID, or with none (<see cref="CacheTag.NoPasid"/>); null: with any.</summary>
    public uint? Pasid { get; init; }

    /// <summary>Of the first stage, or not; null: of either.</summary>
    public bool? IsFirstStage { get; init; }

    /// <summary>That share a byte with this; null: wherever.</summary>
    public IovaRange? Range { get; init; }

    public static LineFilter All => default;

    public static LineFilter Of(CacheTag tag) => new(tag.Domain) { Pasid = tag.Pasid };

    public bool Matches(in CacheLine line) =>
        line.Valid
        && (Domain is not { } domain || line.Tag.Domain == domain)
        && (Pasid is not { } pasid || line.Tag.Pasid == pasid)
        && (IsFirstStage is not { } isFirstStage || line.IsFirstStage == isFirstStage)
        && (Range is not { } range || line.Range.Overlaps(range));
}

/// <summary>
/// A set-associative cache of lines tagged by domain id, PASID, level and page number. The IOTLB is one, and so is the
/// paging-structure cache of each level (with a single set).
/// </summary>
/// <remarks>
/// <para><b>Source.</b> Intel VT-d specification, Caching Translation Information, Tagging of Cached Translations.</para>
/// <para><b>Threads.</b> Any number, without a lock.</para>
/// </remarks>
internal sealed class TranslationCache
{
    private const int HighestLevel = 5, HighestLeafLevel = 3;

    private readonly CacheLine[] _lines;
    private readonly int _ways;
    private readonly int _setMask;
    private readonly CacheReplacement _replacement;
    private readonly int[] _countAtLevel = new int[HighestLevel + 1];

    // By line and by set: when a line was last used, or in FIFO filled. Each set has a time of its own, which goes on by 2 when it is
    // filled; what is used then is from one later. So a line that is used again and again is written once, and devices that
    // hit in one set do not take it from each other. What a race may get wrong is which line is replaced.
    private readonly uint[] _uses;
    private readonly uint[] _times;
    private readonly Xorshift _random = new(1);
    private int _count;
    private int _firstStageCount;
    private ChangeCounter _changes;

    /// <summary>A cache of <paramref name="sets"/> (a power of two) times <paramref name="ways"/> lines; 0 of either is no cache.</summary>
    public TranslationCache(int sets, int ways, CacheReplacement replacement)
    {
        _lines = new CacheLine[sets * ways];
        _ways = ways;
        _setMask = sets - 1;
        _replacement = replacement;
        _uses = new uint[_lines.Length];
        _times = new uint[sets];
    }

    /// <summary>Whether it keeps nothing.</summary>
    public bool IsOff => _lines.Length == 0;

    public ReadOnlySpan<CacheLine> Lines => _lines;

    /// <summary>
    /// The line for <paramref name="iova"/> at <paramref name="level"/>. One that is changed meanwhile counts as not there, as
    /// hardware may drop any line at any time. If there is none, <paramref name="line"/> is anything.
    /// </summary>
    public bool TryFind(CacheTag tag, ulong iova, int level, out CacheLine line)
    {
        Unsafe.SkipInit(out line);
        if (_countAtLevel[level] == 0) return false;
        int seen = _changes.Look();
        ulong page = iova >> VtdEntries.Shift(level);
        int set = SetOf(tag.Domain, page);
        int index = set * _ways;
        for (int end = index + _ways; index < end; index++)
        {
            ref readonly CacheLine found = ref _lines[index];
            if (found.Page != page || !found.Valid || found.Tag != tag || found.Level != level) continue;
            line = found;
            if (!_changes.IsAsSeen(seen)) return false;
            Use(set, index);
            return true;
        }

        return false;
    }

    /// <summary>
    /// Where an access goes that a second-stage line lets through; false where <see cref="TryFind"/> has to say what there is.
    /// </summary>
    public bool TryReach(CacheTag tag, ulong iova, bool isWrite, out ulong address)
    {
        Rights needed = isWrite ? Rights.Write : Rights.Read;
        for (int level = 1; level <= HighestLeafLevel; level++)
        {
            if (_countAtLevel[level] == 0) continue;
            int seen = _changes.Look();
            ulong page = iova >> VtdEntries.Shift(level);
            int set = SetOf(tag.Domain, page);
            int index = set * _ways;
            for (int end = index + _ways; index < end; index++)
            {
                ref readonly CacheLine line = ref _lines[index];
                if (line.Page != page || line.Level != level || !line.Valid || line.Tag != tag) continue;
                address = line.Target | (iova & VtdEntries.PageMask(level));
                bool goes = (line.Rights & needed) != 0 && line.Fault == VtdFaultReason.None;
                if (!goes || !_changes.IsAsSeen(seen)) return false;
                Use(set, index);
                return true;
            }
        }

        address = 0;
        return false;
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
            int set = SetOf(line.Tag.Domain, line.Page);
            int victim = VictimFor(line, set);
            Drop(ref _lines[victim]);
            Set(ref _lines[victim], line);
            _count++;
            _countAtLevel[line.Level]++;
            if (line.IsFirstStage) _firstStageCount++;
            _uses[victim] = _times[set] = unchecked(_times[set] + 2);
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
        if (!_changes.IsUnderWay && (_count == 0 || (filter.IsFirstStage == true && _firstStageCount == 0))) return;
        _changes.Begin();
        for (int level = 1; level <= HighestLevel; level++)
        {
            if (_countAtLevel[level] != 0) Invalidate(filter, level);
        }

        _changes.End();
    }

    /// <summary>Drops each line or not.</summary>
    public void Evict(Xorshift random)
    {
        _changes.Begin();
        foreach (ref CacheLine line in _lines.AsSpan())
        {
            if (random.Next(2) == 0) Drop(ref line);
        }

        _changes.End();
    }

    private void Invalidate(in LineFilter filter, int level)
    {
        if (filter is { Domain: { } domain, Range: { } range })
        {
            ulong page = range.First.Value >> VtdEntries.Shift(level);
            ulong count = (range.Last.Value >> VtdEntries.Shift(level)) - page + 1;
            if (count <= (ulong)_setMask)
            {
                for (; count != 0; count--) Invalidate(filter, level, SetOf(domain, page++) * _ways, _ways);
                return;
            }
        }

        Invalidate(filter, level, 0, _lines.Length);
    }

    private void Invalidate(in LineFilter filter, int level, int first, int count)
    {
        foreach (ref CacheLine line in _lines.AsSpan(first, count))
        {
            if (line.Level == level && filter.Matches(line)) Drop(ref line);
        }
    }

    private int VictimFor(in CacheLine line, int set)
    {
        int first = set * _ways;
        int victim = first;
        long oldest = long.MaxValue;
        for (int i = first; i < first + _ways; i++)
        {
            ref readonly CacheLine other = ref _lines[i];
            if (other.Valid && other.Page == line.Page && other.Tag == line.Tag && other.Level == line.Level) return i;
            long use = other.Valid ? _uses[i] : -1;
            if (use >= oldest) continue;
            oldest = use;
            victim = i;
        }

        bool isFull = oldest >= 0;
        return isFull && _replacement == CacheReplacement.Random ? first + _random.Next(_ways) : victim;
    }

    private void Use(int set, int index)
    {
        if (_replacement != CacheReplacement.LeastRecentlyUsed) return;
        uint now = unchecked(_times[set] + 1);
        if (_uses[index] != now) _uses[index] = now;
    }

    // Field by field: to copy the whole would wait until the stores that made the line have left the processor.
    private static void Set(ref CacheLine place, in CacheLine line)
    {
        place.Page = line.Page;
        place.Target = line.Target;
        place.Tag = line.Tag;
        place.Level = line.Level;
        place.Valid = true;
        place.IsFirstStage = line.IsFirstStage;
        place.Rights = line.Rights;
        place.Dirty = line.Dirty;
        place.Fault = line.Fault;
    }

    private void Drop(ref CacheLine line)
    {
        if (!line.Valid) return;
        line.Valid = false;
        _count--;
        _countAtLevel[line.Level]--;
        if (line.IsFirstStage) _firstStageCount--;
    }

    // Neighbouring pages fall into neighbouring sets; the domain id only shifts them, so that sharing a set is easy to provoke.
    private int SetOf(ushort domain, ulong page) => unchecked((int)(page + domain) & _setMask);
}
