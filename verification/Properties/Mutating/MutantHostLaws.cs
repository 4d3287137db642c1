using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using System.Xml.Linq;
using MutantHost;
using Properties.Cli;

namespace Properties.Mutating;

/// <summary>What runs the tests for Stryker.NET, one mutant after the other in one process: which tests, and when it gives a verdict.</summary>
[Collection(nameof(MutantHostLaws))]
public sealed class MutantHostLaws
{
    private const int Mutant = 7;

    private readonly List<(int Active, string Test)> _ran = [];

    [Theory]
    [InlineData("FullyQualifiedName~Laws.", true)]
    [InlineData("FullyQualifiedName~laws.a", true)]
    [InlineData("FullyQualifiedName!~Laws.", false)]
    [InlineData("FullyQualifiedName=N.Laws", false)]
    [InlineData("FullyQualifiedName=N.Laws.A", true)]
    [InlineData("Category=Slow", true)]
    [InlineData("Category=Sl", false)]
    [InlineData("Category~Sl", true)]
    [InlineData("Category!=Slow", false)]
    [InlineData("Category!=House", true)]
    [InlineData("Owner=Slow", false)]
    [InlineData("Owner!=Slow", true)]
    [InlineData("Category=Slow&Category=House", false)]
    [InlineData("Category=Slow&Category=Broad", true)]
    [InlineData("Category=Slow|Category=House&Category=Qemu", true)]
    [InlineData("(Category=Slow|Category=House)&Category=Qemu", false)]
    [InlineData("Category!=House&(FullyQualifiedName~M.|FullyQualifiedName~N.)&FullyQualifiedName!~B", true)]
    public void A_filter_selects_what_it_selects_for_dotnet_test(string filter, bool isSelected) =>
        Assert.Equal(isSelected, Selection.Parse(filter)("N.Laws.A", static trait => trait == "Category" ? ["Slow", "Broad"] : []));

    [Theory]
    [InlineData("")]
    [InlineData("Category")]
    [InlineData("Category=")]
    [InlineData("=Slow")]
    [InlineData("Category=Slow&")]
    [InlineData("(Category=Slow")]
    [InlineData("Category=Slow)")]
    public void What_is_no_filter_is_refused(string filter) => Assert.Throws<FormatException>(() => Selection.Parse(filter));

    [Fact]
    public void The_first_test_that_fails_finds_a_mutant_and_the_process_goes_on()
    {
        Verdict? verdict = Try(isUsed: true, isOfStatics: false, fails: static (active, test) => active == Mutant && test == "b");
        Assert.Equal([(Mutant, "a"), (Mutant, "b"), (ActiveMutant.None, "b")], _ran);
        Assert.Equal(["a"], verdict!.Passed);
        Assert.Equal(("b", false, false), (verdict.Failed, verdict.IsEndless, verdict.IsOver));
    }

    [Fact]
    public void A_test_that_fails_without_the_mutant_too_says_nothing_where_others_were_tried() =>
        Assert.Null(Try(isUsed: true, isOfStatics: false, fails: static (_, test) => test == "b"));

