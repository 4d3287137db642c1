using System.CommandLine;
using Harness;
using Harness.Schedules;
using Mutation.Exhibits;
using Mutation.Hunting;
using Mutation.Report;
using Mutation.Schema;
using Verify.Output;

namespace Verify.Commands;

/// <summary><c>verify museum</c>: real bugs, planted one after the other, and who finds each.</summary>
internal static class MuseumCommand
{
    /// <summary>The command.</summary>
    public static Command Create(Surroundings here)
    {
        Option<string[]> names = new("--name") { Description = "Hunt only this exhibit; may be given several times. One alone is shown with its counterexample.", HelpName = "NAME" };
        Option<ulong> seed = RunCommand.Seed();
        Option<int?> seeds = new("--seeds") { Description = "How often each is hunted, each time with the next seed. [default: 10]", HelpName = "NUMBER" };
        Option<int?> sequences = new("--sequences") { Description = "How many sequences are generated in a hunt. [default: 200]", HelpName = "NUMBER" };
        Option<int?> schedules = new("--schedules") { Description = "How many schedules of each scenario are run in a hunt. [default: 1000]", HelpName = "NUMBER" };
        Option<string[]> strategies = new("--strategy") { Description = "Hunt only in schedules that this strategy chooses, whatever has a scenario; several are compared. portfolio: all in turn.", HelpName = "NAME" };
        Option<bool> noTests = new("--no-tests") { Description = "Do not hunt with the project's own tests what is not found by those who are to find it." };
        Option<string?> json = new("--json") { Description = "Write what was found to this file.", HelpName = "FILE" };
        Option<string?> mutants = new("--report") { Description = "Write the exhibits as mutants, in the schema of mutation testing, to this file.", HelpName = "FILE" };
        Option<string?> html = new("--html") { Description = "Write the same as one page for a browser to this file.", HelpName = "FILE" };
        Option<string?> markdown = new("--markdown") { Description = "Write a short page in Markdown, such as the summary of a job, to this file.", HelpName = "FILE" };
        Option<bool> list = new("--list") { Description = "List the exhibits, and hunt none." };
        var command = new Command("museum", "Plant real bugs in the library, one at a time, and see who finds each.") { names, seed, seeds, sequences, schedules, strategies, noTests, json, mutants, html, markdown, list };
        command.SetAction(parsed =>
        {
            MuseumReport? report = parsed.GetValue(json) is { } file ? new MuseumReport(here, file) : null;
            report?.Check();
            var asMutants = new MutantReport(here, "--report", parsed.GetValue(mutants), parsed.GetValue(html), parsed.GetValue(markdown));
            asMutants.Check();
            string root = Repository.RootOf(here.Directory);
            Exhibit[] exhibits = Choose([.. Exhibit.ReadAll(Path.Combine(root, "mutation", "Museum"))], parsed.GetValue(names) ?? []);
            var plan = new MuseumPlan(parsed.GetValue(seed), (int)(ModelCommand.AtLeast(1, seeds, parsed.GetValue(seeds)) ?? 10))
            {
                Sequences = ModelCommand.AtLeast(1, sequences, parsed.GetValue(sequences)) ?? 200,
                Schedules = ModelCommand.AtLeast(1, schedules, parsed.GetValue(schedules)) ?? 1_000,
                Strategies = parsed.GetValue(strategies) ?? [],
                WithTests = !parsed.GetValue(noTests) && parsed.GetValue(strategies) is not { Length: > 0 },
                Lanes = ScheduleRequest.WorkersHere,
            };
            if (parsed.GetValue(list)) return List(exhibits, here);
            if (plan.Strategies.Count == 0) return Hunt(exhibits, plan, report, asMutants, here);
            Exhibit[] inSchedules = [.. exhibits.Where(static exhibit => !exhibit.Scenarios.IsEmpty)];
            if (inSchedules.Length == 0) throw new BadInputException($"--strategy: {string.Join(", ", exhibits.Select(static exhibit => exhibit.Name))} has no scenario whose schedules could be chosen");
            return Hunt(inSchedules, plan, report, asMutants, here);
        });
        return command;
    }

