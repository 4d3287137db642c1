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
        (PictureRow Row, int Hidden, int End)[] rows = [.. Together([.. picture.Rows.Where(row => whole || row.Matters)], whole)];
        List<(string Title, Func<PictureRow, string> Cell)> columns = [.. picture.Agents.Select(agent => (agent, (Func<PictureRow, string>)(row => row.Agent == agent ? row.Text : "")))];
        if (picture.IsWatched) columns.Add(("statement", static row => row.Source ?? ""));
        if (picture.Pages.Count != 0) columns.Add((picture.Pages.Count == 1 ? $"state of {picture.Pages[0]}" : "state", row => StateOf(picture, row)));
        int[] widths = [.. columns.Select(column => rows.Select(each => column.Cell(each.Row).Length).Append(column.Title.Length).Max())];
        AppendRow(text, "", columns.Select(static column => column.Title), widths);
        text.Append(' ', NumberWidth);
        foreach (int width in widths) text.Append("-+-").Append('-', width);
        text.Append('\n');
        int last = 0, left = 0;
        foreach ((PictureRow row, int hidden, int end) in rows)
        {
            AppendFold(text, left + row.Number - last - 1);
            AppendRow(text, $"{row.Number}", columns.Select(column => column.Cell(row)), widths);
            (left, last) = (hidden, end);
        }

        AppendFold(text, left + picture.Rows.Count - last);
    }

    /// <summary>Each row that is shown. Of such as say the same one after the other, and change nothing that is shown, the first, with their count.</summary>
    private static IEnumerable<(PictureRow Row, int Hidden, int End)> Together(IReadOnlyList<PictureRow> shown, bool whole)
    {
        for (int first = 0; first < shown.Count;)
        {
            int next = first + 1;
            while (!whole && next < shown.Count && IsLike(shown[first], shown[next])) next++;
            int count = next - first, end = shown[next - 1].Number;
            PictureRow row = shown[first];
            yield return (count == 1 ? row : row with { Text = $"{row.Text}, {count} times" }, end - row.Number + 1 - count, end);
            first = next;
        }
    }

    private static bool IsLike(PictureRow first, PictureRow next) =>
        next.Agent == first.Agent && next.Text == first.Text && next.Source == first.Source && !next.IsViolation && !next.Changed.Contains(true);

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
