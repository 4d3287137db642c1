using System.Text;
using Vcmm.Spec;
using Verify;

namespace Properties.Cli;

/// <summary>What cannot be used is said in one line, with the exit code for it, and nothing is run or written.</summary>
public sealed class UsageLaws
{
    [Theory]
    [InlineData("", "no command is given; expected one of run, explore, replay, trace, model, coverage, mutate, mutants, museum, selfcheck, report, bench, --verbose (see verify --help)")]
    [InlineData("walk", "\"walk\" is not known to verify; expected one of run, ")]
    [InlineData("run --sed 1", "\"--sed\" is not known to verify run; expected one of --time, --seed, ")]
    [InlineData("run now", "\"now\" is not known to verify run; expected one of --time, ")]
    [InlineData("run --time soon", "--time: \"soon\" is not a number of seconds; expected 0.001 to 604800")]
    [InlineData("run --time 0", "--time: \"0\" is not a number")]
    [InlineData("run --time -5", "--time: \"-5\" is not a number")]
    [InlineData("run --time NaN", "--time: \"NaN\" is not a number")]
    [InlineData("run --time 1e9", "--time: \"1e9\" is not a number")]
    [InlineData("run --time 604801", "--time: \"604801\" is not a number")]
    [InlineData("run --time", "--time: expected once, with one value: --time SECONDS")]
    [InlineData("run --seed -1", "--seed: \"-1\" is not a seed; expected a whole number from 0 to 18446744073709551615")]
    [InlineData("run --seed 18446744073709551616", "--seed: \"18446744073709551616\" is not a seed")]
    [InlineData("run --seed 1 --seed 2", "--seed: expected once, with one value: --seed N")]
    [InlineData("run --stage race", "--stage: \"race\" is not a stage; expected seq")]
    [InlineData("run --stage", "--stage: expected a value: --stage NAME")]
    [InlineData("run --json nowhere/out.json", "--json: the directory of nowhere/out.json does not exist; expected one that does")]
    [InlineData("run --json .", "--json: . is a directory; expected a file")]
    [InlineData("run --topology nowhere", "nowhere: it does not exist; expected a topology")]
    [InlineData("run --topology file", "file: topology: 'h' is an invalid start of a value")]
    [InlineData("run --topology", "--topology: expected once, with one value: --topology FILE")]
    [InlineData("run --failures file", "--failures: file is a file; expected a directory, or a name for a new one")]
    [InlineData("explore back-unback", "\"back-unback\" is not known to verify explore; expected one of --time, --schedules, ")]
    [InlineData("explore --time 0", "--time: \"0\" is not a number of seconds; expected 0.001 to 604800")]
    [InlineData("explore --schedules 0", "--schedules: 0 is too small; expected at least 1")]
    [InlineData("explore --workers 65", "--workers: 65; expected 1 to 64")]
    [InlineData("explore --strategy", "--strategy: expected a value: --strategy NAME")]
    [InlineData("explore --failures file", "--failures: file is a file; expected a directory, or a name for a new one")]
    [InlineData("explore --json nowhere/out.json", "--json: the directory of nowhere/out.json does not exist; expected one that does")]
    [InlineData("replay", "verify replay: FILE is missing; expected one")]
    [InlineData("replay file file", "\"file\" is one argument too many for verify replay; expected one FILE")]
    [InlineData("replay file --html", "--html: expected once, with one value: --html FILE")]
    [InlineData("replay --fast file", "\"--fast\" is not known to verify replay; expected one of FILE, ")]
    [InlineData("replay --fast", "\"--fast\" is not known to verify replay; expected one of FILE, ")]
    [InlineData("replay nowhere", "nowhere: it does not exist; expected a failure file")]
    [InlineData("replay @nowhere", "@nowhere: it does not exist; expected a failure file")]
    [InlineData("replay .", ".: it cannot be read: ")]
    [InlineData("replay file", "file: not a failure file: ")]
    [InlineData("trace", "verify trace: FILE is missing; expected one")]
    [InlineData("trace nowhere", "nowhere: it does not exist; expected a trace")]
    [InlineData("trace .", ".: it is a directory; expected a trace")]
    [InlineData("trace file", "file: line 1")]
    [InlineData("trace --fast file", "\"--fast\" is not known to verify trace; expected one of FILE, ")]
    [InlineData("trace file --mode eager", "--mode: \"eager\" is not a mode; expected one of strict, lazy")]
    [InlineData("report", "verify report: FILE is missing; expected one")]
    [InlineData("report file --html nowhere/out.html", "--html: the directory of nowhere/out.html does not exist; expected one that does")]
    [InlineData("report --fast file", "\"--fast\" is not known to verify report; expected one of FILE, --json, --html, --markdown, --verbose")]
    [InlineData("mutants --engine sequences --tests Library.Dma", "--tests: no engine of tests hunts; expected one of laws, properties, conformance")]
    [InlineData("mutants --engine laws --strategy Random", "--strategy: expected schedules among the engines")]
    [InlineData("mutants --markdown .", "--markdown: . is a directory; expected a file")]
    [InlineData("museum --report nowhere/out.json", "--report: the directory of nowhere/out.json does not exist; expected one that does")]
    [InlineData("mutate --project platform", "--project: \"platform\" is not a project under mutation; expected one of vcmm, allocation, iommusim, spec")]
    [InlineData("bench --fast", "\"--fast\" is not known to verify bench; expected one of --time, --filter, --json, --strict, --verbose")]
    [InlineData("bench E1", "\"E1\" is not known to verify bench; expected one of --time, ")]
    [InlineData("bench --time 0", "--time: \"0\" is not a number of seconds; expected 0.001 to 604800")]
    [InlineData("bench --filter", "--filter: expected a value: --filter TEXT")]
    [InlineData("bench --filter nothing", "--filter: \"nothing\" is in the name of no row; expected part of one of E1 bulk, ")]
    [InlineData("bench --json nowhere/out.json", "--json: the directory of nowhere/out.json does not exist; expected one that does")]
    [InlineData("bench --json .", "--json: . is a directory; expected a file")]
    [InlineData("bench --row E0", "--row: \"E0\" is not a row; expected one of E1 bulk, ")]
    public void What_cannot_be_used_is_one_line_and_exit_code_2(string line, string message)
    {
        using var terminal = new Terminal(new TestStage("seq", _ => throw new InvalidOperationException("ran")));
        terminal.Write("file", "hello");
        Assert.Equal(ExitCode.BadInput, terminal.Run(line));
        Assert.StartsWith("verify: " + message, terminal.OneErrorLine());
        Assert.Empty(terminal.Out);
        Assert.Equal(["file"], terminal.Files.Keys);
    }

