using System.Buffers.Binary;
using Explorer.Machines;
using Microsoft.Coyote.Rewriting;
using Platform;

namespace Explorer.Scripts;

/// <summary>Memory for those who look on: none of what they do is a step of the schedule. What lags behind for others they see at once.</summary>
[SkipRewriting("Looking on must not add steps to the schedule.")]
internal sealed class UnseenMemory(MemoryPool pool, WeakMemory? weak = null) : IPhysicalMemory
{
    public bool Contains(PhysRange range) => pool.Port.Contains(range);

    public bool TryRead64(PhysAddr address, out ulong value)
    {
        bool isThere = Contains(PhysRange.FromLength(address, sizeof(ulong)));
        value = isThere ? Read64(address) : 0;
        return isThere;
    }

    public ulong Read64(PhysAddr address)
    {
        // As bytes: a word would be a step.
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        Read(address, bytes);
        return BinaryPrimitives.ReadUInt64LittleEndian(bytes);
    }

    public uint Read32(PhysAddr address)
    {
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        Read(address, bytes);
        return BinaryPrimitives.ReadUInt32LittleEndian(bytes);
    }

    public void Write64(PhysAddr address, ulong value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        Write(address, bytes);
    }

    public void Write32(PhysAddr address, uint value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        Write(address, bytes);
    }

    public ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand)
    {
        ulong found = Read64(address);
        if (found == comparand) Write64(address, value);
        return found;
    }

    public uint CompareExchange32(PhysAddr address, uint value, uint comparand)
    {
        uint found = Read32(address);
        if (found == comparand) Write32(address, value);
        return found;
    }

    public void Read(PhysAddr address, Span<byte> destination)
    {
        if (weak is null) pool.Port.Read(address, destination);
        else weak.Peek(address, destination);
    }

    public void Write(PhysAddr address, ReadOnlySpan<byte> source)
    {
        for (ulong offset = 0; offset < (ulong)source.Length; offset += 4096) pool.Touch(address + offset);
        pool.Touch(address + (ulong)(source.Length - 1));
        if (weak is null) pool.Port.Write(address, source);
        else weak.Overwrite(address, source);
    }

    public void Clean(PhysRange range)
    {
    }

    public void Fence()
    {
    }
}
