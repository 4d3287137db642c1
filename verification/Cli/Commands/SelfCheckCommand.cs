using System.CommandLine;
using Harness;
using Harness.Schedules;
using Mutation.Exhibits;
using Mutation.Hunting;
using Mutation.Schema;
using Mutation.SelfCheck;
using Verify.Output;
using Verify.Running;

namespace Verify.Commands;

/// <summary><c>verify selfcheck</c>: whether each oracle is needed.</summary>
internal static class SelfCheckCommand
{
    /// <summary>The command.</summary>
    public static Command Create(Surroundings here)
    {
        Option<string[]> only = new("--only") { Description = "Check only this invariant, such as I4, or this engine, such as sequences; may be given several times.", HelpName = "NAME" };
        Option<string?> witnesses = new("--witnesses") { Description = "Take the witnesses from this file. [default: mutation/Witnesses/witnesses.json]", HelpName = "FILE" };
        Option<string?> json = new("--json") { Description = "Write what was found to this file.", HelpName = "FILE" };
        Option<bool> list = new("--list") { Description = "List the witnesses, and hunt none." };
        var command = new Command("selfcheck", "Is each oracle needed? For each invariant, plant a mistake that it alone sees, and mute it; for each engine, one that it alone finds.") { only, witnesses, json, list };
        command.SetAction(parsed =>
        {
            string root = Repository.RootOf(here.Directory);
            string path = parsed.GetValue(witnesses) ?? Path.Combine(root, "mutation", "Witnesses", "witnesses.json");
            WitnessFile file = Choose(InputFile.Read(path, here, "witnesses", WitnessFile.Parse), parsed.GetValue(only) ?? []);
            SelfCheckReport? report = parsed.GetValue(json) is { } output ? new SelfCheckReport(here, output) : null;
            report?.Check();
            if (!parsed.GetValue(list)) return Run(root, file, report, here);
            SelfCheckTable.Print(file, here);
            return ExitCode.Clean;
        });
        return command;
    }

    private static int Run(string root, WitnessFile file, SelfCheckReport? report, Surroundings here)
    {
        long begun = here.Time.GetTimestamp();
        MutantWorkshop workshop = MutantWorkshop.Open(here);
        string[] patches = [.. file.Invariants.Select(static witness => witness.Planted).Concat(file.EngineWitnesses.Select(static witness => witness.Planted)).Select(static planted => planted?.Patch).OfType<string>().Distinct()];
        Exhibit[] known = [.. Exhibit.ReadAll(Path.Combine(root, "mutation", "Museum")), .. Exhibit.ReadAll(Path.Combine(root, "mutation", "Witnesses"))];
        if (patches.FirstOrDefault(name => !known.Any(exhibit => exhibit.Name == name)) is { } unknown) throw new BadInputException($"witnesses: \"{unknown}\" is no patch; expected one of mutation/Museum or mutation/Witnesses");
        Exhibit[] planted = [.. known.Where(exhibit => patches.Contains(exhibit.Name))];
        (MutatedLibrary library, Hunter hunter) = workshop.Build("selfcheck", [.. planted.Select(exhibit => exhibit.ToMutant(workshop.Sources.TextOf))], withTests: file.EngineWitnesses.Any(static witness => witness.Hunt?.Engine == "tests"));
        here.Out.WriteLine($"{Line.Count(planted.Length, "mistake")} built in {Line.Seconds(here.Time.GetElapsedTime(begun))}");
        here.Out.Flush();
        var tour = new SelfCheckTour(hunter, library, here.Time, ScheduleRequest.WorkersHere, here.Stop);
        var outcome = new SelfCheckOutcome(
            tour.Run(file.Invariants, (InvariantOutcome told) => Tell(SelfCheckTable.LineOf(told), here)),
            tour.Run(file.EngineWitnesses, (EngineVerdict told) => Tell(SelfCheckTable.LineOf(told), here)),
            here.Time.GetElapsedTime(begun));
        SelfCheckTable.Print(outcome, here);
        report?.Write(outcome);
        return outcome.ExitCode;
    }

    private static void Tell(string line, Surroundings here)
    {
        here.Out.WriteLine(line);
        here.Out.Flush();
    }

    private static WitnessFile Choose(WitnessFile file, string[] only)
    {
        string[] known = [.. file.Invariants.Select(static witness => witness.Invariant), .. file.EngineWitnesses.Select(static witness => witness.Engine)];
        if (only.FirstOrDefault(name => !known.Contains(name)) is { } unknown) throw new BadInputException($"--only: \"{unknown}\" is no invariant and no engine; expected {RunPlan.OneOf(known)}");
        return only.Length == 0
            ? file
            : file with { Invariants = [.. file.Invariants.Where(witness => only.Contains(witness.Invariant))], EngineWitnesses = [.. file.EngineWitnesses.Where(witness => only.Contains(witness.Engine))] };
    }
}
