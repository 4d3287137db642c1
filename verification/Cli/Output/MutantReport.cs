using Mutation.Report;

namespace Verify.Output;

/// <summary>The files that a command writes of mutants: in the schema of mutation testing, as a page for a browser, and in Markdown.</summary>
/// <param name="here">Where relative paths begin.</param>
/// <param name="jsonOption">What the option is called that names the first.</param>
/// <param name="json">That file, as the user gave it; null: none.</param>
/// <param name="html">The file of <c>--html</c>, likewise.</param>
/// <param name="markdown">The file of <c>--markdown</c>, likewise.</param>
internal sealed class MutantReport(Surroundings here, string jsonOption, string? json, string? html, string? markdown)
{
    /// <summary>Looks whether the files can be written, before anything is run.</summary>
    /// <exception cref="Harness.BadInputException">One cannot.</exception>
    public void Check()
    {
        if (json is not null) OutputFile.Check(jsonOption, json, here);
        if (html is not null) OutputFile.Check("--html", html, here);
        if (markdown is not null) OutputFile.Check("--markdown", markdown, here);
    }

    /// <summary>Writes them.</summary>
    /// <param name="title">What the report is called where it is shown.</param>
    /// <param name="report">The report.</param>
    /// <exception cref="EnvironmentException">A file cannot be written.</exception>
    public void Write(string title, MutationReport report)
    {
        if (json is not null) OutputFile.Write(jsonOption, json, report.ToString(), here);
        if (html is not null) OutputFile.Write("--html", html, ReportPage.Make(title, report), here);
        if (markdown is not null) OutputFile.Write("--markdown", markdown, MarkdownReport.Make(title, report), here);
    }
}
