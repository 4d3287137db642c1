namespace Mutation.Report;

/// <summary>Paths of a report as paths from the root of the repository, with slashes.</summary>
/// <param name="root">The root of the repository.</param>
public sealed class ReportPaths(string root)
{
    private readonly string _root = Slashed(Path.GetFullPath(root)).TrimEnd('/');

    /// <summary>
    /// A report's file in the repository. It may be given from its root, from that of a project, or whole, and be of another checkout, on this machine or on another: then the end of
    /// the path says which file it is. What is not in the repository stays as it is.
    /// </summary>
    /// <param name="path">The path, as the report gives it.</param>
    /// <param name="projectRoot">Where the report says that its paths begin; null: it does not say.</param>
    public string Of(string path, string? projectRoot)
    {
        string slashed = Slashed(path);
        string whole = IsWhole(slashed) || projectRoot is null ? slashed : $"{Slashed(projectRoot).TrimEnd('/')}/{slashed}";
        whole = whole.StartsWith(_root + "/", StringComparison.Ordinal) ? whole[(_root.Length + 1)..] : whole;
        string[] parts = [.. whole.Split('/').Where(static part => part is not ("" or "."))];
        for (int skipped = 0; skipped < parts.Length; skipped++)
        {
            string end = string.Join('/', parts[skipped..]);
            if (!end.Contains("..", StringComparison.Ordinal) && File.Exists(Path.Combine(_root, end))) return end;
        }

        return slashed;
    }

    private static string Slashed(string path) => path.Replace('\\', '/');

    private static bool IsWhole(string path) => path.StartsWith('/') || (path.Length > 2 && char.IsAsciiLetter(path[0]) && path[1] == ':' && path[2] == '/');
}
