using System.Globalization;
using System.Reflection;
using System.Xml.Linq;
using Explorer.Campaigns;

namespace Explorer.Reporting;

/// <summary>A failing schedule as one page for a browser that needs nothing else: the lanes, and a slider that goes through the steps.</summary>
/// <remarks>It is XML as well as HTML, and its policy forbids it to load anything.</remarks>
public static class Page
{
    /// <summary>The page.</summary>
    /// <param name="found">A failure that was run again.</param>
    public static string Make(FoundFailure found)
    {
        Picture picture = FailureReport.PictureOf(found);
        (string Name, string Value)[] heading = [.. FailureReport.Heading(found)];
        var page = new XElement(
            "html", new XAttribute("lang", "en"),
            new XElement(
                "head",
                new XElement("meta", new XAttribute("charset", "utf-8")),
                new XElement(
                    "meta", new XAttribute("http-equiv", "Content-Security-Policy"),
                    new XAttribute("content", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'")),
                new XElement("meta", new XAttribute("name", "viewport"), new XAttribute("content", "width=device-width")),
                new XElement("title", $"{heading[0].Value}: {found.Scenario.Name}"),
                new XElement("style", Resource("Page.css"))),
            new XElement(
                "body",
                new XElement("h1", heading[0].Value),
                new XElement("dl", heading.Skip(1).SelectMany(static line => new[] { new XElement("dt", line.Name), new XElement("dd", line.Value) })),
                Calls("set up", picture.SetUp),
                new XElement("div", new XAttribute("class", "head"), Bar(picture), Pages(picture)),
                Steps(picture),
                Calls("at rest", picture.AtRest),
                new XElement("script", Resource("Page.js"))));
        return $"<!DOCTYPE html>\n{page.ToString(SaveOptions.DisableFormatting)}\n";
    }

    private static XElement? Calls(string title, IReadOnlyList<string> lines) => lines.Count == 0
        ? null
        : new("details", new XElement("summary", title), new XElement("ul", lines.Select(static line => new XElement("li", line))));

    private static XElement Bar(Picture picture) => new(
        "div", new XAttribute("class", "bar"),
        Button("back", "‹"),
        new XElement(
            "input", new XAttribute("type", "range"), new XAttribute("id", "at"), new XAttribute("min", 1), new XAttribute("max", picture.Rows.Count),
            new XAttribute("value", picture.Rows.Count), new XAttribute("aria-label", "step")),
        Button("on", "›"),
        new XElement("output", new XAttribute("id", "where"), "arrow keys go through the steps"),
        new XElement("label", new XElement("input", new XAttribute("type", "checkbox"), new XAttribute("id", "whole")), " all steps"));

    private static XElement Button(string id, string text) => new("button", new XAttribute("type", "button"), new XAttribute("id", id), text);

    private static XElement Pages(Picture picture) =>
        new("table", new XAttribute("id", "pages"), picture.Pages.Select(static page => new XElement("tr", new XElement("th", page), new XElement("td", ""))));

    private static XElement Steps(Picture picture)
    {
        string[] titles = ["", .. picture.Agents, "statement", "state, where it changes"];
        var body = new XElement("tbody");
        for (int i = 0; i < picture.Rows.Count; i++)
        {
            PictureRow row = picture.Rows[i];
            if (!row.Matters && (i == 0 || picture.Rows[i - 1].Matters)) body.Add(Gap(picture, i, titles.Length));
            body.Add(Step(picture, row));
        }

        return new(
            "table", new XAttribute("id", "steps"), new XElement("thead", new XElement("tr", titles.Select(static title => new XElement("th", title)))), body);
    }

    private static XElement Gap(Picture picture, int first, int columns)
    {
        int count = picture.Rows.Skip(first).TakeWhile(static row => !row.Matters).Count();
        return new(
            "tr", new XAttribute("class", "gap"), new XAttribute("data-first", first + 1), new XAttribute("data-last", first + count),
            new XElement("td", new XAttribute("colspan", columns), count == 1 ? "… 1 step" : $"… {count} steps"));
    }

    private static XElement Step(Picture picture, PictureRow row) => new(
        "tr", new XAttribute("data-step", row.Number), new XAttribute("class", row.IsViolation ? "broken" : row.Matters ? "major" : "minor"),
        row.States.Select(static (state, page) => new XAttribute(string.Create(CultureInfo.InvariantCulture, $"data-page{page}"), state)),
        new XElement("td", row.Number),
        picture.Agents.Select(agent => new XElement("td", agent == row.Agent ? row.Text : "")),
        new XElement("td", row.Source ?? ""),
        new XElement("td", new XAttribute("class", "changes"), Lanes.StateOf(picture, row)));

    // Neither has a character that XML would have to write otherwise, so that a browser reads them as they are.
    private static string Resource(string name)
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream($"page/{name}")!;
        using var reader = new StreamReader(stream);
        string text = reader.ReadToEnd();
        return text.IndexOfAny(['<', '>', '&']) < 0 ? text : throw new InvalidOperationException($"{name} has a character that XML writes otherwise");
    }
}
