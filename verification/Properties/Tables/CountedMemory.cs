using Platform;

namespace Properties.Tables;

/// <summary>What a counted memory was asked for, call by call.</summary>
internal sealed class MemoryCalls
{
    /// <summary>Reads of 64 bits.</summary>
    public int Reads { get; set; }

    /// <summary>Writes of 64 bits, and exchanges.</summary>
    public int Writes { get; set; }

    /// <summary>What was cleaned.</summary>
    public List<PhysRange> Cleaned { get; } = [];

    public void Clear()
    {
        (Reads, Writes) = (0, 0);
        Cleaned.Clear();
    }
}

/// <summary>Memory whose calls are counted, which gives words out as host memory does, or not.</summary>
internal readonly struct CountedMemory(Ram ram, MemoryCalls calls, bool givesWords) : IPhysicalMemory
{
    public bool Contains(PhysRange range) => ram.Contains(range);

    public bool TryRead64(PhysAddr address, out ulong value)
    {
        calls.Reads++;
        return ram.TryRead64(address, out value);
    }

    public ulong Read64(PhysAddr address)
    {
        calls.Reads++;
        return ram.Read64(address);
    }

    public uint Read32(PhysAddr address) => ram.Read32(address);

    public void Write64(PhysAddr address, ulong value)
    {
        calls.Writes++;
        ram.Write64(address, value);
    }

    public void Write32(PhysAddr address, uint value) => ram.Write32(address, value);

    public ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand)
    {
        calls.Writes++;
        return ram.CompareExchange64(address, value, comparand);
    }

    public uint CompareExchange32(PhysAddr address, uint value, uint comparand) => ram.CompareExchange32(address, value, comparand);

    public void Read(PhysAddr address, Span<byte> destination) => ram.Read(address, destination);

    public void Write(PhysAddr address, ReadOnlySpan<byte> source) => ram.Write(address, source);

    public bool TryGetWords(PhysAddr first, int count, out Span<ulong> words)
    {
        if (givesWords) return ram.TryGetWords(first, count, out words);
        words = default;
        return false;
    }

    public void Clean(PhysRange range) => calls.Cleaned.Add(range);

    public void Fence() => ram.Fence();
}
