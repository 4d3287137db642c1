using IommuSim;
using Platform;

namespace Conformance.Simulator;

/// <summary>
/// A machine of one VT-d unit in scalable mode and 8 MiB of memory, and the least software that drives it. Every word is written
/// as the specification's figures show it. Requests of <see cref="Device"/> without PASID get PASID 1, which goes by the
/// second stage in domain 7; PASID 2 goes by the first stage in domain 8.
/// </summary>
internal sealed class RawScalable : IDisposable
{
    public const ulong Root = 0x10000, Context = 0x11000, UpperContext = 0x12000, PasidDirectory = 0x13000, PasidTable = 0x14000;
    public const ulong Second4 = 0x20000, Second3 = 0x21000, Second2 = 0x22000, Second1 = 0x23000;
    public const ulong First5 = 0x24000, First4 = 0x25000, First3 = 0x26000, First2 = 0x27000, First1 = 0x28000;
    public const ulong Queue = 0x30000, Status = 0x40000;
    public const ulong FrameA = 0x100000, FrameB = 0x101000, MemoryBytes = 8 << 20;

    /// <summary>Second-stage entries: R, W.</summary>
    public const ulong Rw = 3;

    /// <summary>First-stage entries: P, R/W, U/S.</summary>
    public const ulong P = 1, Pw = 3, Pu = 5, Pwu = 7;

    public const ulong SecondDomain = 7, FirstDomain = 8;

    /// <summary>Words of PASID entries: P, PGTT; PWSNP; SRE, WPE, EAFE, five levels.</summary>
    public const ulong FirstStage = 1 | 1 << 6, SecondStage = 1 | 2 << 6 | 2 << 2, PassThrough = 1 | 4 << 6;
    public const ulong Snoop = 1 << 23;
    public const ulong Sre = 1, Wpe = 1 << 4, Eafe = 1 << 7, FiveLevels = 1 << 2;

    /// <summary>00:04.0, and 00:1f.7 in the upper half.</summary>
    public static readonly StreamId Device = new(0x20), UpperDevice = new(0xFF);

    public static readonly Pasid RidPasid = new(1), FirstPasid = new(2);

    public static readonly VtdOptions NoCaches = VtdOptions.Scalable with
    {
        IotlbSets = 0, WalkCacheEntriesPerLevel = 0, ContextCacheEntries = 0, PasidCacheEntries = 0,
    };

