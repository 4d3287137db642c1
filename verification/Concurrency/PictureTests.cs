using System.Text.RegularExpressions;
using System.Xml.Linq;
using Explorer.Campaigns;
using Explorer.Faults;
using Explorer.Replaying;
using Explorer.Reporting;
using Explorer.Scenarios;
using Explorer.Scheduling;
using Harness.Failures;
using Harness.Stages;
using Vcmm.Spec;

namespace Concurrency;

/// <summary>What is shown of a failing schedule when it is run again: lanes, the state of the page concerned, the statement of each step.</summary>
public sealed partial class PictureTests
{
    private static readonly string Worker = Path.Combine(AppContext.BaseDirectory, "controlled", "explorer.dll");
    private static readonly Lazy<FoundFailure> Stale = new(static () => Replayed("invalidate-first"));

    /// <summary>The entry is cleared after the invalidation, so what was cached in between stays: the row of each says so.</summary>
    [Fact]
    public void The_state_of_the_page_tells_what_went_wrong()
    {
        Picture picture = FailureReport.PictureOf(Stale.Value);
        // Which of the pages it is depends on the schedule that was found.
        string page = Page().Match(Assert.Single(picture.Pages)).Value;
        PictureRow clears = picture.Rows.First(static row => row.Text.EndsWith(":= 0x0", StringComparison.Ordinal) && row.Changed[0]);
        string frame = Frame().Match(Stale.Value.Failure.Violation.Observed).Value;
        Assert.StartsWith($"PTE 0x0; IOTLB {frame}; {frame} backs {page} (changing)", clears.States[0]);
        // Whoever walks before finds it there.
        Assert.All(picture.Rows.TakeWhile(row => row != clears), static row => Assert.DoesNotContain("PTE 0x0;", row.States[0]));
        PictureRow violation = picture.Rows[^1];
        Assert.True(violation.IsViolation);
        Assert.Contains($"IOTLB {frame}", violation.States[0]);
        Assert.Contains($"{frame} is allocated", violation.States[0]);
    }

    [Fact]
    public void Where_there_is_no_table_the_walk_ends_above_and_says_where()
    {
        string[] states = [.. FailureReport.PictureOf(Replayed("leaves-only")).Rows.SelectMany(static row => row.States)];
        Assert.Contains(states, static state => state.Contains("no PTE: the walk ends at level ", StringComparison.Ordinal));
    }

