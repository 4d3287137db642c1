using System.Diagnostics;
using System.Globalization;
using Platform;

namespace Harness.Foreign;

/// <summary>A machine of QEMU's with its own model of a VT-d and <c>edu</c> devices below it.</summary>
/// <remarks><b>Threads.</b> Any number; QEMU serves one request at a time.</remarks>
public sealed class QemuVtd : IVtdMachine
{
    /// <summary>Set to 1 where a missing QEMU is a failure and not a reason to skip.</summary>
    public const string RequireVariable = "VERIFY_REQUIRE_QEMU";

    private const int FirstSlot = 4, MostDevices = 8;
    private const ulong FirstBar = 0xE0000000, BarBytes = 0x100000;
    private const uint GlobalCommand = 0x18, GlobalStatus = 0x1C, FaultStatus = 0x34, FaultRecord = 0x220;

    private static readonly PhysRange AllMemory = PhysRange.FromLength(default, 256UL << 20);
    private static readonly PhysRange RegisterPage = PhysRange.FromLength(new(0xFED90000), 0x1000);

    // Below the window, above what a PC keeps for itself.
    private static readonly PhysAddr Scratch = new(0x100000);

    private readonly QemuProcess _process;
    private readonly QtestClient _client;
    private readonly QemuLog _log;
    private readonly EduDevice[] _devices;

    private QemuVtd(QemuProcess process, IReadOnlyList<int> slots)
    {
        _process = process;
        _client = new(process);
        _log = new(process.LogPath);
        Port = new(_client, AllMemory);
        Registers = new QtestMmio(_client, RegisterPage);
        _devices = new EduDevice[slots.Count];
        for (int i = 0; i < _devices.Length; i++)
        {
            _devices[i] = new(_client, _log, slots[i], FirstBar + (ulong)i * BarBytes);
        }

        Parallel = new(_devices, _log);
    }

    /// <summary>Null if QEMU is installed; otherwise one line: how to get it.</summary>
    public static string? Missing { get; } = Find(QemuProcess.Program) is null
        ? $"QEMU is not installed ({QemuProcess.Program}): apt-get install qemu-system-x86, or name one in {QemuProcess.Variable}"
        : Find("setsid") is null ? "setsid, which keeps QEMU from outliving us, is not installed: apt-get install util-linux" : null;

    /// <summary>Whether <see cref="RequireVariable"/> asks for QEMU.</summary>
    public static bool IsRequired { get; } = Environment.GetEnvironmentVariable(RequireVariable) == "1";

    /// <summary>What QEMU calls its version.</summary>
    /// <exception cref="QemuException">It is not installed.</exception>
    public static string Version => LazyVersion.Value;

    /// <summary>Whether it can be a unit with first-stage tables in scalable mode. Such a one has no second-stage tables there.</summary>
    public static bool KnowsFirstStage => MajorVersion >= 10;

    /// <summary>Its first number; 0 if QEMU is not installed.</summary>
    public static int MajorVersion => Missing is null ? int.Parse(Version.Split('.')[0], CultureInfo.InvariantCulture) : 0;

    private static readonly Lazy<string> LazyVersion = new(ReadVersion);

    /// <inheritdoc/>
    public string Name => $"QEMU {Version}";

    /// <inheritdoc/>
    public PhysRange Window { get; } = new(new(16UL << 20), new((64UL << 20) - 1));

    /// <inheritdoc/>
    public IPhysicalMemory Memory => Port;

    /// <summary>The machine's memory as the struct that the library's drivers take.</summary>
    public QtestMemory Port { get; }

    /// <inheritdoc/>
    public IMmio Registers { get; }

    /// <inheritdoc/>
    public IReadOnlyList<IDmaDevice> Devices => _devices;

    /// <summary>The devices, to be used at once.</summary>
    internal ParallelDma Parallel { get; }

    /// <summary>How many commands QEMU was given.</summary>
    public long Commands => _client.Commands;

    /// <summary>How many transfers its devices made.</summary>
    public long Transfers => _devices.Sum(device => device.Transfers);

