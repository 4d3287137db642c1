using System.CommandLine;
using Harness;
using Mutation.Report;
using Verify.Output;

namespace Verify.Commands;

/// <summary><c>verify report FILE…</c>: one report of all mutants, whoever made them.</summary>
internal static class ReportCommand
{
    private const string Title = "all mutants";

    /// <summary>The command.</summary>
    public static Command Create(Surroundings here)
    {
        Argument<string[]> files = new("FILE") { Description = "A report in the schema of mutation testing: Stryker's, or of verify mutants or verify museum.", Arity = ArgumentArity.OneOrMore };
        Option<string?> json = new("--json") { Description = "Write the whole, in the same schema, to this file.", HelpName = "FILE" };
        Option<string?> html = new("--html") { Description = "Write it as one page for a browser to this file.", HelpName = "FILE" };
        Option<string?> markdown = new("--markdown") { Description = "Write a short page in Markdown to this file.", HelpName = "FILE" };
        CommandTree.NoOption(files);
        var command = new Command("report", "Make one report of several on mutants, and see which engine finds what.") { files, json, html, markdown };
        command.SetAction(parsed =>
        {
            var written = new MutantReport(here, "--json", parsed.GetValue(json), parsed.GetValue(html), parsed.GetValue(markdown));
            written.Check();
            MutationReport merged = Merge(parsed.GetRequiredValue(files), here);
            Print(merged, here);
            written.Write(Title, merged);
            return ExitCode.Clean;
        });
        return command;
    }

    private static MutationReport Merge(string[] files, Surroundings here)
    {
        var merge = new ReportMerge(new ReportPaths(Repository.RootOf(here.Directory)));
        foreach (string file in files) merge.Add(file, InputFile.Read(file, here, "a report in the schema of mutation testing", MutationReport.Parse));
        return merge.Merged();
    }

    private static void Print(MutationReport report, Surroundings here)
    {
        var matrix = new KillMatrix(report);
        GridTable.Print(ReportGrid.Scores(report), here);
        GridTable.Print(ReportGrid.Operators(report, matrix), here);
        GridTable.Print(matrix, here);
        var counts = new MutantCounts(ReportGrid.All(report).Select(static each => each.Mutant.Status));
        here.Out.WriteLine($"{Line.Count(counts.All, "mutant")}, {Line.Count(counts.Valid)} of them could be tested, score {MutantCounts.Percent(counts.Score)}");
    }
}
