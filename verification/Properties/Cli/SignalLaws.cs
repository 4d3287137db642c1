using System.Diagnostics;
using System.Runtime.InteropServices;
using Verify;

namespace Properties.Cli;

/// <summary>What a real signal does to a real process.</summary>
public sealed class SignalLaws : IDisposable
{
    private const int Interrupt = 2;
    private const int Terminate = 15;

    /// <summary>What a busy machine may add to the second: only a hang reaches it.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("verify-");

    [Theory]
    [InlineData(Interrupt)]
    [InlineData(Terminate)]
    public async Task A_signal_ends_a_run_with_the_table_so_far_and_the_failures_written(int signal)
    {
        (int exit, string output, string error) = await RunAndSignal(signal, "run", "--time", "3600", "--json", "out.json");
        Assert.Equal("", error);
        Assert.Equal(ExitCode.Violation, exit);
        Assert.Contains("I5 FrameSafety 1 ", output);
        Assert.Contains("the whole story\n", output);
        Assert.Contains("deaf did not start: ", output);
        Assert.Contains("stopped by the user before 3600 s were over\n", output);
        Assert.StartsWith("I5-FrameSafety-", Path.GetFileName(Assert.Single(Directory.GetFiles(Path.Combine(_folder.FullName, "failures")))));
        Assert.True(File.Exists(Path.Combine(_folder.FullName, "out.json")));
    }

    [Fact]
    public async Task A_signal_ends_a_run_whose_stage_will_not_stop()
    {
        (int exit, string output, string error) = await RunAndSignal(Interrupt, "run", "--stage", "deaf");
        Assert.Equal("", error);
        Assert.Equal(ExitCode.Environment, exit);
        Assert.Contains("deaf stopped: it did not stop within 0.7 s; what it had is lost\n", output);
        Assert.Contains("nothing was checked", output);
    }

    public void Dispose() => _folder.Delete(recursive: true);

    private async Task<(int Exit, string Output, string Error)> RunAndSignal(int signal, params string[] args)
    {
        using Process process = ChildProgram.Start(_folder.FullName, args);
        using var patience = new CancellationTokenSource(Patience);
        try
        {
            Task<string> error = process.StandardError.ReadToEndAsync(patience.Token);
            string? line;
            do line = await process.StandardOutput.ReadLineAsync(patience.Token);
            while (line is not null && line != ChildProgram.Running);
            Assert.True(line is not null, "the stage did not start");
            Assert.Equal(0, Kill(process.Id, signal));
            string output = await process.StandardOutput.ReadToEndAsync(patience.Token);
            await process.WaitForExitAsync(patience.Token);
            return (process.ExitCode, output, await error);
        }
        finally
        {
            if (!process.HasExited) process.Kill(entireProcessTree: true);
        }
    }

    [DllImport("libc", EntryPoint = "kill")]
    private static extern int Kill(int process, int signal);
}
