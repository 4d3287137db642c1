using Harness;
using Mutation.Exhibits;
using Mutation.Schema;
using Vcmm.Spec;

namespace Properties.Mutating;

/// <summary>What an exhibit's file says, and what is refused.</summary>
public sealed class ExhibitLaws
{
    private const string Whole =
        """
        Title: The flush is left out
        Source: Nobody's kernel, 0123456789ab
        Story: It forgot,
          and went on.
        Here: Likewise.
        Breaks: I4 I5
        Threads: yes
        Scenario: recycle same-table

        --- a.cs
        @@
             int one = 1;
        -    Flush();
             int two = 2;
        @@
        -    Old();
        +    New();
        --- b.cs
        @@
         {
        +    More();
         }
        """;

    [Fact]
    public void A_file_is_read_field_by_field()
    {
        Exhibit read = Exhibit.Parse("flush-left-out", Whole);
        Assert.Equal("The flush is left out", read.Title);
        Assert.Equal("It forgot, and went on.", read.Story);
        Assert.Equal("I4 I5", string.Join(' ', read.Breaks.Select(Invariants.Id)));
        Assert.True(read.NeedsThreads);
        Assert.Equal("recycle same-table", string.Join(' ', read.Scenarios));
        Assert.Equal(
            [("a.cs", 3, 2), ("a.cs", 1, 1), ("b.cs", 2, 3)],
            read.Hunks.Select(static hunk => (hunk.File, hunk.Before.Length, hunk.After.Length)));
    }

    [Theory]
    [InlineData("Title: The flush is left out\n", "", "Title is missing")]
    [InlineData("Title:", "Titel:", "\"Titel\" is no field")]
    [InlineData("Here: Likewise.", "Here: Likewise.\nHere: Again.", "Here is there twice")]
    [InlineData("I4 I5", "I4 I15", "\"I15\"")]
    [InlineData("I4 I5", "4", "\"4\"")]
    [InlineData("Threads: yes", "Threads: maybe", "Threads is \"maybe\"")]
    [InlineData("Scenario: recycle same-table\n", "", "expected a Scenario")]
    [InlineData("+    New();", "*    New();", "begins with '*'")]
    [InlineData("--- ", "=== ", "no file is changed")]
    public void What_is_no_exhibit_is_refused_by_the_field(string there, string instead, string problem) =>
        Assert.Contains(problem, Assert.Throws<BadInputException>(() => Exhibit.Parse("flush-left-out", Whole.ReplaceLineEndings("\n").Replace(there, instead, StringComparison.Ordinal))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("FlushLeftOut")]
    [InlineData("flush_left_out")]
    [InlineData("")]
    public void A_name_is_of_lower_case_words(string name) => Assert.Throws<BadInputException>(() => Exhibit.Parse(name, Whole));

    /// <summary>Of a hunk only what changes is edited, so that lines around it may lie outside of a body.</summary>
    [Theory]
    [InlineData("a\nb\nc\n", "a,b,c", "a,c", "b\n", "")]
    [InlineData("a\nb\nc\n", "a,c1", "", null, null)]
    [InlineData("a\nb\nb\n", "b", "c", null, null)]
    [InlineData("a\nb\n", "a,b", "a,b", null, null)]
    [InlineData("a\n    call(two);\nc\n", "    call(two);", "    call(too);", "w", "o")]
    [InlineData("a\nc\n", "a,c", "a,b,c", "", "b\n")]
    public void An_edit_is_the_least_that_changes(string text, string before, string after, string? goes, string? comes)
    {
        var hunk = new Hunk("a.cs", [.. before.Split(',')], [.. after.Split(',')]);
        if (goes is null)
        {
            Assert.Throws<BadInputException>(() => hunk.EditOf(text));
            return;
        }

        SourceEdit edit = hunk.EditOf(text);
        Assert.Equal(goes, text.Substring(edit.Span.Start, edit.Span.Length));
        Assert.Equal(comes, edit.NewText);
        string changed = text[..edit.Span.Start] + edit.NewText + text[edit.Span.End..];
        Assert.Equal(text.Replace(string.Join('\n', hunk.Before), string.Join('\n', hunk.After), StringComparison.Ordinal), changed);
    }
}
