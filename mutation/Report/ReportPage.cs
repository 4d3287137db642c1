using System.Net;
using System.Reflection;

namespace Mutation.Report;

/// <summary>A report in the schema of mutation testing as one page for a browser. It loads nothing, and its policy forbids it.</summary>
public static class ReportPage
{
    private const string Script = "report/mutation-test-elements.js";

    private const string Style = """
        #tables { font: 14px sans-serif; padding: 8px 16px; background: #fff; color: #222; overflow-x: auto; }
        #tables summary { cursor: pointer; }
        #tables table { border-collapse: collapse; margin: 12px 0; }
        #tables caption { text-align: left; font-weight: bold; padding: 4px 0; }
        #tables th, #tables td { border: 1px solid #bbb; padding: 2px 8px; text-align: left; }
        #tables .number { text-align: right; font-variant-numeric: tabular-nums; }
        """;

    /// <summary>Makes the page: the tables first, folded, and below them the files with their mutants.</summary>
    /// <param name="title">What the browser calls it.</param>
    /// <param name="report">The report.</param>
    public static string Make(string title, MutationReport report)
    {
        var matrix = new KillMatrix(report);
        IEnumerable<string> tables = [TableOf(ReportGrid.Scores(report)), TableOf(ReportGrid.Engines(matrix)), .. ReportGrid.RemarksOn(matrix).Select(static remark => $"<p>{Text(remark)}</p>"), TableOf(ReportGrid.Operators(report, matrix))];
        return Make(title, report.ToString(), string.Join('\n', tables));
    }

    /// <summary>Makes the page.</summary>
    /// <param name="title">What the browser calls it.</param>
    /// <param name="json">The report.</param>
    /// <param name="tables">What can be unfolded above it.</param>
    internal static string Make(string title, string json, string tables)
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(Script) ?? throw new InvalidOperationException($"{Script} is not in the assembly");
        using var reader = new StreamReader(stream);
        // Neither text may end the element that it is in.
        string elements = reader.ReadToEnd().Replace("</script", "<\\/script", StringComparison.OrdinalIgnoreCase);
        string report = json.Replace("<", "\\u003c", StringComparison.Ordinal);
        return $$"""
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
            <title>{{Text(title)}}</title>
            <link rel="icon" href="data:,">
            <style>{{Style}}</style>
            <script>{{elements}}</script>
            </head>
            <body>
            <details id="tables">
            <summary>{{Text(title)}}: scores, and who finds what</summary>
            {{tables}}
            </details>
            <mutation-test-report-app title-postfix="{{Text(title)}}">Your browser shows no custom elements: the report cannot be seen.</mutation-test-report-app>
            <script id="report" type="application/json">{{report}}</script>
            <script>document.querySelector("mutation-test-report-app").report = JSON.parse(document.getElementById("report").textContent);</script>
            </body>
            </html>

            """;
    }

    private static string TableOf(ReportGrid grid)
    {
        IEnumerable<string> rows = grid.Rows.Select(row => $"<tr>{string.Concat(row.Select((cell, i) => Cell("td", cell, i)))}</tr>");
        return $"<table><caption>{Text(grid.Title)}</caption><thead><tr>{string.Concat(grid.Columns.Select((column, i) => Cell("th", column, i)))}</tr></thead>\n<tbody>{string.Join('\n', rows)}</tbody></table>";

        string Cell(string tag, string text, int column) => $"<{tag}{(column < grid.WordColumns ? "" : " class=\"number\"")}>{Text(text)}</{tag}>";
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
