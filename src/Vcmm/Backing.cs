using Platform;

namespace Vcmm;

/// <summary>
/// A part of a reservation and the part of a physical allocation behind it. It stands in two lists: the reservation's, under its
/// gate, and the allocation's, under the allocation's.
/// </summary>
internal sealed class Backing
{
    public ReservationState State = null!;

    /// <summary>The reservation's, when the backing was made: with it a look-up from the memory makes a handle.</summary>
    public uint Generation;

    public PhysicalAllocation Memory = null!;

    /// <summary>From the start of the reservation, in bytes.</summary>
    public ulong Offset;

    /// <summary>From the start of the memory, in bytes.</summary>
    public ulong MemoryOffset;

    public ulong ByteCount;

    public Backing? Previous;

    public Backing? Next;

    public ulong End => Offset + ByteCount;

    public IovaRange Range => IovaRange.FromLength(State.Range.First + Offset, ByteCount);

    /// <summary>The physical memory, in the order of the addresses that it is behind.</summary>
    /// <param name="scratch">Where it is put together if it is not the whole allocation.</param>
    public ReadOnlySpan<PhysRange> Segments(List<PhysRange> scratch) => Memory.Slice(MemoryOffset, ByteCount, scratch);
}

/// <summary>
/// The backings of one reservation, in the order of their offsets: what is in it is mapped, or may be. Under the reservation's gate; changed under
/// that of the backing's memory too, so that both lists of a backing change at one instant. <see cref="TryFind"/> takes no lock.
/// </summary>
internal sealed class BackingList
{
    private readonly Stack<Backing> _idle = new();
    private Backing[] _backings = new Backing[1];
    private int _count;
    private SequenceCount _sequence;

    public int Count => _count;

    public Backing this[int index] => _backings[index];

    public ReadOnlySpan<Backing>.Enumerator GetEnumerator() => new ReadOnlySpan<Backing>(_backings, 0, _count).GetEnumerator();

    /// <summary>The index of the first backing that ends after <paramref name="offset"/>; <see cref="Count"/> if none does.</summary>
    public int FirstEndingAfter(ulong offset)
    {
        int low = 0;
        int high = _count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_backings[middle].End <= offset) low = middle + 1;
            else high = middle;
        }

        return low;
    }

    /// <summary>What is behind a byte of the reservation at an instant of the call. Any thread, without a lock.</summary>
    /// <param name="offset">From the start of the reservation, in bytes; any number.</param>
    /// <param name="target">What is.</param>
    /// <param name="sequence">The same as long as nothing changes.</param>
    /// <returns>False if nothing is.</returns>
    public bool TryFind(ulong offset, out PhysAddr target, out uint sequence)
    {
        PhysicalAllocation? memory;
        ulong memoryOffset;
        do
        {
            sequence = _sequence.BeginRead();
            FindNow(offset, out memory, out memoryOffset);
        }
        while (!_sequence.IsUnchanged(sequence));
        target = memory?.AddressAt(memoryOffset) ?? default;
        return memory is not null;
    }

    /// <summary>Whether a byte of the part is backed.</summary>
    public bool Overlaps(ulong offset, ulong byteCount)
    {
        int index = FirstEndingAfter(offset);
        return index != _count && _backings[index].Offset < offset + byteCount;
    }

    /// <summary>Whether every byte of the part is backed.</summary>
    public bool Covers(ulong offset, ulong byteCount)
    {
        ulong end = offset + byteCount;
        for (int index = FirstEndingAfter(offset); index != _count && _backings[index].Offset <= offset; index++)
        {
            offset = _backings[index].End;
            if (offset >= end) return true;
        }

        return false;
    }

    /// <summary>A backing to fill in and to insert, for which there is room.</summary>
    public Backing Take()
    {
        // Into another array, which readers get to see as a whole.
        if (_count == _backings.Length) Volatile.Write(ref _backings, [.. _backings, .. new Backing[_count]]);
        return _idle.Count != 0 ? _idle.Pop() : new();
    }

    /// <summary>Takes back a <see cref="Take"/> that came to nothing.</summary>
    public void Discard(Backing backing)
    {
        backing.Memory = null!;
        _idle.Push(backing);
    }

    /// <summary>Before the list, or what is in it, changes. Under the gate of the memory.</summary>
    public void BeginChange() => _sequence.BeginChange();

    /// <summary>After it.</summary>
    public void EndChange() => _sequence.EndChange();

    /// <summary>Within a change.</summary>
    public void Insert(Backing backing)
    {
        int index = FirstEndingAfter(backing.Offset);
        Array.Copy(_backings, index, _backings, index + 1, _count - index);
        _backings[index] = backing;
        _count++;
    }

    /// <summary>Within a change. Who removes it discards it, after the change.</summary>
    public void Remove(Backing backing)
    {
        int index = FirstEndingAfter(backing.Offset);
        Array.Copy(_backings, index + 1, _backings, index, _count - index - 1);
        _backings[--_count] = null!;
    }

    /// <summary>Reads what may be changing; what it finds counts if nothing was. Null: the byte is not backed.</summary>
    private void FindNow(ulong offset, out PhysicalAllocation? memory, out ulong memoryOffset)
    {
        memory = null;
        memoryOffset = 0;
        Backing?[] backings = Volatile.Read(ref _backings);
        int low = 0;
        int high = Math.Min(_count, backings.Length);
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (backings[middle] is not { } backing) return;
            ulong skipped = unchecked(offset - backing.Offset);
            if (offset < backing.Offset)
            {
                high = middle;
            }
            else if (skipped >= backing.ByteCount)
            {
                low = middle + 1;
            }
            else
            {
                memory = backing.Memory;
                memoryOffset = unchecked(backing.MemoryOffset + skipped);
                return;
            }
        }
    }
}
