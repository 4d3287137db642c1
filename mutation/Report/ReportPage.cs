using System.Reflection;

namespace Mutation.Report;

/// <summary>A report in the schema of mutation testing as one page for a browser, which loads nothing.</summary>
public static class ReportPage
{
    private const string Script = "report/mutation-test-elements.js";

    /// <summary>Makes the page.</summary>
    /// <param name="title">What the browser calls it.</param>
    /// <param name="json">The report.</param>
    public static string Make(string title, string json)
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
            <title>{{System.Net.WebUtility.HtmlEncode(title)}}</title>
            <link rel="icon" href="data:,">
            <script>{{elements}}</script>
            </head>
            <body>
            <mutation-test-report-app title-postfix="{{System.Net.WebUtility.HtmlEncode(title)}}">Your browser shows no custom elements: the report cannot be seen.</mutation-test-report-app>
            <script id="report" type="application/json">{{report}}</script>
            <script>document.querySelector("mutation-test-report-app").report = JSON.parse(document.getElementById("report").textContent);</script>
            </body>
            </html>

            """;
    }
}
