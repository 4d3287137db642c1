using System.Text.RegularExpressions;

namespace Mutation.Report;

/// <summary>Text of others in Markdown: it shows as it is, and neither ends the place it is in nor begins something.</summary>
public static partial class Markdown
{
    /// <summary>Text in a line or in a cell of a table.</summary>
    public static string Text(string text) => Special().Replace(OneLine(text), static match => match.Value switch
    {
        // These begin elements, or characters by their names, with or without a backslash in front of them.
        "<" => "&lt;",
        ">" => "&gt;",
        "&" => "&amp;",
        var other => "\\" + other,
    });

    /// <summary>Code in a line; not in a table, where a bar would end the cell.</summary>
    /// <param name="text">The code. Line ends and what is blank around them become one blank.</param>
    public static string Code(string text)
    {
        string line = OneLine(text);
        if (line.Length == 0) return "*nothing*";
        // A fence is longer than any in the text. One blank on each side goes again when it is shown.
        string fence = new('`', Fences().Matches(line).Select(static match => match.Length).DefaultIfEmpty(0).Max() + 1);
        return line[0] == '`' || line[^1] == '`' ? $"{fence} {line} {fence}" : fence + line + fence;
    }

    /// <summary>A table.</summary>
    public static string Table(ReportGrid grid) =>
        $"{Row(grid.Columns.Select(Text))}{Row(grid.Columns.Select((_, i) => i < grid.WordColumns ? "---" : "---:"))}{string.Concat(grid.Rows.Select(static row => Row(row.Select(Text))))}";

    private static string Row(IEnumerable<string> cells) => $"| {string.Join(" | ", cells)} |\n";

    private static string OneLine(string text) => string.Concat(Blanks().Replace(text, " ").Trim().Select(static c => char.IsControl(c) ? '\uFFFD' : c));

    [GeneratedRegex(@"[\\`*_{}\[\]<>()#+!|~&$@:]")]
    private static partial Regex Special();

    [GeneratedRegex("`+")]
    private static partial Regex Fences();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Blanks();
}
