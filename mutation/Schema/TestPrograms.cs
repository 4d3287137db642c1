namespace Mutation.Schema;

/// <summary>Copies of the project's own tests with the mutated library in the place of the library, all in one folder with the program that runs them.</summary>
/// <param name="Folder">Where they are.</param>
public sealed record TestPrograms(string Folder)
{
    /// <summary>Generated tests and laws.</summary>
    public const string Properties = "Properties";

    /// <summary>Tests that hold the library to what others wrote down.</summary>
    public const string Conformance = "Conformance";

    private const string RunnerName = "testrunner";

    /// <summary>All assemblies of tests that hunt, by their simple names.</summary>
    public static IReadOnlyList<string> Assemblies { get; } = [Properties, Conformance];

    /// <summary>Runs chosen tests.</summary>
    public string Runner => Path.Combine(Folder, $"{RunnerName}.dll");

    /// <summary>Says why no copies can be made; null if they can.</summary>
    /// <param name="programs">Where <c>verify</c> was built.</param>
    /// <param name="root">The root of the repository.</param>
    /// <param name="configuration">Debug or Release.</param>
    public static string? MissingOf(string programs, string root, string configuration)
    {
        foreach (string project in (string[])[.. Assemblies, "TestRunner"])
        {
            string built = BuiltOf(root, configuration, project);
            string assembly = Path.Combine(built, project == "TestRunner" ? $"{RunnerName}.dll" : $"{project}.dll");
            if (!File.Exists(assembly)) return $"{assembly} is not built";
            // Tests of other sources would be asked about members that are not there.
            foreach (string shared in (string[])["Harness.dll", MutatedPrograms.Library])
            {
                string theirs = Path.Combine(built, shared);
                if (File.Exists(theirs) && !File.ReadAllBytes(theirs).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(programs, shared))))
                    return $"{assembly} was built from other sources than verify";
            }
        }

        return null;
    }

    /// <summary>Makes them anew.</summary>
    /// <param name="library">What takes the library's place.</param>
    /// <param name="folder">Where they will be.</param>
    /// <param name="root">The root of the repository.</param>
    /// <param name="configuration">Debug or Release.</param>
    public static TestPrograms Make(MutatedLibrary library, string folder, string root, string configuration)
    {
        foreach (string project in Assemblies)
        {
            string built = BuiltOf(root, configuration, project);
            MutatedPrograms.Copy(built, folder, library);
            // What tests start is as it was built: among it the worker with the library as it is.
            foreach (string below in Directory.GetDirectories(built)) CopyAsIs(below, Path.Combine(folder, Path.GetFileName(below)));
        }

        string runner = BuiltOf(root, configuration, "TestRunner");
        // No list of dependencies goes with it: so all that is in the folder can be loaded, and it is there already.
        foreach (string file in (string[])[$"{RunnerName}.dll", $"{RunnerName}.runtimeconfig.json"]) File.Copy(Path.Combine(runner, file), Path.Combine(folder, file), overwrite: true);
        return new(folder);
    }

    private static void CopyAsIs(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (string file in Directory.GetFiles(from)) File.Copy(file, Path.Combine(to, Path.GetFileName(file)), overwrite: true);
        foreach (string below in Directory.GetDirectories(from)) CopyAsIs(below, Path.Combine(to, Path.GetFileName(below)));
    }

    private static string BuiltOf(string root, string configuration, string project) =>
        Path.Combine(root, "verification", project, "bin", configuration, $"net{Environment.Version.ToString(2)}");
}
