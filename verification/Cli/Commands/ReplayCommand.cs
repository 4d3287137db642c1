using System.CommandLine;
using Harness;
using Harness.Failures;
using Harness.Stages;
using Vcmm.Spec;
using Verify.Output;
using Verify.Running;

namespace Verify.Commands;

/// <summary><c>verify replay FILE</c>: a failure once more.</summary>
internal static class ReplayCommand
{
    /// <summary>The command.</summary>
    public static Command Create(Surroundings here)
    {
        Argument<string> file = CommandTree.NoOption<string>(new("FILE") { Description = "A failure file that verify run wrote." });
        Option<bool> all = new("--all") { Description = "Of a schedule, show the steps that do not matter, too." };
        Option<string?> html = new("--html") { Description = "Write a schedule as a page for a browser to this file.", HelpName = "FILE" };
        var command = new Command("replay", "Run a failure again and print its report as it was found.") { file, all, html };
        command.SetAction(parsed => Replay(parsed.GetRequiredValue(file), parsed.GetValue(all), parsed.GetValue(html), here));
        return command;
    }

    private static int Replay(string path, bool whole, string? page, Surroundings here)
    {
        FailureFile file = InputFile.Read(path, here, "a failure file", FailureFile.Parse);
        IReplayer[] replayers = [.. here.Stages.OfType<IReplayer>()];
        IReplayer replayer = replayers.FirstOrDefault(candidate => candidate.Name == file.Stage)
            ?? throw new BadInputException($"{path}: stage: \"{file.Stage}\" replays no files; expected {RunPlan.OneOf(replayers.Select(candidate => candidate.Name))}");
        if ((whole || page is not null) && replayer is not IScheduleReplayer)
            throw new BadInputException($"{(whole ? "--all" : "--html")}: {path} is of stage {file.Stage}, which has no schedules; expected a file of {RunPlan.OneOf(replayers.OfType<IScheduleReplayer>().Select(candidate => candidate.Name))}");
        if (page is not null) OutputFile.Check("--html", page, here);
        if (replayer.Missing is { } missing) throw new EnvironmentException($"stage {file.Stage} cannot run here: {missing}");
        ReplayedSchedule? replayed = Run(replayer, file, path, whole, page is not null);
        if (replayed is null)
        {
            here.Out.WriteLine($"nothing fails: {file.Invariant.Label()} holds in {path}");
            return ExitCode.Clean;
        }

        RunTable.PrintReport(replayed.Failure, here.Out);
        if (page is not null) OutputFile.Write("--html", page, replayed.Page!, here);
        return ExitCode.Violation;
    }

    private static ReplayedSchedule? Run(IReplayer replayer, FailureFile file, string path, bool whole, bool withPage)
    {
        try
        {
            if (replayer is IScheduleReplayer scheduler) return scheduler.Replay(file, whole, withPage);
            return replayer.Replay(file) is { } failure ? new(failure, null) : null;
        }
        catch (BadInputException e)
        {
            throw new BadInputException($"{path}: {e.Message}");
        }
        catch (Exception e)
        {
            throw new EnvironmentException($"stage {file.Stage} broke: {e.GetType().Name}: {e.Message}", e);
        }
    }
}
