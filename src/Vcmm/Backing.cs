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

/// <summary>The backings of one reservation, in the order of their offsets. Under the reservation's gate.</summary>
internal sealed class BackingList
{
    private readonly List<Backing> _backings = [];
    private readonly Stack<Backing> _idle = new();

    public int Count => _backings.Count;

    public Backing this[int index] => _backings[index];

    public List<Backing>.Enumerator GetEnumerator() => _backings.GetEnumerator();

    /// <summary>The index of the first backing that ends after <paramref name="offset"/>; <see cref="Count"/> if none does.</summary>
    public int FirstEndingAfter(ulong offset)
    {
        int low = 0;
        int high = _backings.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_backings[middle].End <= offset) low = middle + 1;
            else high = middle;
        }

        return low;
    }

    /// <summary>Whether a byte of the part is backed.</summary>
    public bool Overlaps(ulong offset, ulong byteCount)
    {
        int index = FirstEndingAfter(offset);
        return index != _backings.Count && _backings[index].Offset < offset + byteCount;
    }

    /// <summary>Whether every byte of the part is backed.</summary>
    public bool Covers(ulong offset, ulong byteCount)
    {
        ulong end = offset + byteCount;
        for (int index = FirstEndingAfter(offset); index != _backings.Count && _backings[index].Offset <= offset; index++)
        {
            offset = _backings[index].End;
            if (offset >= end) return true;
        }

        return false;
    }

    public Backing Take() => _idle.Count != 0 ? _idle.Pop() : new();

    public void Insert(Backing backing) => _backings.Insert(FirstEndingAfter(backing.Offset), backing);

    public void Discard(Backing backing)
    {
        backing.Memory = null!;
        _idle.Push(backing);
    }

    public void RemoveAt(int index)
    {
        Backing backing = _backings[index];
        _backings.RemoveAt(index);
        Discard(backing);
    }
}
