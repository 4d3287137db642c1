namespace Mutation.Schema;

/// <summary>Copies of the verification programs with the mutated library in the place of the library: one as compiled, one rewritten for controlled schedules.</summary>
/// <param name="Folder">Where they are.</param>
/// <param name="MutantCount">How many mutants are in that library.</param>
public sealed record MutatedPrograms(string Folder, int MutantCount)
{
    internal const string Library = "Vcmm.dll";

    private const string Controlled = "controlled";

    /// <summary>The command <c>verify</c>.</summary>
    public string Verify => Path.Combine(Folder, "verify.dll");

    /// <summary>The worker that explores schedules.</summary>
    public string Worker => Path.Combine(Folder, Controlled, "explorer.dll");

    /// <summary>The project's own tests; null if they are not to hunt.</summary>
    public TestPrograms? Tests { get; private init; }

    /// <summary>Makes them anew.</summary>
    /// <param name="programs">Where <c>verify</c> and its worker were built.</param>
    /// <param name="library">What takes the library's place.</param>
    /// <param name="folder">Where they will be; all that is there goes.</param>
    /// <param name="root">The root of the repository.</param>
    /// <param name="configuration">Debug or Release.</param>
    /// <param name="withTests">Whether the project's own tests are to hunt, too.</param>
    /// <exception cref="InvalidOperationException">The library cannot be rewritten.</exception>
    public static MutatedPrograms Make(string programs, MutatedLibrary library, string folder, string root, string configuration, bool withTests)
    {
        if (Directory.Exists(folder)) Directory.Delete(folder, recursive: true);
        var made = new MutatedPrograms(folder, library.Mutants.Count) { Tests = withTests ? TestPrograms.Make(library, Path.Combine(folder, "tests"), root, configuration) : null };
        Copy(programs, folder, library);
        string controlled = Path.Combine(folder, Controlled);
        Copy(Path.Combine(programs, Controlled), controlled, library);
        Build.Ask(Path.Combine(root, "verification/Explorer/Explorer.csproj"), configuration, "-t:RewriteGiven", $"-p:GivenFolder={controlled}", $"-p:GivenAssembly={Library}");
        return made;
    }

    internal static void Copy(string from, string to, MutatedLibrary library)
    {
        Directory.CreateDirectory(to);
        foreach (string file in Directory.GetFiles(from)) File.Copy(file, Path.Combine(to, Path.GetFileName(file)), overwrite: true);
        File.WriteAllBytes(Path.Combine(to, Library), library.Image);
        // Its lines are others.
        File.Delete(Path.Combine(to, Path.ChangeExtension(Library, ".pdb")));
    }
}
