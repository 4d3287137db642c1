using System.Diagnostics;
using Harness.Stages;
using Vcmm.Spec;
using Verify;

namespace Properties.Cli;

/// <summary>The command line as a process, over stages that do not end by themselves.</summary>
internal static class ChildProgram
{
    /// <summary>What a stage prints when it runs.</summary>
    public const string Running = "the stage is running";

    public static int Main(string[] args) =>
        MutantHost.Host.IsAskedFor(args) ? MutantHost.Host.Run(args, typeof(ChildProgram).Assembly) : Entry.RunProcess(args, [Endless(), Deaf()]);

    /// <summary>Starts this program.</summary>
    public static Process Start(string folder, params string[] args)
    {
        string assembly = typeof(ChildProgram).Assembly.Location;
        // A shell without job control starts its background jobs with SIGINT ignored, and their children inherit it.
        var start = new ProcessStartInfo("env", ["--default-signal=INT", Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet", "exec", assembly, .. args])
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        return Process.Start(start)!;
    }

    private static TestStage Endless() => new("endless", context =>
    {
        Console.WriteLine(Running);
        context.Stop.WaitHandle.WaitOne();
        return TestStage.ReportOf("endless", TimeSpan.FromSeconds(2)) with
        {
            Failures = [TestStage.FailureOf("endless", Invariant.FrameSafety, "a frame", "the whole story\n")],
        };
    });

    private static TestStage Deaf() => new("deaf", _ =>
    {
        Console.WriteLine(Running);
        Thread.CurrentThread.Join();
        return TestStage.ReportOf("deaf", TimeSpan.Zero);
    });
}
