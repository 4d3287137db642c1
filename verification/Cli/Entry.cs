using System.CommandLine;
using System.CommandLine.Invocation;
using System.Runtime.InteropServices;
using System.Text;
using Harness;
using Harness.Stages;
using Verify.Commands;
using Verify.Output;

namespace Verify;

/// <summary>The way in: arguments to an exit code.</summary>
public static class Entry
{
    /// <summary>Runs the command line of a process: its console, its clock, its signals.</summary>
    /// <returns>One of <see cref="ExitCode"/>.</returns>
    public static int RunProcess(string[] args, IReadOnlyList<IStage> stages)
    {
        using var stop = new CancellationTokenSource();
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Handle);
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Handle);
        bool terminal = !Console.IsOutputRedirected;
        // The tables are drawn with box characters, whatever the console had.
        Console.OutputEncoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
        var here = new Surroundings
        {
            Stages = stages,
            RowsHaveProcesses = true,
            Out = Console.Out,
            Error = Console.Error,
            Terminal = terminal,
            WidthColumns = terminal && Console.WindowWidth > 0 ? Console.WindowWidth : 120,
            Directory = Environment.CurrentDirectory,
            Stop = stop.Token,
        };
        return Run(args, here);

        // The second signal finds the default: the process ends at once.
        void Handle(PosixSignalContext signal)
        {
            signal.Cancel = !stop.IsCancellationRequested;
            stop.Cancel();
        }
    }

    /// <summary>Runs a command line in the surroundings given. Whatever happens becomes an exit code and at most one line of error.</summary>
    internal static int Run(string[] args, Surroundings here)
    {
        bool verbose = args.Contains(CommandTree.Verbose);
        try
        {
            RootCommand root = CommandTree.Build(here);
            ParseResult parsed = root.Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null, EnablePosixBundling = false });
            if (parsed.Action is ParseErrorAction || (parsed.Action is null && parsed.Errors.Count > 0)) throw new BadInputException(CommandTree.Problem(parsed));
            return parsed.Invoke(new InvocationConfiguration
            {
                Output = here.Out,
                Error = here.Error,
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
            });
        }
        catch (BadInputException e)
        {
            return Fail(ExitCode.BadInput, e, e.Message);
        }
        catch (EnvironmentException e)
        {
            return Fail(ExitCode.Environment, e, e.Message);
        }
        catch (OperationCanceledException e) when (here.Stop.IsCancellationRequested)
        {
            return Fail(ExitCode.Environment, e, "stopped before it was done");
        }
        catch (Exception e)
        {
            return Fail(ExitCode.Environment, e, $"{e.GetType().Name}: {e.Message}");
        }

        int Fail(int code, Exception e, string message)
        {
            here.Error.WriteLine($"verify: {Line.Of(message)}");
            if (verbose) here.Error.WriteLine(e);
            return code;
        }
    }
}
