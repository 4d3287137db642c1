using Vcmm.Spec;

namespace Harness.Generating;

// Memory, and what it is behind.
internal sealed partial class OperationWriter
{
    // In the machines' memory, and above every bank that is generated.
    private const ulong NobodysMemory = 0x380_0000;

    private AllocateMemory Allocate()
    {
        // As long as a reservation that waits for memory, mostly.
        Reserved? waiting = _reservations.FindLast(reservation => reservation.Memory is null);
        ulong byteCount = waiting is not null && _pcg.Next(5) != 0 ? waiting.ByteCount : ByteCount();
        ulong sizes = ChunkSizes(byteCount);
        ObjectId id = Make(ObjectKind.Memory);
        _memories.Add((id, byteCount));
        return new(id, byteCount, sizes, _pcg.Next(3) == 0) { From = From() };
    }

    private AllocateContiguous AllocateContiguous()
    {
        ulong byteCount = ByteCount();
        ObjectId id = Make(ObjectKind.Memory);
        _memories.Add((id, byteCount));
        return new(id, byteCount, Rarely() ? 3 * Page : One<ulong>([Page, Page, Chunk, Large])) { From = From() };
    }

    private Wrap Wrap()
    {
        ulong first = NobodysMemory + Page * _pcg.Next(6) + (Rarely() ? 0x800UL : 0);
        // Further than tables lead.
        if (Rarely()) first = 1UL << 52;
        ulong byteCount = Page * (1 + _pcg.Next(4));
        ObjectId id = Make(ObjectKind.Memory);
        if (first % Page == 0) _memories.Add((id, byteCount));
        return new(id, new(first, first + byteCount - 1));
    }

    private FreeMemory? FreeMemory()
    {
        if (_memories.Count == 0) return null;
        int index = Index(_memories.Count);
        ObjectId memory = _memories[index].Id;
        if (!_reservations.Exists(reservation => reservation.Memory == memory) && _pcg.Next(4) != 0) _memories.RemoveAt(index);
        return new(memory);
    }

    private FindMappings? FindMappings()
    {
        if (_memories.Count == 0) return null;
        (ObjectId memory, ulong byteCount) = Shared() is { Memory: { } shared } ? _memories.Find(known => known.Id == shared) : Recent(_memories);
        if (byteCount == 0) return null;
        return new(memory, Rarely() ? byteCount : Page * _pcg.Next((uint)Math.Max(1, Math.Min(4, byteCount / Page))) + 8 * _pcg.Next(3));
    }

    private Back? Back()
    {
        if (_reservations.Count == 0 || _memories.Count == 0) return null;
        int index = _reservations.FindLastIndex(candidate => candidate.Memory is null);
        if (index < 0 || _pcg.Next(6) == 0) index = Index(_reservations.Count);
        Reserved reservation = _reservations[index];
        List<(ObjectId Id, ulong ByteCount)> fitting = _memories.FindAll(memory => memory.ByteCount == reservation.ByteCount);
        if (fitting.Count == 0 && _pcg.Next(4) != 0) return null;
        ObjectId memory = fitting.Count != 0 && !Rarely() ? One(fitting).Id : One(_memories).Id;
        _reservations[index] = reservation with { Memory = memory, MemoryOffset = 0, Hole = null };
        return new(reservation.Id, memory);
    }

    private BackPart? BackPart()
    {
        if (_reservations.Count == 0 || _memories.Count == 0) return null;
        int index = _reservations.FindLastIndex(candidate => candidate.Hole is not null);
        if (index >= 0 && _pcg.Next(4) != 0)
        {
            // What was unbacked is backed again, as it was or by what another memory, or another part of it, holds.
            Reserved holed = _reservations[index];
            (ulong offset, ulong byteCount) = holed.Hole!.Value;
            _reservations[index] = holed with { Hole = null };
            if (holed.Memory is { } former && _pcg.Next(2) == 0) return new(holed.Id, offset, former, unchecked(holed.MemoryOffset + offset), byteCount);
            (ObjectId other, ulong length) = One(_memories);
            return new(holed.Id, offset, other, Part(length).Offset, byteCount);
        }

        index = _reservations.FindLastIndex(candidate => candidate.Memory is null);
        if (index < 0 || _pcg.Next(4) == 0) index = Index(_reservations.Count);
        Reserved reservation = _reservations[index];
        (ObjectId memory, ulong memoryBytes) = One(_memories);
        (ulong first, ulong count) = Part(Math.Min(reservation.ByteCount, memoryBytes));
        ulong memoryOffset = memoryBytes > count && _pcg.Next(2) == 0 ? Page * _pcg.Next((uint)Math.Min(8, (memoryBytes - count) / Page + 1)) : 0;
        if (reservation.Memory is null) _reservations[index] = reservation with { Memory = memory, MemoryOffset = unchecked(memoryOffset - first), Hole = null };
        return new(reservation.Id, first, memory, memoryOffset, count);
    }

    private Unback? Unback()
    {
        if (_reservations.Count == 0) return null;
        int index = _reservations.FindLastIndex(reservation => reservation.Memory is not null);
        if (index < 0 || _pcg.Next(3) == 0) index = Index(_reservations.Count);
        // A copy in a clone, whose original may be backed by the same.
        if (_pcg.Next(12) == 0 && _reservations.FindIndex(reservation => reservation.Memory is not null && reservation.Id.In is not null) is >= 0 and var copy) index = copy;
        NoteUnback(_reservations[index]);
        _reservations[index] = _reservations[index] with { Memory = null, Hole = null };
        return new(_reservations[index].Id);
    }

