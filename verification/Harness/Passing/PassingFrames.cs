using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Harness.Passing;

/// <summary>A source of frames that passes everything on: a test overrides what is to be wrong.</summary>
/// <param name="inner">What does the work.</param>
public abstract class PassingFrames(IFrameSource inner) : IFrameSource
{
    /// <summary>What does the work.</summary>
    protected IFrameSource Inner => inner;

    /// <inheritdoc/>
    public ulong TotalBytes => inner.TotalBytes;

    /// <inheritdoc/>
    public ulong FreeBytes => inner.FreeBytes;

    /// <inheritdoc/>
    public virtual VcmmError TryAllocate(ulong byteCount, out PhysAddr block) => inner.TryAllocate(byteCount, out block);

    /// <inheritdoc/>
    public virtual VcmmError TryFree(PhysAddr block) => inner.TryFree(block);
}
