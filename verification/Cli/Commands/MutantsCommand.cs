using System.CommandLine;
using Harness;
using Harness.Schedules;
using Mutation.Hunting;
using Mutation.Operators;
using Mutation.Report;
using Mutation.Schema;
using Verify.Output;
using Verify.Running;

namespace Verify.Commands;

/// <summary><c>verify mutants</c>: the mistakes of the trade, made wherever they can be made, and who finds each.</summary>
internal static class MutantsCommand
{
    /// <summary>The command.</summary>
    public static Command Create(Surroundings here)
    {
        Option<string[]> operators = new("--operator") { Description = "Make only this mistake; may be given several times.", HelpName = "NAME" };
        Option<string?> files = new("--files") { Description = "Change only files whose path has this in it, such as Vtd/.", HelpName = "TEXT" };
        Option<string[]> engines = new("--engine") { Description = $"Hunt with this engine only; may be given several times. {string.Join(", ", Engines.All)}", HelpName = "NAME" };
        Option<string?> tests = new("--tests") { Description = "Of the tests hunt only with classes whose full name has this in it, such as Library.Dma.", HelpName = "TEXT" };
        Option<bool> every = new("--every-engine") { Description = "Hunt each mutant with each engine, and not only with the next what is not found yet." };
        Option<ulong> seed = RunCommand.Seed();
        Option<double?> time = new("--time") { Description = "For how long sequences are generated for each mutant. [default: 6]", HelpName = "SECONDS", CustomParser = static given => RunCommand.ParseTime(given) };
        Option<double?> schedules = new("--schedules") { Description = "For how long schedules are run of each mutant; 0: none. [default: 10]", HelpName = "SECONDS" };
        Option<string[]> strategies = new("--strategy") { Description = "Run schedules that this strategy chooses, each an engine of its own; may be given several times. portfolio: all in turn.", HelpName = "NAME" };
        Option<string?> json = new("--json") { Description = "Write a report in the schema of mutation testing to this file.", HelpName = "FILE" };
        Option<string?> html = new("--html") { Description = "Write the report as one page for a browser to this file.", HelpName = "FILE" };
        Option<string?> markdown = new("--markdown") { Description = "Write a short page in Markdown, such as the summary of a job, to this file.", HelpName = "FILE" };
        Option<bool> list = new("--list") { Description = "List the operators and how many mutants each makes, and hunt none." };
        var command = new Command("mutants", "Make the mistakes of the trade in the library, one at a time, and see whether a check fails.") { operators, files, engines, tests, every, seed, time, schedules, strategies, json, html, markdown, list };
        command.SetAction(parsed =>
        {
            MutationOperator[] chosen = Choose(parsed.GetValue(operators) ?? []);
            if (parsed.GetValue(schedules) is < 0 or > 3600) throw new BadInputException($"--schedules: {parsed.GetValue(schedules)}; expected 0 to 3600");
            var plan = new MutantPlan(parsed.GetValue(seed))
            {
                Engines = ChooseEngines(parsed.GetValue(engines) ?? [], parsed.GetValue(strategies) ?? []),
                Tests = parsed.GetValue(tests) ?? "",
                IsEveryEngine = parsed.GetValue(every),
                Sequences = TimeSpan.FromSeconds(parsed.GetValue(time) ?? 6),
                Schedules = TimeSpan.FromSeconds(parsed.GetValue(schedules) ?? 10),
                Lanes = ScheduleRequest.WorkersHere,
            };
            if (plan.Tests.Length != 0 && !plan.HasTests) throw new BadInputException($"--tests: no engine of tests hunts; expected {RunPlan.OneOf(Engines.OfTests)}");
            if (!plan.HasEngine) throw new BadInputException("--schedules: 0 leaves no engine to hunt; expected more, or another --engine");
            var report = new MutantReport(here, "--json", parsed.GetValue(json), parsed.GetValue(html), parsed.GetValue(markdown));
            report.Check();
            MutantWorkshop workshop = MutantWorkshop.Open(here);
            if (parsed.GetValue(strategies) is { Length: > 0 } given) MuseumCommand.CheckStrategies(given, ScheduleHunt.Catalogue(here.ScheduleWorker));
            Mutant[] mutants = [.. chosen.SelectMany(made => made.MutantsOf(workshop.Sources)).Where(mutant => parsed.GetValue(files) is not { } part || mutant.Edits[0].File.Contains(part, StringComparison.Ordinal))];
            if (parsed.GetValue(list)) return List(chosen, mutants, here);
            return mutants.Length != 0 ? Hunt(workshop, mutants, plan, report, here) : throw new BadInputException("--files: no mutant can be made there; verify mutants --list counts them");
        });
        return command;
    }

