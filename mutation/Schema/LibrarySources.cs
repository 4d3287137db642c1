using System.Collections.Immutable;
using System.Text.Json.Nodes;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace Mutation.Schema;

/// <summary>The sources of a project, and how they are compiled.</summary>
public sealed class LibrarySources
{
    private readonly string _root;
    private readonly Dictionary<string, SyntaxTree> _trees;
    private readonly Dictionary<string, ImmutableArray<MemberBody>> _bodies = [];

    private LibrarySources(string root, string name, CSharpCommandLineArguments how)
    {
        _root = root;
        AssemblyName = name;
        ParseOptions = how.ParseOptions;
        // What a mutant leaves over is no reason to refuse it.
        Options = how.CompilationOptions.WithGeneralDiagnosticOption(ReportDiagnostic.Default).WithSpecificDiagnosticOptions([]);
        References = [.. how.MetadataReferences.Select(static reference => MetadataReference.CreateFromFile(reference.Reference, reference.Properties))];
        _trees = how.SourceFiles.ToDictionary(
            file => Path.GetRelativePath(root, file.Path).Replace('\\', '/'),
            file => CSharpSyntaxTree.ParseText(File.ReadAllText(file.Path).ReplaceLineEndings("\n"), how.ParseOptions, file.Path));
    }

    /// <summary>Sources that are given, compiled with what this process runs on.</summary>
    /// <param name="files">Each with its path and its text.</param>
    internal LibrarySources(params IEnumerable<(string Path, string Text)> files)
    {
        _root = Path.GetFullPath("/");
        AssemblyName = "Given";
        ParseOptions = CSharpParseOptions.Default;
        Options = new(OutputKind.DynamicallyLinkedLibrary, nullableContextOptions: NullableContextOptions.Enable, allowUnsafe: true);
        string runtime = (string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!;
        References = [.. runtime.Split(Path.PathSeparator).Select(static path => MetadataReference.CreateFromFile(path))];
        _trees = files.ToDictionary(static file => file.Path, file => CSharpSyntaxTree.ParseText(file.Text, ParseOptions, Path.Combine(_root, file.Path)));
    }

    /// <summary>The name of the assembly.</summary>
    public string AssemblyName { get; }

    /// <summary>How the sources are read.</summary>
    public CSharpParseOptions ParseOptions { get; }

    /// <summary>How they are compiled.</summary>
    public CSharpCompilationOptions Options { get; }

    /// <summary>With what.</summary>
    public ImmutableArray<PortableExecutableReference> References { get; }

    /// <summary>All files.</summary>
    public IEnumerable<SyntaxTree> Trees => _trees.Values;

    /// <summary>The library as it is.</summary>
    public CSharpCompilation Compilation => field ??= CSharpCompilation.Create(AssemblyName, Trees, References, Options);

    /// <summary>Asks the build of a project how it compiles what; the project must have been restored and its references built.</summary>
    /// <param name="root">The root of the repository.</param>
    /// <param name="project">The project's file, from there.</param>
    /// <param name="configuration">Debug or Release.</param>
    /// <exception cref="InvalidOperationException">The build does not say.</exception>
    public static LibrarySources Read(string root, string project, string configuration)
    {
        string path = Path.Combine(root, project);
        // A build for a designer: everything up to the compiler, which is not run.
        string said = Build.Ask(
            path, configuration, "-t:Compile", "-p:DesignTimeBuild=true", "-p:ProvideCommandLineArgs=true", "-p:SkipCompilerExecution=true", "-p:BuildProjectReferences=false",
            "-p:NonExistentFile=none/none", "-getItem:CscCommandLineArgs");
        string[] arguments = JsonNode.Parse(said)?["Items"]?["CscCommandLineArgs"] is JsonArray items
            ? [.. items.Select(static item => (string)item!["Identity"]!)]
            : throw new InvalidOperationException($"{project}: the build does not say how it compiles");
        if (arguments.Length == 0) throw new InvalidOperationException($"{project}: the build does not say how it compiles");
        CSharpCommandLineArguments how = CSharpCommandLineParser.Default.Parse(arguments, Path.GetDirectoryName(path), sdkDirectory: null);
        return new(root, Path.GetFileNameWithoutExtension(project), how);
    }

    /// <summary>The text of a file, with line feeds for line ends.</summary>
    /// <param name="file">Its path, from the root of the repository.</param>
    /// <exception cref="Harness.BadInputException">It is not compiled here.</exception>
    public string TextOf(string file) => TreeOf(file).ToString();

    /// <summary>Whether somebody wrote the file; the build makes others.</summary>
    internal bool IsWritten(SyntaxTree tree) => !PathOf(tree).Contains("/obj/", StringComparison.Ordinal);

    internal string PathOf(SyntaxTree tree) => Path.GetRelativePath(_root, tree.FilePath).Replace('\\', '/');

    internal ImmutableArray<MemberBody> BodiesOf(string file)
    {
        if (!_bodies.TryGetValue(file, out ImmutableArray<MemberBody> bodies)) _bodies.Add(file, bodies = [.. MemberBody.AllOf(TreeOf(file).GetRoot())]);
        return bodies;
    }

    /// <summary>What a file says; null if it is not compiled here.</summary>
    internal SyntaxTree? Find(string file) => _trees.GetValueOrDefault(file);

    private SyntaxTree TreeOf(string file) =>
        Find(file) ?? throw new Harness.BadInputException($"{file} is no source of {AssemblyName}");
}
