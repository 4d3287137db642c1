using System.Collections.Immutable;
using Harness;
using Microsoft.CodeAnalysis.Text;
using Mutation.Schema;

namespace Mutation.Exhibits;

/// <summary>Lines of one file that become others.</summary>
/// <param name="File">The file, from the root of the repository.</param>
/// <param name="Before">The lines as they are, in order, with some around them.</param>
/// <param name="After">What they become.</param>
public sealed record Hunk(string File, ImmutableArray<string> Before, ImmutableArray<string> After)
{
    /// <summary>What it changes in the file's text, without the lines around it.</summary>
    /// <exception cref="BadInputException">The lines are not there, or more than once, or stay as they are.</exception>
    public SourceEdit EditOf(string text)
    {
        // Whole lines: each begins after a line end.
        string before = '\n' + string.Join('\n', Before) + '\n';
        string after = '\n' + string.Join('\n', After) + '\n';
        if (After.IsEmpty) after = "\n";
        if (before == after) throw new BadInputException($"{File}: a hunk changes nothing");
        string searched = '\n' + text;
        int found = searched.IndexOf(before, StringComparison.Ordinal);
        if (found < 0) throw new BadInputException($"{File}: lines are not there that begin with \"{Before[0].Trim()}\"");
        if (searched.IndexOf(before, found + 1, StringComparison.Ordinal) >= 0) throw new BadInputException($"{File}: lines are there twice that begin with \"{Before[0].Trim()}\"");
        int same = before.AsSpan().CommonPrefixLength(after);
        int left = Math.Min(before.Length, after.Length) - same;
        int tail = 0;
        while (tail < left && before[^(tail + 1)] == after[^(tail + 1)]) tail++;
        return new(File, new TextSpan(found + same - 1, before.Length - same - tail), after[same..^tail]);
    }
}