    private static int Hunt(Exhibit[] exhibits, MuseumPlan plan, MuseumReport? report, MutantReport asMutants, Surroundings here)
    {
        long begun = here.Time.GetTimestamp();
        MutantWorkshop workshop = MutantWorkshop.Open(here);
        CatalogueMessage there = ScheduleHunt.Catalogue(here.ScheduleWorker);
        CheckStrategies(plan.Strategies, there);
        string[] scenarios = [.. there.Scenarios.Concat(there.Scripts).Select(static entry => entry.Name)];
        foreach (Exhibit exhibit in exhibits)
        {
            if (exhibit.Scenarios.FirstOrDefault(name => !scenarios.Contains(name)) is { } unknown)
                throw new BadInputException($"exhibit {exhibit.Name}: Scenario says \"{unknown}\"; expected one of {string.Join(", ", scenarios)}");
        }

        (MutatedLibrary library, Hunter hunter) = workshop.Build("museum", [.. exhibits.Select(exhibit => exhibit.ToMutant(workshop.Sources.TextOf))], plan.WithTests);
        here.Out.WriteLine($"{Line.Count(exhibits.Length, "exhibit")} built in {Line.Seconds(here.Time.GetElapsedTime(begun))}");
        var tour = new MuseumTour(hunter, plan, here.Stop);
        IReadOnlyList<ExhibitOutcome> outcomes = tour.Run(library, exhibits, map => MutantTable.PrintSurvey(map, "an exhibit", here), told => here.Out.WriteLine(MuseumTable.LineOf(told)));
        TimeSpan elapsed = here.Time.GetElapsedTime(begun);
        MuseumTable.Print(outcomes, plan, elapsed, here);
        report?.Write(outcomes, plan, elapsed);
        MutationReport made = OutcomeReport.Of("verify museum", [.. outcomes.Select(outcome => OutcomeReport.Of(outcome, workshop.Sources.TextOf))], workshop.Sources.TextOf);
        asMutants.Write("the museum", made);
        return outcomes.All(static outcome => outcome.IsFoundByName) ? ExitCode.Clean : ExitCode.Violation;
    }

    /// <summary>Holds what was given as strategies to what there is.</summary>
    /// <exception cref="BadInputException">One is none.</exception>
    public static void CheckStrategies(IEnumerable<string> names, CatalogueMessage there)
    {
        string[] strategies = [Engines.Portfolio, .. there.Strategies.Select(static entry => entry.Name)];
        if (names.FirstOrDefault(name => !strategies.Contains(name)) is { } unknown) throw new BadInputException($"--strategy: \"{unknown}\"; expected one of {string.Join(", ", strategies)}");
    }

    private static Exhibit[] Choose(Exhibit[] all, string[] names)
    {
        foreach (string name in names.Where(name => all.All(exhibit => exhibit.Name != name))) throw new BadInputException($"--name: \"{name}\" is no exhibit; verify museum --list names them");
        return names.Length == 0 ? all : [.. all.Where(exhibit => names.Contains(exhibit.Name))];
    }

    private static int List(Exhibit[] exhibits, Surroundings here)
    {
        foreach (Exhibit exhibit in exhibits)
        {
            here.Out.WriteLine($"{exhibit.Name}: {exhibit.Title}");
            here.Out.WriteLine($"  source  {exhibit.Source}");
            here.Out.WriteLine($"  story   {exhibit.Story}");
            here.Out.WriteLine($"  here    {exhibit.Here}");
            string threads = exhibit.NeedsThreads ? $", where threads interleave ({string.Join(", ", exhibit.Scenarios)})" : "";
            here.Out.WriteLine($"  breaks  {string.Join(", ", exhibit.Breaks.Select(Vcmm.Spec.Invariants.Label))}{threads}");
        }

        here.Out.WriteLine(Line.Count(exhibits.Length, "exhibit"));
        return ExitCode.Clean;
    }
}
