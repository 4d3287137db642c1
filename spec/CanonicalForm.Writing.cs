namespace Vcmm.Spec;

// From a world to its form.
public sealed partial class CanonicalForm
{
    private int Write(World world, ref byte[] buffer)
    {
        _memories.Clear();
        _orderedReservations.Clear();
        _orderedFrames.Clear();
        var writer = new FormWriter(buffer);
        writer.Put(_regionCount);
        for (int rank = 0; rank < _regionCount; rank++) WriteRegion(world, ref writer, _order[rank]);
        WriteQuarantine(world, ref writer);
        OrderGuests(world);
        WriteMemories(world, ref writer);
        // What of those frames may still be seen comes after the memories, which name the frames.
        foreach (Quarantined waiting in world.Quarantine) WriteStale(waiting, ref writer);
        WriteGuests(world, ref writer);
        WriteUsers(world, ref writer);
        buffer = writer.Buffer;
        return writer.Length;
    }

    private void WriteRegion(World world, ref FormWriter writer, int index)
    {
        VcmState vcm = world.Vcms[_regions[index]];
        WriteName(_regions[index], ref writer);
        ulong first = vcm.Range.First;
        writer.Put((int)vcm.Kind | (vcm.IsFreed ? 4 : 0) | (vcm.IsDeferred ? 8 : 0) | (vcm.IsTopDown ? 16 : 0) | (vcm.Adopted is null ? 0 : 32));
        writer.PutRange(vcm.Range, 0);
        if (vcm.Adopted is { } adopted)
        {
            writer.Put(RankOf(adopted.Owner));
            writer.Put((int)adopted.Kind);
        }

        List<KeyValuePair<ObjectId, BoundState>> bounds = _bounds[index];
        writer.Put(bounds.Count);
        foreach ((ObjectId id, BoundState bound) in bounds)
        {
            WriteName(id, ref writer);
            writer.Put(bound.IsFreed ? 1 : 0);
            writer.PutRange(bound.Range, first);
        }

        writer.Put(_reservations[index].Count);
        foreach ((ObjectId id, ReservationState reservation) in _reservations[index])
        {
            _orderedReservations.Add(id);
            WriteName(id, ref writer);
            Attributes attributes = reservation.Attributes;
            writer.Put((int)attributes.Permissions | (attributes.SupervisorOnly ? 8 : 0) | (attributes.Secure ? 16 : 0) | ((int)attributes.Cache << 5));
            writer.PutRange(reservation.Range, first);
            writer.Put((reservation.OwnerCount << 1) | (reservation.IsEnded ? 1 : 0));
            writer.Put(reservation.Bound is { } within ? 1 + bounds.FindIndex(bound => bound.Key == within) : 0);
            writer.Put(reservation.Parts.Length);
            foreach (BackedPart part in reservation.Parts)
            {
                writer.PutPages(part.Offset);
                writer.PutPages(part.MemoryOffset);
                writer.PutPages(part.ByteCount);
                writer.Put(LabelOf(part.Memory));
            }

            WriteUse(reservation.Written, ref writer, first);
            WriteUse(reservation.Accessed, ref writer, first);
        }
    }

    private static void WriteUse(NotedUse use, ref FormWriter writer, ulong first)
    {
        writer.Put(use.Certain.Ranges.Length);
        foreach (AddressRange range in use.Certain.Ranges) writer.PutRange(range, first);
        writer.Put(use.Possible.Ranges.Length);
        foreach (AddressRange range in use.Possible.Ranges) writer.PutRange(range, first);
    }

    private void WriteQuarantine(World world, ref FormWriter writer)
    {
        writer.Put(world.FlushFailedAt is { } failed ? 1 + AgeOf(world, failed) : 0);
        writer.Put(world.Quarantine.Count);
        foreach (Quarantined waiting in world.Quarantine)
        {
            writer.Put(AgeOf(world, waiting.Since));
            writer.Put(_orderedReservations.IndexOf(waiting.Reservation));
            writer.Put(waiting.Memories.Length);
            foreach (ObjectId memory in waiting.Memories) writer.Put(LabelOf(memory));
        }
    }

    private void WriteMemories(World world, ref FormWriter writer)
    {
        int named = _memories.Count;
        foreach ((ObjectId id, MemoryState memory) in world.Memories)
        {
            if (!memory.IsFreed && !_memories.Contains(id)) _memories.Add(id);
        }

        // Those that nothing else names are alike but for this.
        if (!_keepsNames) _memories.Sort(named, _memories.Count - named, Comparer<ObjectId>.Create((one, other) => Compare(world.Memories[one], world.Memories[other])));
        writer.Put(_memories.Count);
        foreach (ObjectId id in _memories)
        {
            MemoryState memory = world.Memories[id];
            WriteName(id, ref writer);
            writer.Put((memory.Segments.Length << 2) | (memory.IsWrapped ? 1 : 0) | (memory.IsFreed ? 2 : 0));
            foreach (AddressRange chunk in memory.Segments)
            {
                WriteTarget(chunk.First, ref writer);
                writer.PutPages(chunk.Last - chunk.First + 1);
            }
        }
    }

