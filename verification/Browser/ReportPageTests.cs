using Microsoft.CodeAnalysis.Text;
using Microsoft.Playwright;
using Mutation.Hunting;
using Mutation.Report;
using Mutation.Schema;
using Properties.Cli;
using Vcmm.Spec;
using Verify;

namespace Browser;

/// <summary>The page of <c>verify report --html</c>, as one sees it.</summary>
[Trait("Category", "Browser")]
public sealed class ReportPageTests(Chromium chromium) : IClassFixture<Chromium>
{
    // What would end the page's own elements, and do something.
    private const string Evil = "// </script><script>document.title = 'taken'</script><img src='http://127.0.0.1:9/a.png'>";
    private const string Source = $"class A\n{{\n    void B() {{ Flush(); Wait(); Tell(); }}\n}} {Evil}\n";

    private static readonly Hunt Nothing = new(HuntEnd.NotFound, 50, TimeSpan.FromSeconds(2));
    private static readonly Hunt Found = new(HuntEnd.Found, 3, TimeSpan.FromSeconds(1)) { Named = Invariant.NoStaleAccess };

    [ChromiumFact]
    public async Task One_sees_scores_a_file_a_mutant_and_who_finds_what()
    {
        using var terminal = Reports();
        OpenedPage opened = await chromium.Open(Path.Combine(terminal.Folder, "all.html"));
        IPage page = opened.Page;
        await Expect(page.Locator("h1")).ToContainTextAsync("All files");
        // Both files, each with its score.
        await Expect(RowOf(page, "Vcmm/A.cs")).ToContainTextAsync("50.00");
        await Expect(RowOf(page, "IommuSim/B.cs")).ToContainTextAsync("100.00");
        await Expect(RowOf(page, "All files")).ToContainTextAsync("66.67");

        // The tables are folded until one asks for them.
        ILocator matrix = page.Locator("#tables table", new() { Has = page.Locator("caption", new() { HasText = "who finds what" }) });
        await Expect(matrix).ToBeHiddenAsync();
        await page.Locator("#tables summary").ClickAsync();
        await Expect(matrix).ToBeVisibleAsync();
        await Expect(matrix.Locator("thead th")).ToHaveTextAsync(["engine", "run on", "found", "I4", "only this engine", "seconds", "found a minute"]);
        await Expect(matrix.Locator("tbody tr").Nth(1).Locator("td")).ToHaveTextAsync(["schedules", "2", "1", "1", "1", "3", "20.0"]);
        await Expect(page.Locator("#tables")).ToContainTextAsync("By no check of these was a mutant found: I1 NoOverlap, ");

        await RowOf(page, "Vcmm/A.cs").GetByRole(AriaRole.Link).ClickAsync();
        await Expect(page.Locator("h1")).ToContainTextAsync("A.cs");
        ILocator code = page.Locator("mte-file pre");
        await Expect(code).ToContainTextAsync("void B() { Flush(); Wait(); Tell(); }");
        await Expect(code).ToContainTextAsync(Evil);
        await code.Locator(".mutant.Survived").First.ClickAsync();
        ILocator drawer = page.Locator("mte-drawer-mutant");
        await Expect(drawer).ToContainTextAsync("drop-sync");
        await Expect(drawer).ToContainTextAsync("Survived");
        await Expect(drawer).ToContainTextAsync("nobody waits");
        // What stands there instead.
        await Expect(code.Locator(".diff-new")).ToContainTextAsync("Flush(); WaitNot(); Tell();");

        Assert.Equal("A.cs", (await page.TitleAsync()).Split(' ')[0]);
        Assert.Empty(opened.Errors);
        Assert.Empty(opened.Requests);
    }

