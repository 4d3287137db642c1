using System.Text;
using Explorer.Machines;

namespace Explorer.Reporting;

/// <summary>Draws what the agents did, one column for each, time running down; beside them the statement that made each step and the state of the pages, where it changes.</summary>
public static class Lanes
{
    private const int NumberWidth = 4;

    /// <summary>The drawing.</summary>
    /// <param name="picture">What there is.</param>
    /// <param name="whole">Whether rows that do not matter are drawn too, not folded.</param>
    public static string Draw(Picture picture, bool whole)
    {
        var text = new StringBuilder();
        foreach (string row in picture.SetUp) text.Append($"set up: {row}\n");
        if (picture.Rows.Count != 0) AppendLanes(text, picture, whole);
        foreach (string row in picture.AtRest) text.Append($"at rest: {row}\n");
        return text.ToString();
    }

    /// <summary>The hardware's own lane is the last.</summary>
    internal static int OrderOf(string agent) => agent == CommandPump.Agent ? 1 : 0;

    /// <summary>The state of the pages in a row, where it changes.</summary>
    internal static string StateOf(Picture picture, PictureRow row) => string.Join(
        " | ", row.States.Select((state, page) => (state, page)).Where(each => row.Changed[each.page])
            .Select(each => picture.Pages.Count == 1 ? each.state : $"{picture.Pages[each.page]}: {each.state}"));

    private static void AppendLanes(StringBuilder text, Picture picture, bool whole)
    {
        PictureRow[] shown = [.. picture.Rows.Where(row => whole || row.Matters)];
        List<(string Title, Func<PictureRow, string> Cell)> columns = [.. picture.Agents.Select(agent => (agent, (Func<PictureRow, string>)(row => row.Agent == agent ? row.Text : "")))];
        if (picture.IsWatched) columns.Add(("statement", static row => row.Source ?? ""));
        if (picture.Pages.Count != 0) columns.Add((picture.Pages.Count == 1 ? $"state of {picture.Pages[0]}" : "state", row => StateOf(picture, row)));
        int[] widths = [.. columns.Select(column => shown.Select(row => column.Cell(row).Length).Append(column.Title.Length).Max())];
        AppendRow(text, "", columns.Select(static column => column.Title), widths);
        text.Append(' ', NumberWidth);
        foreach (int width in widths) text.Append("-+-").Append('-', width);
        text.Append('\n');
        int last = 0;
        foreach (PictureRow row in shown)
        {
            AppendFold(text, row.Number - last - 1);
            AppendRow(text, $"{row.Number}", columns.Select(column => column.Cell(row)), widths);
            last = row.Number;
        }

        AppendFold(text, picture.Rows.Count - last);
    }

    private static void AppendFold(StringBuilder text, int count)
    {
        if (count != 0) text.Append(' ', NumberWidth).Append(count == 1 ? " … 1 step\n" : $" … {count} steps\n");
    }

    private static void AppendRow(StringBuilder text, string number, IEnumerable<string> cells, int[] widths)
    {
        var line = new StringBuilder(number.PadLeft(NumberWidth));
        foreach ((string cell, int width) in cells.Zip(widths)) line.Append(" | ").Append(cell.PadRight(width));
        text.Append(line.ToString().TrimEnd()).Append('\n');
    }
}
