using System.CommandLine;
using Harness.Coverage;
using Harness.ModelChecking;
using Harness.Stages;
using Verify.Output;

namespace Verify.Commands;

/// <summary><c>verify coverage</c>: what of all that can happen in a small world each kind of run has led the library into.</summary>
internal static class CoverageCommand
{
    private const double DefaultSeconds = 120;

    /// <summary>The command.</summary>
    public static Command Create(Surroundings here)
    {
        var scope = new ScopeOptions();
        Option<double> time = new("--time") { Description = "How long to run, all parts together.", HelpName = "SECONDS", DefaultValueFactory = static _ => DefaultSeconds, CustomParser = RunCommand.ParseTime };
        Option<ulong> seed = RunCommand.Seed();
        Option<long> memory = new("--memory") { Description = "In how much memory the model is searched.", HelpName = "MIB", DefaultValueFactory = static _ => ModelCommand.DefaultMiB };
        Option<bool> missing = new("--missing") { Description = "List every situation that no run has been in." };
        Option<string> failures = RunCommand.Failures();
        var command = new Command("coverage", "Say what share of all that can happen in a small world exhaustive, random and concurrent runs lead the library into.")
        {
            time, seed, memory, missing, failures,
        };
        scope.AddTo(command);
        command.SetAction(parsed =>
        {
            Scope asked = scope.Of(parsed);
            asked.Validate();
            long bytes = ModelCommand.AtLeast(1, memory, parsed.GetValue(memory))!.Value << 20;
            var store = new FailureStore(here, parsed.GetRequiredValue(failures));
            store.Check();
            TimeSpan budget = TimeSpan.FromSeconds(parsed.GetValue(time));
            here.Out.WriteLine(asked);
            here.Out.WriteLine($"{Line.Seconds(budget)}, seed {parsed.GetValue(seed)}");
            here.Out.Flush();
            CoverageReport report = CoverageRun.Run(asked, new StageContext(parsed.GetValue(seed), budget, here.Time, Shower(here), here.Stop), bytes, here.Library);
            if (here.Terminal) here.Out.Write("\r\u001b[K");
            CoverageTable.Print(report, parsed.GetValue(missing), here);
            return ModelCommand.Show(report.Failure, "verify replay runs it again", store, here);
        });
        return command;
    }

    /// <summary>What shows a person how far it is.</summary>
    private static Action<StageProgress> Shower(Surroundings here) => progress =>
    {
        if (!here.Terminal) return;
        here.Out.Write(FormattableString.Invariant($"\r{progress.Fraction:P0} {progress.Text}\u001b[K"));
        here.Out.Flush();
    };
}