    private static int Hunt(MutantWorkshop workshop, Mutant[] mutants, MutantPlan plan, MutantReport report, Surroundings here)
    {
        long begun = here.Time.GetTimestamp();
        (MutatedLibrary library, Hunter hunter) = workshop.Build("mutants", mutants, plan.HasTests, AllOperators.Helpers);
        TimeSpan built = here.Time.GetElapsedTime(begun);
        here.Out.WriteLine($"{Line.Count(mutants.Length, "mutant")} in one assembly, built in {Line.Seconds(built)}; {Line.Count(library.Broken.Count)} of them cannot be compiled");
        IReadOnlyList<MutantOutcome> outcomes = new MutantTour(hunter, plan, here.Stop).Run(library, Surveyed, told => here.Out.WriteLine(MutantTable.LineOf(told)));
        TimeSpan elapsed = here.Time.GetElapsedTime(begun);
        MutationReport made = OutcomeReport.Of("verify mutants", outcomes, workshop.Sources.TextOf);
        MutantTable.Print(outcomes, made, plan, elapsed - built, here);
        report.Write("the mistakes of the trade", made);
        // What is known was told; that it is not all is told, too.
        if (outcomes.Any(static outcome => outcome.IsPending)) here.Stop.ThrowIfCancellationRequested();
        return outcomes.Any(static outcome => outcome.IsSurvivor) ? ExitCode.Violation : ExitCode.Clean;

        void Surveyed(TestMap map)
        {
            if (map.ClassCount == 0) throw new BadInputException($"--tests: \"{plan.Tests}\" is in the name of no class of tests that hunts; expected part of one, such as Library.Dma");
            MutantTable.PrintSurvey(map, "a mutant", here);
        }
    }

    private static MutationOperator[] Choose(string[] names)
    {
        foreach (string name in names.Where(static name => AllOperators.All.All(known => known.Name != name)))
            throw new BadInputException($"--operator: \"{name}\" is no operator; expected {RunPlan.OneOf(AllOperators.All.Select(static known => known.Name))}");
        return names.Length == 0 ? [.. AllOperators.All] : [.. AllOperators.All.Where(known => names.Contains(known.Name))];
    }

    private static string[] ChooseEngines(string[] names, string[] strategies)
    {
        foreach (string name in names.Where(static name => !Engines.All.Contains(name))) throw new BadInputException($"--engine: \"{name}\" is no engine; expected {RunPlan.OneOf(Engines.All)}");
        IEnumerable<string> engines = Engines.All.Where(engine => names.Length == 0 || names.Contains(engine));
        if (strategies.Length == 0) return [.. engines];
        if (names.Length != 0 && !names.Contains(Engines.Schedules)) throw new BadInputException($"--strategy: expected {Engines.Schedules} among the engines");
        return [.. engines.Where(static engine => engine != Engines.Schedules), .. strategies.Distinct()];
    }

    private static int List(MutationOperator[] chosen, Mutant[] mutants, Surroundings here)
    {
        foreach (MutationOperator made in chosen)
        {
            here.Out.WriteLine($"{made.Name}: {Line.Count(mutants.Count(mutant => mutant.Operator == made.Name), "mutant")}");
            here.Out.WriteLine($"  {made.Changes}");
            here.Out.WriteLine($"  as in: {made.StandsFor}");
            here.Out.WriteLine($"  breaks {string.Join(", ", made.Breaks.Select(Vcmm.Spec.Invariants.Label))}");
        }

        here.Out.WriteLine(Line.Count(mutants.Length, "mutant"));
        return ExitCode.Clean;
    }
}