    [Fact]
    public void In_a_new_process_it_is_the_mutant_that_left_something_behind()
    {
        bool isSpoiled = false;
        Verdict? verdict = Try(isUsed: false, isOfStatics: false, fails: (active, test) => isSpoiled |= active == Mutant && test == "b");
        Assert.Equal(("b", false, true), (verdict!.Failed, verdict.IsEndless, verdict.IsOver));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_no_test_finds_survives_and_the_process_goes_on(bool isUsed)
    {
        Verdict? verdict = Try(isUsed, isOfStatics: false, fails: static (_, _) => false);
        Assert.Equal(["a", "b", "c"], verdict!.Passed);
        Assert.Equal((null, false, false), (verdict.Failed, verdict.IsEndless, verdict.IsOver));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_is_static_is_tried_in_a_process_of_its_own(bool isFound)
    {
        Assert.Null(Try(isUsed: true, isOfStatics: true, fails: (active, _) => isFound && active == Mutant));
        Assert.Empty(_ran);
        Verdict? verdict = Try(isUsed: false, isOfStatics: true, fails: (active, _) => isFound && active == Mutant);
        Assert.Equal((isFound ? "a" : null, true), (verdict!.Failed, verdict.IsOver));
    }

    [Fact]
    public void After_a_test_that_does_not_end_nothing_runs_in_the_process()
    {
        var trial = new Trial(isUsed: true, (active, test) =>
        {
            _ran.Add((active, test));
            return test == "b" ? Outcome.Endless : Outcome.Passed;
        });
        Verdict? verdict = trial.Of(Mutant, ["a", "b", "c"], isOfStatics: false);
        Assert.Equal([(Mutant, "a"), (Mutant, "b")], _ran);
        Assert.Equal(("b", true, true), (verdict!.Failed, verdict.IsEndless, verdict.IsOver));
    }

    [Fact]
    public void A_test_that_ends_when_it_is_interrupted_leaves_the_process_to_the_next()
    {
        Verdict? verdict = OfInterrupted(isOfStatics: false, Outcome.Passed);
        Assert.Equal([(Mutant, "a"), (ActiveMutant.None, "a")], _ran);
        Assert.Equal(("a", true, false), (verdict!.Failed, verdict.IsEndless, verdict.IsOver));
    }

    [Theory]
    [InlineData(false, nameof(Outcome.Failed))]
    [InlineData(false, nameof(Outcome.Interrupted))]
    [InlineData(false, nameof(Outcome.Endless))]
    [InlineData(true, nameof(Outcome.Passed))]
    public void Nothing_runs_in_the_process_after_it_if_it_left_something_behind_or_the_mutant_is_static(bool isOfStatics, string without)
    {
        Verdict? verdict = OfInterrupted(isOfStatics, Enum.Parse<Outcome>(without));
        Assert.Equal(("a", true, true), (verdict!.Failed, verdict.IsEndless, verdict.IsOver));
    }

    private Verdict? OfInterrupted(bool isOfStatics, Outcome without) => new Trial(isUsed: !isOfStatics, (active, test) =>
    {
        _ran.Add((active, test));
        return active == Mutant ? Outcome.Interrupted : without;
    }).Of(Mutant, ["a", "b"], isOfStatics);

    [Theory]
    [InlineData(true, nameof(Outcome.Interrupted))]
    [InlineData(false, nameof(Outcome.Endless))]
    public void A_test_that_does_not_end_is_interrupted_and_that_ends_it_or_not(bool isInterrupted, string expected)
    {
        Loops.IsEndless = true;
        try
        {
            var suite = new Suite(typeof(Loops).Assembly);
            Outcome outcome = suite.Run($"{typeof(Loops).FullName}.{nameof(Loops.Ends)}", TimeSpan.FromMilliseconds(100), () => Loops.IsEndless = !isInterrupted);
            Assert.Equal(expected, $"{outcome}");
        }
        finally
        {
            Loops.IsEndless = false;
        }
    }

    [Fact]
    public void An_interrupt_has_each_changed_place_throw_until_it_is_over()
    {
        Type[] controls = [typeof(MutantControl)];
        (MutantControl.CaptureCoverage, MutantControl.ActiveMutant) = (false, ActiveMutant.None);
        ActiveMutant.Start(controls);
        try
        {
            ActiveMutant.Set(Mutant);
            Assert.True(MutantControl.IsActive(Mutant));
            ActiveMutant.Interrupt();
            Assert.Throws<ArgumentNullException>(() => MutantControl.IsActive(Mutant));
            Assert.Throws<ArgumentNullException>(() => MutantControl.IsActive(Mutant + 1));
            ActiveMutant.Resume();
            Assert.True(MutantControl.IsActive(Mutant));
            Assert.False(MutantControl.IsActive(Mutant + 1));
        }
        finally
        {
            ActiveMutant.Start([]);
        }
    }

    /// <summary>As much as these laws need of the class that Stryker.NET puts into an assembly: its fields have these names.</summary>
    private static class MutantControl
    {
        private static readonly List<int> Covered = [];
        private static object? _coverageLock = new();
        public static bool CaptureCoverage;
        public static int ActiveMutant;

        public static bool IsActive(int number)
        {
            if (!CaptureCoverage) return number == ActiveMutant;
            lock (_coverageLock!) Covered.Add(number);
            return false;
        }
    }

    /// <summary>A test whose loops note what they cover takes a hundred times as long: nobody waits for a mutant as long as that.</summary>
    [Fact]
    public void A_test_may_take_as_long_as_it_took_or_as_the_question_which_mutant_makes_it()
    {
        var costs = Costs.Of("none");
        costs.Know("a", TimeSpan.FromSeconds(1));
        costs.Know("a", TimeSpan.FromSeconds(70));
        foreach (int seconds in (int[])[4, 3]) costs.Know("b", TimeSpan.FromSeconds(seconds));
        costs.Know("d", TimeSpan.FromSeconds(2));
        Assert.Equal((12, 10, 2, 22), (Of("a"), Of("b"), Of("c"), Of("d")));
        Assert.Equal(["c", "b", "a", "d"], costs.CheapestFirst(["a", "b", "c", "d"]));
        Assert.False(costs.IsExact("d"));
        costs.KnowExactly("d", TimeSpan.FromSeconds(3));
        Assert.True(costs.IsExact("d"));
        Assert.Equal(8, Of("d"));
        Assert.Equal(["c", "d", "b", "a"], costs.CheapestFirst(["a", "b", "c", "d"]));

        double Of(string test) => costs.BudgetOf(test).TotalSeconds;
    }

    /// <summary>What refers to a project that its solution leaves out gets that as Debug, and the tests are others than those that were looked at.</summary>
    [Fact]
    public void Stryker_builds_all_that_the_tests_refer_to()
    {
        string[] built = Included(Path.Combine(Checkout.Root, "Mutants.slnx"), "Project", "Path");
        string[] referred = [.. built.SelectMany(static project => Included(project, "ProjectReference", "Include"))];
        Assert.NotEmpty(referred);
        // The schedule worker is referred to by Worker.targets.
        Assert.Empty(referred.Append(Path.Combine(Checkout.Root, "verification/Explorer/Explorer.csproj")).Except(built));
        // It takes all tests of a solution.
        Assert.Equal(["Conformance", "Properties"], built.Where(static project => File.ReadAllText(project).Contains("<IsTestProject>true", StringComparison.Ordinal)).Select(Path.GetFileNameWithoutExtension).Order());
        foreach (string config in (string[])["stryker-config.json", "stryker-config.vcmm.json", "stryker-config.allocation.json", "stryker-config.iommusim.json", "stryker-config.spec.json"])
            Assert.Equal("Mutants.slnx", (string)JsonNode.Parse(File.ReadAllText(Path.Combine(Checkout.Root, config)))!["stryker-config"]!["solution"]!);
    }

    private static string[] Included(string file, string element, string attribute) =>
        [.. XDocument.Load(file).Descendants(element).Select(each => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(file)!, (string)each.Attribute(attribute)!)))];

