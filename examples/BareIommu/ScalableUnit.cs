using IommuSim;
using Platform;
using static BareIommu.Registers;

namespace BareIommu;

/// <summary>
/// A machine with a VT-d in scalable mode, and the least software that drives it. Device 00:04.0 has two address spaces: its requests
/// without PASID are translated by a second-stage table, those with PASID 5 by a first-stage table, which is what an x86-64 processor walks.
/// </summary>
internal sealed class ScalableUnit<TSteps> : IDisposable
    where TSteps : struct, ISteps
{
    public const ulong SecondDomain = 7, FirstDomain = 8, Pasid = 5, ReadWrite = 3, PresentWriteUser = 7, Frames = 0x10_0000;

    private const ulong Root = 0x1000, Contexts = 0x2000, Directory = 0x4000, Pasids = 0x5000;
    private const ulong SecondStage = 0x6000, FirstStage = 0xA000, Queue = 0xE000, Status = 0xF000, Requests = 0x1_0000;
    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 4 << 20));
    private ulong _tail;
    private uint _waits;

    public ScalableUnit(VtdOptions options, TSteps steps = default)
    {
        Memory = _ram.Port;
        Unit = new(Memory, options, steps);
        Span<ulong> tables = [SecondStage, FirstStage];
        foreach (ulong top in tables)
        {
            ulong rights = top == FirstStage ? PresentWriteUser : ReadWrite;
            for (ulong table = top; table < top + 3 * 4096; table += 4096) Write(table, (table + 4096) | rights);
        }

        // Root entry, lower half; context entry of 32 bytes: PASIDs enabled (bit 3), and where the unit has them device TLB (2) and
        // page requests (4); RID_PASID 0.
        Write(Root, Contexts | 1);
        ulong ats = (options.DeviceTlbs ? 1UL << 2 : 0) | (options.PageRequests ? 1UL << 4 : 0);
        Write(Contexts + Device.Value * 32, Directory | 1 | 1 << 3 | ats);

        // PASID directory and table, entries of 64 bytes. PASID 0: second stage (PGTT 2) of 4 levels (AW 2). PASID 5: first stage (PGTT 1);
        // its walks are snooped (PWSNP), since they set accessed and dirty flags.
        Write(Directory, Pasids | 1);
        Write(Pasids, SecondStage | 1 | 2 << 2 | 2 << 6);
        Write(Pasids + 8, SecondDomain);
        Write(Pasids + Pasid * 64, 1 | 1 << 6);
        Write(Pasids + Pasid * 64 + 8, FirstDomain | 1 << 23);
        Write(Pasids + Pasid * 64 + 16, FirstStage);

        // A queue of 256-bit descriptors (IQA.DW), the page request queue, the root table in scalable mode (TTM 01b).
        Unit.Write64(IQA, Queue | 1 << 11);
        Unit.Write32(GCMD, QIE);
        Unit.Write64(PQA, Requests);
        Unit.Write64(RTADDR, Root | 1 << 10);
        Unit.Write32(GCMD, QIE | SRTP);
        Submit(0x1 | 1 << 4);
        Submit(0x7 | 3 << 4);
        Submit(0x2 | 1 << 4 | 1 << 6 | 1 << 7);
        Wait();
        Unit.Write32(GCMD, QIE | TE);
    }

    public static StreamId Device { get; } = StreamId.Pci(bus: 0, device: 4, function: 0);

    public static PasidPrefix Process { get; } = new(new((uint)Pasid));

    public static PhysAddr ProcessRoot => new(FirstStage);

    public Ram Memory { get; }

    public VtdIommu<Ram, TSteps> Unit { get; }

    public static ulong FrameAt(int index) => Frames + (ulong)index * 4096;

    /// <summary>The last-level entry of a page of the first 2 MiB, by the second stage: R, W.</summary>
    public void SetSecond(int page, ulong entry) => Write(SecondStage + 3 * 4096 + (ulong)page * 8, entry);

    /// <summary>The same by the first stage: P, R/W, U/S, as on a processor.</summary>
    public void SetFirst(int page, ulong entry) => Write(FirstStage + 3 * 4096 + (ulong)page * 8, entry);

    /// <summary>Puts a command into the queue and moves its tail.</summary>
    public void Submit(ulong low, ulong high = 0)
    {
        Write(Queue + _tail, low);
        Write(Queue + _tail + 8, high);
        Write(Queue + _tail + 16, 0);
        Write(Queue + _tail + 24, 0);
        _tail = (_tail + 32) % 4096;
        Unit.Write64(IQT, _tail);
    }

    /// <summary>IOTLB invalidate (type 2), one page of the second stage; reads and writes are drained.</summary>
    public void InvalidateSecond(int page) => Submit(0x2 | 3 << 4 | 1 << 6 | 1 << 7 | SecondDomain << 16, (ulong)page * 4096);

    /// <summary>PASID-based IOTLB invalidate (type 6), one page of the process.</summary>
    public void InvalidateFirst(int page) => Submit(0x6 | 3 << 4 | FirstDomain << 16 | Pasid << 32, (ulong)page * 4096);

    /// <summary>Queues a wait. Whether it was over at once.</summary>
    public bool Wait()
    {
        Submit(0x5 | 1 << 5 | (ulong)++_waits << 32, Status);
        return IsWaitOver;
    }

    public bool IsWaitOver => Memory.Read32(new(Status)) == _waits;

    /// <summary>Takes the oldest page request out of its queue: the two words that say something.</summary>
    public (ulong Low, ulong High) TakeRequest()
    {
        ulong head = Unit.Read64(PQH);
        (ulong, ulong) request = (Memory.Read64(new(Requests + head)), Memory.Read64(new(Requests + head + 8)));
        Unit.Write64(PQH, (head + 32) % 4096);
        Unit.Write32(PRS, 1);
        return request;
    }

    public void Dispose() => _ram.Dispose();

    private void Write(ulong address, ulong value) => Memory.Write64(new(address), value);
}