    [ChromiumFact]
    public async Task One_sees_what_each_check_of_an_engine_kills()
    {
        using var terminal = Reports();
        OpenedPage opened = await chromium.Open(Path.Combine(terminal.Folder, "all.html"));
        IPage page = opened.Page;
        await page.GetByRole(AriaRole.Tab, new() { Name = "Tests" }).ClickAsync();
        await page.Locator("mte-test-view").GetByRole(AriaRole.Link, new() { Name = "schedules" }).ClickAsync();
        ILocator test = page.Locator("mte-test-file button", new() { HasText = "schedules: I4 NoStaleAccess" });
        await Expect(test).ToContainTextAsync("Killing");
        await test.ClickAsync();
        // What it kills.
        await Expect(page.Locator("mte-drawer-test")).ToContainTextAsync("void B() { FlushNot(); Wait(); Tell(); }");
        Assert.Empty(opened.Errors);
        Assert.Empty(opened.Requests);
    }

    /// <summary>Whatever should come to be in it.</summary>
    [ChromiumFact]
    public async Task The_policy_of_the_page_lets_nothing_be_loaded()
    {
        using var terminal = Reports();
        OpenedPage opened = await chromium.Open(Path.Combine(terminal.Folder, "all.html"));
        string forbidden = await opened.Page.EvaluateAsync<string>("""
            () => new Promise(done => {
                document.addEventListener("securitypolicyviolation", event => done(event.effectiveDirective));
                fetch("http://127.0.0.1:9/a.json").catch(() => setTimeout(() => done("nothing"), 100));
            })
            """);
        Assert.Equal("connect-src", forbidden);
    }

    /// <summary>What the other tests find nothing of is found where it is.</summary>
    [ChromiumFact]
    public async Task A_page_that_loads_something_or_fails_is_seen()
    {
        using var terminal = new Terminal();
        terminal.Write("p.html", "<!DOCTYPE html><title>x</title><link rel=\"icon\" href=\"data:,\"><script src=\"http://127.0.0.1:9/a.js\"></script><script>console.error('one'); throw new Error('two');</script>");
        OpenedPage opened = await chromium.Open(Path.Combine(terminal.Folder, "p.html"));
        await Expect(opened.Page).ToHaveTitleAsync("x");
        Assert.Equal(["http://127.0.0.1:9/a.js"], opened.Requests);
        Assert.Contains("one", opened.Errors);
        Assert.Contains(opened.Errors, static error => error.Contains("two", StringComparison.Ordinal));
    }

    private static ILocatorAssertions Expect(ILocator locator) => Assertions.Expect(locator);

    private static IPageAssertions Expect(IPage page) => Assertions.Expect(page);

    private static ILocator RowOf(IPage page, string file) => page.Locator("mte-metrics-table tbody tr", new() { HasText = file });

    /// <summary>Two reports, and the page of both.</summary>
    private static Terminal Reports()
    {
        var terminal = new Terminal();
        terminal.Write("Verification.sln", "");
        terminal.Write("src/Vcmm/A.cs", "");
        terminal.Write("src/IommuSim/B.cs", "");
        MutantOutcome[] mutants =
        [
            new(MutantAt("one", "src/Vcmm/A.cs", "Flush"), [("sequences", Nothing), ("schedules", Found)]),
            new(MutantAt("two", "src/Vcmm/A.cs", "Wait"), [("sequences", Nothing), ("schedules", Nothing)]),
        ];
        terminal.Write("a.json", OutcomeReport.Of("verify mutants", mutants, static _ => Source).ToString());
        terminal.Write("b.json", OutcomeReport.Of("verify museum", [new(MutantAt("three", "src/IommuSim/B.cs", "Tell"), [("sequences", Found)])], static _ => Source).ToString());
        Assert.Equal(ExitCode.Clean, terminal.Run("report a.json b.json --html all.html"));
        return terminal;
    }

    private static Mutant MutantAt(string name, string file, string text) =>
        new(name, "drop-sync", "nobody waits", [new SourceEdit(file, new TextSpan(Source.IndexOf(text, StringComparison.Ordinal), text.Length), $"{text}Not")]);
}
