using Platform;

namespace Vcmm.Cpu;

/// <summary>How many words were written.</summary>
internal sealed class WriteCount
{
    private long _value;

    public long Value => Volatile.Read(ref _value);

    public void Add() => Interlocked.Increment(ref _value);
}

/// <summary>Memory that counts each 64-bit word that is written: the entries of tables. Zeroes of a new table page are bytes.</summary>
internal readonly struct CountingMemory<TMemory>(TMemory inner, WriteCount writes) : IPhysicalMemory
    where TMemory : struct, IPhysicalMemory
{
    public bool Contains(PhysRange range) => inner.Contains(range);

    public bool TryRead64(PhysAddr address, out ulong value) => inner.TryRead64(address, out value);

    public ulong Read64(PhysAddr address) => inner.Read64(address);

    public uint Read32(PhysAddr address) => inner.Read32(address);

    public void Write64(PhysAddr address, ulong value)
    {
        writes.Add();
        inner.Write64(address, value);
    }

    public void Write32(PhysAddr address, uint value) => inner.Write32(address, value);

    public ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand)
    {
        ulong found = inner.CompareExchange64(address, value, comparand);
        if (found == comparand) writes.Add();
        return found;
    }

    public uint CompareExchange32(PhysAddr address, uint value, uint comparand) => inner.CompareExchange32(address, value, comparand);

    public void Read(PhysAddr address, Span<byte> destination) => inner.Read(address, destination);

    public void Write(PhysAddr address, ReadOnlySpan<byte> source) => inner.Write(address, source);

    /// <summary>None: what is written through a span is not counted.</summary>
    public bool TryGetWords(PhysAddr first, int count, out Span<ulong> words)
    {
        words = default;
        return false;
    }

    public void Clean(PhysRange range) => inner.Clean(range);

    public void Fence() => inner.Fence();
}
