using System.Globalization;

namespace Verify.Running;

/// <summary>Lines of a file as it is now: numbers <see cref="First"/> to <see cref="Last"/>, from one. Where lines only went, <see cref="Last"/> is the line before the gap and <see cref="First"/> the one behind it.</summary>
internal readonly record struct LineSpan(int First, int Last);

/// <summary>Reads what <c>git diff --unified=0 --no-prefix</c> says.</summary>
internal static class ChangedLines
{
    private const string FileMark = "+++ ";
    private const string HunkMark = "@@ ";
    private const string NoFile = "/dev/null";

    /// <summary>Of each file that is still there, by its path from the root, the lines that are new or changed.</summary>
    /// <exception cref="FormatException">It is no such diff.</exception>
    public static IReadOnlyDictionary<string, IReadOnlyList<LineSpan>> Read(string diff)
    {
        Dictionary<string, IReadOnlyList<LineSpan>> files = [];
        List<LineSpan> spans = [];
        int content = 0;
        foreach (string line in diff.Split('\n'))
        {
            // A changed line may look like a header: what a hunk holds is counted, not read.
            if (content > 0 && line is ['+' or '-', ..])
            {
                content--;
                continue;
            }

            if (line.StartsWith(FileMark, StringComparison.Ordinal))
            {
                spans = [];
                string path = line[FileMark.Length..].TrimEnd('\t', '\r');
                if (path != NoFile) files.Add(path, spans);
            }
            else if (line.StartsWith(HunkMark, StringComparison.Ordinal))
            {
                (_, int gone) = RangeOf(line, '-');
                (int first, int come) = RangeOf(line, '+');
                content = gone + come;
                spans.Add(come == 0 ? new LineSpan(first + 1, first) : new LineSpan(first, first + come - 1));
            }
        }

        return files;
    }

    /// <summary>Of <c>@@ -4,2 +7 @@</c> and <c>+</c>: line 7, one line.</summary>
    private static (int First, int Count) RangeOf(string header, char side)
    {
        string range = header.Split(' ').FirstOrDefault(word => word.Length > 1 && word[0] == side) ?? throw new FormatException($"\"{header}\" is no header of a hunk");
        int[] numbers = [.. range[1..].Split(',').Select(static number => int.Parse(number, NumberStyles.None, CultureInfo.InvariantCulture))];
        return (numbers[0], numbers.Length == 1 ? 1 : numbers[1]);
    }
}
