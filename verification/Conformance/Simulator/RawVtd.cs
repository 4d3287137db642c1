using IommuSim;
using Platform;

namespace Conformance.Simulator;

/// <summary>A step hook that a test can set: what "another agent" does between two steps of the hardware.</summary>
internal readonly struct Hook(Action<SimStep, ulong>? action) : ISteps
{
    public void At(SimStep step, ulong detail) => action?.Invoke(step, detail);
}

/// <summary>
/// A machine of one VT-d unit and 8 MiB of memory, and the least software that drives it: every word is written as the
/// specification's figures show it, so that nothing here shares code with the simulator's decoders.
/// </summary>
internal sealed class RawVtd : IDisposable
{
    public const ulong Root = 0x10000;
    public const ulong ContextTable = 0x11000;
    public const ulong Table4 = 0x20000;
    public const ulong Table3 = 0x21000;
    public const ulong Table2 = 0x22000;
    public const ulong Table1 = 0x23000;
    public const ulong Queue = 0x30000;
    public const ulong Status = 0x40000;
    public const ulong FrameA = 0x100000;
    public const ulong FrameB = 0x101000;
    public const ulong MemoryBytes = 8 << 20;
    public const ulong ReadWrite = 3;
    public const ulong DomainId = 7;

    /// <summary>00:04.0.</summary>
    public static readonly StreamId Device = new(0x20);

    // Registers, by offset.
    public const uint Gcmd = 0x18;
    public const uint Gsts = 0x1C;
    public const uint Rtaddr = 0x20;
    public const uint Ccmd = 0x28;
    public const uint Fsts = 0x34;
    public const uint Iqh = 0x80;
    public const uint Iqt = 0x88;
    public const uint Iqa = 0x90;
    public const uint Iva = 0xF0;
    public const uint Iotlb = 0xF8;
    public const uint Frcd = 0x220;

    public const uint GcmdTe = 0x8000_0000;
    public const uint GcmdSrtp = 0x4000_0000;
    public const uint GcmdQie = 0x0400_0000;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), MemoryBytes));
    private uint _waits;

    public RawVtd(VtdOptions? options = null, Action<SimStep, ulong>? hook = null, bool enable = true)
    {
        Memory = _ram.Port;
        Iommu = new(Memory, options ?? VtdOptions.Default, new Hook(hook));
        Master = new(Iommu, Memory, Device);
        Write(Root, ContextTable | 1);
        SetContext(Device, Table4 | 1, 2 | DomainId << 8);
        Write(Table4, Table3 | ReadWrite);
        Write(Table3, Table2 | ReadWrite);
        Write(Table2, Table1 | ReadWrite);
        Memory.Write(new(FrameA), [0xAA]);
        Memory.Write(new(FrameB), [0xBB]);
        if (enable) Enable();
    }

    public Ram Memory { get; }

    public VtdIommu<Ram, Hook> Iommu { get; }

    public BusMaster<Ram, Hook> Master { get; }

    public ulong Tail { get; private set; }

    public void Dispose() => _ram.Dispose();

    public void Enable()
    {
        Iommu.Write64(Rtaddr, Root);
        Iommu.Write32(Gcmd, GcmdSrtp);
        Iommu.Write64(Iqa, Queue);
        Iommu.Write32(Gcmd, GcmdQie);
        Iommu.Write32(Gcmd, GcmdQie | GcmdTe);
    }

    public void Write(ulong address, ulong value) => Memory.Write64(new(address), value);

    /// <summary>A context entry of a device on bus 0.</summary>
    public void SetContext(StreamId source, ulong low, ulong high)
    {
        Write(ContextTable + (source.Value & 0xFF) * 16 + 8, high);
        Write(ContextTable + (source.Value & 0xFF) * 16, low);
    }

    /// <summary>A last-level entry of the first 2 MiB.</summary>
    public void SetPage(ulong page, ulong entry) => Write(Table1 + page * 8, entry);

    public TranslationResult Read(ulong iova) => Iommu.Translate(Device, new(iova), DeviceAccess.Read);

    public TranslationResult WriteTo(ulong iova) => Iommu.Translate(Device, new(iova), DeviceAccess.Write);

    /// <summary>The reason of the fault that a read or write gets; also that exactly this reason was recorded for it.</summary>
    public VtdFaultReason Fault(ulong iova, DeviceAccess access = DeviceAccess.Read, StreamId? source = null)
    {
        ClearFaults();
        TranslationResult result = Iommu.Translate(source ?? Device, new(iova), access);
        Assert.False(result.Ok, $"expected a fault at 0x{iova:x}, got {result.Address}");
        ulong high = Iommu.Read64(Frcd + 8);
        Assert.Equal(1UL, high >> 63);
        Assert.Equal((ulong)result.Reason, high >> 32 & 0xFF);
        Assert.Equal(iova & ~0xFFFUL, Iommu.Read64(Frcd));
        return result.Reason;
    }

    /// <summary>Clears the first record and the overflow flag.</summary>
    public void ClearFaults()
    {
        Iommu.Write64(Frcd + 8, 1UL << 63);
        Iommu.Write32(Fsts, 1);
    }

    public void AssertReads(ulong iova, ulong expected)
    {
        TranslationResult result = Read(iova);
        Assert.True(result.Ok, $"fault {result.Reason} at 0x{iova:x}");
        Assert.Equal(new PhysAddr(expected), result.Address);
    }

    /// <summary>Puts a descriptor at the tail and moves the tail.</summary>
    public void Submit(ulong low, ulong high, ulong queueBytes = 4096)
    {
        Write(Queue + Tail, low);
        Write(Queue + Tail + 8, high);
        Tail = (Tail + 16) % queueBytes;
        Iommu.Write64(Iqt, Tail);
    }

    // Context-cache invalidate: type 1, G in 5:4, DID in 31:16, SID in 47:32, FM in 49:48.
    public void InvalidateContexts() => Submit(0x1 | 1 << 4, 0);

    public void InvalidateContexts(ulong domain) => Submit(0x1 | 2 << 4 | domain << 16, 0);

    public void InvalidateContext(ulong domain, ulong source, ulong functionMask = 0) =>
        Submit(0x1 | 3 << 4 | domain << 16 | source << 32 | functionMask << 48, 0);

    // IOTLB invalidate: type 2, G in 5:4, DW bit 6, DR bit 7, DID in 31:16; high: AM in 5:0, IH bit 6, ADDR in 63:12.
    public void InvalidateAll() => Submit(0x2 | 1 << 4 | 0xC0, 0);

    public void InvalidateDomain(ulong domain) => Submit(0x2 | 2 << 4 | 0xC0 | domain << 16, 0);

    public void InvalidatePages(ulong domain, ulong iova, ulong mask = 0, bool leafOnly = false, ulong drain = 0xC0) =>
        Submit(0x2 | 3 << 4 | drain | domain << 16, iova | mask | (leafOnly ? 0x40UL : 0));

    /// <summary>Invalidation wait: type 5, SW bit 5, status data in 63:32. Whether it completed.</summary>
    public bool Wait()
    {
        _waits++;
        Submit(0x5 | 1 << 5 | (ulong)_waits << 32, Status);
        return IsWaitDone;
    }

    public bool IsWaitDone => Memory.Read32(new(Status)) == _waits;
}
