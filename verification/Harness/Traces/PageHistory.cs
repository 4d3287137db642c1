using System.Globalization;
using Vcmm.Spec;

namespace Harness.Traces;

/// <summary>What happened to a page, as a refusal shows it.</summary>
internal enum PageEventKind : byte
{
    Map,
    Unmap,
    Decide,
    Invalidate,
}

/// <summary>One thing that happened to a range.</summary>
internal readonly record struct PageEvent(
    long Line,
    long Microseconds,
    PageEventKind Kind,
    Place Place,
    AddressRange Range,
    ulong Target,
    UnitDomain Domain,
    bool IsGlobal)
{
    /// <summary>Whether it concerns each page.</summary>
    public bool IsOfAll => Range == AddressRange.All;

    private string Word => Kind switch
    {
        PageEventKind.Map => "map",
        PageEventKind.Unmap => "unmap",
        PageEventKind.Decide => "decide",
        _ => "invalidate",
    };

    /// <summary><c>line 34     3.517017  decide      0xffffd000-0xffffdfff  dmar0 domain 5  soft interrupt on CPU 0</c>.</summary>
    public override string ToString()
    {
        string range = IsOfAll ? "all addresses" : Range.ToString();
        string detail = Kind switch
        {
            PageEventKind.Map => $"{range} to 0x{Target:x}",
            PageEventKind.Unmap => range,
            _ when IsGlobal => string.Create(CultureInfo.InvariantCulture, $"{range} of every domain of dmar{Domain.Unit}"),
            _ => $"{range} of {Domain}",
        };
        return string.Create(
            CultureInfo.InvariantCulture,
            $"line {Line,8}  {Microseconds / 1_000_000,6}.{Microseconds % 1_000_000:d6}  {Word,-10}  {detail}  ({Place})");
    }
}

/// <summary>The last events, whatever their pages, so that memory does not grow with their number.</summary>
internal sealed class PageHistory
{
    private const int Kept = 1 << 13;
    private readonly PageEvent[] _events = new PageEvent[Kept];
    private long _count;

    public void Add(in PageEvent what) => _events[_count++ % Kept] = what;

    /// <summary>
    /// The last <paramref name="count"/> events that concern <paramref name="page"/>, oldest first; of many flushes of everything
    /// in a row the first.
    /// </summary>
    public IReadOnlyList<PageEvent> Of(AddressRange page, int count)
    {
        var found = new List<PageEvent>();
        long oldest = Math.Max(0, _count - Kept);
        for (long at = _count - 1; at >= oldest && found.Count < count; at--)
        {
            PageEvent what = _events[at % Kept];
            if (!what.Range.Overlaps(page)) continue;
            if (what.IsOfAll && found.Count >= 2 && found[^1].IsOfAll && found[^2].IsOfAll) found.RemoveAt(found.Count - 2);
            found.Add(what);
        }

        found.Reverse();
        return found;
    }
}