    private UnbackPart? UnbackPart()
    {
        if (_reservations.Count == 0) return null;
        // Large ones first: there are large leaves to cut.
        int index = _reservations.FindLastIndex(reservation => reservation.Memory is not null && reservation.ByteCount >= Large);
        if (index < 0 || _pcg.Next(4) == 0) index = _reservations.FindLastIndex(reservation => reservation.Memory is not null);
        if (index < 0 || _pcg.Next(5) == 0) index = Index(_reservations.Count);
        Reserved reservation = _reservations[index];
        (ulong offset, ulong byteCount) = Part(reservation.ByteCount);
        NoteUnback(reservation);
        if (reservation.Memory is not null) _reservations[index] = reservation with { Hole = (offset, byteCount) };
        return new(reservation.Id, offset, byteCount);
    }

    private Map? Map()
    {
        if (_vcms.Count == 0 || _memories.Count == 0) return null;
        // One-to-one regions get wrapped memory or what is of one piece; mapping is how they are used.
        (ObjectId vcm, AddressRange range, _) = _vcms.FindLast(candidate => candidate.OneToOne) is { Id.Kind: ObjectKind.Vcm } own && _pcg.Next(2) == 0 ? own : Recent(_vcms);
        (ObjectId memory, ulong byteCount) = Recent(_memories);
        ulong alignment = Rarely() ? 3 * Page : One<ulong>([Page, Page, Chunk, Large]);
        ObjectId id = Make(ObjectKind.Reservation);
        _reservations.Add(new(id, vcm, range.First, byteCount) { Memory = memory });
        return new(id, vcm, memory, Attributes(), alignment);
    }

    private Unmap? Unmap()
    {
        if (_reservations.Count == 0) return null;
        int index = Index(_reservations.Count);
        ObjectId reservation = _reservations[index].Id;
        NoteEnd(_reservations[index]);
        if (_pcg.Next(4) != 0) _reservations.RemoveAt(index);
        return new(reservation);
    }

    private Bind? Bind()
    {
        if (_vcms.Count == 0) return null;
        (ObjectId vcm, AddressRange range, _) = Recent(_vcms);
        ulong byteCount = ByteCount();
        ObjectId reservation = Make(ObjectKind.Reservation), memory = Make(ObjectKind.Memory);
        _reservations.Add(new(reservation, vcm, range.First, byteCount) { Memory = memory, IsBinding = true });
        _memories.Add((memory, byteCount));
        return new(reservation, memory, vcm, byteCount, Attributes(), ChunkSizes(byteCount), _pcg.Next(3) == 0) { From = From() };
    }

    private Unbind? Unbind()
    {
        int index = _reservations.FindLastIndex(reservation => reservation.IsBinding && reservation.Memory is not null);
        if (index < 0 || _pcg.Next(4) == 0) index = _reservations.FindLastIndex(reservation => reservation.Memory is not null);
        if (index < 0) return null;
        Reserved bound = _reservations[index];
        NoteEnd(bound);
        if (_pcg.Next(2) == 0) _reservations.RemoveAt(index);
        return new(Rarely() ? One(_vcms).Id : bound.Vcm, bound.Id, bound.Memory ?? One(_memories).Id);
    }

    private Copy? Copy()
    {
        List<Reserved> backed = _reservations.FindAll(reservation => reservation.Memory is not null);
        if (backed.Count == 0) return null;
        // The same reservation, or another over the same memory, is where overlap comes from.
        Reserved source = Recent(backed), destination = _pcg.Next(3) == 0 ? source : Recent(backed);
        ulong most = Math.Min(source.ByteCount, destination.ByteCount);
        if (most < Page) return null;
        // Copies of more than the library's buffer now and then; whole words, not whole pages.
        ulong byteCount = most > Chunk && _pcg.Next(4) == 0 ? Chunk + Page : One<ulong>([8, 0x800, Page, Math.Min(most, 2 * Page) - 8, 0]);
        ulong sourceOffset = 8 * _pcg.Next(3) + Page * _pcg.Next(2), destinationOffset = One<ulong>([0, 8, 0x808, Page]);
        if (byteCount == 0 && !Rarely()) byteCount = 0x1008;
        return new(source.Id, sourceOffset, destination.Id, destinationOffset, byteCount);
    }

    /// <summary>A reservation whose memory is behind another, too; null: there is none.</summary>
    private Reserved? Shared() => _pcg.Next(4) == 0
        ? null
        : _reservations.Find(one => one.Memory is not null && _reservations.Exists(other => other != one && other.Memory == one.Memory));

    private ulong ChunkSizes(ulong byteCount)
    {
        ulong sizes = One<ulong>(_shape.LargeChunks ? [Page, Page | Chunk, Page | Chunk | Large, Page | Large] : [Page, Page | Chunk]);
        if (byteCount >= Large && _shape.LargeChunks && _pcg.Next(3) != 0) sizes = Page | Chunk | Large;
        return Rarely() ? One<ulong>([0, Chunk, Large]) : sizes;
    }

    /// <summary>A part of something of this length: at its start, at its end, or inside; sometimes not one.</summary>
    private (ulong Offset, ulong ByteCount) Part(ulong length)
    {
        uint pages = (uint)Math.Max(1, length / Page);
        if (Rarely()) return One<(ulong, ulong)>([(0x800, Page), (0, length + Page), (length, Page), (0, 0)]);
        uint count = 1 + _pcg.Next(Math.Min(pages, 4));
        uint last = pages - count;
        uint first = _pcg.Next(4) switch
        {
            0 => 0,
            1 => last,
            _ => Math.Min(last, 1 + _pcg.Next(Math.Max(1, Math.Min(last, 6)))),
        };
        return (Page * first, Page * count);
    }
}
