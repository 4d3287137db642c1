using System.Text;
using System.Text.RegularExpressions;

namespace Mutation.Excuses;

/// <summary>What a comment says of mutants that no test can find. They run all the same, so that an excuse which does not hold is seen.</summary>
/// <param name="CommentLine">Where the comment begins, counted from 1.</param>
/// <param name="Line">The line of code that it speaks of: the first below it that is no comment.</param>
/// <param name="Replacements">By what the mutants replace, white space aside; <c>…</c> stands for any text.</param>
/// <param name="Reason">The kind and the reason.</param>
public sealed partial record Excuse(int CommentLine, int Line, IReadOnlyList<string> Replacements, string Reason)
{
    private const string Opening = "// Survives as ";

    /// <summary>What such a comment must look like.</summary>
    public const string Form = $"{Opening}`REPLACEMENT` [and as `REPLACEMENT`…]: equivalent|unreachable by contract|performance only, REASON";

    /// <summary>Whether one of <see cref="Replacements"/> is what a mutant replaces by.</summary>
    /// <param name="by">One of them.</param>
    /// <param name="replacement">The mutant's.</param>
    public static bool Covers(string by, string replacement) =>
        Regex.IsMatch(WithoutSpace(replacement), $"^{string.Join(".*", WithoutSpace(by).Split('…').Select(Regex.Escape))}$", RegexOptions.CultureInvariant);

    /// <summary>
    /// Whether nothing is left of what was there. A removed invalidation is the most real fault there is, so no removed statement is excused.
    /// </summary>
    public static bool IsRemoval(string replacement) => WithoutSpace(replacement) is "" or ";" or "{}";

    /// <summary>The excuses in a source, and what is wrong with those that are none.</summary>
    /// <param name="source">The source.</param>
    /// <returns>The excuses in their order; of each other comment that begins like one its line and what was expected.</returns>
    public static (IReadOnlyList<Excuse> Excuses, IReadOnlyList<string> Mistakes) In(string source)
    {
        string[] lines = [.. source.ReplaceLineEndings("\n").Split('\n').Select(static line => line.Trim())];
        List<Excuse> excuses = [];
        List<string> mistakes = [];
        for (int i = 0; i < lines.Length; i++)
        {
            if (!lines[i].StartsWith(Opening, StringComparison.Ordinal)) continue;
            StringBuilder text = new(lines[i][Opening.Length..]);
            int next = i + 1;
            for (; IsComment(next) && !lines[next].StartsWith(Opening, StringComparison.Ordinal); next++) text.Append(lines[next].AsSpan(2));
            int code = next;
            while (IsComment(code)) code++;
            Match match = Comment().Match(text.ToString());
            if (match.Success && code < lines.Length && match.Groups["by"].Captures.All(static by => WithoutSpace(by.Value).Trim('…').Length != 0))
                excuses.Add(new(i + 1, code + 1, [.. match.Groups["by"].Captures.Select(static by => by.Value)], match.Groups["reason"].Value));
            else
                mistakes.Add($"line {i + 1}: expected \"{Form}\" above a line of code");
        }

        return (excuses, mistakes);

        bool IsComment(int line) => line < lines.Length && lines[line].StartsWith("//", StringComparison.Ordinal);
    }

    private static string WithoutSpace(string text) => string.Concat(text.Where(static c => !char.IsWhiteSpace(c)));

    [GeneratedRegex("^`(?<by>[^`]+)`((,| and) as `(?<by>[^`]+)`)*: (?<reason>(equivalent|unreachable by contract|performance only), .+)$")]
    private static partial Regex Comment();
}
