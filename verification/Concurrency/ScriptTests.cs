using System.Text.Json.Nodes;
using Explorer.Campaigns;
using Explorer.Faults;
using Explorer.Reporting;
using Explorer.Scenarios;
using Explorer.Scripts;
using Harness;
using Harness.Failures;
using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;
using Xunit.Abstractions;

namespace Concurrency;

/// <summary>Scenarios written as data, and those that nobody wrote.</summary>
public sealed class ScriptTests(ITestOutputHelper output)
{
    private const int SchedulesPerRound = 15, Generated = 25;

    /// <summary>So often each script is run, and so often at most until all is reached that it is about: some states are rare.</summary>
    private const int Rounds = 5, MostRounds = 20;

    private const ulong Seed = 1;

    public static TheoryData<string> Scripts => [.. ScriptLibrary.All.Select(static script => script.Name)];

    [Theory]
    [MemberData(nameof(Scripts))]
    public void The_library_survives_a_script_in_schedules_that_reach_what_it_is_about(string name)
    {
        ConcurrentScenario scenario = ConcurrentScenario.Find(name)!;
        var totals = new CampaignTotals();
        Assert.NotEmpty(scenario.Sometimes);
        for (int round = 0; round < Rounds || (round < MostRounds && !scenario.Sometimes.All(totals.Reached.ContainsKey)); round++) Run(totals, scenario, PlantedFault.None, round);
        foreach (string state in scenario.Sometimes)
        {
            output.WriteLine($"{totals.Reached.GetValueOrDefault(state),4} {state}");
            Assert.True(totals.Reached.ContainsKey(state), $"\"{state}\" was not reached");
        }

        foreach (Invariant invariant in (Invariant[])[Invariant.Conservation, Invariant.Linearizable, Invariant.Progress])
            Assert.True(totals.Checks.GetValueOrDefault(invariant) != 0, $"{invariant} was not checked");
    }

