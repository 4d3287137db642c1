using System.Reflection;
using System.Runtime.Loader;
using System.Text.Json.Nodes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Text;
using Mutation.Excuses;
using Mutation.Schema;
using Properties.Cli;
using Verify.Output;

namespace Properties.Mutating;

/// <summary>What is said to be the program itself is that, and nothing else is said to be.</summary>
public sealed class UnsignedShiftsLaws
{
    [Theory]
    [InlineData("byte", true)]
    [InlineData("ushort", true)]
    [InlineData("char", true)]
    [InlineData("uint", true)]
    [InlineData("ulong", true)]
    [InlineData("nuint", true)]
    [InlineData("sbyte", false)]
    [InlineData("short", false)]
    [InlineData("int", false)]
    [InlineData("long", false)]
    [InlineData("nint", false)]
    public void A_shift_is_the_same_just_where_the_operand_has_no_sign(string type, bool isSame)
    {
        Assert.Equal(isSame, Has(type, "x >> 3", "x >>> 3"));
        // And so it is: for the least and the greatest value.
        Assert.Equal(isSame, Behave(type, "x >> 3").SequenceEqual(Behave(type, "x >>> 3")));
    }

    [Theory]
    [InlineData("x >>= 3", "x >>>= 3", true)]
    [InlineData("(x + 1) >> 3", "(x + 1) >>> 3", true)]
    [InlineData("(int)x >> 3", "(int)x >>> 3", false)]
    [InlineData("x >> 3", "x << 3", false)]
    [InlineData("x >> 3", "x >>> 4", false)]
    [InlineData("x >> 3", "1 >>> 3", false)]
    [InlineData("x << 3", "x >>> 3", false)]
    [InlineData("x + 1", "x >>> 1", false)]
    public void Nothing_but_the_sign_of_the_shift_may_be_another(string there, string instead, bool isSame)
    {
        Assert.Equal(isSame, Has("ulong", there, instead));
        Assert.Equal(isSame, Behave("ulong", there).SequenceEqual(Behave("ulong", instead)));
    }

    [Fact]
    public void What_is_not_there_any_more_is_nothing()
    {
        var shifts = new UnsignedShifts(new(("a.cs", "class A { uint B(uint x) => x >> 3; }")));
        Assert.False(shifts.Has("b.cs", new(new(0, 0), new(0, 1)), "x >>> 3"));
        Assert.False(shifts.Has("a.cs", new(new(7, 0), new(7, 1)), "x >>> 3"));
        Assert.False(shifts.Has("a.cs", new(new(0, 0), new(0, 900)), "x >>> 3"));
        Assert.False(shifts.Has("a.cs", new(new(0, 30), new(0, 40)), "x >>> 3"));
    }

    [Fact]
    public void The_reports_of_Stryker_have_them_as_ignored_with_the_reason()
    {
        using var terminal = new Terminal();
        const string Source = "class A { uint B(uint x) => x >> 3; int C(int x) => x >> 3; }";
        LibrarySources sources = new(("a.cs", Source));
        string report = $$"""
            { "schemaVersion": "2", "thresholds": { "high": 90, "low": 80 }, "files": { "/a.cs": { "language": "cs", "source": "", "mutants": [
              {{Mutant(Source.IndexOf("x >> 3", StringComparison.Ordinal), ">>>", "Survived")}}, {{Mutant(Source.IndexOf("x >> 3", StringComparison.Ordinal), "<<", "Survived")}},
              {{Mutant(Source.LastIndexOf("x >> 3", StringComparison.Ordinal), ">>>", "NoCoverage")}}, {{Mutant(Source.IndexOf("x >> 3", StringComparison.Ordinal), ">>>", "Killed")}} ] } } }
            """;
        terminal.Write("mutation-report.json", report);
        (MutationScore score, _) = StrykerOutput.Settle("", terminal.Folder, new HashSet<string>(), "/", () => sources);
        Assert.Equal("mutation score 33.3%: 1 killed, 0 timed out, 1 survived, 1 not covered", score.ToString());
        JsonArray mutants = JsonNode.Parse(File.ReadAllText(Path.Combine(terminal.Folder, "mutation-report.json")))!["files"]!["/a.cs"]!["mutants"]!.AsArray();
        Assert.Equal([$"Ignored {UnsignedShifts.Reason}", "Survived ", "NoCoverage ", "Killed "], mutants.Select(static mutant => $"{mutant!["status"]} {mutant["statusReason"]}"));

        static string Mutant(int at, string shift, string status) =>
            $$"""{ "id": "{{at}}{{shift}}{{status}}", "mutatorName": "m", "replacement": "x {{shift}} 3", "status": "{{status}}", "location": { "start": { "line": 1, "column": {{at + 1}} }, "end": { "line": 1, "column": {{at + 7}} } } }""";
    }

    [Fact]
    public void Without_such_a_mutant_nobody_asks_for_the_sources()
    {
        using var terminal = new Terminal();
        terminal.Write("mutation-report.json", """{ "thresholds": { "low": 80 }, "files": { "/a.cs": { "mutants": [ { "status": "Survived", "replacement": "x << 3" }, { "status": "Killed", "replacement": "x >>> 3" } ] } } }""");
        (MutationScore score, _) = StrykerOutput.Settle("", terminal.Folder, new HashSet<string>(), "/", static () => throw new InvalidOperationException("asked"));
        Assert.Equal("mutation score 50.0%: 1 killed, 0 timed out, 1 survived, 0 not covered", score.ToString());
    }

    private static string Program(string type, string expression) => $"public static class A {{ public static object B({type} x) {{ return {expression}; }} }}";

    private static bool Has(string type, string there, string instead)
    {
        string text = Program(type, there);
        int at = text.IndexOf(there, StringComparison.Ordinal);
        return new UnsignedShifts(new(("a.cs", text))).Has("a.cs", new LinePositionSpan(new(0, at), new(0, at + there.Length)), instead);
    }

    private static object[] Behave(string type, string expression)
    {
        CSharpCompilation compiled = new LibrarySources(("a.cs", Program(type, expression))).Compilation;
        using var image = new MemoryStream();
        Assert.Empty(compiled.Emit(image).Diagnostics.Where(static told => told.Severity == Microsoft.CodeAnalysis.DiagnosticSeverity.Error));
        image.Position = 0;
        var context = new AssemblyLoadContext("A", isCollectible: true);
        MethodInfo method = context.LoadFromStream(image).GetType("A")!.GetMethod("B")!;
        Type operand = method.GetParameters()[0].ParameterType;
        object[] values = [.. new[] { "MinValue", "MaxValue" }.Select(name => operand.GetField(name)?.GetValue(null) ?? operand.GetProperty(name)!.GetValue(null)!)];
        object[] found = [.. values.Select(value => method.Invoke(null, [value])!)];
        context.Unload();
        return found;
    }
}