    [Fact]
    public void A_file_of_bytes_or_of_another_format_is_no_failure_file()
    {
        using var terminal = new Terminal();
        File.WriteAllBytes(Path.Combine(terminal.Folder, "bytes"), [0x1f, 0x8b, 0xff, 0xfe]);
        Assert.Equal(ExitCode.BadInput, terminal.Run("replay bytes"));
        Assert.Equal("verify: bytes: not a failure file: it is not text; expected JSON in UTF-8", terminal.OneErrorLine());
    }

    [Theory]
    [InlineData("vcmm-failure-1", "vcmm-failure-2", "format is \"vcmm-failure-2\"; expected \"vcmm-failure-1\"")]
    [InlineData("\"stage\": \"seq\"", "\"stage\": \"other\"", "stage: \"other\" replays no files; expected seq")]
    [InlineData("NoOverlap", "I99", "")]
    [InlineData("\"observed\"", "\"obeserved\"", "obeserved")]
    public void A_failure_file_of_another_program_is_one_line_naming_the_file_and_the_field(string good, string bad, string message)
    {
        using var terminal = new Terminal(TestStage.Finding("seq"));
        string content = TestStage.FileOf("seq", Invariant.NoOverlap, "x").ToString();
        Assert.Contains(good, content);
        terminal.Write("f.json", content.Replace(good, bad, StringComparison.Ordinal));
        Assert.Equal(ExitCode.BadInput, terminal.Run("replay f.json"));
        Assert.StartsWith("verify: f.json: ", terminal.OneErrorLine());
        Assert.Contains(message, terminal.Error);
        Assert.Empty(terminal.Out);
    }

    [Fact]
    public void What_a_file_says_cannot_steer_the_terminal()
    {
        using var terminal = new Terminal();
        terminal.Write("f.json", TestStage.FileOf("\u001b[2J\u0007", Invariant.NoOverlap, "x").ToString());
        Assert.Equal(ExitCode.BadInput, terminal.Run("replay f.json"));
        Assert.Contains("stage: \"?[2J?\" replays no files", terminal.OneErrorLine());
    }

    [Theory]
    [InlineData("--help", "run")]
    [InlineData("run --help", "--failures <DIR>")]
    [InlineData("replay --help", "<FILE>")]
    [InlineData("explore --help", "--scenario <NAME>")]
    [InlineData("bench --help", "--filter <TEXT>")]
    [InlineData("mutate -h", "--project <vcmm|allocation|iommusim|spec>")]
    public void Help_is_clean(string line, string content)
    {
        using var terminal = new Terminal();
        Assert.Equal(ExitCode.Clean, terminal.Run(line));
        Assert.Contains(content, terminal.Out);
        Assert.Empty(terminal.Error);
    }

    [Fact]
    public void Output_that_cannot_be_written_is_the_environment_and_one_line()
    {
        using var terminal = new Terminal(TestStage.Finding("seq"));
        Assert.Equal(ExitCode.Environment, terminal.Run("run", here => here with { Out = new StreamWriter(new Full(), Encoding.UTF8, 16) }));
        Assert.Equal("verify: IOException: no space", terminal.OneErrorLine());
    }

    private sealed class Full : MemoryStream
    {
        public override void Write(byte[] buffer, int offset, int count) => throw new IOException("no space");

        public override void Write(ReadOnlySpan<byte> buffer) => throw new IOException("no space");
    }
}
