using Platform;

namespace Harness.Passing;

/// <summary>Memory that passes everything on: a test overrides what is to be wrong.</summary>
/// <param name="inner">What does the work.</param>
public abstract class PassingMemory(IPhysicalMemory inner) : IPhysicalMemory
{
    /// <summary>What does the work.</summary>
    protected IPhysicalMemory Inner => inner;

    /// <inheritdoc/>
    public virtual bool Contains(PhysRange range) => inner.Contains(range);

    /// <inheritdoc/>
    public virtual bool TryRead64(PhysAddr address, out ulong value) => inner.TryRead64(address, out value);

    /// <inheritdoc/>
    public virtual ulong Read64(PhysAddr address) => inner.Read64(address);

    /// <inheritdoc/>
    public virtual uint Read32(PhysAddr address) => inner.Read32(address);

    /// <inheritdoc/>
    public virtual void Write64(PhysAddr address, ulong value) => inner.Write64(address, value);

    /// <inheritdoc/>
    public virtual void Write32(PhysAddr address, uint value) => inner.Write32(address, value);

    /// <inheritdoc/>
    public virtual ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand) => inner.CompareExchange64(address, value, comparand);

    /// <inheritdoc/>
    public virtual uint CompareExchange32(PhysAddr address, uint value, uint comparand) => inner.CompareExchange32(address, value, comparand);

    /// <inheritdoc/>
    public virtual void Read(PhysAddr address, Span<byte> destination) => inner.Read(address, destination);

    /// <inheritdoc/>
    public virtual void Write(PhysAddr address, ReadOnlySpan<byte> source) => inner.Write(address, source);

    /// <inheritdoc/>
    public virtual void Clean(PhysRange range) => inner.Clean(range);

    /// <inheritdoc/>
    public virtual void Fence() => inner.Fence();
}