    /// <summary>The program of these tests, started as Stryker.NET starts it.</summary>
    [Fact]
    public void It_tells_which_tests_there_are_and_what_became_of_them()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        string port = $"{((IPEndPoint)listener.LocalEndpoint).Port}";
        const string Test = $"Properties.Mutating.{nameof(MutantHostLaws)}.{nameof(What_is_no_filter_is_refused)}";
        using var program = ChildProgram.Start(
            Path.GetTempPath(), "--server", "jsonrpc", "--client-port", port, "--filter", $"FullyQualifiedName~{nameof(MutantHostLaws)}&FullyQualifiedName!~became");
        using TcpClient client = listener.AcceptTcpClient();
        using NetworkStream stream = client.GetStream();
        Ask(stream, 1, "initialize", new());
        Assert.NotNull(Hear(stream)["result"]!["capabilities"]!["testing"]);
        Ask(stream, 2, "testing/discoverTests", new() { ["runId"] = "one" });
        JsonNode discovered = Hear(stream);
        Assert.Equal("one", (string)discovered["params"]!["runId"]!);
        Assert.Contains((Test, "discovered"), StatesIn(discovered));
        Assert.Equal(14, StatesIn(discovered).Length);
        Assert.Equal(2, (int)Hear(stream)["id"]!);
        Ask(stream, 3, "testing/runTests", new() { ["runId"] = "two", ["tests"] = new JsonArray(new JsonObject { ["uid"] = Test }) });
        Assert.Equal([(Test, "passed")], StatesIn(Hear(stream)));
        Assert.Equal(3, (int)Hear(stream)["id"]!);
        Ask(stream, null, "exit", new());
        program.WaitForExit();
        Assert.Equal(0, program.ExitCode);
    }

    private static (string Test, string State)[] StatesIn(JsonNode told) =>
        [.. told["params"]!["changes"]!.AsArray().Select(static change => ((string)change!["node"]!["uid"]!, (string)change["node"]!["execution-state"]!))];

    private static void Ask(NetworkStream stream, int? id, string method, JsonObject parameters)
    {
        var request = new JsonObject { ["jsonrpc"] = "2.0", ["method"] = method, ["params"] = parameters };
        if (id is not null) request["id"] = id;
        byte[] body = Encoding.UTF8.GetBytes(request.ToJsonString());
        stream.Write([.. Encoding.ASCII.GetBytes($"Content-Length: {body.Length}\r\n\r\n"), .. body]);
    }

    private static JsonNode Hear(NetworkStream stream)
    {
        var header = new StringBuilder();
        while (!header.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal)) header.Append((char)stream.ReadByte());
        byte[] body = new byte[int.Parse(header.ToString().Split(' ', '\r')[1], provider: null)];
        stream.ReadExactly(body);
        return JsonNode.Parse(body)!;
    }

    private Verdict? Try(bool isUsed, bool isOfStatics, Func<int, string, bool> fails) => new Trial(isUsed, (active, test) =>
    {
        _ran.Add((active, test));
        return fails(active, test) ? Outcome.Failed : Outcome.Passed;
    }).Of(Mutant, ["a", "b", "c"], isOfStatics);
}
