using System.Globalization;
using Harness.Coverage;

namespace Verify.Output;

/// <summary>What share of all situations runs have been in, as text.</summary>
internal static class CoverageTable
{
    private const int MostShown = 20;

    /// <summary>Prints it.</summary>
    /// <param name="report">What it came to.</param>
    /// <param name="isWhole">Whether all that is missing is listed, not the first alone.</param>
    /// <param name="here">Where to.</param>
    public static void Print(CoverageReport report, bool isWhole, Surroundings here)
    {
        TextWriter to = here.Out;
        to.WriteLine();
        Write(to, $"{report.Possible.Count:N0} situations can occur: an operation, what it meets, what it comes to{(report.CutOff is { } why ? $" (the search of the model was cut off {why})" : "")}");
        foreach (CoveredBy by in report.By) Write(to, $"{by.Kind,-10} {by.Ran}; {by.Situations.Count(report.Possible.Contains):N0} of these situations, {by.Situations.Count(situation => !report.Possible.Contains(situation)):N0} that the small world does not have");
        to.WriteLine();
        Write(to, $"{"operation",-20} {"can be",7}{string.Concat(report.By.Select(static by => $" {by.Kind,11}"))} {"any",11}");
        foreach (IGrouping<string, Situation> operation in report.Possible.GroupBy(static situation => situation.Operation.Name).OrderBy(static operation => operation.Key, StringComparer.Ordinal))
            Row(to, report, operation.Key, [.. operation]);
        Row(to, report, "all", [.. report.Possible]);
        Situation[] missing = [.. report.Missing];
        if (missing.Length == 0) return;
        to.WriteLine();
        ILookup<MissingBecause, string> lines = missing.ToLookup(report.Why, static situation => situation.ToString());
        Write(to, $"no run has been in {missing.Length:N0}:");
        Write(to, $"  in {lines[MissingBecause.CannotFail].Count():N0} memory or hardware would have to fail, and the library asks nothing of it there");
        Write(to, $"  in {lines[MissingBecause.Chosen].Count():N0} the library came to something else that the model accepts, too");
        Write(to, $"  in {lines[MissingBecause.NotMet].Count():N0} no operation has met that");
        foreach (MissingBecause because in (MissingBecause[])[MissingBecause.NotMet, MissingBecause.Chosen, MissingBecause.CannotFail])
        {
            string[] all = [.. lines[because].Order(StringComparer.Ordinal)];
            if (all.Length == 0 || (!isWhole && because == MissingBecause.CannotFail)) continue;
            to.WriteLine();
            Write(to, $"{because switch { MissingBecause.NotMet => "not met", MissingBecause.Chosen => "something else", _ => "nothing that could fail" }}:");
            foreach (string line in all.Take(isWhole ? all.Length : MostShown)) Write(to, $"  {line}");
            if (!isWhole && all.Length > MostShown) to.WriteLine("  ... (--missing lists all)");
        }
    }

    private static void Row(TextWriter to, CoverageReport report, string name, Situation[] possible)
    {
        string shares = string.Concat(report.By.Select(by => Share(possible.Count(by.Situations.Contains), possible.Length)));
        Write(to, $"{name,-20} {possible.Length,7:N0}{shares}{Share(possible.Count(situation => report.By.Any(by => by.Situations.Contains(situation))), possible.Length)}");
    }

    private static string Share(int count, int of) => string.Create(CultureInfo.InvariantCulture, $" {count,6:N0} {100.0 * count / of,3:F0}%");

    private static void Write(TextWriter to, FormattableString line) => to.WriteLine(line.ToString(CultureInfo.InvariantCulture));
}
