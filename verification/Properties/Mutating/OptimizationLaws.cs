using System.Diagnostics;
using System.Reflection;
using System.Runtime.Loader;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using MutantHost;
using Properties.Cli;

namespace Properties.Mutating;

/// <summary>What Stryker.NET compiles for a debugger is optimized when it runs, and nothing else is touched.</summary>
public sealed class OptimizationLaws
{
    private static readonly MetadataReference[] References =
        [.. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator).Select(static path => MetadataReference.CreateFromFile(path))];

    [Theory]
    [InlineData("Mutated", "namespace StrykerAbc { static class MutantControl { } }", false)]
    [InlineData("Nothing", "namespace Stryker { static class Control { } }", true)]
    [InlineData("Another", "static class MutantControl { }", true)]
    [InlineData("System.Mutated", "namespace StrykerAbc { static class MutantControl { } }", true)]
    public void An_assembly_with_mutants_is_optimized(string name, string source, bool isForDebugger)
    {
        using var terminal = new Terminal();
        string file = Path.Combine(terminal.Folder, $"{name}.dll");
        var options = new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, optimizationLevel: OptimizationLevel.Debug);
        Assert.True(CSharpCompilation.Create(name, [CSharpSyntaxTree.ParseText(source)], References, options).Emit(file).Success);
        byte[] before = File.ReadAllBytes(file);
        Optimization.Allow(terminal.Folder);
        Assert.Equal(isForDebugger, IsForDebugger(file));
        // Again: another process does the same.
        Optimization.Allow(terminal.Folder);
        Assert.Equal(isForDebugger, IsForDebugger(file));
        Assert.Equal(isForDebugger ? 0 : 1, before.Zip(File.ReadAllBytes(file)).Count(static pair => pair.First != pair.Second));
    }

    private static bool IsForDebugger(string file)
    {
        var context = new AssemblyLoadContext("debuggable", isCollectible: true);
        using var image = new MemoryStream(File.ReadAllBytes(file));
        bool isDisabled = context.LoadFromStream(image).GetCustomAttribute<DebuggableAttribute>()!.IsJITOptimizerDisabled;
        context.Unload();
        return isDisabled;
    }
}
