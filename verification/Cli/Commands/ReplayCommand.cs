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
        Argument<string> file = CommandTree.NoOption(new("FILE") { Description = "A failure file that verify run wrote." });
        var command = new Command("replay", "Run a failure again and print its report as it was found.") { file };
        command.SetAction(parsed => Replay(parsed.GetRequiredValue(file), here));
        return command;
    }

    private static int Replay(string path, Surroundings here)
    {
        FailureFile file = InputFile.Read(path, here, "a failure file", FailureFile.Parse);
        IReplayer[] replayers = [.. here.Stages.OfType<IReplayer>()];
        IReplayer replayer = replayers.FirstOrDefault(candidate => candidate.Name == file.Stage)
            ?? throw new BadInputException($"{path}: stage: \"{file.Stage}\" replays no files; expected {RunPlan.OneOf(replayers.Select(candidate => candidate.Name))}");
        if (replayer.Missing is { } missing) throw new EnvironmentException($"stage {file.Stage} cannot run here: {missing}");
        StageFailure? failure = Run(replayer, file, path);
        if (failure is null)
        {
            here.Out.WriteLine($"nothing fails: {file.Invariant.Label()} holds in {path}");
            return ExitCode.Clean;
        }

        RunTable.PrintReport(failure, here.Out);
        return ExitCode.Violation;
    }

    private static StageFailure? Run(IReplayer replayer, FailureFile file, string path)
    {
        try
        {
            return replayer.Replay(file);
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
