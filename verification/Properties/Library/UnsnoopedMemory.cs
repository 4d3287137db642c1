using Platform;

namespace Properties.Library;

/// <summary>
/// Memory before a walker that does not snoop: it sees a word as it was when it was last cleaned. Words are given out as host
/// memory gives them, or not.
/// </summary>
internal readonly struct UnsnoopedMemory(Ram ram, Ram seen, bool givesWords) : IPhysicalMemory
{
    public bool Contains(PhysRange range) => ram.Contains(range);

    public bool TryRead64(PhysAddr address, out ulong value) => ram.TryRead64(address, out value);

    public ulong Read64(PhysAddr address) => ram.Read64(address);

    public uint Read32(PhysAddr address) => ram.Read32(address);

    public void Write64(PhysAddr address, ulong value) => ram.Write64(address, value);

    public void Write32(PhysAddr address, uint value) => ram.Write32(address, value);

    public ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand) => ram.CompareExchange64(address, value, comparand);

    public uint CompareExchange32(PhysAddr address, uint value, uint comparand) => ram.CompareExchange32(address, value, comparand);

    public void Read(PhysAddr address, Span<byte> destination) => ram.Read(address, destination);

    public void Write(PhysAddr address, ReadOnlySpan<byte> source) => ram.Write(address, source);

    public bool TryGetWords(PhysAddr first, int count, out Span<ulong> words)
    {
        if (givesWords) return ram.TryGetWords(first, count, out words);
        words = default;
        return false;
    }

    public void Clean(PhysRange range)
    {
        byte[] bytes = new byte[range.ByteCount];
        ram.Read(range.First, bytes);
        seen.Write(range.First, bytes);
    }

    public void Fence() => ram.Fence();
}
