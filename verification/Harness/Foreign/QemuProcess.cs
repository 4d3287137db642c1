using System.Diagnostics;
using System.Net.Sockets;

namespace Harness.Foreign;

/// <summary>A QEMU that lives no longer than this object, nor than this process, and the directory of its files.</summary>
/// <remarks>
/// QEMU runs below a shell that waits for the end of its standard input. That end comes with <see cref="Dispose"/>, and
/// also when this process is killed: the shell then ends QEMU and removes the directory. Both run in a session of
/// their own, so that the Ctrl-C by which a user stops us reaches QEMU only through us.
/// </remarks>
internal sealed class QemuProcess : IDisposable
{
    /// <summary>The environment variable that names another QEMU: a program on the path, or an absolute path.</summary>
    public const string Variable = "VERIFY_QEMU";

    /// <summary>What is started.</summary>
    public static string Program { get; } = Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } named ? named : "qemu-system-x86_64";

    // $1 is the directory, $2… QEMU's command line. The shell lets go of stderr, so that its end is QEMU's end.
    private const string Keeper =
        """
        trap '' HUP INT TERM
        directory=$1; shift
        "$@" </dev/null >/dev/null &
        exec 2>/dev/null
        read -r _
        kill -9 $!
        wait
        rm -rf "$directory"
        """;

    private const string HaltImage = "halt.bin";
    private const string SocketName = "qtest";
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan EndLimit = TimeSpan.FromSeconds(10);

    private readonly Process _keeper;
    private readonly string _directory;
    private readonly Task<string> _complaints;

    private QemuProcess(Process keeper, string directory)
    {
        _keeper = keeper;
        _directory = directory;
        _complaints = FirstAndLastLines(keeper.StandardError);
    }

    /// <summary>What QEMU's <c>-D</c> log is written to.</summary>
    public string LogPath => Path.Combine(_directory, "log");

    /// <summary>The connection over which QEMU takes qtest commands.</summary>
    public Socket Qtest { get; private set; } = null!;

    /// <summary>Starts QEMU with <paramref name="machine"/> and waits until it has connected.</summary>
    /// <exception cref="QemuException">It is not installed, ended at once, or did not connect in time.</exception>
    public static QemuProcess Start(IEnumerable<string> machine)
    {
        string directory = Directory.CreateTempSubdirectory("verify-qemu-").FullName;
        QemuProcess? process = null;
        try
        {
            File.WriteAllBytes(Path.Combine(directory, HaltImage), HaltingFirmware());
            using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            string socket = Path.Combine(directory, SocketName);
            listener.Bind(new UnixDomainSocketEndPoint(socket));
            listener.Listen(1);
            process = new(Launch(directory, socket, machine), directory);
            process.Qtest = process.Accept(listener);
            return process;
        }
        catch
        {
            process?.Dispose();
            if (process is null) Directory.Delete(directory, recursive: true);
            throw;
        }
    }

    /// <summary>What QEMU said on standard error last, as one line; empty while it runs.</summary>
    public string LastWords()
    {
        // It ends an instant after its socket; what it says in between is the reason.
        _complaints.Wait(EndLimit);
        return _complaints.IsCompletedSuccessfully ? _complaints.Result : "";
    }

    /// <summary>Ends QEMU and removes its files.</summary>
    public void Dispose()
    {
        Qtest?.Dispose();
        _keeper.StandardInput.Dispose();
        if (!_keeper.WaitForExit(EndLimit)) _keeper.Kill(entireProcessTree: true);
        _keeper.Dispose();
        if (Directory.Exists(_directory)) Directory.Delete(_directory, recursive: true);
    }

    private static Process Launch(string directory, string socket, IEnumerable<string> machine)
    {
        var start = new ProcessStartInfo("setsid")
        {
            RedirectStandardInput = true,
            RedirectStandardError = true,
        };
        string[] fixedPart =
        [
            "sh", "-c", Keeper, "sh", directory,
            Program, "-bios", Path.Combine(directory, HaltImage), "-qtest", $"unix:{socket}", "-qtest-log", "/dev/null",
            "-D", Path.Combine(directory, "log"), "-display", "none", "-nodefaults", "-monitor", "none", "-serial", "none",
        ];
        foreach (string argument in fixedPart.Concat(machine)) start.ArgumentList.Add(argument);
        try
        {
            return Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new QemuException($"cannot start {Program}: {e.Message}", e);
        }
    }

    private Socket Accept(Socket listener)
    {
        long began = Stopwatch.GetTimestamp();
        while (!listener.Poll(TimeSpan.FromMilliseconds(10), SelectMode.SelectRead))
        {
            if (_complaints.IsCompleted) throw new QemuException($"{Program} ended before it connected: {LastWords()}");
            if (Stopwatch.GetElapsedTime(began) > StartLimit)
                throw new QemuException($"{Program} did not connect within {StartLimit.TotalSeconds:0} s");
        }

        return listener.Accept();
    }

    // 64 KiB that end at the reset vector: cli; hlt; and back, should anything wake the processor.
    private static byte[] HaltingFirmware()
    {
        const int bytes = 64 * 1024, resetVector = bytes - 16;
        byte[] image = new byte[bytes];
        Array.Fill(image, (byte)0xF4);
        ((ReadOnlySpan<byte>)[0xFA, 0xF4, 0xEB, 0xFD]).CopyTo(image.AsSpan(resetVector));
        return image;
    }

    // The first lines tell the reason where a dump of registers follows, the last where a run had gone on for long.
    private static async Task<string> FirstAndLastLines(StreamReader reader)
    {
        const int first = 5, last = 3;
        var lines = new List<string>(first + last);
        while (await reader.ReadLineAsync().ConfigureAwait(false) is { } line)
        {
            if (lines.Count == first + last) lines.RemoveAt(first);
            lines.Add(line);
        }

        return string.Join("; ", lines);
    }
}
