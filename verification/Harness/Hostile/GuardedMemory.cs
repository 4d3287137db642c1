using Platform;

namespace Harness.Hostile;

/// <summary>The machine did something that no hardware may do.</summary>
internal sealed class BrokenMachineException(string message) : Exception(message);

/// <summary>How often memory may still be touched before whoever touches it is taken to run for ever.</summary>
internal sealed class TouchLimit
{
    private long _left;

    /// <summary>What comes next may touch memory so often.</summary>
    public void Allow(long count) => _left = count;

    public void Touch()
    {
        if (--_left < 0) throw new BrokenMachineException("it reads and writes memory without end");
    }
}

/// <summary>Memory that counts accesses. One outside of it throws: the unit and its devices ask first.</summary>
internal readonly struct GuardedMemory(Ram memory, TouchLimit limit) : IPhysicalMemory
{
    public bool Contains(PhysRange range) => memory.Contains(range);

    public bool TryRead64(PhysAddr address, out ulong value)
    {
        limit.Touch();
        return memory.TryRead64(address, out value);
    }

    public ulong Read64(PhysAddr address)
    {
        limit.Touch();
        return memory.Read64(address);
    }

    public uint Read32(PhysAddr address)
    {
        limit.Touch();
        return memory.Read32(address);
    }

    public void Write64(PhysAddr address, ulong value)
    {
        limit.Touch();
        memory.Write64(address, value);
    }

    public void Write32(PhysAddr address, uint value)
    {
        limit.Touch();
        memory.Write32(address, value);
    }

    public ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand)
    {
        limit.Touch();
        return memory.CompareExchange64(address, value, comparand);
    }

    public uint CompareExchange32(PhysAddr address, uint value, uint comparand)
    {
        limit.Touch();
        return memory.CompareExchange32(address, value, comparand);
    }

    public void Read(PhysAddr address, Span<byte> destination)
    {
        limit.Touch();
        memory.Read(address, destination);
    }

    public void Write(PhysAddr address, ReadOnlySpan<byte> source)
    {
        limit.Touch();
        memory.Write(address, source);
    }

    public void Clean(PhysRange range)
    {
    }

    public void Fence()
    {
    }
}