    [Fact]
    public void A_page_that_is_detached_has_no_table_and_what_is_cached_of_it_is_still_told()
    {
        string[] states = [.. FailureReport.PictureOf(Replayed("skip-unattached")).Rows.SelectMany(static row => row.States)];
        Assert.Contains(states, static state => state.StartsWith("no table: ", StringComparison.Ordinal));
        Assert.Contains(states, static state => state.Contains("IOTLB empty", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("core-left-out", "; TLB pa:0x", "; TLB empty")]
    [InlineData("no-device-tlb", "; its TLB pa:0x")]
    public void What_the_TLBs_of_cores_and_of_devices_hold_is_told(string fault, params string[] told)
    {
        // As found: a shrunk script need not have whoever caches it at work.
        FoundFailure found = Found(fault);
        string[] states = [.. FailureReport.PictureOf(FailureReport.Replay(FailureReport.ToFile(found))!).Rows.SelectMany(static row => row.States)];
        Assert.All(told, text => Assert.Contains(states, state => state.Contains(text, StringComparison.Ordinal)));
    }

    /// <summary>The guest's table leads to the same address of the region, of which the region's then says that it is gone.</summary>
    [Fact]
    public void Of_a_guests_table_the_entries_of_both_stages_are_told()
    {
        FoundFailure found = Found("forgets-guests");
        string[] states = [.. FailureReport.PictureOf(FailureReport.Replay(FailureReport.ToFile(found))!).Rows.SelectMany(static row => row.States)];
        Assert.Contains(states, static state => state.StartsWith("guest's PTE 0xe7 of level 3; PTE 0x0; IOTLB pa:0x", StringComparison.Ordinal));
    }

    [Fact]
    public void What_does_not_matter_is_folded_and_all_of_it_is_there_when_asked_for()
    {
        Picture picture = FailureReport.PictureOf(Stale.Value);
        string folded = FailureReport.Print(Stale.Value), whole = FailureReport.Print(Stale.Value, whole: true);
        int hidden = Steps().Matches(folded).Sum(static match => int.Parse(match.Groups[1].Value));
        int repeated = Times().Matches(folded).Sum(static match => int.Parse(match.Groups[1].Value) - 1);
        Assert.Equal(picture.Rows.Count, Numbered().Count(folded) + hidden + repeated);
        Assert.InRange(hidden, 1, int.MaxValue);
        Assert.Equal(picture.Rows.Count, Numbered().Count(whole));
        Assert.DoesNotContain(" … ", whole.Split("statement")[1].Split('\n')[1]);
        // A row has the same number in both.
        Assert.All(Numbered().Matches(folded).Select(static match => match.Value), number => Assert.Contains(number, whole));
    }

    [Fact]
    public void Rows_that_say_the_same_one_after_the_other_are_one_with_their_count()
    {
        PictureRow[] rows = [Row(1, "iommu", "waits"), Row(2, "iommu", "forgets"), Row(3, "iommu", "fetches", matters: false), Row(4, "iommu", "forgets"), Row(5, "iommu", "forgets"), Row(6, "cpu 0", "forgets")];
        var picture = new Picture([], ["cpu 0", "iommu"], rows, [], []);
        string[] folded = [.. Lanes.Draw(picture, whole: false).TrimEnd('\n').Split('\n').Skip(2).Select(static line => line.TrimEnd())];
        Assert.Equal(["   1 |         | waits", "   2 |         | forgets, 3 times", "     … 1 step", "   6 | forgets |"], folded);
        Assert.Equal(2 + rows.Length, Lanes.Draw(picture, whole: true).TrimEnd('\n').Split('\n').Length);

        static PictureRow Row(int number, string agent, string text, bool matters = true) => new(number, agent, text, matters, false, null, [], []);
    }

    [Fact]
    public void Each_step_names_the_statement_that_made_it()
    {
        string report = new ScheduleStage(Worker).Replay(FailureReport.ToFile(Stale.Value), whole: true, withPage: false)!.Failure.Report;
        string[] rows = [.. report.Split('\n').Where(static row => Numbered().IsMatch(row))];
        Assert.All(rows, static row => Assert.Matches(@" \| [\w.]+\.cs:\d+ *(\||$)", row));
        Assert.Contains(rows, static row => row.Contains("unback iova:0x0-0x1fff …", StringComparison.Ordinal) && row.Contains("| BackUnback.cs:", StringComparison.Ordinal));
        AssertLine("PageTable.Mapping.cs", rows, @":= 0x0 ");
        AssertLine("BusMaster.cs", rows, "writes pa:|reads pa:");
        AssertLine("VtdIommu.Walk.cs", rows, "fills the IOTLB");
    }

    [Fact]
    public void The_page_is_whole_says_what_the_terminal_says_and_loads_nothing()
    {
        string text = new ScheduleStage(Worker).Replay(FailureReport.ToFile(Stale.Value), whole: false, withPage: true)!.Page!;
        Assert.StartsWith("<!DOCTYPE html>\n", text);
        XElement page = XDocument.Parse(text).Root!;
        Picture picture = FailureReport.PictureOf(Stale.Value);
        XElement[] steps = [.. page.Descendants("tr").Where(static row => row.Attribute("data-step") is not null)];
        Assert.Equal(picture.Rows.Count, steps.Length);
        foreach ((XElement step, PictureRow row) in steps.Zip(picture.Rows))
        {
            Assert.Equal($"{row.Number}", step.Attribute("data-step")!.Value);
            Assert.Equal(row.States[0], step.Attribute("data-page0")!.Value);
            string[] cells = [.. step.Elements("td").Select(static cell => cell.Value)];
            Assert.Equal(row.Text, cells[1 + picture.Agents.ToList().IndexOf(row.Agent)]);
            Assert.Matches(@"^[\w.]+\.cs:\d+$", cells[^2]);
            Assert.Equal(row.Changed[0] ? row.States[0] : "", cells[^1]);
            Assert.Equal(row.IsViolation ? "broken" : row.Matters ? "major" : "minor", step.Attribute("class")!.Value);
        }

        Assert.Single(steps, static step => step.Attribute("class")!.Value == "broken");
        Assert.Equal(
            picture.Rows.Count(static row => !row.Matters),
            page.Descendants("tr").Where(static row => row.Attribute("class")?.Value == "gap").Sum(static gap => (int)gap.Attribute("data-last")! - (int)gap.Attribute("data-first")! + 1));
        XElement slider = Assert.Single(page.Descendants("input"), static input => input.Attribute("type")!.Value == "range");
        Assert.Equal(picture.Rows.Count, (int)slider.Attribute("max")!);
        // Nothing that refers to anything outside of the page, and a policy that would stop it.
        Assert.DoesNotContain(page.DescendantsAndSelf().Attributes(), static attribute => attribute.Name.LocalName is "src" or "href" or "srcset" or "data" or "action" or "xmlns");
        Assert.DoesNotContain(page.Descendants(), static element => element.Name.LocalName is "link" or "img" or "iframe" or "object" or "base");
        Assert.DoesNotMatch(@"url\(|@import|//|XMLHttp|import\(", text);
        Assert.Contains("default-src 'none'", text);
        Assert.Contains("prefers-color-scheme: dark", page.Descendants("style").Single().Value);
    }

    private static void AssertLine(string file, string[] rows, string what) =>
        Assert.Contains(rows, row => Regex.IsMatch(row, what) && row.Contains($"| {file}:", StringComparison.Ordinal));

    private static FoundFailure Replayed(string fault) => FailureReport.Replay(FailureReport.ToFile(Find(fault)))!;

    private static FoundFailure Find(string name) => Shrinker.Shrink(Found(name));

    private static FoundFailure Found(string name)
    {
        PlantedFault fault = PlantedFault.Find(name)!;
        var campaign = new Campaign(ConcurrentScenario.Find(fault.Scenario)!, fault, new(1));
        for (int round = 0; round < 40 && campaign.Failure is null; round++) campaign.Run(round);
        return campaign.Failure!;
    }

    [GeneratedRegex("^iova:0x[0-9a-f]+(?= for sid:0x8$)")]
    private static partial Regex Page();

    [GeneratedRegex("pa:0x[0-9a-f]+")]
    private static partial Regex Frame();

    [GeneratedRegex(@"^     … (\d+) steps?$", RegexOptions.Multiline)]
    private static partial Regex Steps();

    [GeneratedRegex(@", (\d+) times *(\||$)", RegexOptions.Multiline)]
    private static partial Regex Times();

    [GeneratedRegex(@"^ *\d+ \|", RegexOptions.Multiline)]
    private static partial Regex Numbered();
}
