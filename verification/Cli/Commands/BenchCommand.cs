using System.CommandLine;
using Harness;
using Verify.Benching;
using Verify.Output;
using Verify.Running;
using Workloads;

namespace Verify.Commands;

/// <summary><c>verify bench</c>: how fast the library is, against its baselines in the same run.</summary>
internal static class BenchCommand
{
    /// <summary>The command.</summary>
    public static Command Create(Surroundings here)
    {
        Option<double> time = new("--time")
        {
            Description = "How long each row is measured, without its warm-up.",
            HelpName = "SECONDS",
            DefaultValueFactory = _ => 1,
            CustomParser = RunCommand.ParseTime,
        };
        Option<string[]> filters = new("--filter") { Description = "Measure only rows whose name contains this; may be given several times.", HelpName = "TEXT" };
        Option<string?> json = new("--json") { Description = "Write what was measured to this file.", HelpName = "FILE" };
        Option<bool> strict = new("--strict") { Description = "Exit with 1 if a row does not keep its limits." };
        // How the command calls itself: each row has a process of its own.
        Option<string?> only = new("--row") { Hidden = true };
        var command = new Command("bench", "Measure the library against its limits and against baselines in the same run.") { time, filters, json, strict, only };
        command.SetAction(parsed =>
        {
            if (parsed.GetValue(only) is { } name) return MeasureOne(name, TimeSpan.FromSeconds(parsed.GetValue(time)), here);
            BenchReport? report = parsed.GetValue(json) is { } file ? new BenchReport(here, file) : null;
            report?.Check();
            IReadOnlyList<Row> rows = Choose(here.Rows, parsed.GetValue(filters) ?? []);
            var plan = new BenchPlan(rows, TimeSpan.FromSeconds(parsed.GetValue(time)), parsed.GetValue(strict));
            return Measure(plan, report, here, parsed.GetValue<bool>(CommandTree.Verbose));
        });
        return command;
    }

    /// <summary>The rows that a filter asks for; all if there is none.</summary>
    /// <exception cref="BadInputException">A filter finds no row.</exception>
    private static IReadOnlyList<Row> Choose(IReadOnlyList<Row> all, string[] filters)
    {
        foreach (string filter in filters)
        {
            if (!all.Any(row => IsIn(filter, row)))
                throw new BadInputException($"--filter: \"{Line.Of(filter)}\" is in the name of no row; expected part of {RunPlan.OneOf(all.Select(row => row.Name))}");
        }

        return [.. all.Where(row => filters.Length == 0 || filters.Any(filter => IsIn(filter, row)))];
    }

    private static bool IsIn(string filter, Row row) => row.Name.Contains(filter, StringComparison.OrdinalIgnoreCase);

    private static int Measure(BenchPlan plan, BenchReport? report, Surroundings here, bool verbose)
    {
        here.Out.WriteLine($"{Line.Seconds(plan.TimePerRow)} for each of {Line.Count(plan.Rows.Count, "row")}, {Machine.Here}");
        here.Out.Flush();
        long begin = here.Time.GetTimestamp();
        Func<Row, TimeSpan, RowOutcome> measure = here.RowsHaveProcesses ? new ChildRows(here.Stop).Measure : TimerOf(here).Measure;
        IReadOnlyList<RowOutcome> rows = BenchDisplay.While(plan, here, row => measure(row, plan.TimePerRow));
        var outcome = new BenchOutcome(plan, rows, here.Time.GetElapsedTime(begin));
        BenchTable.Print(outcome, here);
        here.Out.Flush();
        foreach (RowOutcome broken in rows.Where(row => row.State == RowState.Broke))
        {
            here.Error.WriteLine($"verify: row {broken.Row.Name} broke: {Line.Of(broken.Note!)}");
            if (verbose && broken.Trace is { } trace) here.Error.WriteLine(trace);
        }

        report?.Write(outcome);
        return outcome.ExitCode;
    }

    private static int MeasureOne(string name, TimeSpan time, Surroundings here)
    {
        Row row = here.Rows.FirstOrDefault(row => row.Name == name)
            ?? throw new BadInputException($"--row: \"{Line.Of(name)}\" is not a row; expected {RunPlan.OneOf(here.Rows.Select(row => row.Name))}");
        here.Out.WriteLine(ChildRows.Print(TimerOf(here).Measure(row, time)));
        return ExitCode.Clean;
    }

    private static RowTimer TimerOf(Surroundings here) => new(here.Time, here.CompiledMethodCount, here.Stop);
}
