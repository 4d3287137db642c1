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

    // As much of Stryker.NET's class as it is known by.
    private const string Mutated = """
        namespace StrykerAbc
        {
            public static class MutantControl
            {
                public static bool CaptureCoverage;
                public static int ActiveMutant = -2;
                public static System.Collections.Generic.List<int> Covered = new();

                public static bool IsActive(int id)
                {
                    if (CaptureCoverage)
                    {
                        RegisterCoverage(id);
                        return false;
                    }

                    if (ActiveMutant == -2) throw new System.InvalidOperationException("looks for the number");
                    string? asked = System.Environment.GetEnvironmentVariable("NO_SUCH_VARIABLE");
                    if (asked is not null) ActiveMutant = int.Parse(asked);
                    return id == ActiveMutant;
                }

                private static void RegisterCoverage(int id) => Covered.Add(id);
            }
        }

        public static class Code
        {
            public static int Value(int x) => StrykerAbc.MutantControl.IsActive(7) ? x - 1 : x + 1;
        }
        """;

    [Fact]
    public void An_assembly_with_mutants_is_optimized_and_asks_for_the_active_one_and_no_more()
    {
        using var terminal = new Terminal();
        string file = Compile(terminal, "Mutated", Mutated);
        Assert.True(Look(file, static assembly => assembly.GetCustomAttribute<DebuggableAttribute>()!.IsJITOptimizerDisabled));
        // Twice: another process does the same.
        for (int i = 0; i < 2; i++)
        {
            Optimization.Allow(terminal.Folder);
            Look(file, static assembly =>
            {
                Assert.False(assembly.GetCustomAttribute<DebuggableAttribute>()!.IsJITOptimizerDisabled);
                Type control = assembly.GetType("StrykerAbc.MutantControl")!;
                MethodInfo isActive = control.GetMethod("IsActive")!;
                Assert.True(isActive.MethodImplementationFlags.HasFlag(MethodImplAttributes.AggressiveInlining));
                Assert.True(isActive.GetMethodBody()!.GetILAsByteArray()!.Length < 32);
                MethodInfo value = assembly.GetType("Code")!.GetMethod("Value")!;
                // -2 is a number like any other: nobody looks for one.
                foreach ((int active, int expected) in new[] { (-2, 11), (7, 9), (8, 11), (-1, 11) })
                {
                    control.GetField("ActiveMutant")!.SetValue(null, active);
                    Assert.Equal(expected, value.Invoke(null, [10]));
                }

                control.GetField("ActiveMutant")!.SetValue(null, 7);
                control.GetField("CaptureCoverage")!.SetValue(null, true);
                Assert.Equal(11, value.Invoke(null, [10]));
                Assert.Equal([7], (List<int>)control.GetField("Covered")!.GetValue(null)!);
                return true;
            });
        }
    }

    [Theory]
    [InlineData("Nothing", "namespace Stryker { static class Control { } }")]
    [InlineData("Another", "static class MutantControl { static bool IsActive(int id) => id == 1; }")]
    [InlineData("System.Mutated", Mutated)]
    public void Any_other_assembly_stays_as_it_is(string name, string source)
    {
        using var terminal = new Terminal();
        string file = Compile(terminal, name, source);
        byte[] before = File.ReadAllBytes(file);
        Optimization.Allow(terminal.Folder);
        Assert.Equal(before, File.ReadAllBytes(file));
    }

    /// <summary>Another version of Stryker.NET may have another class.</summary>
    [Theory]
    [InlineData("CaptureCoverage", "Captures")]
    [InlineData("RegisterCoverage", "Register")]
    [InlineData("ActiveMutant", "Active")]
    public void A_class_that_is_not_as_it_is_known_asks_as_before(string name, string instead)
    {
        using var terminal = new Terminal();
        string file = Compile(terminal, "Mutated", Mutated.Replace(name, instead, StringComparison.Ordinal));
        Optimization.Allow(terminal.Folder);
        Assert.False(Look(file, static assembly => assembly.GetCustomAttribute<DebuggableAttribute>()!.IsJITOptimizerDisabled));
        Assert.True(Look(file, static assembly => assembly.GetType("StrykerAbc.MutantControl")!.GetMethod("IsActive")!.GetMethodBody()!.GetILAsByteArray()!.Length > 32));
    }

    private static string Compile(Terminal terminal, string name, string source)
    {
        string file = Path.Combine(terminal.Folder, $"{name}.dll");
        var options = new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, optimizationLevel: OptimizationLevel.Debug, nullableContextOptions: NullableContextOptions.Enable);
        Assert.True(CSharpCompilation.Create(name, [CSharpSyntaxTree.ParseText(source)], References, options).Emit(file).Success);
        return file;
    }

    private static T Look<T>(string file, Func<Assembly, T> look)
    {
        var context = new AssemblyLoadContext("mutated", isCollectible: true);
        using var image = new MemoryStream(File.ReadAllBytes(file));
        T seen = look(context.LoadFromStream(image));
        context.Unload();
        return seen;
    }
}
