using Harness;
using Microsoft.CodeAnalysis.Text;

namespace Verify.Running;

/// <summary>What of the checkout is not as it was at a revision, asked of git.</summary>
internal sealed class ChangedCode
{
    private readonly string _root;
    private readonly string _commit;
    private readonly AskTool _ask;

    private ChangedCode(string root, string commit, AskTool ask)
    {
        _root = root;
        _commit = commit;
        _ask = ask;
    }

    /// <summary>What changed since a revision: a branch, a tag, a commit.</summary>
    /// <exception cref="BadInputException">There is no such revision.</exception>
    public static ChangedCode Since(string revision, string root, AskTool ask)
    {
        (int exit, string said) = ask("git", ["rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{commit}"], root);
        return exit == 0 ? new ChangedCode(root, said.Trim(), ask) : throw new BadInputException($"--since: \"{revision}\" is no revision of this repository; expected a branch, a tag or a commit");
    }

    /// <summary>Patterns for Stryker that match the members in a folder that changed, committed or not, and every file in it that git does not know yet.</summary>
    /// <param name="folder">The folder, from the root.</param>
    /// <param name="leftOut">A folder in it that does not count; null: none.</param>
    public IReadOnlyList<string> PatternsIn(string folder, string? leftOut)
    {
        bool Counts(string path) => path.EndsWith(".cs", StringComparison.Ordinal) && (leftOut is null || !path.StartsWith(leftOut + "/", StringComparison.Ordinal));

        string diff = Git("-c", "core.quotePath=false", "diff", "--unified=0", "--no-prefix", "--no-color", "--no-ext-diff", "--find-renames", _commit, "--", folder);
        string files = Git("-c", "core.quotePath=false", "ls-files", "--others", "--exclude-standard", "--", folder);
        return
        [
            .. ChangedLines.Read(diff).Where(file => Counts(file.Key)).SelectMany(file => PatternOf(file.Key, file.Value)),
            .. files.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(Counts).Select(static path => "**/" + path),
        ];
    }

    private IEnumerable<string> PatternOf(string path, IReadOnlyList<LineSpan> lines)
    {
        IReadOnlyList<TextSpan> spans = ChangedMembers.Of(File.ReadAllText(Path.Combine(_root, path)), lines);
        if (spans.Count != 0) yield return "**/" + path + string.Concat(spans.Select(static span => $"{{{span.Start}..{span.End}}}"));
    }

    private string Git(params string[] arguments)
    {
        (int exit, string said) = _ask("git", arguments, _root);
        return exit == 0 ? said : throw new EnvironmentException($"git {string.Join(' ', arguments)} failed with exit code {exit}");
    }
}
