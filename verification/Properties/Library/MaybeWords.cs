using IommuSim;
using Platform;

namespace Properties.Library;

/// <summary>Memory before a walker that does not snoop, which gives words out as host memory does, or not.</summary>
internal readonly struct MaybeWords(NonCoherentPort<Ram> port, bool givesWords) : IPhysicalMemory
{
    public bool Contains(PhysRange range) => port.Contains(range);

    public bool TryRead64(PhysAddr address, out ulong value) => port.TryRead64(address, out value);

    public ulong Read64(PhysAddr address) => port.Read64(address);

    public uint Read32(PhysAddr address) => port.Read32(address);

    public void Write64(PhysAddr address, ulong value) => port.Write64(address, value);

    public void Write32(PhysAddr address, uint value) => port.Write32(address, value);

    public ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand) => port.CompareExchange64(address, value, comparand);

    public uint CompareExchange32(PhysAddr address, uint value, uint comparand) => port.CompareExchange32(address, value, comparand);

    public void Read(PhysAddr address, Span<byte> destination) => port.Read(address, destination);

    public void Write(PhysAddr address, ReadOnlySpan<byte> source) => port.Write(address, source);

    public bool TryGetWords(PhysAddr first, int count, out Span<ulong> words)
    {
        if (givesWords) return port.TryGetWords(first, count, out words);
        words = default;
        return false;
    }

    public void Clean(PhysRange range) => port.Clean(range);

    public void Fence() => port.Fence();
}