    /// <summary>Starts QEMU.</summary>
    /// <param name="deviceCount">1 … 8.</param>
    /// <param name="message">Bytes that devices can write in one transfer, as can each part of them; others take several.</param>
    /// <param name="isScalable">Whether its remapping unit has the scalable mode: with second-stage tables and pass-through.</param>
    /// <param name="hasFirstStage">In scalable mode, whether with first-stage tables instead: where <see cref="KnowsFirstStage"/>.</param>
    /// <exception cref="QemuException">QEMU is not installed or does not start.</exception>
    public static QemuVtd Start(int deviceCount, ReadOnlySpan<byte> message = default, bool isScalable = false, bool hasFirstStage = false)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(deviceCount, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(deviceCount, MostDevices);
        return Start([.. Enumerable.Range(FirstSlot, deviceCount)], message, isScalable, hasFirstStage);
    }

    /// <summary>The same with devices in given slots.</summary>
    /// <param name="slots">Of the first bus: up to 8 of 4 … 30.</param>
    /// <param name="message">Bytes that devices can write in one transfer, as can each part of them; others take several.</param>
    /// <param name="isScalable">Whether its remapping unit has the scalable mode.</param>
    /// <param name="hasFirstStage">Whether with first-stage tables.</param>
    /// <exception cref="QemuException">QEMU is not installed or does not start.</exception>
    internal static QemuVtd Start(IReadOnlyList<int> slots, ReadOnlySpan<byte> message, bool isScalable, bool hasFirstStage)
    {
        if (Missing is { } missing) throw new QemuException(missing);
        // Virtual time leaps to the next timer: those of PIT and HPET tick for ever, and would keep an idle QEMU busy for nothing.
        string[] machine =
        [
            "-machine", "q35,pit=off,hpet=off", "-m", $"{AllMemory.ByteCount >> 20}M", "-accel", "tcg", "-icount", "shift=0,sleep=off",
            "-device", $"intel-iommu,intremap=off,aw-bits=48{(isScalable ? ",x-scalable-mode=on" : "")}{(hasFirstStage ? ",x-flts=on" : "")}", .. QemuLog.Options,
        ];
        IEnumerable<string> devices = slots
            .SelectMany(slot => new[] { "-device", $"edu,addr={slot:x2}.0,dma_mask=0xffffffffffffffff" });
        QemuProcess process = QemuProcess.Start(machine.Concat(devices));
        QemuVtd? qemu = null;
        try
        {
            qemu = new(process, slots);
            foreach (EduDevice device in qemu._devices) device.Load(Scratch, message);
            return qemu;
        }
        catch
        {
            if (qemu is not null) qemu.Dispose();
            else process.Dispose();
            throw;
        }
    }

    /// <summary>Makes the remapping unit as it was at first: off, nothing cached, no fault recorded. Memory stays.</summary>
    /// <exception cref="QemuException">It does not go off. QEMU's turns its queue off only after a wait descriptor as the last.</exception>
    public void Reset()
    {
        const uint errors = 0x7F;
        Registers.Write32(GlobalCommand, 0);
        Registers.Write64(FaultRecord + 8, 1UL << 63);
        Registers.Write32(FaultStatus, errors);
        uint status = Registers.Read32(GlobalStatus) & ~(1u << 30);
        if (status != 0) throw new QemuException($"QEMU's VT-d does not go off: its global status is 0x{status:x8}");
    }

    /// <summary>Ends QEMU.</summary>
    public void Dispose()
    {
        _log.Dispose();
        _process.Dispose();
    }

    private static string? Find(string program) => (Environment.GetEnvironmentVariable("PATH") ?? "")
        .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
        .Select(directory => Path.Combine(directory, program))
        .FirstOrDefault(File.Exists);

    // QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)
    private static string ReadVersion()
    {
        if (Missing is { } missing) throw new QemuException(missing);
        var start = new ProcessStartInfo(QemuProcess.Program, "--version") { RedirectStandardOutput = true };
        using Process process = Process.Start(start)!;
        string text = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        string[] words = text.Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        int at = Array.IndexOf(words, "version");
        return at >= 0 && at + 1 < words.Length ? words[at + 1] : throw new QemuException($"QEMU calls its version \"{text.Trim()}\"");
    }
}
