using Platform;

namespace Harness.Running;

/// <summary>Any memory as the struct that the library's drivers take.</summary>
public readonly struct PortMemory(IPhysicalMemory memory) : IPhysicalMemory
{
    /// <inheritdoc/>
    public bool Contains(PhysRange range) => memory.Contains(range);

    /// <inheritdoc/>
    public bool TryRead64(PhysAddr address, out ulong value) => memory.TryRead64(address, out value);

    /// <inheritdoc/>
    public ulong Read64(PhysAddr address) => memory.Read64(address);

    /// <inheritdoc/>
    public uint Read32(PhysAddr address) => memory.Read32(address);

    /// <inheritdoc/>
    public void Write64(PhysAddr address, ulong value) => memory.Write64(address, value);

    /// <inheritdoc/>
    public void Write32(PhysAddr address, uint value) => memory.Write32(address, value);

    /// <inheritdoc/>
    public ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand) => memory.CompareExchange64(address, value, comparand);

    /// <inheritdoc/>
    public uint CompareExchange32(PhysAddr address, uint value, uint comparand) => memory.CompareExchange32(address, value, comparand);

    /// <inheritdoc/>
    public void Read(PhysAddr address, Span<byte> destination) => memory.Read(address, destination);

    /// <inheritdoc/>
    public void Write(PhysAddr address, ReadOnlySpan<byte> source) => memory.Write(address, source);

    /// <inheritdoc/>
    public void Clean(PhysRange range) => memory.Clean(range);

    /// <inheritdoc/>
    public void Fence() => memory.Fence();
}
