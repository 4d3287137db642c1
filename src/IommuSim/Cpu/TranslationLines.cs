using Platform;

namespace IommuSim.Cpu;

/// <summary>One line of a <see cref="TranslationLines"/>: a translation, or a pointer to a table.</summary>
internal struct TranslationLine
{
    public ulong Page;
    public ulong Target;
    public ulong LastUse;
    public ushort Pcid;
    public byte Level;
    public bool Valid;
    public bool Global;
    public bool Write;
    public bool User;
    public bool Execute;
    public bool Dirty;

    public readonly IovaRange Range(int levels)
    {
        // Addresses are canonical: the bits above the highest translated one are all alike.
        int spare = 64 - VtdEntries.Width(levels);
        ulong first = unchecked((ulong)((long)(Page << VtdEntries.Shift(Level) << spare) >> spare));
        return new(new(first), new(first | VtdEntries.PageMask(Level)));
    }
}

/// <summary>
/// A set-associative cache of lines tagged by PCID, level and page number; the least recently used line of a set is replaced. The TLB
/// is one, and so is the paging-structure cache of each level (with a single set). A global line is found under every PCID.
/// </summary>
/// <remarks>
/// <para><b>Source.</b> Intel SDM, volume 3A, "Caching Translation Information".</para>
/// <para><b>Threads.</b> Under the core's lock.</para>
/// </remarks>
internal sealed class TranslationLines(int sets, int ways)
{
    private readonly TranslationLine[] _lines = new TranslationLine[sets * ways];
    private readonly int[] _countAtLevel = new int[6];
    private ulong _clock;

    public ReadOnlySpan<TranslationLine> Lines => _lines;

    public ref readonly TranslationLine this[int index] => ref _lines[index];

    /// <summary>The page number of an address among the pages of a level.</summary>
    /// <param name="address">Canonical.</param>
    /// <param name="level">1 ….</param>
    /// <param name="levels">Of the tables.</param>
    public static ulong PageOf(ulong address, int level, int levels) => (address & ((1UL << VtdEntries.Width(levels)) - 1)) >> VtdEntries.Shift(level);

    /// <summary>The index of the line for a page, now the most recently used; -1 if there is none.</summary>
    public int Find(ushort pcid, ulong page, int level)
    {
        if (_countAtLevel[level] == 0) return -1;
        int first = FirstOfSet(page);
        for (int i = first; i < first + ways; i++)
        {
            ref TranslationLine line = ref _lines[i];
            if (line.Page != page || !line.Valid || line.Level != level || (line.Pcid != pcid && !line.Global)) continue;
            line.LastUse = ++_clock;
            return i;
        }

        return -1;
    }

    /// <summary>Keeps a line, in the place of the line of the same page and tag or of the least recently used.</summary>
    public void Insert(TranslationLine line)
    {
        if (_lines.Length == 0) return;
        int first = FirstOfSet(line.Page);
        int victim = first;
        for (int i = first; i < first + ways; i++)
        {
            ref readonly TranslationLine other = ref _lines[i];
            if (other.Valid && other.Page == line.Page && other.Level == line.Level && (other.Pcid == line.Pcid || other.Global))
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

    /// <summary>Drops lines, and no other.</summary>
    /// <param name="pcid">Those that are not global: of this tag, or of any.</param>
    /// <param name="globals">Whether global ones, too.</param>
    public void Invalidate(ushort? pcid, bool globals)
    {
        foreach (ref TranslationLine line in _lines.AsSpan())
        {
            if (line.Global ? globals : pcid is null || line.Pcid == pcid) Drop(ref line);
        }
    }

    /// <summary>Drops the lines that share a byte with a range, and no other.</summary>
    /// <param name="pcid">Those that are not global: of this tag.</param>
    /// <param name="globals">Whether global ones, too.</param>
    /// <param name="range">Which addresses.</param>
    /// <param name="levels">Of the tables.</param>
    public void Invalidate(ushort pcid, bool globals, IovaRange range, int levels)
    {
        foreach (ref TranslationLine line in _lines.AsSpan())
        {
            if (line.Valid && (line.Global ? globals : line.Pcid == pcid) && line.Range(levels).Overlaps(range)) Drop(ref line);
        }
    }

    private static ulong Age(in TranslationLine line) => line.Valid ? line.LastUse : 0;

    private void Drop(ref TranslationLine line)
    {
        if (!line.Valid) return;
        line.Valid = false;
        _countAtLevel[line.Level]--;
    }

    // Neighbouring pages fall into neighbouring sets. The PCID does not count: a global line is found under each.
    private int FirstOfSet(ulong page) => (int)(page & (ulong)(sets - 1)) * ways;
}
