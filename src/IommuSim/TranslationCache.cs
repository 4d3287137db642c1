using Platform;

namespace IommuSim;

/// <summary>One line of a <see cref="TranslationCache"/>: a translation, a pointer to a table, or (in caching mode) a fault.</summary>
internal struct CacheLine
{
    public ulong Page;
    public ulong Target;
    public ulong LastUse;
    public ushort Domain;
    public byte Level;
    public bool Valid;
    public bool Read;
    public bool Write;
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
/// A set-associative cache of lines tagged by domain id, level and page number; the least recently used line of a set is
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
    private readonly int[] _countAtLevel = new int[5];
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
    public int Find(ushort domain, ulong iova, int level)
    {
        if (_countAtLevel[level] == 0) return -1;
        ulong page = iova >> VtdEntries.Shift(level);
        int first = FirstOfSet(domain, page);
        for (int i = first; i < first + _ways; i++)
        {
            ref CacheLine line = ref _lines[i];
            if (line.Page != page || !line.Valid || line.Domain != domain || line.Level != level) continue;
            line.LastUse = ++_clock;
            return i;
        }

        return -1;
    }

    /// <summary>Keeps <paramref name="line"/>, in the place of the line of the same tag or of the least recently used.</summary>
    public void Insert(CacheLine line)
    {
        if (_lines.Length == 0) return;
        int first = FirstOfSet(line.Domain, line.Page);
        int victim = first;
        for (int i = first; i < first + _ways; i++)
        {
            ref readonly CacheLine other = ref _lines[i];
            if (other.Valid && other.Page == line.Page && other.Domain == line.Domain && other.Level == line.Level)
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
            if (line.Domain == domain) Drop(ref line);
        }
    }

    /// <summary>Drops the domain's lines that share a byte with <paramref name="range"/>, and no other.</summary>
    public void InvalidateRange(ushort domain, IovaRange range)
    {
        foreach (ref CacheLine line in _lines.AsSpan())
        {
            if (line.Valid && line.Domain == domain && line.Range.Overlaps(range)) Drop(ref line);
        }
    }

    private static ulong Age(in CacheLine line) => line.Valid ? line.LastUse : 0;

    private void Drop(ref CacheLine line)
    {
        if (!line.Valid) return;
        line.Valid = false;
        _countAtLevel[line.Level]--;
    }

    // Neighbouring pages fall into neighbouring sets; the domain id only shifts them, so that sharing a set is easy to provoke.
    private int FirstOfSet(ushort domain, ulong page) => ((int)(page & 0x3FFF_FFFF) + domain & _setMask) * _ways;
}
