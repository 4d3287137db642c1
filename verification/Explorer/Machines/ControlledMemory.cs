using System.Buffers.Binary;
using Explorer.Races;
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

    /// <summary>A word is going to be changed: it waits in the store buffer of who wrote it.</summary>
    void WordBuffered(PhysAddr address, ulong value)
    {
    }

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
    private readonly WeakMemory? _weak;
    private readonly MemorySide _side;
    private readonly AccessRaces? _races;

    /// <summary>The memory of <paramref name="pool"/> as one side uses it.</summary>
    /// <param name="pool">The memory.</param>
    /// <param name="observer">Told what is done.</param>
    /// <param name="weak">What lags between the sides, or null: each write is seen by all at once.</param>
    /// <param name="side">Which side.</param>
    /// <param name="races">Told what is going to be done and what was done, or null.</param>
    public ControlledMemory(
        MemoryPool pool, IMemoryObserver observer, WeakMemory? weak = null, MemorySide side = MemorySide.Processor, AccessRaces? races = null)
    {
        _pool = pool;
        _ram = pool.Port;
        _observer = observer;
        _weak = weak;
        _side = side;
        _races = races;
    }

    /// <summary>What is wrong on purpose: a word is exchanged in two steps.</summary>
    public bool StoresForExchanges { get; init; }

    /// <inheritdoc/>
    public bool Contains(PhysRange range) => _ram.Contains(range);

    /// <inheritdoc/>
    public bool TryRead64(PhysAddr address, out ulong value)
    {
        _races?.Next(address, changes: false);
        bool isThere = _ram.TryRead64(address, out value);
        if (!isThere) return false;
        _races?.Load(_side, address);
        if (_weak is not null) value = _weak.Load(_side, address);
        _observer.WordRead(address, value);
        return true;
    }

    /// <inheritdoc/>
    public ulong Read64(PhysAddr address)
    {
        ulong value = Reach64(address, changes: false);
        _races?.Load(_side, address);
        if (_weak is not null) value = _weak.Load(_side, address);
        _observer.WordRead(address, value);
        return value;
    }

    /// <inheritdoc/>
    public uint Read32(PhysAddr address)
    {
        uint value = Reach32(address, changes: false);
        _races?.Load(_side, address);
        if (_weak is not null) value = unchecked((uint)(_weak.Load(_side, WordOf(address)) >> ShiftOf(address)));
        _observer.WordRead(address, value);
        return value;
    }

    /// <inheritdoc/>
    public void Write64(PhysAddr address, ulong value)
    {
        if (_weak is not null)
        {
            if (!_weak.WouldChange(address, ulong.MaxValue, value)) return;
            // The same step and the same refusals as those of the write itself.
            Reach64(address, changes: true);
            _races?.Store(_side, address);
            _weak.Store(_side, address, ulong.MaxValue, value, _observer);
            return;
        }

        Span<byte> present = stackalloc byte[sizeof(ulong)];
        _ram.Read(address, present);
        if (BinaryPrimitives.ReadUInt64LittleEndian(present) == value) return;
        _pool.Touch(address);
        _races?.Next(address, changes: true);
        _ram.Write64(address, value);
        _races?.Store(_side, address);
        _observer.WordWritten(address, value);
    }

    /// <inheritdoc/>
    public void Write32(PhysAddr address, uint value)
    {
        if (_weak is not null)
        {
            ulong mask = MaskOf(address), bits = (ulong)value << ShiftOf(address);
            if (!_weak.WouldChange(WordOf(address), mask, bits)) return;
            Reach32(address, changes: true);
            _races?.Store(_side, address);
            _weak.Store(_side, WordOf(address), mask, bits, _observer);
            return;
        }

        Span<byte> present = stackalloc byte[sizeof(uint)];
        _ram.Read(address, present);
        if (BinaryPrimitives.ReadUInt32LittleEndian(present) == value) return;
        _pool.Touch(address);
        _races?.Next(WordOf(address), changes: true);
        _ram.Write32(address, value);
        _races?.Store(_side, address);
        _observer.WordWritten(address, value);
    }

    /// <inheritdoc/>
    public ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand)
    {
        if (StoresForExchanges) return LoadThenStore(address, value, comparand);
        if (_weak is not null)
        {
            Reach64(address, changes: true);
            ulong there = _weak.CompareExchange(_side, address, ulong.MaxValue, value, comparand, _observer);
            _races?.Exchange(_side, address, there == comparand);
            return there;
        }

        _pool.Touch(address);
        _races?.Next(address, changes: true);
        ulong found = _ram.CompareExchange64(address, value, comparand);
        _races?.Exchange(_side, address, found == comparand);
        if (found == comparand) _observer.WordWritten(address, value);
        return found;
    }

    /// <inheritdoc/>
    public uint CompareExchange32(PhysAddr address, uint value, uint comparand)
    {
        if (_weak is not null)
        {
            Reach32(address, changes: true);
            int shift = ShiftOf(address);
            ulong word = _weak.CompareExchange(
                _side, WordOf(address), MaskOf(address), (ulong)value << shift, (ulong)comparand << shift, _observer);
            uint there = unchecked((uint)(word >> shift));
            _races?.Exchange(_side, address, there == comparand);
            return there;
        }

        _pool.Touch(address);
        _races?.Next(WordOf(address), changes: true);
        uint found = _ram.CompareExchange32(address, value, comparand);
        _races?.Exchange(_side, address, found == comparand);
        if (found == comparand) _observer.WordWritten(address, value);
        return found;
    }

    /// <inheritdoc/>
    public void Read(PhysAddr address, Span<byte> destination)
    {
        _observer.BytesMoved(address, destination.Length, toMemory: false);
        _races?.Bytes(_side, address, toMemory: false);
        if (_weak is not null)
        {
            _weak.Read(_side, address, destination);
            return;
        }

        _ram.Read(address, destination);
    }

    /// <inheritdoc/>
    public void Write(PhysAddr address, ReadOnlySpan<byte> source)
    {
        _observer.BytesMoved(address, source.Length, toMemory: true);
        _races?.Bytes(_side, address, toMemory: true);
        if (_weak is not null)
        {
            _weak.Write(_side, address, source);
            return;
        }

        _pool.Touch(address);
        _ram.Write(address, source);
    }

    /// <inheritdoc/>
    public void Clean(PhysRange range) => _weak?.Clean(range);

    /// <inheritdoc/>
    public void Fence()
    {
        if (_weak is null || !_weak.HasToOrder()) return;
        // Others may look on while what was written is still under way.
        Controlled.Step();
        _weak.Fence();
    }

    private ulong LoadThenStore(PhysAddr address, ulong value, ulong comparand)
    {
        ulong found = Read64(address);
        if (found == comparand) Write64(address, value);
        return found;
    }

    private ulong Reach64(PhysAddr address, bool changes)
    {
        _races?.Next(address, changes);
        return Bystander.IsCaller ? ReadAtRest(address) : _ram.Read64(address);
    }

    /// <summary>As bytes, of which the scheduler is not told: a table that is freed is looked through word by word, and nothing else runs.</summary>
    private ulong ReadAtRest(PhysAddr address)
    {
        if (!address.IsAligned(sizeof(ulong))) return _ram.Read64(address);
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        _ram.Read(address, bytes);
        return BinaryPrimitives.ReadUInt64LittleEndian(bytes);
    }

    private uint Reach32(PhysAddr address, bool changes)
    {
        _races?.Next(WordOf(address), changes);
        return _ram.Read32(address);
    }

    private static PhysAddr WordOf(PhysAddr address) => new(address.Value & ~7UL);

    private static int ShiftOf(PhysAddr address) => (int)(address.Value & 4) * 8;

    private static ulong MaskOf(PhysAddr address) => (ulong)uint.MaxValue << ShiftOf(address);
}
