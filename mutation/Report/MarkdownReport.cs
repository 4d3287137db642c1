using System.Text;

namespace Mutation.Report;

/// <summary>A report as a short page of Markdown, such as the summary of a job.</summary>
public static class MarkdownReport
{
    /// <summary>How many survivors are told of.</summary>
    public const int MostSurvivors = 50;

    private const int MostCharacters = 100;

    /// <summary>Makes the page.</summary>
    /// <param name="title">Its title.</param>
    /// <param name="report">The report.</param>
    public static string Make(string title, MutationReport report)
    {
        var matrix = new KillMatrix(report);
        var text = new StringBuilder($"# {Markdown.Text(title)}\n\n{Markdown.Table(ReportGrid.Scores(report))}");
        Add(text, ReportGrid.Engines(matrix));
        foreach (string remark in ReportGrid.RemarksOn(matrix)) text.Append($"\n{Markdown.Text(remark)}\n");
        Add(text, ReportGrid.Operators(report, matrix));
        (string File, MutantResult Mutant)[] survivors =
        [
            .. ReportGrid.All(report).Where(static each => each.Mutant.Status is MutantStatus.Survived or MutantStatus.NoCoverage)
                .OrderBy(static each => each.File, StringComparer.Ordinal).ThenBy(static each => each.Mutant.Location.Start.Line).ThenBy(static each => each.Mutant.Location.Start.Column),
        ];
        text.Append($"\n## {(survivors.Length == 0 ? "none survived" : $"{survivors.Length} survived")}\n");
        if (survivors.Length > 0) text.Append('\n');
        foreach ((string file, MutantResult mutant) in survivors.Take(MostSurvivors)) text.Append($"* {LineOf(file, mutant, report.Files[file].Source)}\n");
        if (survivors.Length > MostSurvivors) text.Append($"\nand {survivors.Length - MostSurvivors} more\n");
        return text.ToString();
    }

    private static string LineOf(string file, MutantResult mutant, string source)
    {
        string place = $"{Markdown.Code($"{file}:{mutant.Location.Start.Line}")} {Markdown.Text(mutant.MutatorName)}{(mutant.Status == MutantStatus.NoCoverage ? ", no coverage" : "")}";
        string? before = mutant.Location.TextIn(source);
        // Without the new text, or its place, the words of whoever made it must do.
        return mutant.Replacement is { } after && before is not null ? $"{place}: {Markdown.Code(Short(before))} → {Markdown.Code(Short(after))}"
            : mutant.Description is { } words ? $"{place}: {Markdown.Text(Short(words))}"
            : place;
    }

    private static string Short(string text)
    {
        string line = string.Join(' ', text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        if (line.Length <= MostCharacters) return line;
        // No half of a character.
        int end = char.IsHighSurrogate(line[MostCharacters - 1]) ? MostCharacters - 1 : MostCharacters;
        return line[..end] + "…";
    }

    private static void Add(StringBuilder text, ReportGrid grid) => text.Append($"\n## {Markdown.Text(grid.Title)}\n\n{Markdown.Table(grid)}");
}
