using System.Globalization;
using Spectre.Console;
using Verify.Benching;
using Workloads;

namespace Verify.Output;

/// <summary>What was measured, for people to read.</summary>
internal static class BenchTable
{
    /// <summary>Prints the table, a line for each row that was not measured or not warm, and the verdict.</summary>
    public static void Print(BenchOutcome outcome, Surroundings here)
    {
        RunTable.ConsoleOf(here).Write(TableOf(outcome));
        foreach (RowOutcome row in outcome.Rows.Where(row => row.State != RowState.Measured))
            here.Out.WriteLine($"{row.Row.Name} {BenchReport.Word(row.State)}: {Line.Of(row.Note ?? "")}");
        foreach (RowOutcome row in outcome.Rows.Where(row => !row.IsSettled))
            here.Out.WriteLine($"{row.Row.Name}: the JIT was still compiling when it was measured; a longer --time gives it more");
        here.Out.WriteLine(Verdict(outcome));
    }

    /// <summary>How it went, on one line.</summary>
    public static string Verdict(BenchOutcome outcome)
    {
        RowOutcome[] missing = [.. outcome.Missing];
        string what = $"{Line.Count(outcome.MeasuredCount, "row")} measured in {Line.Seconds(outcome.Elapsed)}";
        string stopped = outcome.IsStopped ? ", stopped by the user" : "";
        return outcome.MeasuredCount == 0 ? $"nothing was measured{stopped}"
            : missing.Length == 0 ? $"every limit is kept: {what}{stopped}"
            : $"{Line.Count(missing.Length, "row")} missed a limit ({string.Join(", ", missing.Select(row => row.Row.Name))}): {what}{stopped}";
    }

    private static Table TableOf(BenchOutcome outcome)
    {
        Table table = new Table { ShowRowSeparators = true }.Border(TableBorder.Square);
        table.AddColumn("row");
        table.AddColumn("an operation");
        table.AddColumn(new TableColumn("best").RightAligned());
        table.AddColumn(new TableColumn("median").RightAligned());
        table.AddColumn("baseline");
        table.AddColumn(new TableColumn("ratio").RightAligned());
        table.AddColumn("limit");
        table.AddColumn("kept");
        table.AddColumn(new TableColumn("allocated").RightAligned());
        foreach (RowOutcome row in outcome.Rows) table.AddRow(CellsOf(row));
        return table;
    }

    private static Text[] CellsOf(RowOutcome outcome)
    {
        (string best, string median) = outcome switch
        {
            { Timing: { } timing } => (BenchDisplay.Nanoseconds(timing.Best), Spread(timing)),
            { WeighedBytes: { } bytes } => (BenchDisplay.Bytes(bytes), ""),
            _ => ("–", ""),
        };
        string baseline = outcome is { Row: TimedRow { BaselineWhat: var what }, Baseline: { } reference } ? $"{BenchDisplay.Nanoseconds(reference.Best)}: {what}" : "";
        return
        [
            new(outcome.Row.Name),
            new(outcome.Row.What),
            new(best),
            new(median),
            new(baseline),
            new(outcome.Ratio is { } ratio ? BenchDisplay.Ratio(ratio) : ""),
            new(Limits(outcome.Row)),
            Kept(outcome),
            new(outcome.AllocatedBytes is { } allocated ? BenchDisplay.Bytes(allocated) : ""),
        ];
    }

    private static string Spread(Timing timing) => timing.Best > 0
        ? string.Create(CultureInfo.InvariantCulture, $"+{(timing.Median / timing.Best - 1) * 100:0}%")
        : "–";

    private static string Limits(Row row) => row switch
    {
        TimedRow timed => string.Join('\n', LimitsOf(timed)),
        WeighedRow weighed => $"≤ {BenchDisplay.Bytes(weighed.LimitBytes)}",
        _ => "",
    };

    private static IEnumerable<string> LimitsOf(TimedRow row)
    {
        if (row.LimitNanoseconds is { } most) yield return $"≤ {BenchDisplay.Nanoseconds(most)}";
        if (row.RatioLimit is { } limit) yield return $"{(row.RatioKind == RatioKind.Cost ? "≤" : "≥")} {BenchDisplay.Ratio(limit)}";
    }

    private static Text Kept(RowOutcome outcome) => outcome.Holds switch
    {
        true => new("yes"),
        false => new($"no: {string.Join(", ", outcome.Missed)}", new Style(Color.Red)),
        null => new("–"),
    };
}