    public const uint Gcmd = 0x18, Rtaddr = 0x20, Ccmd = 0x28, Fsts = 0x34, Iqh = 0x80, Iqt = 0x88, Iqa = 0x90, Iotlb = 0xF8, Frcd = 0x220;
    private const uint GcmdTe = 0x8000_0000, GcmdSrtp = 0x4000_0000, GcmdQie = 0x0400_0000;
    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), MemoryBytes));
    private uint _waits;

    public RawScalable(VtdOptions? options = null, Action<SimStep, ulong>? hook = null)
    {
        Memory = _ram.Port;
        Iommu = new(Memory, options ?? VtdOptions.Scalable, new Hook(hook));
        Write(Root, Context | 1);
        SetContext(PasidDirectory | 1 | 1 << 3, 1);
        Write(PasidDirectory, PasidTable | 1);
        SetPasid(1, SecondStage | Second4, SecondDomain | Snoop, 0);
        SetPasid(2, FirstStage, FirstDomain | Snoop, First4 | Sre);
        Write(Second4, Second3 | Rw);
        Write(Second3, Second2 | Rw);
        Write(Second2, Second1 | Rw);
        Write(First5, First4 | Pwu);
        Write(First4, First3 | Pwu);
        Write(First3, First2 | Pwu);
        Write(First2, First1 | Pwu);
        SetSecond(1, FrameA | Rw);
        SetFirst(1, FrameA | Pwu);
        Iommu.Write64(Iqa, Queue | 1 << 11);
        Iommu.Write32(Gcmd, GcmdQie);
        SetRoot(Root | 1 << 10);
        Iommu.Write32(Gcmd, GcmdQie | GcmdTe);
    }

    public Ram Memory { get; }

    public VtdIommu<Ram, Hook> Iommu { get; }

    public ulong Tail { get; private set; }

    public void Dispose() => _ram.Dispose();

    /// <summary>RTADDR: the root table and in bits 11:10 the translation table mode; then SRTP.</summary>
    public void SetRoot(ulong value)
    {
        Iommu.Write64(Rtaddr, value);
        Iommu.Write32(Gcmd, GcmdSrtp | GcmdQie | GcmdTe);
    }

    public void Write(ulong address, ulong value) => Memory.Write64(new(address), value);

    public ulong Read(ulong address) => Memory.Read64(new(address));

    /// <summary>The device's context entry, 32 bytes.</summary>
    public void SetContext(ulong low, ulong high, ulong third = 0, ulong fourth = 0) => Set(Context + 0x20 * 32, low, high, third, fourth);

    /// <summary>A PASID table entry, 64 bytes, of a PASID below 64.</summary>
    public void SetPasid(ulong pasid, ulong first, ulong second, ulong third, params ReadOnlySpan<ulong> rest)
    {
        ulong at = PasidTable + pasid * 64;
        Set(at, first, second, third);
        for (int i = 0; i < 5; i++) Write(at + 24 + (ulong)i * 8, i < rest.Length ? rest[i] : 0);
    }

    public void Set(ulong address, params ReadOnlySpan<ulong> words)
    {
        for (int i = 0; i < words.Length; i++) Write(address + (ulong)i * 8, words[i]);
    }

    /// <summary>A last-level entry of the first 2 MiB.</summary>
    public void SetSecond(ulong page, ulong entry) => Write(Second1 + page * 8, entry);

    public void SetFirst(ulong page, ulong entry) => Write(First1 + page * 8, entry);

    public TranslationResult Go(
        ulong iova, DeviceAccess access = DeviceAccess.Read, uint? pasid = null, bool privileged = false, bool execute = false, StreamId? source = null) =>
        Iommu.Translate(source ?? Device, new(iova), access, pasid is { } value ? new PasidPrefix(new(value), privileged, execute) : null);

    /// <summary>The access is let through to <paramref name="expected"/>.</summary>
    public void Goes(
        ulong iova, ulong expected, DeviceAccess access = DeviceAccess.Read, uint? pasid = null, bool privileged = false, bool execute = false, StreamId? source = null)
    {
        TranslationResult result = Go(iova, access, pasid, privileged, execute, source);
        Assert.True(result.Ok, $"fault {result.Reason} at 0x{iova:x}");
        Assert.Equal(new PhysAddr(expected), result.Address);
    }

    /// <summary>The access is blocked for this reason, and the record says so, word for word.</summary>
    public void Faults(
        byte reason, ulong iova = 0x1000, DeviceAccess access = DeviceAccess.Read, uint? pasid = null, bool privileged = false, bool execute = false, StreamId? source = null)
    {
        ClearFaults();
        TranslationResult result = Go(iova, access, pasid, privileged, execute, source);
        Assert.False(result.Ok, $"expected fault 0x{reason:x} at 0x{iova:x}, got {result.Address}");
        Assert.Equal(reason, (byte)result.Reason);
        bool isRead = access == DeviceAccess.Read;
        ulong prefix = pasid is { } value
            ? (ulong)value << 40 | 1UL << 31 | (execute && isRead ? 1UL << 30 : 0) | (privileged ? 1UL << 29 : 0)
            : 0;
        Assert.Equal(1UL << 63 | (isRead ? 1UL << 62 : 0) | (ulong)reason << 32 | prefix | (source ?? Device).Value, Iommu.Read64(Frcd + 8));
        Assert.Equal(iova & ~0xFFFUL, Iommu.Read64(Frcd));
    }

    public bool HasRecord => Iommu.Read64(Frcd + 8) >> 63 == 1;

    public void ClearFaults()
    {
        Iommu.Write64(Frcd + 8, 1UL << 63);
        Iommu.Write32(Fsts, 1);
    }

    public bool HasQueueError => (Iommu.Read32(Fsts) & 0x10) != 0;

    /// <summary>Puts a 256-bit descriptor at the tail and moves the tail.</summary>
    public void Submit(ulong first, ulong second = 0, ulong third = 0, ulong fourth = 0)
    {
        Set(Queue + Tail, first, second, third, fourth);
        Tail = (Tail + 32) % 4096;
        Iommu.Write64(Iqt, Tail);
    }

    // Context-cache, type 1. PASID cache, type 7: G in 5:4 (0 domain, 1 PASID, 3 global), DID in 31:16, PASID in 51:32.
    public void InvalidateContexts() => Submit(0x1 | 1 << 4);

    public void InvalidatePasids() => Submit(0x7 | 3 << 4);

    public void InvalidatePasids(ulong domain) => Submit(0x7 | domain << 16);

    public void InvalidatePasids(ulong domain, ulong pasid) => Submit(0x7 | 1 << 4 | domain << 16 | pasid << 32);

    // IOTLB, type 2: G, DW, DR, DID; AM, IH, ADDR.
    public void InvalidateIotlb() => Submit(0x2 | 1 << 4 | 0xC0);

    public void InvalidateIotlb(ulong domain) => Submit(0x2 | 2 << 4 | 0xC0 | domain << 16);

    public void InvalidateIotlb(ulong domain, ulong iova, ulong mask = 0, bool leafOnly = false) =>
        Submit(0x2 | 3 << 4 | 0xC0 | domain << 16, iova | mask | (leafOnly ? 0x40UL : 0));

    // PASID-based IOTLB, type 6: G in 5:4 (2 PASID, 3 pages), DID in 31:16, PASID in 51:32; AM, IH, ADDR.
    public void InvalidatePasidIotlb(ulong domain, ulong pasid) => Submit(0x6 | 2 << 4 | domain << 16 | pasid << 32);

    public void InvalidatePasidIotlb(ulong domain, ulong pasid, ulong iova, ulong mask = 0, bool leafOnly = false) =>
        Submit(0x6 | 3 << 4 | domain << 16 | pasid << 32, iova | mask | (leafOnly ? 0x40UL : 0));

    /// <summary>All caches, in the order that the specification asks for.</summary>
    public void InvalidateAll()
    {
        InvalidateContexts();
        InvalidatePasids();
        InvalidateIotlb();
    }

    /// <summary>Invalidation wait: type 5, SW bit 5, status data in 63:32. Whether it completed.</summary>
    public bool Wait()
    {
        _waits++;
        Submit(0x5 | 1 << 5 | (ulong)_waits << 32, Status);
        return Memory.Read32(new(Status)) == _waits;
    }

    public bool IsWaitDone => Memory.Read32(new(Status)) == _waits;
}
