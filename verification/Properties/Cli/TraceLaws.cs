using Harness.Traces;
using Verify;

namespace Properties.Cli;

/// <summary>What <c>verify trace</c> prints and returns.</summary>
public sealed class TraceLaws
{
    private static string Strict => Capture("strict");

    [Theory]
    [InlineData("strict")]
    [InlineData("lazy")]
    public void A_capture_is_accepted(string name)
    {
        using var terminal = new Terminal();
        terminal.Write("kernel.trace", Capture(name));
        Assert.Equal(ExitCode.Clean, terminal.Run("trace kernel.trace"));
        Assert.Contains("accepted", terminal.Out);
        Assert.Contains("4,140", terminal.Out);
        Assert.Empty(terminal.Error);
    }

    [Fact]
    public void A_line_that_breaks_an_invariant_is_named_and_the_exit_code_is_1()
    {
        string[] lines = Strict.Split('\n');
        int unmap = Array.FindIndex(lines, line => line.Contains(" unmap: ", StringComparison.Ordinal));
        string doubled = string.Join('\n', [.. lines[..unmap], lines[unmap], .. lines[unmap..]]).Replace("16608/16608", "16609/16609", StringComparison.Ordinal);
        using var terminal = new Terminal();
        terminal.Write("kernel.trace", doubled);
        Assert.Equal(ExitCode.Violation, terminal.Run("trace kernel.trace --mode strict"));
        Assert.Contains($"refused at line {unmap + 2}: I", terminal.Out);
        Assert.Empty(terminal.Error);
    }

    [Fact]
    public void The_mode_that_is_given_is_the_one_that_counts()
    {
        using var terminal = new Terminal();
        terminal.Write("kernel.trace", Capture("lazy"));
        Assert.Equal(ExitCode.Violation, terminal.Run("trace kernel.trace --mode strict"));
        Assert.Contains("I4 NoStaleAccess", terminal.Out);
    }

    [Fact]
    public void A_trace_that_is_cut_short_is_bad_input()
    {
        string[] lines = Strict.Split('\n');
        using var terminal = new Terminal();
        terminal.Write("kernel.trace", string.Join('\n', lines[..1000]));
        Assert.Equal(ExitCode.BadInput, terminal.Run("trace kernel.trace"));
        Assert.StartsWith("verify: kernel.trace: ", terminal.OneErrorLine());
        Assert.Empty(terminal.Out);
    }

    private static string Capture(string name)
    {
        using Stream packed = Captures.Open(Captures.Names.Single(candidate => candidate.Contains(name, StringComparison.Ordinal)));
        using var text = new StreamReader(new System.IO.Compression.GZipStream(packed, System.IO.Compression.CompressionMode.Decompress));
        return text.ReadToEnd();
    }
}
