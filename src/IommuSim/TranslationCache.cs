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
    public ulong LastUse;
    public CacheTag Tag;
    public byte Level;
    public bool Valid;
    public bool IsFirstStage;
    public bool Read;
    public bool Write;
    public bool User;
    public bool Execute;
    public bool Dirty;
    public VtdFaultReason Fault;

    public readonly IovaRange Range
    {
        get
        {
            ulong first = Page << VtdEntries.Shift(Level);
            return new(new(first), new(first | VtdEntries.PageMask(Level)));
        }
    }
}

/// <summary>
/// A set-associative cache of lines tagged by domain id, PASID, level and page number; the least recently used line of a set is
/// replaced. The IOTLB is one, and so is the paging-structure cache of each level (with a single set).
/// </summary>
/// <remarks>
/// <para><b>Source.</b> Intel VT-d specification, Caching Translation Information, Tagging of Cached Translations.</para>
/// <para><b>Threads.</b> Under the unit's lock.</para>
/// </remarks>
internal sealed class TranslationCache
{
    private readonly CacheLine[] _lines;
    private readonly int _ways;
    private readonly int _setMask;
    private readonly int[] _countAtLevel = new int[6];
    private ulong _clock;

    /// <summary>A cache of <paramref name="sets"/> (a power of two) times <paramref name="ways"/> lines; 0 of either is no cache.</summary>
    public TranslationCache(int sets, int ways)
    {
        _lines = new CacheLine[sets * ways];
        _ways = ways;
        _setMask = sets - 1;
    }

    public ReadOnlySpan<CacheLine> Lines => _lines;

    public ref CacheLine this[int index] => ref _lines[index];

    /// <summary>The index of the line for <paramref name="iova"/> at <paramref name="level"/>, now the most recently used; -1 if there is none.</summary>
    public int Find(CacheTag tag, ulong iova, int level)
    {
        if (_countAtLevel[level] == 0) return -1;
        ulong page = iova >> VtdEntries.Shift(level);
        int first = FirstOfSet(tag, page);
        for (int i = first; i < first + _ways; i++)
        {
            ref CacheLine line = ref _lines[i];
            if (line.Page != page || !line.Valid || line.Tag != tag || line.Level != level) continue;
            line.LastUse = ++_clock;
            return i;
        }

        return -1;
    }

    /// <summary>Keeps <paramref name="line"/>, in the place of the line of the same tag or of the least recently used.</summary>
    public void Insert(CacheLine line)
    {
        if (_lines.Length == 0) return;
        int first = FirstOfSet(line.Tag, line.Page);
        int victim = first;
        for (int i = first; i < first + _ways; i++)
        {
            ref readonly CacheLine other = ref _lines[i];
            if (other.Valid && other.Page == line.Page && other.Tag == line.Tag && other.Level == line.Level)
            {
                victim = i;
                break;
            }

            if (Age(other) < Age(_lines[victim])) victim = i;
        }

        Drop(ref _lines[victim]);
        line.Valid = true;
        line.LastUse = ++_clock;
        _lines[victim] = line;
        _countAtLevel[line.Level]++;
    }

    public void InvalidateAll()
    {
        foreach (ref CacheLine line in _lines.AsSpan()) Drop(ref line);
    }

    public void InvalidateDomain(ushort domain)
    {
        foreach (ref CacheLine line in _lines.AsSpan())
        {
            if (line.Tag.Domain == domain) Drop(ref line);
        }
    }

    /// <summary>Drops the domain's second-stage lines that share a byte with <paramref name="range"/>, and no other.</summary>
    public void InvalidateRange(ushort domain, IovaRange range)
    {
        foreach (ref CacheLine line in _lines.AsSpan())
        {
            if (line.Valid && !line.IsFirstStage && line.Tag.Domain == domain && line.Range.Overlaps(range)) Drop(ref line);
        }
    }

    /// <summary>Drops the domain's first-stage lines.</summary>
    public void InvalidateFirstStage(ushort domain)
    {
        foreach (ref CacheLine line in _lines.AsSpan())
        {
            if (line.IsFirstStage && line.Tag.Domain == domain) Drop(ref line);
        }
    }

    /// <summary>Drops the lines of one PASID in one domain.</summary>
    public void InvalidateTag(CacheTag tag)
    {
        foreach (ref CacheLine line in _lines.AsSpan())
        {
            if (line.Tag == tag) Drop(ref line);
        }
    }

    /// <summary>Drops the first-stage lines of one PASID in one domain that share a byte with <paramref name="range"/>.</summary>
    public void InvalidateFirstStageRange(CacheTag tag, IovaRange range)
    {
        foreach (ref CacheLine line in _lines.AsSpan())
        {
            if (line.Valid && line.IsFirstStage && line.Tag == tag && line.Range.Overlaps(range)) Drop(ref line);
        }
    }

    /// <summary>Drops the lines of one tag that share a byte with <paramref name="range"/>.</summary>
    public void InvalidateTagRange(CacheTag tag, IovaRange range)
    {
        foreach (ref CacheLine line in _lines.AsSpan())
        {
            if (line.Valid && line.Tag == tag && line.Range.Overlaps(range)) Drop(ref line);
        }
    }

    private static ulong Age(in CacheLine line) => line.Valid ? line.LastUse : 0;

    private void Drop(ref CacheLine line)
    {
        if (!line.Valid) return;
        line.Valid = false;
        _countAtLevel[line.Level]--;
    }

    // Neighbouring pages fall into neighbouring sets; domain id and PASID only shift them, so that sharing a set is easy to
    // provoke. Without a PASID nothing is added.
    private int FirstOfSet(CacheTag tag, ulong page) =>
        ((int)(page & 0x3FFF_FFFF) + tag.Domain + (int)(unchecked(tag.Pasid + 1) & VtdPasid.Largest) & _setMask) * _ways;
}
