using System.Runtime.CompilerServices;
using Platform;

namespace Vcmm.Tables;

// What is absent becomes present, and the other way round.
public sealed partial class PageTable<TFormat, TMemory>
{
    /// <inheritdoc/>
    public int CountMissingTables(Iova first, ReadOnlySpan<PhysRange> segments)
    {
        RequireSegments(first, segments);
        // One page in a table that is there, most often.
        if (segments.Length == 1 && segments[0].ByteCount == GranuleBytes)
        {
            Descend(first.Value, GranuleBytes, out int lowest);
            if (lowest == 1) return 0;
        }

        // The last table counted at each level: two runs that meet in one missing table need it once.
        Span<ulong> counted = stackalloc ulong[LevelLimit];
        counted.Fill(ulong.MaxValue);
        int missing = 0;
        var runs = new RunEnumerator(first, segments);
        while (runs.MoveNext())
        {
            PhysAddr table = Descend(runs.Iova, runs.ByteCount, out int level);
            if (level != 1) missing += CountMissing(table, exists: true, level, runs.Iova, runs.Address, runs.ByteCount, counted);
        }

        return missing;
    }

    /// <inheritdoc/>
    public void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, TablePagePool pages)
    {
        RequireSegments(first, segments);
        if (!TFormat.CanExpress(attributes)) ThrowAttributes(attributes);
        if (segments.Length == 1)
        {
            PhysRange segment = segments[0];
            MapRun(first.Value, segment.First.Value, unchecked(segment.Last.Value - segment.First.Value + 1), attributes, pages);
        }
        else
        {
            var runs = new RunEnumerator(first, segments);
            while (runs.MoveNext()) MapRun(runs.Iova, runs.Address, runs.ByteCount, attributes, pages);
        }

        // What follows, such as reading who must be told of the change, must not overtake the entries.
        _memory.Fence();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void MapRun(ulong iova, ulong address, ulong byteCount, MappingAttributes attributes, TablePagePool pages)
    {
        PhysAddr table = Descend(iova, byteCount, ref pages.Hint, out int level);
        if (level == 1) FillPages(Slot(table, 1, iova), address, byteCount >> TFormat.GranuleLog2, attributes);
        else Fill(table, level, iova, address, byteCount, attributes, pages);
    }

    /// <inheritdoc/>
    public void Unmap(IovaRange range, InvalidationGather gather)
    {
        RequireRange(range);
        ulong byteCount = unchecked(range.Last.Value - range.First.Value + 1);
        PhysAddr table = Descend(range.First.Value, byteCount, ref gather.Hint, out int level);
        if (level == 1) ClearPages(Slot(table, 1, range.First.Value), range.First.Value, byteCount >> TFormat.GranuleLog2, gather);
        else Clear(table, level, range.First.Value, byteCount, gather);
        _memory.Fence();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool FitsLeaf(int level, ulong part, ulong address) =>
        Format.AllowsLeafAt(level) && part == EntryBytes(level) && (address & unchecked(part - 1)) == 0;

    private int CountMissing(PhysAddr table, bool exists, int level, ulong iova, ulong address, ulong byteCount, Span<ulong> counted)
    {
        if (level == 1) return 0;
        int missing = 0;
        while (byteCount != 0)
        {
            ulong part = PartInEntry(level, iova, byteCount);
            ulong entry = exists ? _memory.Read64(Slot(table, level, iova)) : 0;
            EntryKind kind = TFormat.Classify(entry, level);
            // A leaf that is there already is this very mapping: Map leaves it alone.
            if (kind != EntryKind.Leaf && !(kind == EntryKind.Absent && FitsLeaf(level, part, address)))
            {
                ulong index = iova >> Shift(level);
                if (kind == EntryKind.Absent && counted[level] != index)
                {
                    counted[level] = index;
                    missing++;
                }

                missing += CountMissing(TFormat.TableAddress(entry), kind == EntryKind.Table, level - 1, iova, address, part, counted);
            }

            iova = unchecked(iova + part);
            address = unchecked(address + part);
            byteCount = unchecked(byteCount - part);
        }

        return missing;
    }

    private void Fill(PhysAddr table, int level, ulong iova, ulong address, ulong byteCount, MappingAttributes attributes, TablePagePool pages)
    {
        if (level == 1)
        {
            FillPages(Slot(table, 1, iova), address, byteCount >> TFormat.GranuleLog2, attributes);
            return;
        }

        while (byteCount != 0)
        {
            ulong part = PartInEntry(level, iova, byteCount);
            PhysAddr slot = Slot(table, level, iova);
            ulong entry = _memory.Read64(slot);
            if (FitsLeaf(level, part, address) && TFormat.Classify(entry, level) != EntryKind.Table)
                PutLeaf(slot, entry, TFormat.EncodeLeaf(new(address), level, attributes));
            else if (entry == 0 && part == EntryBytes(level))
                Link(slot, Build(level - 1, address, attributes, pages));
            else
                Fill(TableAt(slot, entry, level, pages), level - 1, iova, address, part, attributes, pages);

            iova = unchecked(iova + part);
            address = unchecked(address + part);
            byteCount = unchecked(byteCount - part);
        }
    }

    /// <summary>Writes a leaf where nothing is; the same leaf, with the hardware's bits in it, is left alone.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void PutLeaf(PhysAddr slot, ulong entry, ulong leaf)
    {
        if (entry == 0) WriteEntry(slot, leaf);
        else if (((entry ^ leaf) & ~UsedBits) != 0) ThrowLive(slot, entry);
    }

    private void FillPages(PhysAddr slot, ulong address, ulong count, MappingAttributes attributes)
    {
        ulong leaf = TFormat.EncodeLeaf(new(address), 1, attributes);
        if (count == 1)
        {
            ulong entry = _memory.Read64(slot);
            if (entry == 0) WriteEntry(slot, leaf);
            else if (((entry ^ leaf) & ~UsedBits) != 0) ThrowLive(slot, entry);
            return;
        }

        FillMorePages(slot, leaf, LeafStep(1, attributes), count);
    }

    private void FillMorePages(PhysAddr slot, ulong leaf, ulong step, ulong count)
    {
        if (_memory.TryGetWords(slot, (int)count, out Span<ulong> words))
        {
            int bad = FillWords(words, leaf, step);
            if (bad >= 0) ThrowLive(SlotAt(slot, bad), words[bad]);
            CleanEntries(slot, count);
            return;
        }

        PhysAddr at = slot;
        for (ulong i = 0; i < count; i++)
        {
            ulong entry = _memory.Read64(at);
            if (entry == 0) _memory.Write64(at, leaf);
            else if (((entry ^ leaf) & ~UsedBits) != 0) ThrowLive(at, entry);
            at = new(unchecked(at.Value + (1UL << EntryLog2)));
            leaf = unchecked(leaf + step);
        }

        CleanEntries(slot, count);
    }

    /// <summary>Fills entries that a walker may see. Each is one aligned release store of 64 bits: none is ever torn, and none
    /// overtakes what the thread wrote before.</summary>
    /// <returns>The index of an entry that is something else already, or -1.</returns>
    private static int FillWords(Span<ulong> words, ulong leaf, ulong step)
    {
        unchecked
        {
            for (int i = 0; i < words.Length; i++)
            {
                ulong entry = words[i];
                if (entry == 0) Volatile.Write(ref words[i], leaf);
                else if (((entry ^ leaf) & ~UsedBits) != 0) return i;
                leaf += step;
            }

            return -1;
        }
    }

    /// <summary>The difference between the entries of two leaves that follow each other.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong LeafStep(int level, MappingAttributes attributes) => unchecked(
        TFormat.EncodeLeaf(new(EntryBytes(level)), level, attributes) - TFormat.EncodeLeaf(default, level, attributes));

    /// <summary>
    /// A table all of whose entries map [address, …). Nobody sees it before it is linked, which is a compare-and-swap: its
    /// entries may be written in any way, and once.
    /// </summary>
    private PhysAddr Build(int level, ulong address, MappingAttributes attributes, TablePagePool pages)
    {
        PhysAddr table = pages.Take();
        ulong entryBytes = EntryBytes(level);
        if (FitsLeaf(level, entryBytes, address))
        {
            WriteNew(table, TFormat.EncodeLeaf(new(address), level, attributes), LeafStep(level, attributes));
        }
        else
        {
            for (int i = 0; i < EntryCount; i++, address = unchecked(address + entryBytes))
                _memory.Write64(SlotAt(table, i), TFormat.EncodeTable(Build(level - 1, address, attributes, pages)));
        }

        _memory.Clean(PhysRange.FromLength(table, GranuleBytes));
        return table;
    }

    private void WriteNew(PhysAddr table, ulong entry, ulong step)
    {
        if (_memory.TryGetWords(table, EntryCount, out Span<ulong> words))
        {
            for (int i = 0; i < words.Length; i++, entry = unchecked(entry + step)) words[i] = entry;
            return;
        }

        for (int i = 0; i < EntryCount; i++, entry = unchecked(entry + step)) _memory.Write64(SlotAt(table, i), entry);
    }

    /// <summary>Links a table in the place of a slot that lies wholly in the range of the call: nobody else has business there.</summary>
    private void Link(PhysAddr slot, PhysAddr table)
    {
        ulong found = _memory.CompareExchange64(slot, TFormat.EncodeTable(table), 0);
        if (found != 0) throw Broken(slot, found, "came about where nothing should be mapped");
        CleanEntries(slot, 1);
    }

    /// <summary>The table that the slot points at; one from the pool is installed where there is none.</summary>
    private PhysAddr TableAt(PhysAddr slot, ulong entry, int level, TablePagePool pages)
    {
        if (entry == 0)
        {
            PhysAddr page = pages.Take();
            Zero(page);
            entry = _memory.CompareExchange64(slot, TFormat.EncodeTable(page), 0);
            if (entry == 0)
            {
                CleanEntries(slot, 1);
                return page;
            }

            pages.Return(page);
        }

        if (TFormat.Classify(entry, level) != EntryKind.Table) throw Broken(slot, entry, "is a leaf where a table is needed");
        return TFormat.TableAddress(entry);
    }

    private void Clear(PhysAddr table, int level, ulong iova, ulong byteCount, InvalidationGather gather)
    {
        if (level == 1)
        {
            ClearPages(Slot(table, 1, iova), iova, byteCount >> TFormat.GranuleLog2, gather);
            return;
        }

        while (byteCount != 0)
        {
            ulong part = PartInEntry(level, iova, byteCount);
            bool whole = part == EntryBytes(level);
            PhysAddr slot = Slot(table, level, iova);
            ulong entry = _memory.Read64(slot);
            switch (TFormat.Classify(entry, level))
            {
                case EntryKind.Leaf when !whole:
                    throw Broken(slot, entry, "is a leaf that the range would cut");
                case EntryKind.Leaf:
                    WriteEntry(slot, 0);
                    gather.Add(RangeOf(iova, part));
                    break;
                case EntryKind.Table when whole:
                    // Noted first: if memory throws it can be linked again.
                    gather.Add(RangeOf(iova, part));
                    gather.Add(new InvalidationGather.Change(this, InvalidationGather.ChangeKind.Unlinked, slot, level, entry, 0));
                    WriteEntry(slot, 0);
                    Interlocked.Increment(ref _unlinks);
                    break;
                case EntryKind.Table:
                    Clear(TFormat.TableAddress(entry), level - 1, iova, part, gather);
                    break;
            }

            iova = unchecked(iova + part);
            byteCount = unchecked(byteCount - part);
        }
    }

    private void ClearPages(PhysAddr slot, ulong iova, ulong count, InvalidationGather gather)
    {
        if (count == 1)
        {
            if (_memory.Read64(slot) == 0) return;
            WriteEntry(slot, 0);
            gather.Add(RangeOf(iova, GranuleBytes));
            return;
        }

        (ulong first, ulong changed) = _memory.TryGetWords(slot, (int)count, out Span<ulong> words) ? ClearWords(words) : ClearEach(slot, count);
        if (changed == 0) return;
        CleanEntries(new(unchecked(slot.Value + (first << EntryLog2))), changed);
        gather.Add(RangeOf(unchecked(iova + (first << TFormat.GranuleLog2)), changed << TFormat.GranuleLog2));
    }

    /// <summary>Clears entries one by one.</summary>
    /// <returns>From the first that was present to the last.</returns>
    private (ulong First, ulong Count) ClearEach(PhysAddr slot, ulong count)
    {
        ulong first = ulong.MaxValue;
        ulong end = 0;
        for (ulong i = 0; i < count; i++)
        {
            PhysAddr at = new(unchecked(slot.Value + (i << EntryLog2)));
            if (_memory.Read64(at) == 0) continue;
            _memory.Write64(at, 0);
            if (first == ulong.MaxValue) first = i;
            end = i + 1;
        }

        return first == ulong.MaxValue ? (0, 0) : (first, end - first);
    }

    /// <summary>Clears entries that a walker may see: stores of 64 bits, as in <see cref="FillWords"/>.</summary>
    /// <returns>From the first that was present to the last.</returns>
    private static (ulong First, ulong Count) ClearWords(Span<ulong> words)
    {
        unchecked
        {
            int first = 0;
            while (first < words.Length && words[first] == 0) first++;
            int end = words.Length;
            while (end > first && words[end - 1] == 0) end--;
            Span<ulong> present = words[first..end];
            for (int i = 0; i < present.Length; i++)
            {
                if (present[i] != 0) Volatile.Write(ref present[i], 0);
            }

            return ((ulong)first, (ulong)present.Length);
        }
    }

    /// <summary>Segments that continue each other, as one run each.</summary>
    private ref struct RunEnumerator(Iova first, ReadOnlySpan<PhysRange> segments)
    {
        private readonly ReadOnlySpan<PhysRange> _segments = segments;
        private ulong _nextIova = first.Value;
        private int _index;

        public ulong Iova { get; private set; }

        public ulong Address { get; private set; }

        public ulong ByteCount { get; private set; }

        public bool MoveNext()
        {
            if (_index == _segments.Length) return false;
            Iova = _nextIova;
            PhysRange segment = _segments[_index];
            Address = segment.First.Value;
            ByteCount = unchecked(segment.Last.Value - segment.First.Value + 1);
            _index++;
            while (_index < _segments.Length && _segments[_index].First.Value == unchecked(Address + ByteCount))
            {
                ByteCount += _segments[_index].ByteCount;
                _index++;
            }

            _nextIova = unchecked(Iova + ByteCount);
            return true;
        }
    }
}