    private int Compare(MemoryState one, MemoryState other)
    {
        int order = (one.IsWrapped, one.Segments.Length).CompareTo((other.IsWrapped, other.Segments.Length));
        for (int i = 0; order == 0 && i < one.Segments.Length; i++)
        {
            (AddressRange chunk, AddressRange otherChunk) = (one.Segments[i], other.Segments[i]);
            bool isLike = _frames.Contains(chunk.First);
            order = isLike.CompareTo(_frames.Contains(otherChunk.First));
            if (order == 0 && !isLike) order = (chunk.First, chunk.Last).CompareTo((otherChunk.First, otherChunk.Last));
        }

        return order;
    }

    private void WriteStale(Quarantined waiting, ref FormWriter writer)
    {
        writer.Put(waiting.Stale.Length);
        foreach (Mapping mapping in waiting.Stale)
        {
            Translation translation = mapping.Translation;
            writer.PutRange(mapping.Range, 0);
            writer.Put((translation.Read ? 1 : 0) | (translation.Write ? 2 : 0) | (translation.Execute ? 4 : 0) | (translation.SupervisorOnly ? 8 : 0) | ((int)translation.Cache << 4));
            WriteTarget(translation.Target, ref writer);
        }
    }

    private void WriteTarget(ulong address, ref FormWriter writer)
    {
        if (!_frames.Contains(address))
        {
            writer.Put(0);
            writer.PutPages(address);
            return;
        }

        int label = _orderedFrames.IndexOf(address);
        if (label < 0)
        {
            label = _orderedFrames.Count;
            _orderedFrames.Add(address);
        }

        writer.Put(1 + label);
    }

    /// <summary>What each device and process has; those that are alike in the order of that.</summary>
    private void WriteUsers(World world, ref FormWriter writer)
    {
        var signatures = new FormWriter(_signatures);
        for (int i = 0; i < _users.Length; i++)
        {
            WriteUser(world, _users[i], ref signatures);
            _signatureEnds[i + 1] = signatures.Length;
            _userOrder[i] = i;
        }

        _signatures = signatures.Buffer;
        if (!_keepsNames) Array.Sort(_userOrder, CompareUsers);
        foreach (int user in _userOrder) writer.PutBytes(SignatureOf(user));
    }

    private int CompareUsers(int one, int other) =>
        _classes[one] != _classes[other] ? _classes[one].CompareTo(_classes[other]) : SignatureOf(one).SequenceCompareTo(SignatureOf(other));

    private ReadOnlySpan<byte> SignatureOf(int user) => _signatures.AsSpan(_signatureEnds[user].._signatureEnds[user + 1]);

    private void WriteUser(World world, ObjectId user, ref FormWriter writer)
    {
        writer.Put(world.Hooked.Contains(user) ? 1 : 0);
        // An association has one region and one PASID; there are no two alike. So the order of regions and PASIDs is one.
        Span<(int Region, int Pasid, int Bits, int Guest, int Index)> joined = stackalloc (int, int, int, int, int)[MostRegions * 4];
        int count = 0;
        for (int index = 0; index < world.Associations.Count; index++)
        {
            AssociationState association = world.Associations.Values[index];
            if (association.Device != user || (association.IsDropped && !LeavesTrace(world, association))) continue;
            if (IndexOf(association.Vcm) < 0) continue;
            int bits = ((int)association.Kind << 3) | (association.IsActive ? 1 : 0) | (association.IsDropped ? 2 : 0) | (HasLeftFlags(world, association) ? 4 : 0);
            // Those that were dropped need no other.
            int guest = association is { IsDropped: false, Guest: { } id } ? LabelOf(KeyOf(world, id)) : 0;
            (int Region, int Pasid, int Bits, int Guest, int Index) entry = (RankOf(association.Vcm), (int)(association.Pasid + 1 ?? 0), bits, guest, index);
            if (association.IsDropped && HasLike(joined[..count], entry)) continue;
            if (count == joined.Length) throw new NotSupportedException($"{user} has more than {joined.Length} associations");
            joined[count++] = entry;
        }

        joined[..count].Sort();
        writer.Put(count);
        foreach ((int region, int pasid, int rest, int guest, int index) in joined[..count])
        {
            writer.Put(region);
            writer.Put(pasid);
            writer.Put(rest);
            writer.Put(guest);
            if (guest != 0) WriteUntold(world, world.Associations.Values[index], ref writer);
        }

        WritePassing(world, user, ref writer);
        // Faults and waiting accesses are told in the order of all of them.
        WritePlaces(world.Faults, static fault => fault.Device, user, ref writer, static (PendingFault fault, ref FormWriter into) =>
        {
            into.PutPages(fault.Page);
            into.Put((int)fault.Access | (fault.IsCertain ? 8 : 0) | (int)fault.Causes << 4);
            into.Put((int)(fault.Pasid + 1 ?? 0));
        });
        WritePlaces(world.Waiting, static waiting => waiting.Access.Device, user, ref writer, static (WaitingAccess waiting, ref FormWriter into) =>
        {
            into.PutAddress(waiting.Access.Address);
            into.Put((int)waiting.Access.Kind | (waiting.Access.IsPrivileged ? 8 : 0) | (waiting.MayBeOver ? 16 : 0));
            into.Put((int)(waiting.Access.Pasid + 1 ?? 0));
        });
    }

