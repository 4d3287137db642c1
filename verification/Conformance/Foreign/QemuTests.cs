using System.Diagnostics;
using Harness.Foreign;
using Platform;
using Xunit.Abstractions;

namespace Conformance.Foreign;

/// <summary>QEMU as a machine: that it starts, obeys, ends, and says clearly when it cannot.</summary>
public sealed class QemuTests(ITestOutputHelper output)
{
    [QemuFact]
    public void Memory_reads_back_what_was_written()
    {
        using var qemu = QemuVtd.Start(1);
        QtestMemory memory = qemu.Port;
        PhysAddr at = qemu.Window.First;
        byte[] bytes = new byte[4096], seen = new byte[4096];
        for (int i = 0; i < bytes.Length; i++) bytes[i] = (byte)((i * 7 ^ i >> 8) & 0xFF);

        memory.Write(at, bytes);
        memory.Read(at, seen);
        Assert.Equal(bytes, seen);
        Assert.Equal(BitConverter.ToUInt64(bytes, 8), memory.Read64(at + 8));
        memory.Write64(at + 8, 0xFEDC_BA98_7654_3210);
        Assert.Equal(0x7654_3210u, memory.Read32(at + 8));
        memory.Write32(at + 12, 0x8000_0001);
        Assert.Equal(0x8000_0001_7654_3210, memory.Read64(at + 8));
        memory.Read(at + 7, seen.AsSpan(0, 2));
        Assert.Equal([bytes[7], 0x10], seen[..2]);
    }

    [QemuFact]
    public void A_compare_exchange_writes_only_where_the_comparand_is_found()
    {
        using var qemu = QemuVtd.Start(1);
        QtestMemory memory = qemu.Port;
        PhysAddr at = qemu.Window.First;
        memory.Write64(at, 1);
        Assert.Equal(1UL, memory.CompareExchange64(at, value: 3, comparand: 2));
        Assert.Equal(1UL, memory.Read64(at));
        Assert.Equal(1UL, memory.CompareExchange64(at, value: 3, comparand: 1));
        Assert.Equal(3UL, memory.Read64(at));
        Assert.Equal(3u, memory.CompareExchange32(at, value: 4, comparand: 3));
        Assert.Equal(4u, memory.Read32(at));
    }

