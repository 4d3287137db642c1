using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>The library's driver in scalable mode on a simulated VT-d; everything that it writes into its queue is written down.</summary>
internal sealed class ScalableSystem : IDisposable
{
    public const ulong Page = 4096;

    /// <summary>How a fence is written down.</summary>
    public static readonly (ulong Low, ulong High) Fence = (0x65, 0);

    private const uint Cap = 0x08, Ecap = 0x10, QueueHead = 0x80, QueueTail = 0x88, QueueAddress = 0x90;
    private const ulong DescriptorBytes = 32;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(2UL << 20), 16UL << 20));
    private ulong _seen;

    public ScalableSystem(
        VtdOptions? options = null, VtdDriverOptions? driver = null, Func<ulong, ulong>? cap = null, Func<ulong, ulong>? ecap = null)
    {
        Simulator = new(_ram.Port, options ?? VtdOptions.Scalable);
        Registers = new(Simulator)
        {
            AfterRead64 = (offset, value) => offset switch
            {
                Cap => cap?.Invoke(value) ?? value,
                Ecap => ecap?.Invoke(value) ?? value,
                _ => value,
            },
            BeforeWrite64 = (offset, value) => offset != QueueTail || Look(value),
        };
        Frames = new(new FrameAllocator(_ram.Range));
        Driver = VtdDriver<Ram>.Start(
            _ram.Port, Registers, Frames, (driver ?? new VtdDriverOptions { MaximumPasidCount = 1 << 15 }) with { Scalable = true, WaitPolicy = Policy });
    }

    public VtdIommu<Ram, NoSteps> Simulator { get; }

    public HookedRegisters Registers { get; }

    public CountedPolicy Policy { get; } = new();

    public FailingFrames Frames { get; }

    public VtdDriver<Ram> Driver { get; }

    public Ram Memory => _ram.Port;

    /// <summary>Everything that was put into the queue, waits apart.</summary>
    public List<(ulong Low, ulong High)> Told { get; } = [];

    /// <summary>How often the hardware was told that there is something in its queue.</summary>
    public int Doorbells { get; private set; }

    /// <summary>How many waits for completion there were.</summary>
    public int Waits { get; private set; }

    /// <summary>Called with each new tail, before the hardware sees it; false keeps it from seeing it.</summary>
    public Func<bool> OnDoorbell { get; set; } = static () => true;

    public PhysAddr Root => new(Simulator.Read64(0x20) & ~0xFFFUL);

    public static StreamId Device => StreamId.Pci(3, 18, 0);

    public BusMaster<Ram, NoSteps> Master(StreamId? device = null) => new(Simulator, _ram.Port, device ?? Device);

    public IPageTable CreateTable(int format = 0)
    {
        Assert.Equal(VcmmError.None, Driver.TryCreateTable(Driver.Formats[format], Frames, out IPageTable? table));
        return table!;
    }

    /// <summary>Maps whole pages from <paramref name="first"/> on.</summary>
    public void Map(IPageTable table, ulong first, PhysRange memory)
    {
        var pool = new TablePagePool();
        Assert.Equal(VcmmError.None, pool.TryFill(Frames, Page, table.CountMissingTables(new(first), [memory])));
        table.Map(new(first), [memory], Access.ReadWrite, pool);
        pool.ReturnAll(Frames);
    }

    public PhysRange Allocate(ulong byteCount = Page)
    {
        Assert.Equal(VcmmError.None, Frames.TryAllocate(byteCount, out PhysAddr block));
        return PhysRange.FromLength(block, byteCount);
    }

    public IPageTable CreateFirstStageTable(int levelCount = 4) => CreateTable(
        Driver.Formats.ToList().FindIndex(format => format.Encoding == X86FirstStage.Encoding && format.LevelCount == levelCount));

    /// <summary>The words of the PASID entry that the hardware finds; null where an entry on the way is absent.</summary>
    public ulong[]? PasidEntry(StreamId device, uint pasid)
    {
        if (ContextEntry(device) is not { } context || (context[0] & 1) == 0) return null;
        ulong directory = Memory.Read64(new((context[0] & ~0xFFFUL) + (pasid >> 6) * 8));
        return (directory & 1) == 0 ? null : Words(new((directory & ~0xFFFUL) + (pasid & 0x3F) * 64), 8);
    }

    public ulong[]? ContextEntry(StreamId device)
    {
        ulong root = Memory.Read64(Root + (device.Value >> 8) * 16 + ((device.Value & 0x80) != 0 ? 8UL : 0));
        return (root & 1) == 0 ? null : Words(new((root & ~0xFFFUL) + (device.Value & 0x7F) * 32), 4);
    }

    public void Dispose() => _ram.Dispose();

    private ulong[] Words(PhysAddr first, int count) => [.. Enumerable.Range(0, count).Select(i => Memory.Read64(first + (ulong)i * 8))];

    private bool Look(ulong tail)
    {
        Assert.Equal(0UL, tail % DescriptorBytes);
        if (tail == 0 && (Simulator.Read32(0x1C) & 0x0400_0000) == 0)
        {
            // The queue is being set up.
            _seen = 0;
            return true;
        }

        Doorbells++;
        PhysAddr queue = new(Simulator.Read64(QueueAddress) & ~0xFFFUL);
        for (; _seen != tail; _seen = (_seen + DescriptorBytes) % 4096)
        {
            ulong[] words = Words(queue + _seen, 4);
            Assert.Equal([0, 0], words[2..]);
            ulong low = words[0] & 0xFFFF_FFFF;
            if (low == 0x25) Waits++;
            else Told.Add(low == Fence.Low ? Fence : (words[0], words[1]));
        }

        return OnDoorbell();
    }
}
