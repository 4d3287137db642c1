using System.Buffers.Binary;
using Explorer.Scheduling;
using Platform;

namespace Explorer.Machines;

/// <summary>Told what one side of the machine does to memory, at the instant at which it takes effect.</summary>
public interface IMemoryObserver
{
    /// <summary>A word was read.</summary>
    void WordRead(PhysAddr address, ulong value);

    /// <summary>A word was changed.</summary>
    void WordWritten(PhysAddr address, ulong value);

    /// <summary>Bytes are being moved.</summary>
    void BytesMoved(PhysAddr address, int byteCount, bool toMemory);
}

/// <summary>
/// Memory in a schedule. Rewriting makes each word access of <see cref="Ram"/> a scheduling point by itself; what is added
/// here is what it cannot see or cannot know: who accesses, at which instant, and that a write that changes nothing needs no
/// scheduling point (a page that is zeroed anew would cost five hundred).
/// </summary>
public readonly struct ControlledMemory : IPhysicalMemory
{
    private readonly MemoryPool _pool;
    private readonly Ram _ram;
    private readonly IMemoryObserver _observer;

    /// <summary>The memory of <paramref name="pool"/> as one side uses it.</summary>
    public ControlledMemory(MemoryPool pool, IMemoryObserver observer)
    {
        _pool = pool;
        _ram = pool.Port;
        _observer = observer;
    }

    /// <inheritdoc/>
    public bool Contains(PhysRange range) => _ram.Contains(range);

    /// <inheritdoc/>
    public bool TryRead64(PhysAddr address, out ulong value)
    {
        if (!_ram.TryRead64(address, out value)) return false;
        _observer.WordRead(address, value);
        return true;
    }

    /// <inheritdoc/>
    public ulong Read64(PhysAddr address)
    {
        ulong value = _ram.Read64(address);
        _observer.WordRead(address, value);
        return value;
    }

    /// <inheritdoc/>
    public uint Read32(PhysAddr address)
    {
        uint value = _ram.Read32(address);
        _observer.WordRead(address, value);
        return value;
    }

    /// <inheritdoc/>
    public void Write64(PhysAddr address, ulong value)
    {
        Span<byte> present = stackalloc byte[sizeof(ulong)];
        _ram.Read(address, present);
        if (BinaryPrimitives.ReadUInt64LittleEndian(present) == value) return;
        _pool.Touch(address);
        _ram.Write64(address, value);
        _observer.WordWritten(address, value);
    }

    /// <inheritdoc/>
    public void Write32(PhysAddr address, uint value)
    {
        Span<byte> present = stackalloc byte[sizeof(uint)];
        _ram.Read(address, present);
        if (BinaryPrimitives.ReadUInt32LittleEndian(present) == value) return;
        _pool.Touch(address);
        _ram.Write32(address, value);
        _observer.WordWritten(address, value);
    }

    /// <inheritdoc/>
    public ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand)
    {
        _pool.Touch(address);
        ulong found = _ram.CompareExchange64(address, value, comparand);
        if (found == comparand) _observer.WordWritten(address, value);
        return found;
    }

    /// <inheritdoc/>
    public uint CompareExchange32(PhysAddr address, uint value, uint comparand)
    {
        _pool.Touch(address);
        uint found = _ram.CompareExchange32(address, value, comparand);
        if (found == comparand) _observer.WordWritten(address, value);
        return found;
    }

    /// <inheritdoc/>
    public void Read(PhysAddr address, Span<byte> destination)
    {
        _observer.BytesMoved(address, destination.Length, toMemory: false);
        _ram.Read(address, destination);
    }

    /// <inheritdoc/>
    public void Write(PhysAddr address, ReadOnlySpan<byte> source)
    {
        _observer.BytesMoved(address, source.Length, toMemory: true);
        _pool.Touch(address);
        _ram.Write(address, source);
    }

    /// <inheritdoc/>
    public void Clean(PhysRange range)
    {
    }

    /// <inheritdoc/>
    public void Fence()
    {
    }
}
