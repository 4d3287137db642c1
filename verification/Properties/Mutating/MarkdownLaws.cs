using System.Text;
using Mutation.Report;
using Properties.Cli;
using Verify;

namespace Properties.Mutating;

/// <summary>What others wrote shows as it is in a page of Markdown, and the page stays short.</summary>
public sealed class MarkdownLaws
{
    [Theory]
    [InlineData("a | b", @"a \| b")]
    [InlineData("a\nb", "a b")]
    [InlineData("`a` *b* _c_ [d](e) #f", @"\`a\` \*b\* \_c\_ \[d\]\(e\) \#f")]
    [InlineData("<b>&amp;", "&lt;b&gt;&amp;amp;")]
    [InlineData(@"\|", @"\\\|")]
    [InlineData("@somebody https://x", @"\@somebody https\://x")]
    public void Text_begins_nothing_and_ends_nothing(string text, string expected) => Assert.Equal(expected, Markdown.Text(text));

    [Theory]
    [InlineData("a | b", "`a | b`")]
    [InlineData("a\r\n    b\n", "`a b`")]
    [InlineData("x `y` z", "``x `y` z``")]
    [InlineData("`y`", "`` `y` ``")]
    [InlineData("``", "``` `` ```")]
    [InlineData("\u001b[2J", "`\uFFFD[2J`")]
    [InlineData("", "*nothing*")]
    public void Code_shows_as_it_is(string code, string expected)
    {
        string shown = Markdown.Code(code);
        Assert.Equal(expected, shown);
        if (code.Length != 0) Assert.Equal(string.Join(' ', code.Replace('\u001b', '\uFFFD').Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)), Read(shown));
    }

    [Fact]
    public void A_table_has_as_many_cells_in_each_row_whatever_is_in_them()
    {
        string[] cells = ["a|b", "\\", "`|`", "x\ny", "\\|", ""];
        string table = Markdown.Table(new("t", ["1", "2", "3", "4", "5", "6"], 1, [cells]));
        string[] lines = table.TrimEnd('\n').Split('\n');
        Assert.Equal(3, lines.Length);
        Assert.Equal("| --- | ---: | ---: | ---: | ---: | ---: |", lines[1]);
        Assert.Equal(["a|b", "\\", "`|`", "x y", "\\|", ""], Cells(lines[2]));
    }

    [Fact]
    public void A_page_has_scores_the_matrix_and_each_survivor_with_its_place_and_change()
    {
        using var terminal = new Terminal();
        terminal.Write("Verification.sln", "");
        terminal.Write("r.json", ReportCommandLaws.Report("Stryker.NET", "src/Vcmm/A.cs", "if (a | b)\n    Go(`c`);\n", ("1", "Block", "Survived", "Stop();\n// |`"), ("2", "Drop|it", "NoCoverage", ""), ("3", "Block", "Killed", ";")));
        Assert.Equal(ExitCode.Clean, terminal.Run("report r.json --markdown summary.md"));
        string page = terminal.Files["summary.md"];
        Assert.StartsWith("# all mutants\n\n| made by | project | mutants | killed |", page, StringComparison.Ordinal);
        Assert.Contains("\n| Stryker.NET | src/Vcmm | 3 | 1 | 0 | 1 | 1 | 0 | 0 | 33.3% | 33.3% |\n", page, StringComparison.Ordinal);
        Assert.Contains("\n## who finds what\n\n| engine | run on | found |", page, StringComparison.Ordinal);
        Assert.Contains("\n| Stryker.NET | Drop\\|it | 1 | 0 | 1 | 0.0% |\n", page, StringComparison.Ordinal);
        Assert.EndsWith(
            """

            ## 2 survived

            * `src/Vcmm/A.cs:1` Block: ``if (a | b) Go(`c`);`` → `` Stop(); // |` ``
            * `src/Vcmm/A.cs:1` Drop\|it, no coverage: ``if (a | b) Go(`c`);`` → *nothing*

            """,
            page, StringComparison.Ordinal);
    }

    /// <summary>The summary of a job may be a megabyte.</summary>
    [Fact]
    public void A_page_stays_short_however_many_survive()
    {
        string source = string.Concat(Enumerable.Repeat("word ", 2000));
        MutationReport report = MutationReport.Parse(ReportCommandLaws.Report("x", "a.cs", source, [.. Enumerable.Range(0, 3000).Select(i => ($"{i}", "drop", "Survived", source))]));
        string page = MarkdownReport.Make("t", report);
        Assert.InRange(Encoding.UTF8.GetByteCount(page), 1000, 20_000);
        Assert.EndsWith("\nand 2950 more\n", page, StringComparison.Ordinal);
    }

    /// <summary>Reads a code span, as CommonMark says.</summary>
    private static string Read(string span)
    {
        int fence = span.TakeWhile(static c => c == '`').Count();
        string inner = span[fence..^fence];
        Assert.DoesNotContain(new string('`', fence), inner.Replace(new string('`', fence + 1), "", StringComparison.Ordinal), StringComparison.Ordinal);
        return inner.StartsWith(' ') && inner.EndsWith(' ') ? inner[1..^1] : inner;
    }

    /// <summary>Reads a row of a table: cells end at bars without a backslash, and a backslash takes what is special from the next character.</summary>
    private static string[] Cells(string row)
    {
        var cells = new List<string>();
        var cell = new StringBuilder();
        for (int i = 1; i < row.Length; i++)
        {
            if (row[i] == '\\') cell.Append(row[++i]);
            else if (row[i] != '|') cell.Append(row[i]);
            else
            {
                cells.Add(cell.ToString().Trim());
                cell.Clear();
            }
        }

        return [.. cells];
    }
}
