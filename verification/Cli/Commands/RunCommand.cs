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
        Option<string?> json = new("--json") { Description = "Write what ran, was checked and failed to this file.", HelpName = "FILE" };
        Option<string[]> names = new("--stage") { Description = "Run only this stage; may be given several times.", HelpName = "NAME" };
        Option<string> failures = Failures();
        Option<string?> topology = new("--topology") { Description = "Run generated scenarios on the machine in this file alone.", HelpName = "FILE" };
        Option<int?> count = new("--count") { Description = "End each stage after so many sequences, schedules, cases or units, though there is time left.", HelpName = "NUMBER" };
        Option<string[]> mute = MuteOption.Create();
        Option<bool> strict = new("--strict") { Description = "Run nothing and exit with 3 if a stage lacks what it needs. Not with --mute: what tells less than all is no strict run." };
        var command = new Command("run", "Run the stages: generate, explore, hold recorded and foreign behaviour to the specification.")
        {
            time, seed, json, names, topology, failures, count, mute, strict,
        };
        command.SetAction(parsed =>
        {
            long? most = ModelCommand.AtLeast(1, count, parsed.GetValue(count));
            InvariantSet muted = MuteOption.Parse(parsed.GetValue(mute));
            if (!muted.IsEmpty && parsed.GetValue(strict)) throw new BadInputException($"{MuteOption.Name}: not with --strict, since a run that does not tell of {muted} is not strict; expected one of the two");
            var store = new FailureStore(here, parsed.GetRequiredValue(failures));
            JsonReport? report = parsed.GetValue(json) is { } file ? new JsonReport(here, file) : null;
            store.Check();
            report?.Check();
            IReadOnlyList<IStage> stages = parsed.GetValue(topology) is { } machine ? On(machine, parsed.GetValue(names) ?? [], here) : here.Stages;
            RunPlan plan = RunPlan.Of(
                stages, parsed.GetValue(names) ?? [], parsed.GetValue(strict), parsed.GetValue(seed), TimeSpan.FromSeconds(parsed.GetValue(time))) with
            {
                Most = most,
                Muted = muted,
            };
            return Run(plan, store, report, here, parsed.GetValue<bool>(CommandTree.Verbose));
        });
        return command;
    }

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

    private static int Run(RunPlan plan, FailureStore store, JsonReport? report, Surroundings here, bool verbose)
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
        return outcome.ExitCode;
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
