using System.CommandLine;
using System.Globalization;
using Harness;
using Harness.ModelChecking;
using Harness.Stages;
using Verify.Output;

namespace Verify.Commands;

/// <summary><c>verify model</c>: everything that the model accepts in a small world, and every invariant in each state of it.</summary>
internal static class ModelCommand
{
    private const double DefaultSeconds = 60;
    internal const long DefaultMiB = 4096;

    /// <summary>The command.</summary>
    public static Command Create(Surroundings here)
    {
        var scope = new ScopeOptions();
        Option<int?> depth = new("--depth") { Description = "No further than so many operations.", HelpName = "NUMBER" };
        Option<int?> states = new("--states") { Description = "About so many states.", HelpName = "NUMBER" };
        Option<double> time = new("--time") { Description = "For so long.", HelpName = "SECONDS", DefaultValueFactory = static _ => DefaultSeconds, CustomParser = RunCommand.ParseTime };
        Option<long> memory = new("--memory") { Description = "In so much memory.", HelpName = "MIB", DefaultValueFactory = static _ => DefaultMiB };
        Option<int> workers = new("--workers") { Description = "On so many threads.", HelpName = "NUMBER", DefaultValueFactory = static _ => Environment.ProcessorCount };
        Option<bool> library = new("--library") { Description = "Do it with the library on the simulator, by all sequences, one after the other, instead of with the model." };
        Option<string> failures = RunCommand.Failures();
        var command = new Command("model", "Try everything that can happen in a small world, and hold the model to its invariants.")
        {
            depth, states, time, memory, workers, library, failures,
        };
        scope.AddTo(command);
        command.SetAction(parsed =>
        {
            Scope asked = scope.Of(parsed);
            var limits = new SearchLimits
            {
                Depth = AtLeast(1, depth, parsed.GetValue(depth)),
                States = AtLeast(1, states, parsed.GetValue(states)),
                Time = TimeSpan.FromSeconds(parsed.GetValue(time)),
                Bytes = AtLeast(1, memory, parsed.GetValue(memory))!.Value << 20,
                Workers = (int)AtLeast(1, workers, parsed.GetValue(workers))!.Value,
            };
            var store = new FailureStore(here, parsed.GetRequiredValue(failures));
            store.Check();
            return parsed.GetValue(library) ? SearchLibrary(asked, limits, store, here) : Search(asked, limits, store, here);
        });
        return command;
    }

    private static int Search(Scope scope, SearchLimits limits, FailureStore store, Surroundings here)
    {
        scope.Validate();
        here.Out.WriteLine(scope);
        here.Out.Flush();
        ModelReport report = ModelSearch.Run(scope, limits, here.Time, Shower(here), here.Stop, here.Model);
        if (here.Terminal) here.Out.Write("\r\u001b[K");
        ModelTable.Print(report, here);
        return Show(report.Counterexample?.ToFailure(), "verify replay runs these operations on the library", store, here);
    }

    private static int SearchLibrary(Scope scope, SearchLimits limits, FailureStore store, Surroundings here)
    {
        scope.Validate();
        here.Out.WriteLine(scope);
        here.Out.Flush();
        LibraryReport report = LibrarySearch.Run(scope, limits.Time ?? TimeSpan.MaxValue, here.Time, Shower(here), here.Stop, here.Library, limits.Depth);
        if (here.Terminal) here.Out.Write("\r\u001b[K");
        ModelTable.Print(report, here);
        return Show(report.Failure, "verify replay runs it again", store, here);
    }

    internal static int Show(StageFailure? failure, string hint, FailureStore store, Surroundings here)
    {
        if (failure is null) return ExitCode.Clean;
        store.Save([failure]);
        here.Out.WriteLine();
        here.Out.Write(failure.Report);
        if (store.PathOf(failure) is { } path) here.Out.WriteLine($"{path} ({hint})");
        return store.Problem is { } problem ? throw new EnvironmentException(problem) : ExitCode.Violation;
    }

    /// <summary>What shows how far a search is: to a person at once, otherwise a line for each depth.</summary>
    private static Action<ModelProgress> Shower(Surroundings here)
    {
        int shown = 0;
        return progress =>
        {
            string line = string.Create(CultureInfo.InvariantCulture, $"depth {progress.Depth}: {progress.States:N0} states, {progress.Expanded:N0} expanded, {progress.States / Math.Max(0.001, progress.Elapsed.TotalSeconds):N0} a second");
            if (here.Terminal)
            {
                here.Out.Write($"\r{line}\u001b[K");
            }
            else if (progress.Depth > shown)
            {
                shown = progress.Depth;
                here.Out.WriteLine(line);
            }

            here.Out.Flush();
        };
    }

    private static int? AtLeast(int least, Option option, int? value) => (int?)AtLeast(least, option, (long?)value);

    internal static long? AtLeast(int least, Option option, long? value) =>
        value is null || value >= least ? value : throw new BadInputException($"{option.Name}: {value} is too small; expected at least {least}");
}