    [Fact]
    public void There_are_scripts_of_nearly_all_that_threads_can_do()
    {
        Assert.InRange(ScriptLibrary.All.Count, 24, int.MaxValue);
        Type[] done = [.. ScriptLibrary.All.SelectMany(static scenario => scenario.Script!.Scenario.Threads).SelectMany(static thread => thread).Select(static step => step.Operation.GetType()).Distinct()];
        // Guests, which the ledger knows nothing of.
        string[] left = ["CreateGuest", "GuestInvalidate", "GuestMap", "GuestUnmap"];
        Assert.Equal(left, typeof(Operation).Assembly.GetTypes().Where(static type => type.IsSubclassOf(typeof(Operation))).Except(done).Select(static type => type.Name).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void The_library_survives_generated_scripts()
    {
        var totals = new CampaignTotals();
        for (int number = 0; number < Generated; number++) Run(totals, GeneratedScripts.Make(Seed, number).ToScenario(), PlantedFault.None, number);
        Assert.Equal(Generated * SchedulesPerRound, totals.Schedules);
        Assert.Contains(Explorer.Machines.States.StaleHit, totals.Reached.Keys);
        Assert.Contains(Explorer.Machines.States.Drained, totals.Reached.Keys);
    }

    [Fact]
    public void A_generated_script_has_the_size_that_is_said_and_follows_from_its_number()
    {
        for (int number = 0; number < 200; number++)
        {
            Script script = GeneratedScripts.Make(Seed, number);
            Assert.Equal(script.ToJson().ToString(), GeneratedScripts.Make(Seed, number).ToJson().ToString());
            int devices = Count("device"), cores = Count("core");
            Assert.InRange(devices, 1, 2);
            Assert.Equal(Math.Min(script.Scenario.Topology.Cores, 2), cores);
            Assert.InRange(Count("cpu"), 2, 4);
            Assert.Equal(script.Agents.Count, devices + cores + Count("cpu"));

            int Count(string kind) => script.Agents.Count(agent => agent.StartsWith(kind, StringComparison.Ordinal));
            Assert.All(script.Scenario.Threads, static thread => Assert.InRange(thread.Length, 1, 6));
        }
    }

    [Fact]
    public void Some_generated_scripts_have_what_most_machines_have_not()
    {
        Script[] scripts = [.. Enumerable.Range(0, 200).Select(static number => GeneratedScripts.Make(Seed, number))];
        AssertShare(static script => script.Scenario.Topology.Cores != 0);
        AssertShare(static script => !script.Scenario.Topology.CoherentWalk);
        AssertShare(static script => !script.Scenario.Topology.QueuedInvalidation);
        AssertShare(static script => script.Scenario.Topology.Devices.Contains(DeviceKind.Ats));
        AssertShare(static script => script.Scenario.Topology.Devices.Contains(DeviceKind.Wild));
        AssertShare(static script => script.Scenario.Threads.Any(static thread => thread.Any(static step => step.Mishap is { Kind: MishapKind.Memory })));
        AssertShare(static script => script.Scenario.Threads.Any(static thread => thread.Any(static step => step.Mishap is { Kind: MishapKind.Hardware })));
        AssertShare(static script => script.Scenario.Threads.Any(static thread => thread.Any(static step => step.Operation is ChangeAssociation)));
        AssertShare(static script => script.Scenario.Threads.Any(static thread => thread.Any(static step => step.Operation is PassThrough)));
        AssertShare(static script => script.Collects);
        AssertShare(static script => script.Dispatches);
        AssertShare(static script => script.Waits);

        // Two of these at once.
        Script[] more = [.. scripts, .. Enumerable.Range(200, 800).Select(static number => GeneratedScripts.Make(Seed, number))];
        Assert.Contains(more, static script => script.Waits && !script.Scenario.Topology.CoherentWalk);
        Assert.Contains(more, static script => script.Waits && script.Scenario.Threads.Any(static thread => thread.Any(static step => step.Mishap is { Kind: MishapKind.Hardware })));
        Assert.Contains(more, static script => script.Dispatches && script.Scenario.Topology.Devices.Contains(DeviceKind.Ats));

        void AssertShare(Func<Script, bool> has) => Assert.InRange(scripts.Count(has), scripts.Length / 50, scripts.Length / 4);
    }

    [Fact]
    public void A_script_can_be_read_from_what_it_writes()
    {
        foreach (Script script in ScriptLibrary.All.Select(static scenario => scenario.Script!).Concat(Enumerable.Range(0, 50).Select(static number => GeneratedScripts.Make(Seed, number))))
        {
            JsonObject written = script.ToJson();
            Script read = Script.FromJson(script.Name, JsonNode.Parse(written.ToString()));
            Assert.Equal(script.Scenario, read.Scenario);
            Assert.Equal(script.States.AsEnumerable(), read.States);
            Assert.Equal(written.ToString(), read.ToJson().ToString());
        }
    }

    [Fact]
    public void A_fault_is_found_by_a_generated_script_and_its_file_replays_without_the_generator()
    {
        PlantedFault fault = PlantedFault.Find("forget-narrowing")!;
        var totals = new CampaignTotals();
        FoundFailure? found = null;
        for (int number = 0; found is null && number < 200; number++) found = TryRun(totals, GeneratedScripts.Make(Seed, number).ToScenario(), fault, number);
        Assert.NotNull(found);
        output.WriteLine($"{found.Scenario.Name}, in schedule {totals.Schedules} of all");
        Assert.Equal(fault.CaughtBy, found.Failure.Violation.Invariant);

        FailureFile file = FailureFile.Parse(FailureReport.ToFile(found).ToString());
        // Nothing is known under that name.
        file.Scenario["name"] = "found";
        FoundFailure? replayed = FailureReport.Replay(file);
        Assert.NotNull(replayed);
        Assert.Equal(FailureReport.Print(found).Replace(found.Scenario.Name, "found", StringComparison.Ordinal), FailureReport.Print(replayed with { Pages = [], Sights = [] }));
    }

    /// <summary>What pages on demand are about shows on weak memory, too.</summary>
    [Theory]
    [InlineData("no-clean", Invariant.TablesAreTruth)]
    [InlineData("no-clean-of-absent", Invariant.NoStaleAccess)]
    public void A_page_that_comes_on_demand_or_goes_is_cleaned_for_walks_that_do_not_snoop(string name, Invariant broken)
    {
        var totals = new CampaignTotals();
        FoundFailure? found = null;
        for (int round = 0; found is null && round < MostRounds; round++) found = TryRun(totals, ConcurrentScenario.Find("page-unclean")!, PlantedFault.Find(name)!, round);
        output.WriteLine($"in schedule {totals.Schedules}");
        Assert.Equal(broken, found?.Failure.Violation.Invariant);
    }

    [Theory]
    [InlineData("summary", null, "script.summary is not there")]
    [InlineData("scenario", null, "script: expected an object with summary, sometimes, scenario")]
    [InlineData("speed", "1", "script.speed is unknown")]
    [InlineData("sometimes", "[\"unback q0 beside unback r0\"]", "step \"unback q0\"")]
    [InlineData("sometimes", "[1]", "script.sometimes has something empty")]
    [InlineData("scenario", "{ \"topology\": {}, \"steps\": [], \"threads\": [[\"poll\"]] }", "script.scenario.threads has fewer than two")]
    [InlineData("scenario", "{ \"topology\": {}, \"steps\": [\"poll ! memory 1\"], \"threads\": [[\"poll\"], [\"poll\"]] }", "step \"poll ! memory 1\": nothing is made to go wrong before")]
    [InlineData("scenario", "{ \"topology\": {}, \"steps\": [\"v0 = vcm 0x0-0xffff\", \"r0 = reserve-at v0 0x0 4K rw\", \"read d0 0x0\"], \"threads\": [[\"dirty r0 at 0 for 4K\"], [\"poll\"]] }", "step \"read d0 0x0\": what was used before the threads begin")]
    [InlineData("scenario", "{ \"topology\": { \"devices\": 1, \"eagerness\": 1 }, \"steps\": [], \"threads\": [[\"dispatch\"], [\"poll\"]] }", "topology: where faults are dispatched")]
    [InlineData("scenario", "{ \"topology\": { \"devices\": [\"paging\"], \"mode\": \"scalable\" }, \"steps\": [], \"threads\": [[\"read d0 0x0\", \"poll\"], [\"poll\"]] }", "step \"poll\": what a thread does whose accesses may wait")]
    [InlineData("scenario", "{ \"topology\": { \"devices\": [\"paging\"], \"mode\": \"scalable\" }, \"steps\": [], \"threads\": [[\"read d0 0x0 at-once\"], [\"poll\"]] }", "step \"read d0 0x0 at-once\": beside others a device asks for pages")]
    [InlineData("scenario", "{ \"topology\": { \"devices\": [\"direct\"] }, \"steps\": [], \"threads\": [[\"read d0 0x0\"], [\"poll\"]] }", "step \"read d0 0x0\": nobody stops a device without an IOMMU")]
    [InlineData("scenario", "{ \"topology\": { \"cores\": 1, \"processes\": 1 }, \"steps\": [], \"threads\": [[\"idle c0\"], [\"read c0 p0 0x0\"]] }", "script.scenario.threads has a core that several threads play")]
    [InlineData("scenario", "{ \"topology\": { \"cores\": 1, \"processes\": 1 }, \"steps\": [\"v0 = vcm 0x0-0xffff\"], \"threads\": [[\"v1 = adopt v0 first-stage\"], [\"poll\"]] }", "step \"v1 = adopt v0 first-stage\": the table is there before")]
    [InlineData("scenario", "{ \"topology\": {}, \"steps\": [\"v0 = vcm 0x0-0xffff\", \"a0 = associate v0 d0\", \"activate a0\"], \"threads\": [[\"v1 = adopt v0\"], [\"deactivate a0\"]] }", "step \"v1 = adopt v0\": the table is there before")]
    public void What_is_no_script_is_refused_by_the_field(string field, string? value, string message)
    {
        JsonObject script = ScriptLibrary.All[0].Script!.ToJson();
        script.Remove(field);
        if (value is not null) script[field] = JsonNode.Parse(value);
        string said = Assert.Throws<BadInputException>(() => Script.FromJson("mine", script)).Message;
        Assert.StartsWith(message, said);
    }

    private static void Run(CampaignTotals totals, ConcurrentScenario scenario, PlantedFault fault, int round)
    {
        FoundFailure? found = TryRun(totals, scenario, fault, round);
        Assert.True(found is null, found is null ? "" : FailureReport.Print(found));
    }

    private static FoundFailure? TryRun(CampaignTotals totals, ConcurrentScenario scenario, PlantedFault fault, int round)
    {
        var campaign = new Campaign(scenario, fault, new(Seed) { SchedulesPerRound = SchedulesPerRound });
        campaign.Run(round);
        totals.Add(campaign.Totals);
        return campaign.Failure;
    }
}
