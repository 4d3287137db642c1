using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Harness;
using Harness.Scenarios;
using Harness.Stages;
using Vcmm.Spec;
using Verify.Output;
using Verify.Running;

namespace Verify.Commands;

/// <summary><c>verify run</c>: every stage over a time budget.</summary>
internal static class RunCommand
{
    /// <summary>The longest budget: a week.</summary>
    private static readonly TimeSpan Longest = TimeSpan.FromDays(7);

    /// <summary>The command.</summary>
    public static Command Create(Surroundings here)
    {
        Option<double> time = new("--time")
        {
            Description = "How long to run, all stages together.",
            HelpName = "SECONDS",
            DefaultValueFactory = _ => 60,
            CustomParser = ParseTime,
        };
        Option<ulong> seed = Seed();
        Option<int?> seeds = new("--seeds") { Description = "Run so often, each time with the next seed and all of the time.", HelpName = "NUMBER" };
        // What the museum asks of it: seeds that find nothing are the long ones.
        Option<int?> clean = new("--clean") { Description = "End after so many runs without a violation.", HelpName = "NUMBER", Hidden = true };
        Option<string?> json = new("--json") { Description = "Write what ran, was checked and failed to this file; with --seeds, for each to one with its seed in the name.", HelpName = "FILE" };
        Option<string[]> names = new("--stage") { Description = "Run only this stage; may be given several times.", HelpName = "NAME" };
        Option<string> failures = Failures();
        Option<string?> topology = new("--topology") { Description = "Run generated scenarios on the machine in this file alone.", HelpName = "FILE" };
        Option<int?> count = new("--count") { Description = "End each stage after so many sequences, schedules, cases or units, though there is time left.", HelpName = "NUMBER" };
        Option<string[]> mute = MuteOption.Create();
        Option<string> shrink = new("--shrink")
        {
            Description = "Of which failures something smaller is looked for that fails as well: all, first (with --seeds, those of the first seed), none.",
            HelpName = "WHICH",
            DefaultValueFactory = static _ => "all",
        };
        Option<bool> strict = new("--strict") { Description = "Run nothing and exit with 3 if a stage lacks what it needs. Not with --mute: what tells less than all is no strict run." };
        var command = new Command("run", "Run the stages: generate, explore, hold recorded and foreign behaviour to the specification.")
        {
            time, seed, seeds, clean, json, names, topology, failures, count, mute, shrink, strict,
        };
        command.SetAction(parsed =>
        {
            long? most = ModelCommand.AtLeast(1, count, parsed.GetValue(count));
            InvariantSet muted = MuteOption.Parse(parsed.GetValue(mute));
            if (!muted.IsEmpty && parsed.GetValue(strict)) throw new BadInputException($"{MuteOption.Name}: not with --strict, since a run that does not tell of {muted} is not strict; expected one of the two");
            int brief = FirstBrief(parsed.GetRequiredValue(shrink));
            long? often = ModelCommand.AtLeast(1, seeds, parsed.GetValue(seeds));
            var store = new FailureStore(here, parsed.GetRequiredValue(failures));
            store.Check();
            (ulong Seed, JsonReport? Report)[] runs = [.. Seeds(parsed.GetValue(seed), often).Select(next => (next, parsed.GetValue(json) is { } file ? new JsonReport(here, often is null ? file : NameOf(file, next)) : null))];
            foreach ((_, JsonReport? report) in runs) report?.Check();
            IReadOnlyList<IStage> stages = parsed.GetValue(topology) is { } machine ? On(machine, parsed.GetValue(names) ?? [], here) : here.Stages;
            RunPlan plan = RunPlan.Of(
                stages, parsed.GetValue(names) ?? [], parsed.GetValue(strict), parsed.GetValue(seed), TimeSpan.FromSeconds(parsed.GetValue(time))) with
            {
                Most = most,
                Muted = muted,
            };
            return Run([.. runs.Select((run, i) => (plan with { Seed = run.Seed, IsBrief = i >= brief }, run.Report))], ModelCommand.AtLeast(1, clean, parsed.GetValue(clean)) ?? long.MaxValue, store, here, parsed.GetValue<bool>(CommandTree.Verbose));
        });
        return command;
    }

    /// <summary>How many runs, from the first on, make what they find smaller.</summary>
    private static int FirstBrief(string shrink) => shrink switch
    {
        "all" => int.MaxValue,
        "first" => 1,
        "none" => 0,
        _ => throw new BadInputException($"--shrink: \"{shrink}\" says not which; expected one of all, first, none"),
    };

    private static IEnumerable<ulong> Seeds(ulong first, long? count)
    {
        for (long i = 0; i < (count ?? 1); i++) yield return unchecked(first + (ulong)i);
    }

