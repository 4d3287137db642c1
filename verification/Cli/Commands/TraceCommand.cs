using System.CommandLine;
using Harness;
using Harness.Traces;
using Verify.Output;
using Verify.Running;

namespace Verify.Commands;

/// <summary><c>verify trace FILE</c>: what a real kernel did, held to the model.</summary>
internal static class TraceCommand
{
    private static readonly Dictionary<string, TraceMode> Modes = new(StringComparer.Ordinal) { ["strict"] = TraceMode.Strict, ["lazy"] = TraceMode.Lazy };

    /// <summary>The command.</summary>
    public static Command Create(Surroundings here)
    {
        Argument<string> file = CommandTree.NoOption<string>(new("FILE") { Description = "The text of /sys/kernel/tracing/trace, plain or gzip." });
        var mode = new Option<TraceMode?>("--mode")
        {
            Description = "strict or lazy, as the kernel flushed; by default seen from the trace.",
            HelpName = "MODE",
            CustomParser = given =>
            {
                string word = given.Tokens.Count == 1 ? given.Tokens[0].Value : "";
                if (Modes.TryGetValue(word, out TraceMode found)) return found;
                given.AddError($"--mode: \"{word}\" is not a mode; expected {RunPlan.OneOf(Modes.Keys)}");
                return null;
            },
        };
        var command = new Command("trace", "Hold a recorded trace of a kernel's IOMMU driver to the model.") { file, mode };
        command.SetAction(parsed => Check(parsed.GetRequiredValue(file), parsed.GetValue(mode), here));
        return command;
    }

    private static int Check(string path, TraceMode? mode, Surroundings here)
    {
        string resolved = here.Resolve(path);
        if (!File.Exists(resolved)) throw new BadInputException($"{path}: {(Directory.Exists(resolved) ? "it is a directory" : "it does not exist")}; expected a trace");
        TraceOutcome outcome;
        try
        {
            outcome = TraceCheck.Run(resolved, mode, here.Stop);
        }
        catch (BadInputException e)
        {
            throw new BadInputException(e.Message.Replace(resolved, path, StringComparison.Ordinal));
        }
        catch (OperationCanceledException)
        {
            throw new EnvironmentException($"{path}: stopped before the end");
        }

        here.Out.WriteLine(outcome);
        return outcome.Refusal is null ? ExitCode.Clean : ExitCode.Violation;
    }
}
