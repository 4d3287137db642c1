using System.Globalization;
using System.Text.RegularExpressions;
using Verify;

namespace Properties.Cli;

/// <summary>What <c>verify mutate --since</c> gives to Stryker. Git is the real one, on a repository that the test makes.</summary>
public sealed partial class MutateSinceLaws
{
    private const string Before = """
        namespace N;

        /// <summary>A type.</summary>
        public sealed class C
        {
            private readonly int _a = 1;

            /// <summary>One.</summary>
            public int One() => _a;

            public int Two()
            {
                int b = One();
                b += 2;
                return b;
            }

            public int Three() => 3;
        }

        """;

    private readonly List<string[]> _calls = [];

    [Theory]
    [InlineData("=> _a;", "=> _a + 1;", "public int One() => _a + 1;")]
    [InlineData("        b += 2;\n", "", "public int Two()\n    {\n        int b = One();\n        return b;\n    }")]
    [InlineData("b += 2", "b += 3;\n        b += 4", "public int Two()\n    {\n        int b = One();\n        b += 3;\n        b += 4;\n        return b;\n    }")]
    [InlineData("_a = 1", "_a = 2", "private readonly int _a = 2;")]
    [InlineData("    public int Three() => 3;\n", "    public int Three() => 3;\n\n    public int Four() => 4;\n", "public int Four() => 4;")]
    [InlineData("    public int Three() => 3;\n", "")]
    [InlineData("<summary>One.</summary>", "<summary>The first.</summary>")]
    [InlineData("int b = One();", "int b = One();\n++ b;\n-- b;", "public int Two()\n    {\n        int b = One();\n++ b;\n-- b;\n        b += 2;\n        return b;\n    }")]
    public void Of_a_file_that_changed_the_members_that_changed_are_mutated(string old, string now, params string[] members)
    {
        using Terminal terminal = Repository();
        terminal.Write("src/Vcmm/C.cs", Before.Replace(old, now, StringComparison.Ordinal));
        Assert.Equal(ExitCode.Clean, Run(terminal, "mutate --project vcmm --since HEAD"));
        Assert.Equal(members, Mutated(terminal));
    }

    [Fact]
    public void Of_a_change_to_the_head_of_a_type_all_of_it_is_mutated()
    {
        using Terminal terminal = Repository();
        terminal.Write("src/Vcmm/C.cs", Before.Replace("class C", "class C(int d)", StringComparison.Ordinal));
        Run(terminal, "mutate --project vcmm --since HEAD");
        Assert.StartsWith("public sealed class C(int d)", Assert.Single(Mutated(terminal)), StringComparison.Ordinal);
    }

