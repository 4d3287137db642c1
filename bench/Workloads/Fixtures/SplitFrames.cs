using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Workloads.Fixtures;

/// <summary>
/// Two banks: frames for table pages come from memory that exists, larger blocks from memory that does not. Nothing here
/// reads or writes what is mapped, so gibibytes of it cost nothing.
/// </summary>
internal sealed class SplitFrames(PhysRange tables, PhysRange memory) : IFrameSource
{
    private readonly FrameAllocator _tables = new(tables);
    private readonly FrameAllocator _memory = new(memory);

    public ulong TotalBytes => _tables.TotalBytes + _memory.TotalBytes;

    public ulong FreeBytes => _tables.FreeBytes + _memory.FreeBytes;

    public VcmmError TryAllocate(ulong byteCount, out PhysAddr block) =>
        (byteCount == FrameAllocator.FrameBytes ? _tables : _memory).TryAllocate(byteCount, out block);

    public VcmmError TryFree(PhysAddr block) => (_tables.Bank.Contains(block) ? _tables : _memory).TryFree(block);
}