    /// <summary>The file of one of several runs: <c>run.json</c> with seed 7 is <c>run.7.json</c>.</summary>
    private static string NameOf(string file, ulong seed) => Path.ChangeExtension(file, seed.ToString(CultureInfo.InvariantCulture) + Path.GetExtension(file));

    /// <summary>The stages that run on a machine of the user's, each on that one.</summary>
    private static IStage[] On(string path, IReadOnlyCollection<string> names, Surroundings here)
    {
        Topology topology = InputFile.Read(path, here, "a topology", Topology.Parse);
        ITopologyStage[] able = [.. here.Stages.OfType<ITopologyStage>()];
        foreach (string name in names)
        {
            if (here.Stages.Any(stage => stage.Name == name) && !Array.Exists(able, stage => stage.Name == name))
                throw new BadInputException($"--topology: stage {name} has machines of its own; expected {RunPlan.OneOf(able.Select(stage => stage.Name))}");
        }

        return [.. able.Select(stage => stage.On(topology))];
    }

    /// <summary>The option that says where random choices come from.</summary>
    internal static Option<ulong> Seed() => new("--seed")
    {
        Description = "Where every random choice comes from.",
        HelpName = "N",
        DefaultValueFactory = static _ => 1,
        CustomParser = ParseSeed,
    };

    /// <summary>The option that says where failures go.</summary>
    internal static Option<string> Failures() => new("--failures")
    {
        Description = "Where each failure is written as a file.",
        HelpName = "DIR",
        DefaultValueFactory = static _ => "failures",
    };

    /// <summary>One run after the other, until so many were clean, or one is stopped or has a stage that broke: it may have left behind what the next would trip over.</summary>
    private static int Run(IReadOnlyList<(RunPlan Plan, JsonReport? Report)> runs, long mostClean, FailureStore store, Surroundings here, bool verbose)
    {
        var codes = new List<int>();
        foreach ((RunPlan plan, JsonReport? report) in runs)
        {
            RunOutcome outcome = Run(plan, store, report, here, verbose);
            codes.Add(outcome.ExitCode);
            if (codes.Count(static code => code == ExitCode.Clean) == mostClean || outcome.Stopped || outcome.Stages.Any(static stage => stage.State == StageState.Broke)) break;
        }

        return codes.Contains(ExitCode.Violation) ? ExitCode.Violation : codes.Max();
    }

    private static RunOutcome Run(RunPlan plan, FailureStore store, JsonReport? report, Surroundings here, bool verbose)
    {
        string names = string.Join(", ", plan.Stages.Where(stage => stage.Missing is null).Select(stage => stage.Stage.Name));
        string most = plan.Most is { } count ? $", {Line.Count(count)} at most" : "";
        here.Out.WriteLine($"{Line.Seconds(plan.Budget)} of {names}{most}, seed {plan.Seed}{RunTable.MutedText(plan.Muted)}");
        here.Out.Flush();
        RunOutcome outcome = Display.While(plan, here, display => new Runner(here.Time, here.Stop, new Saving(display, store)).Run(plan));
        RunTable.Print(outcome, store, here);
        here.Out.Flush();
        foreach (StageOutcome broken in outcome.Stages.Where(stage => stage.State == StageState.Broke))
        {
            here.Error.WriteLine($"verify: stage {broken.Name} broke: {Line.Of(broken.Note!)}");
            if (verbose && broken.Error is { } error) here.Error.WriteLine(error);
        }

        if (store.Problem is { } problem) here.Error.WriteLine($"verify: {Line.Of(problem)}");
        report?.Write(outcome, store);
        return outcome;
    }

    /// <summary>A time in seconds.</summary>
    internal static double ParseTime(ArgumentResult given)
    {
        string text = given.Tokens[0].Value;
        if (double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double seconds)
            && seconds >= 0.001 && seconds <= Longest.TotalSeconds) return seconds;
        given.AddError($"--time: \"{text}\" is not a number of seconds; expected 0.001 to {Longest.TotalSeconds:0}");
        return 0;
    }

    private static ulong ParseSeed(ArgumentResult given)
    {
        string text = given.Tokens[0].Value;
        if (ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong seed)) return seed;
        given.AddError($"--seed: \"{text}\" is not a seed; expected a whole number from 0 to {ulong.MaxValue}");
        return 0;
    }

    /// <summary>Writes what a stage found as soon as it ends, so that a crash of a later one does not lose it.</summary>
    private sealed class Saving(IRunObserver display, FailureStore store) : IRunObserver
    {
        public void Started(string stage, TimeSpan budget) => display.Started(stage, budget);

        public void Progressed(string stage, StageProgress progress) => display.Progressed(stage, progress);

        public void Ended(StageOutcome outcome)
        {
            store.Save(outcome.Failures);
            display.Ended(outcome);
        }
    }
}
