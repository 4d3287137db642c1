using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Harness.Passing;

/// <summary>A source of frames that passes everything on: a test overrides what is to be wrong. What has no bank to name goes through the methods without one.</summary>
/// <param name="inner">What does the work.</param>
public abstract class PassingFrames(IBankedFrameSource inner) : IBankedFrameSource
{
    /// <summary>What does the work.</summary>
    protected IBankedFrameSource Inner => inner;

    /// <inheritdoc/>
    public ulong TotalBytes => inner.TotalBytes;

    /// <inheritdoc/>
    public ulong FreeBytes => inner.FreeBytes;

    /// <inheritdoc/>
    public IReadOnlyList<MemoryBank> Banks => inner.Banks;

    /// <inheritdoc/>
    public ulong FreeBytesOf(MemoryBank bank) => inner.FreeBytesOf(bank);

    /// <inheritdoc/>
    public bool TryFindBank(PhysAddr address, out MemoryBank? bank) => inner.TryFindBank(address, out bank);

    /// <inheritdoc/>
    public virtual VcmmError TryAllocate(ulong byteCount, out PhysAddr block) => inner.TryAllocate(byteCount, out block);

    /// <inheritdoc/>
    public virtual VcmmError TryAllocate(ulong byteCount, MemoryRequest request, out PhysAddr block) =>
        request == default ? TryAllocate(byteCount, out block) : inner.TryAllocate(byteCount, request, out block);

    /// <inheritdoc/>
    public virtual VcmmError TryAllocateContiguous(ulong byteCount, ulong alignment, out PhysAddr block) => inner.TryAllocateContiguous(byteCount, alignment, out block);

    /// <inheritdoc/>
    public virtual VcmmError TryAllocateContiguous(ulong byteCount, ulong alignment, MemoryRequest request, out PhysAddr block) =>
        request == default ? TryAllocateContiguous(byteCount, alignment, out block) : inner.TryAllocateContiguous(byteCount, alignment, request, out block);

    /// <inheritdoc/>
    public virtual VcmmError TryAllocateWithin(ulong byteCount, ulong alignment, PhysRange within, out PhysAddr block) =>
        inner.TryAllocateWithin(byteCount, alignment, within, out block);

    /// <inheritdoc/>
    public virtual VcmmError TryAllocateWithin(ulong byteCount, ulong alignment, MemoryRequest request, PhysRange within, out PhysAddr block) =>
        request == default ? TryAllocateWithin(byteCount, alignment, within, out block) : inner.TryAllocateWithin(byteCount, alignment, request, within, out block);

    /// <inheritdoc/>
    public virtual VcmmError TryFindWithin(ulong byteCount, ulong alignment, PhysRange within, out PhysAddr block) =>
        inner.TryFindWithin(byteCount, alignment, within, out block);

    /// <inheritdoc/>
    public virtual VcmmError TryAllocateAt(PhysRange range) => inner.TryAllocateAt(range);

    /// <inheritdoc/>
    public virtual VcmmError TryFree(PhysAddr block) => inner.TryFree(block);
}
