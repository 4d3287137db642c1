using Harness;
using Harness.Failures;
using Harness.Running;
using Harness.Scenarios;
using Harness.Stages;
using Vcmm.Spec;
using Verify;

namespace Properties.Cli;

/// <summary><c>verify run --topology</c>, and the machines that the documents show.</summary>
public sealed class TopologyLaws
{
    private static string Docs
    {
        get
        {
            DirectoryInfo? at = new(AppContext.BaseDirectory);
            while (at is not null && !File.Exists(Path.Combine(at.FullName, "Verification.sln"))) at = at.Parent;
            return Path.Combine(at!.FullName, "docs");
        }
    }

    public static TheoryData<string> Examples => [.. Directory.GetFiles(Path.Combine(Docs, "topologies"), "*.json").Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Examples))]
    public void Each_example_is_a_machine_on_which_nothing_fails(string name)
    {
        Topology topology = Topology.Parse(File.ReadAllText(Path.Combine(Docs, "topologies", name)));
        using var stop = new CancellationTokenSource();
        int calls = 0;
        StageReport report = new SequenceStage().On(topology).Run(new(1, TimeSpan.MaxValue, TimeProvider.System, _ =>
        {
            if (++calls == 5) stop.Cancel();
        }, stop.Token));
        Assert.Empty(report.Failures);
        Assert.Equal(65, report.Ran.Single(static ran => ran.What == "sequences").Count);
    }

    [Fact]
    public void The_example_in_the_text_is_the_one_in_the_tree()
    {
        string text = File.ReadAllText(Path.Combine(Docs, "scenarios.md"));
        Assert.Contains(File.ReadAllText(Path.Combine(Docs, "topologies", "paging.json")), text);
        foreach (string command in File.ReadAllLines(Path.Combine(Docs, "cli.md")).Where(static line => line.StartsWith("    verify run --topology docs/", StringComparison.Ordinal)))
            Assert.True(File.Exists(Path.Combine(Docs, "..", command.Split(' ', StringSplitOptions.RemoveEmptyEntries)[3])), command);
    }

    [Fact]
    public void The_machine_in_the_file_is_the_one_that_scenarios_run_on()
    {
        var fault = new SubjectParts { Around = static (operation, run) => operation is CreateVcm ? new(Outcome.Busy) : run(operation) };
        using var terminal = new Terminal(new SequenceStage(fault), TestStage.Finding("other"));
        terminal.Write("mine.json", """{ "devices": ["ats", "direct"], "levels": 3, "iotlbSets": 2 }""");
        Assert.Equal(ExitCode.Violation, terminal.Run("run --topology mine.json"));
        Assert.StartsWith("60 s of sequences, seed 1\n", terminal.Out);
        FailureFile file = FailureFile.Parse(Assert.Single(terminal.Files, static file => file.Key.StartsWith("failures", StringComparison.Ordinal)).Value);
        Assert.Equal(new Topology { Devices = new(DeviceKind.Ats, DeviceKind.Direct), Levels = 3, IotlbSets = 2 }, Scenario.FromJson(file.Scenario).Topology);
    }

    [Theory]
    [InlineData("""{ "devices": ["plain", "quantum"] }""", "topology: devices: expected their number, or a list of plain, direct, ats, paging")]
    [InlineData("""{ "devices": "many" }""", "topology: devices: expected their number, or a list of plain, ")]
    [InlineData("""{ "devices": [] }""", "topology.devices is 0; expected 1 to 8")]
    [InlineData("""{ "devices": 9 }""", "topology.devices is 9; expected 1 to 8")]
    [InlineData("""{ "devices": ["paging"] }""", "topology.devices has one that asks for pages; expected topology.mode scalable")]
    [InlineData("""{ "levels": 5 }""", "topology.levels is 5; expected 3 or 4")]
    [InlineData("""{ "colour": 1 }""", "topology: The JSON property 'colour' could not be mapped")]
    [InlineData("null", "topology is null; expected an object")]
    public void A_file_that_is_no_machine_is_refused_in_one_line(string json, string message)
    {
        using var terminal = new Terminal(new SequenceStage());
        terminal.Write("mine.json", json);
        Assert.Equal(ExitCode.BadInput, terminal.Run("run --topology mine.json"));
        Assert.StartsWith("verify: mine.json: " + message, terminal.OneErrorLine());
    }

    [Fact]
    public void A_stage_that_has_machines_of_its_own_is_refused_by_name()
    {
        using var terminal = new Terminal(new SequenceStage(), TestStage.Finding("other"));
        terminal.Write("mine.json", "{}");
        Assert.Equal(ExitCode.BadInput, terminal.Run("run --topology mine.json --stage other"));
        Assert.Equal("verify: --topology: stage other has machines of its own; expected sequences", terminal.OneErrorLine());
    }

    [Fact]
    public void Devices_are_written_as_they_were_read()
    {
        foreach (string devices in (string[])["2", """["plain","direct","ats","paging"]"""])
        {
            var scenario = new Scenario(Topology.Parse($$"""{ "mode": "scalable", "devices": {{devices}} }"""), []);
            Assert.Equal(devices, scenario.ToJson()["topology"]!["devices"]!.ToJsonString());
            Assert.Equal(scenario, Scenario.FromJson(scenario.ToJson()));
        }
    }
}
