using Mutation.Excuses;

namespace Properties.Mutating;

/// <summary>A comment that excuses a mutant says which, of what kind the excuse is and why; what does not is told and excuses nothing.</summary>
public sealed class ExcuseLaws
{
    [Fact]
    public void It_speaks_of_the_next_line_that_is_no_comment()
    {
        (IReadOnlyList<Excuse> excuses, IReadOnlyList<string> mistakes) = Excuse.In(
            """
            class A
            {
                // Survives as `a`: equivalent, one
                // Survives as `b` and as `c`: performance only, it takes
                // longer
                int x = 1;

                // Of something else.
                // Survives as `…d`, as `e` and as `f(…)`: unreachable by contract, none
                int y = 2;
            }
            """);
        Assert.Empty(mistakes);
        Assert.Equal(
            ["3 of 6: a; equivalent, one", "4 of 6: b c; performance only, it takes longer", "9 of 10: …d e f(…); unreachable by contract, none"],
            excuses.Select(static excuse => $"{excuse.CommentLine} of {excuse.Line}: {string.Join(' ', excuse.Replacements)}; {excuse.Reason}"));
    }

    [Theory]
    [InlineData("// Survives as a: equivalent, one")]
    [InlineData("// Survives as `a`: equivalent")]
    [InlineData("// Survives as `a`: equivalent, ")]
    [InlineData("// Survives as `a`: hard to test, one")]
    [InlineData("// Survives as `a`; equivalent, one")]
    [InlineData("// Survives as `…`: equivalent, all")]
    [InlineData("// Survives as `a` and as `… …`: equivalent, all")]
    public void What_is_in_another_form_excuses_nothing(string comment)
    {
        (IReadOnlyList<Excuse> excuses, IReadOnlyList<string> mistakes) = Excuse.In($"\n{comment}\nx");
        Assert.Empty(excuses);
        Assert.Equal([$"line 2: expected \"{Excuse.Form}\" above a line of code"], mistakes);
    }

    [Fact]
    public void Below_the_last_line_is_no_code() => Assert.Single(Excuse.In("// Survives as `a`: equivalent, one").Mistakes);

    [Theory]
    [InlineData("a+b", "a + b", true)]
    [InlineData("a + b", "a\n    + b", true)]
    [InlineData("a + b", "a + bc", false)]
    [InlineData("a + b", "c + a + b", false)]
    [InlineData("… + b", "c + a + b", true)]
    [InlineData("a…c", "a + b + c", true)]
    [InlineData("a…c", "a + b", false)]
    [InlineData("a.b", "a+b", false)]
    [InlineData("(true?…)", "(true?a :b)", true)]
    public void White_space_does_not_matter_and_a_gap_is_any_text(string by, string replacement, bool covers) => Assert.Equal(covers, Excuse.Covers(by, replacement));

    [Theory]
    [InlineData(";", true)]
    [InlineData("{}", true)]
    [InlineData("{\n}", true)]
    [InlineData("", true)]
    [InlineData("{};", false)]
    [InlineData("false", false)]
    public void What_leaves_nothing_is_a_removal(string replacement, bool isRemoval) => Assert.Equal(isRemoval, Excuse.IsRemoval(replacement));

    // An hour of mutation would be over before it told of a slip.
    [Fact]
    public void Each_excuse_in_what_is_mutated_is_in_the_form_and_nothing_is_kept_from_being_tried()
    {
        string root = Checkout.Root;
        int count = 0;
        foreach (string path in new[] { "src", "spec" }.SelectMany(folder => Directory.EnumerateFiles(Path.Combine(root, folder), "*.cs", SearchOption.AllDirectories)))
        {
            string text = File.ReadAllText(path);
            (IReadOnlyList<Excuse> excuses, IReadOnlyList<string> mistakes) = Excuse.In(text);
            Assert.True(mistakes.Count == 0, $"{path}: {string.Join("; ", mistakes)}");
            Assert.DoesNotContain("Stryker disable", text, StringComparison.Ordinal);
            count += excuses.Count;
        }

        Assert.NotEqual(0, count);
    }
}
