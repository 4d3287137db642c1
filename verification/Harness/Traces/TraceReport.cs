using System.Globalization;
using System.Text;
using Vcmm.Spec;

namespace Harness.Traces;

/// <summary>When a driver invalidates what it unmapped.</summary>
public enum TraceMode
{
    /// <summary>In the call that unmapped it (<c>iommu.strict=1</c>).</summary>
    Strict,

    /// <summary>Later, together with more, and before it is mapped again (<c>iommu.strict=0</c>, a flush queue).</summary>
    Lazy,
}

/// <summary>What a trace held.</summary>
public sealed record TraceReport
{
    /// <summary>The mode that was given or shown; null if nothing was unmapped.</summary>
    public required TraceMode? Mode { get; init; }

    /// <summary>The domain of all maps but direct ones, as <c>dmar0 domain 5</c>; null if no decision to flush named it.</summary>
    public required string? Domain { get; init; }

    /// <summary>All lines of events.</summary>
    public required long Events { get; init; }

    /// <summary><c>map</c> lines.</summary>
    public required long Maps { get; init; }

    /// <summary><c>unmap</c> lines.</summary>
    public required long Unmaps { get; init; }

    /// <summary><c>cache_tag_flush_…</c> lines of an IOTLB: what the driver decided to invalidate.</summary>
    public required long Flushes { get; init; }

    /// <summary><c>iotlb_inv</c> descriptors that cover everything.</summary>
    public required long GlobalInvalidations { get; init; }

    /// <summary><c>iotlb_inv</c> descriptors that cover a domain.</summary>
    public required long DomainInvalidations { get; init; }

    /// <summary><c>iotlb_inv</c> descriptors that cover pages.</summary>
    public required long PageInvalidations { get; init; }

    /// <summary><c>cache_tag_assign</c> lines.</summary>
    public required long Assignments { get; init; }

    /// <summary>The longest time between an unmap and the submission that settled it; microseconds.</summary>
    public required long LongestStaleMicroseconds { get; init; }

    /// <summary>Pages of 4 KiB that are mapped at the end, in all domains.</summary>
    public required ulong LivePages { get; init; }

    /// <summary>Pages of 4 KiB that are unmapped and not invalidated at the end.</summary>
    public required ulong StalePages { get; init; }

    /// <summary>Lines that were not judged, by event.</summary>
    public required IReadOnlyDictionary<string, long> Skipped { get; init; }

    /// <summary>How often each muted invariant was broken.</summary>
    public IReadOnlyDictionary<Invariant, long> Muted { get; init; } = new Dictionary<Invariant, long>();

    /// <summary>How often each invariant was checked.</summary>
    public required IReadOnlyDictionary<Invariant, long> Checks { get; init; }

    /// <summary>All <c>iotlb_inv</c> descriptors.</summary>
    public long Invalidations => GlobalInvalidations + DomainInvalidations + PageInvalidations;

    /// <summary>A table for a person.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        Row(text, "mode", Mode?.ToString().ToLowerInvariant() ?? "nothing was unmapped");
        Row(text, "domain", Domain ?? "not shown");
        Row(text, "events", Number(Events));
        Row(text, "map", Number(Maps));
        Row(text, "unmap", Number(Unmaps));
        Row(text, "flush decisions", Number(Flushes));
        Row(text, "iotlb_inv", $"{Number(Invalidations)} ({Number(GlobalInvalidations)} global, {Number(DomainInvalidations)} domain, {Number(PageInvalidations)} page)");
        Row(text, "cache tags assigned", Number(Assignments));
        Row(text, "longest unmap to invalidation", string.Create(CultureInfo.InvariantCulture, $"{LongestStaleMicroseconds / 1000.0:0.00} ms"));
        Row(text, "pages mapped at the end", Number(LivePages));
        Row(text, "pages stale at the end", Number(StalePages));
        Row(text, "checks", string.Join(", ", Checks.OrderBy(check => check.Key).Select(check => $"{check.Key.Id()} {Number(check.Value)}")));
        string skipped = string.Join(", ", Skipped.OrderBy(skip => skip.Key, StringComparer.Ordinal).Select(skip => $"{skip.Key} {Number(skip.Value)}"));
        Row(text, "skipped", skipped.Length == 0 ? "none" : skipped);
        return text.ToString();
    }

    private static void Row(StringBuilder text, string what, string value) => text.Append(CultureInfo.InvariantCulture, $"{what,-30} {value}\n");

    private static string Number(IFormattable number) => number.ToString("N0", CultureInfo.InvariantCulture);
}

/// <summary>The first line of a trace that breaks an invariant.</summary>
/// <param name="Line">The number of the line at which the breach is proven; what is only missing at the end has the line of its cause.</param>
/// <param name="Invariant">The invariant that is broken.</param>
/// <param name="Sentence">What was observed and what is permitted.</param>
/// <param name="Page">The page concerned, or the first of them.</param>
/// <param name="History">The last events on that page, one line each, oldest first.</param>
public sealed record TraceRefusal(long Line, Invariant Invariant, string Sentence, AddressRange Page, IReadOnlyList<string> History)
{
    /// <summary>One line.</summary>
    public string Summary => $"line {Line}: {Invariant.Label()}: {Sentence}";

    /// <summary>The refusal and the page's history, for a person.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"refused at {Summary}\n");
        text.Append(CultureInfo.InvariantCulture, $"the page's history, {Page}:\n");
        foreach (string what in History) text.Append(CultureInfo.InvariantCulture, $"  {what}\n");
        return text.ToString();
    }
}

/// <summary>What became of a trace: the counts up to its end, and the refusal if there is one.</summary>
/// <param name="Report">What the trace held; after a refusal the counts go on, the model's figures stop there.</param>
/// <param name="Refusal">Null if the trace is accepted.</param>
public sealed record TraceOutcome(TraceReport Report, TraceRefusal? Refusal)
{
    /// <summary>All of it, for a person.</summary>
    public override string ToString() => Refusal is null ? $"accepted\n{Report}" : $"{Refusal}{Report}";
}