    [Fact]
    public void Members_of_one_file_are_one_pattern_and_other_files_have_their_own()
    {
        using Terminal terminal = Repository();
        terminal.Write("src/Vcmm/C.cs", Before.Replace("=> _a", "=> -_a", StringComparison.Ordinal).Replace("=> 3", "=> 4", StringComparison.Ordinal));
        terminal.Write("src/Vcmm/Deep/New.cs", "class New { int A => 1; }");
        terminal.Write("src/Vcmm/notes.txt", "not code");
        File.Delete(Path.Combine(terminal.Folder, "src/Vcmm/Gone.cs"));
        Run(terminal, "mutate --project vcmm --since HEAD");
        Assert.Equal(["public int One() => -_a;", "public int Three() => 4;"], Mutated(terminal));
        Assert.Equal(["**/src/Vcmm/C.cs", "**/src/Vcmm/Deep/New.cs"], Patterns().Select(static pattern => pattern.Split('{')[0]).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Commits_since_then_count_and_a_project_in_which_nothing_changed_is_left_out()
    {
        using Terminal terminal = Repository();
        terminal.Write("src/IommuSim/D.cs", "class D { int A => 2; }");
        Commit(terminal);
        Assert.Equal(ExitCode.Clean, Run(terminal, "mutate --since HEAD~1"));
        Assert.Equal("IommuSim.csproj", Assert.Single(_calls, static call => call[0] == "stryker")[4]);
        Assert.Contains("vcmm: no member has changed\n", terminal.Out);
        Assert.Contains("spec: no member has changed\n", terminal.Out);
        _calls.Clear();
        Assert.Equal(ExitCode.Clean, Run(terminal, "mutate --since HEAD"));
        Assert.DoesNotContain(_calls, static call => call[0] == "stryker");
    }

    [Fact]
    public void What_changed_in_a_part_that_has_a_name_of_its_own_is_changed_under_that_name_alone()
    {
        using Terminal terminal = Repository();
        terminal.Write("src/Vcmm/Allocation/New.cs", "class New { int A => 1; }");
        Assert.Equal(ExitCode.Clean, Run(terminal, "mutate --since HEAD"));
        Assert.Equal("stryker-config.allocation.json", Assert.Single(_calls, static call => call[0] == "stryker")[2]);
        Assert.Equal(["**/src/Vcmm/Allocation/New.cs"], Patterns());
        Assert.Contains("vcmm: no member has changed\n", terminal.Out);
    }

    [Theory]
    [InlineData("--since no-such-branch", "verify: --since: \"no-such-branch\" is no revision of this repository; expected a branch, a tag or a commit")]
    [InlineData("--since HEAD~99", "verify: --since: \"HEAD~99\" is no revision of this repository; expected a branch, a tag or a commit")]
    [InlineData("--since HEAD --files **/C.cs", "verify: --since and --files each say what is changed; expected one of them")]
    public void What_is_no_revision_is_refused_before_anything_runs(string options, string message)
    {
        using Terminal terminal = Repository();
        Assert.Equal(ExitCode.BadInput, Run(terminal, "mutate " + options));
        Assert.Equal(message, terminal.OneErrorLine());
        Assert.Empty(_calls);
    }

    private static Terminal Repository()
    {
        var terminal = new Terminal();
        terminal.Write("Verification.sln", "");
        terminal.Write("src/Vcmm/C.cs", Before);
        terminal.Write("src/Vcmm/Gone.cs", "class Gone { int A => 1; }");
        terminal.Write("src/IommuSim/D.cs", "class D { int A => 1; }");
        Git(terminal, "init", "--quiet");
        Commit(terminal);
        return terminal;
    }

    private static void Commit(Terminal terminal)
    {
        Git(terminal, "add", ".");
        Git(terminal, "-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgSign=false", "commit", "--quiet", "--message", "a");
    }

    private static void Git(Terminal terminal, params string[] arguments) => Assert.Equal(0, Tools.Run("git", arguments, terminal.Folder, CancellationToken.None));

    private int Run(Terminal terminal, string line) => terminal.Run(line, here => here with
    {
        Tool = (_, arguments, _, _) =>
        {
            _calls.Add([.. arguments]);
            if (arguments[0] == "stryker") terminal.Write($"StrykerOutput/2025-01-0{_calls.Count}/reports/mutation-report.json", """{ "thresholds": { "low": 80 }, "files": {} }""");
            return 0;
        },
    });

    private IEnumerable<string> Patterns() => _calls.Where(static call => call[0] == "stryker").SelectMany(static call => call.Index().Where(at => at.Index > 0 && call[at.Index - 1] == "--mutate").Select(static at => at.Item));

    /// <summary>The text that the patterns for the file point at.</summary>
    private IEnumerable<string> Mutated(Terminal terminal)
    {
        string text = File.ReadAllText(Path.Combine(terminal.Folder, "src/Vcmm/C.cs"));
        return Patterns().SelectMany(static pattern => Span().Matches(pattern)).Select(span => text[Number(span, 1)..Number(span, 2)]);
    }

    private static int Number(Match span, int group) => int.Parse(span.Groups[group].Value, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"\{(\d+)\.\.(\d+)\}")]
    private static partial Regex Span();
}