    [QemuFact]
    public void Addresses_outside_memory_and_off_their_boundary_are_refused()
    {
        using var qemu = QemuVtd.Start(1);
        QtestMemory memory = qemu.Port;
        PhysAddr last = new((256UL << 20) - 8), beyond = new(256UL << 20);
        Assert.True(memory.TryRead64(last, out _));
        Assert.False(memory.TryRead64(beyond, out _));
        Assert.False(memory.TryRead64(new(4), out _));
        Assert.Throws<BusErrorException>(() => memory.Read64(beyond));
        Assert.Throws<BusErrorException>(() => memory.Write(last, new byte[9]));
        Assert.Throws<ArgumentException>(() => memory.Write64(new(4), 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => qemu.Registers.Read64(4));
        Assert.Throws<ArgumentOutOfRangeException>(() => qemu.Registers.Read32(0x1000));
    }

    [QemuFact]
    public void A_device_reads_and_writes_any_bytes()
    {
        using var qemu = QemuVtd.Start(1, "message"u8);
        IDmaDevice device = qemu.Devices[0];
        PhysAddr at = qemu.Window.First + 0x1FF0;
        byte[] bytes = new byte[2048], seen = new byte[2048];
        for (int i = 0; i < bytes.Length; i++) bytes[i] = (byte)((i * 13 ^ i >> 8) & 0xFF);
        qemu.Port.Write(at, bytes);

        foreach (int byteCount in (int[])[1, 2, 3, 4, 5, 8, 255, 2048])
        {
            seen.AsSpan().Clear();
            Assert.True(device.Read(new(at.Value), seen.AsSpan(0, byteCount)));
            Assert.Equal(bytes.AsSpan(0, byteCount), seen.AsSpan(0, byteCount));
        }

        byte[] written = [0xFF, 0x00, 0x80, 0x7F, .. "a message of some length"u8];
        Assert.True(device.Write(new(at.Value + 5), written));
        qemu.Port.Read(at, seen.AsSpan(0, 64));
        Assert.Equal(bytes.AsSpan(0, 5), seen.AsSpan(0, 5));
        Assert.Equal(written, seen.AsSpan(5, written.Length));
        Assert.Equal(bytes.AsSpan(5 + written.Length, 16), seen.AsSpan(5 + written.Length, 16));
    }

    [QemuFact]
    public void A_prepared_message_is_written_in_one_transfer()
    {
        using var qemu = QemuVtd.Start(1, "a message"u8);
        long before = qemu.Transfers;
        qemu.Devices[0].Write(new(qemu.Window.First.Value), "a message"u8);
        Assert.Equal(1, qemu.Transfers - before);
        qemu.Devices[0].Write(new(qemu.Window.First.Value), "no message"u8);
        Assert.InRange(qemu.Transfers - before, 3, 11);
    }

    [QemuFact]
    public void After_a_reset_nothing_of_before_is_left()
    {
        using var qemu = QemuVtd.Start(2, Vtd.VtdBench.Payload);
        for (int round = 0; round < 3; round++)
        {
            var bench = new Vtd.VtdBench(qemu);
            bench.Build();
            bench.Enable();
            bench.Reads(Vtd.VtdBench.Page, Vtd.VtdBench.Old);
            bench.Sync();
            bench.Read(0x5000, new byte[4]);
            qemu.Reset();
            bench.Reads(Vtd.VtdBench.New, Vtd.VtdBench.New);
            bench.AssertNoFault("a reset");
        }
    }

    [QemuFact]
    public void The_end_of_the_machine_is_the_end_of_QEMU_and_of_its_files()
    {
        string directory;
        using (QemuProcess process = QemuProcess.Start(["-machine", "q35"]))
        {
            directory = Path.GetDirectoryName(process.LogPath)!;
            Assert.True(Directory.Exists(directory));
            Assert.NotEmpty(RunningWith(directory));
        }

        Assert.False(Directory.Exists(directory));
        Assert.Empty(RunningWith(directory));
    }

    [QemuFact]
    public void A_QEMU_that_does_not_start_says_why()
    {
        var e = Assert.Throws<QemuException>(() => QemuProcess.Start(["-machine", "abacus"]));
        Assert.Contains("ended before it connected", e.Message, StringComparison.Ordinal);
        Assert.Contains("machine type", e.Message, StringComparison.Ordinal);
    }

    [QemuFact]
    public void A_QEMU_that_dies_says_so()
    {
        using var process = QemuProcess.Start(["-machine", "q35", "-device", "edu,addr=04.0"]);
        var client = new QtestClient(process);
        Assert.Equal(0UL, client.Read(0x100000, 8));

        // The device takes a transfer outside its buffer for a broken machine, and QEMU ends itself.
        const ushort address = 0xCF8, data = 0xCFC;
        foreach ((uint register, uint value) in ((uint, uint)[])[(0x10, 0xE0000000), (0x04, 6)])
        {
            client.Out32(address, 0x80002000 | register);
            client.Out32(data, value);
        }

        client.Write(0xE0000088, 0x100000, 8);
        client.Write(0xE0000090, 16, 8);
        client.Write(0xE0000098, 1, 8);
        var e = Assert.Throws<QemuException>(() =>
        {
            for (int i = 0; i < 1_000_000; i++) client.Read(0xE0000098, 8);
        });
        Assert.Contains("QEMU went away", e.Message, StringComparison.Ordinal);
        Assert.Contains("out of bounds", e.Message, StringComparison.Ordinal);
    }

    [QemuFact]
    public void It_is_fast_enough()
    {
        using var qemu = QemuVtd.Start(1, "payload!"u8);
        long commands = Measure("reads of a word", 5_000, () => qemu.Port.Read64(qemu.Window.First));
        long posted = Measure("posted writes of a word", 50_000, () => qemu.Port.Write64(qemu.Window.First, 1));
        byte[] page = new byte[4096];
        Measure("reads of a page", 1_000, () => qemu.Port.Read(qemu.Window.First, page));
        Measure("writes of a page", 1_000, () => qemu.Port.Write(qemu.Window.First, page));
        Measure("DMA writes of 8 bytes", 1_000, () => qemu.Devices[0].Write(new(qemu.Window.First.Value), "payload!"u8));
        Measure("DMA reads of 8 bytes", 1_000, () => qemu.Devices[0].Read(new(qemu.Window.First.Value), page.AsSpan(0, 8)));
        Measure("resets", 20, qemu.Reset);
        Measure("starts", 5, () => QemuVtd.Start(2).Dispose());
        Assert.True(posted > commands, "posting writes should pay");
    }

    private long Measure(string what, int count, Action action)
    {
        long began = Stopwatch.GetTimestamp();
        for (int i = 0; i < count; i++) action();
        long perSecond = (long)(count / Stopwatch.GetElapsedTime(began).TotalSeconds);
        output.WriteLine($"{perSecond:N0} {what} a second");
        return perSecond;
    }

    // The command lines of processes that name a directory.
    private static IEnumerable<string> RunningWith(string directory) => Directory.EnumerateDirectories("/proc")
        .Where(path => path["/proc/".Length..].All(char.IsAsciiDigit))
        .Select(CommandLine)
        .Where(line => line.Contains(directory, StringComparison.Ordinal));

    private static string CommandLine(string process)
    {
        try
        {
            return File.ReadAllText(Path.Combine(process, "cmdline"));
        }
        catch (IOException)
        {
            return "";
        }
    }
}
