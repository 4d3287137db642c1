using IommuSim;
using Platform;

namespace Workloads.Fixtures;

/// <summary>
/// A simulated VT-d unit in legacy mode, driven by registers and bytes in memory alone: devices 00:00.0, 00:00.1 … share one
/// table of four levels, whose first 512 pages are mapped to frames one behind the other.
/// </summary>
internal sealed class SimulatedUnit : IDisposable
{
    public const int PageCount = 512;
    public const int PageBytes = 4096;

    private const ulong Root = 0x1000, Contexts = 0x2000, Tables = 0x3000, Queue = 0x8000, Status = 0x9000, Frames = 0x100000;
    private const uint GlobalCommand = 0x18, RootTableAddress = 0x20, QueueTail = 0x88, QueueAddress = 0x90;
    private const uint QueueEnable = 1u << 26, SetRootTable = 1u << 30, TranslationEnable = 1u << 31;
    private const ulong Present = 1, ReadWrite = 3, FourLevels = 2, Domain = 1, QueueBytes = 4096;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), Frames + PageCount * PageBytes));
    private ulong _tail;

    public SimulatedUnit(VtdOptions options)
    {
        Memory = _ram.Port;
        Iommu = new(Memory, options);
        Memory.Write64(new(Root), Contexts | Present);
        for (ulong device = 0; device < 8; device++)
        {
            Memory.Write64(new(Contexts + device * 16), Tables | Present);
            Memory.Write64(new(Contexts + device * 16 + 8), FourLevels | Domain << 8);
        }

        for (ulong level = 0; level < 3; level++) Memory.Write64(new(Tables + level * PageBytes), (Tables + (level + 1) * PageBytes) | ReadWrite);
        for (ulong page = 0; page < PageCount; page++) Memory.Write64(new(Tables + 3 * PageBytes + page * 8), (Frames + page * PageBytes) | ReadWrite);
        Iommu.Write64(RootTableAddress, Root);
        Iommu.Write32(GlobalCommand, SetRootTable);
        Iommu.Write64(QueueAddress, Queue);
        Iommu.Write32(GlobalCommand, QueueEnable);
        Iommu.Write32(GlobalCommand, QueueEnable | TranslationEnable);
    }

    public Ram Memory { get; }

    public VtdIommu<Ram, NoSteps> Iommu { get; }

    public static StreamId Device(int index) => new((uint)index);

    public static Iova PageAt(int page) => new((ulong)page * PageBytes);

    public static PhysAddr FrameAt(int page) => new(Frames + (ulong)page * PageBytes);

    /// <summary>Queues page-selective invalidations of so many pages, and a wait after them; one write of the tail; then the status must be there.</summary>
    public void InvalidateAndSync(int firstPage, int count)
    {
        Memory.Write32(new(Status), 0);
        for (int i = 0; i < count; i++) Enqueue(0x2 | 0x3 << 4 | 0xC0 | Domain << 16, PageAt(firstPage + i).Value);
        Enqueue(0x5 | 1 << 5 | 1UL << 32, Status);
        Iommu.Write64(QueueTail, _tail);
        Require.That(Memory.Read32(new(Status)) == 1, "the invalidations are done");
    }

    public void Dispose() => _ram.Dispose();

    private void Enqueue(ulong low, ulong high)
    {
        Memory.Write64(new(Queue + _tail), low);
        Memory.Write64(new(Queue + _tail + 8), high);
        _tail = (_tail + 16) % QueueBytes;
    }
}
