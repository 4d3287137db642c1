using System.Globalization;

namespace Verify.Output;

/// <summary>Text that came from elsewhere, fit for one line of a terminal.</summary>
internal static class Line
{
    /// <summary>The text with line ends made spaces and other control characters made <c>?</c>.</summary>
    public static string Of(string text) =>
        string.Concat(text.Trim().ReplaceLineEndings(" ").Select(c => c == '\t' ? ' ' : char.IsControl(c) ? '?' : c));

    /// <summary>A count with thousands apart: <c>16,608</c>.</summary>
    public static string Count(long count) => count.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>A count and its noun: <c>1 violation</c>, <c>2 violations</c>.</summary>
    public static string Count(long count, string noun) => count == 1 ? $"1 {noun}" : $"{Count(count)} {noun}s";

    /// <summary>A rate: two digits when it is small, none when it is not.</summary>
    public static string Rate(double perSecond) => perSecond.ToString(perSecond < 10 ? "0.##" : "N0", CultureInfo.InvariantCulture);

    /// <summary>A time in seconds: <c>12.3 s</c>.</summary>
    public static string Seconds(TimeSpan time) => time.TotalSeconds.ToString("0.#", CultureInfo.InvariantCulture) + " s";
}