    private static bool HasLike(ReadOnlySpan<(int Region, int Pasid, int Bits, int Guest, int Index)> joined, (int Region, int Pasid, int Bits, int Guest, int Index) entry)
    {
        foreach ((int Region, int Pasid, int Bits, int Guest, int Index) other in joined)
        {
            if (other with { Index = entry.Index } == entry) return true;
        }

        return false;
    }

    /// <summary>The address spaces that are let through: in which order they were does not matter.</summary>
    private static void WritePassing(World world, ObjectId user, ref FormWriter writer)
    {
        Span<int> passing = stackalloc int[MostPassing];
        int count = 0;
        foreach (DeviceSpace space in world.Passing)
        {
            if (space.Device != user) continue;
            if (count == passing.Length) throw new NotSupportedException($"{user} is let through in more than {passing.Length} address spaces");
            passing[count++] = (int)(space.Pasid + 1 ?? 0);
        }

        passing[..count].Sort();
        writer.Put(count);
        foreach (int pasid in passing[..count]) writer.Put(pasid);
    }

    private void WriteName(ObjectId id, ref FormWriter writer)
    {
        if (!_keepsNames) return;
        writer.Put(id.Number);
        writer.Put(1 + (id.In ?? -1));
    }

    private delegate void Put<T>(T item, ref FormWriter writer);

    private static void WritePlaces<T>(IReadOnlyList<T> all, Func<T, ObjectId> userOf, ObjectId user, ref FormWriter writer, Put<T> put)
    {
        int count = 0;
        for (int place = 0; place < all.Count; place++)
        {
            if (userOf(all[place]) == user) count++;
        }

        writer.Put(count);
        for (int place = 0; count != 0 && place < all.Count; place++)
        {
            if (userOf(all[place]) != user) continue;
            writer.Put(place);
            put(all[place], ref writer);
        }
    }

    /// <summary>Whether something depends on an association that has been dropped: whose device may have fetched ahead, whose guest's tables were walked, or whose table is counted as the CPU's.</summary>
    private static bool LeavesTrace(World world, AssociationState association) =>
        association.Device.Kind == ObjectKind.Process || world.ModelOf(association.Device).HasTlb || HasLeftFlags(world, association);

    private int LabelOf(ObjectId memory)
    {
        int label = _memories.IndexOf(memory);
        if (label >= 0) return label;
        _memories.Add(memory);
        return _memories.Count - 1;
    }

    /// <summary>How long ago, as far as it matters.</summary>
    private static int AgeOf(World world, ulong since) => (int)Math.Min(world.Now - since, world.Setup.Flush.FlushAtMilliseconds);
}

/// <summary>Writes numbers so that small ones are short.</summary>
internal ref struct FormWriter(byte[] buffer)
{
    private byte[] _buffer = buffer;

    public int Length { get; private set; }

    public readonly byte[] Buffer => _buffer;

    public void Put(int value) => PutNumber((ulong)value);

    public void PutPages(ulong byteCount) => PutNumber(byteCount / World.PageBytes);

    public void PutAddress(ulong address) => PutNumber(address);

    /// <summary>A range of whole pages, from the address on that its region begins with.</summary>
    public void PutRange(AddressRange range, ulong origin)
    {
        PutPages(range.First - origin);
        PutPages(range.Last - range.First);
    }

    public void PutBytes(ReadOnlySpan<byte> bytes)
    {
        while (_buffer.Length - Length < bytes.Length) Array.Resize(ref _buffer, 2 * _buffer.Length);
        bytes.CopyTo(_buffer.AsSpan(Length));
        Length += bytes.Length;
    }

    private void PutNumber(ulong value)
    {
        const int MostBytes = 10;
        if (_buffer.Length - Length < MostBytes) Array.Resize(ref _buffer, 2 * _buffer.Length);
        for (; value >= 0x80; value >>= 7) _buffer[Length++] = (byte)((value & 0x7F) | 0x80);
        _buffer[Length++] = (byte)value;
    }
}

/// <summary>Reads what <see cref="FormWriter"/> wrote.</summary>
internal ref struct FormReader(ReadOnlySpan<byte> form)
{
    private ReadOnlySpan<byte> _rest = form;

    public readonly bool IsAtEnd => _rest.IsEmpty;

    public int Get() => checked((int)GetNumber());

    public ulong GetPages() => GetNumber() * World.PageBytes;

    public ulong GetAddress() => GetNumber();

    public AddressRange GetRange(ulong origin)
    {
        ulong first = origin + GetPages(), more = GetPages();
        return new(first, first + more + (World.PageBytes - 1));
    }

    private ulong GetNumber()
    {
        ulong value = 0;
        for (int shift = 0; ; shift += 7)
        {
            byte next = _rest[0];
            _rest = _rest[1..];
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80) return value;
        }
    }
}
