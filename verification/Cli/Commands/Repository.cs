namespace Verify.Commands;

/// <summary>The checkout that a command works on.</summary>
internal static class Repository
{
    private const string RootMark = "Verification.sln";

    /// <summary>Its root, from a folder in it.</summary>
    /// <exception cref="EnvironmentException">The folder is in none.</exception>
    public static string RootOf(string directory)
    {
        for (DirectoryInfo? at = new(directory); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, RootMark))) return at.FullName;
        }

        throw new EnvironmentException($"{directory} is not inside the repository; expected {RootMark} there or above");
    }
}
