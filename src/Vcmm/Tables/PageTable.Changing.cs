using Platform;
using Change = Vcmm.Tables.InvalidationGather.Change;
using ChangeKind = Vcmm.Tables.InvalidationGather.ChangeKind;

namespace Vcmm.Tables;

// What is present stays present, in other entries or with other bits.
public sealed partial class PageTable<TFormat, TMemory>
{
    /// <inheritdoc/>
    public int CountSplitTables(IovaRange range)
    {
        RequireRange(range);
        return CountSplit(Root, _levelCount, range.First.Value, range.ByteCount);
    }

    /// <inheritdoc/>
    public void Split(IovaRange range, TablePagePool pages, InvalidationGather gather)
    {
        RequireRange(range);
        Split(Root, _levelCount, range.First.Value, range.ByteCount, pages, gather);
        _memory.Fence();
    }

    /// <inheritdoc/>
    public void Protect(IovaRange range, MappingAttributes attributes, InvalidationGather gather)
    {
        RequireRange(range);
        if (!TFormat.CanExpress(attributes)) ThrowAttributes(attributes);
        RequireUncut(range);
        Protect(Root, _levelCount, range.First.Value, range.ByteCount, attributes, gather);
        _memory.Fence();
    }

    /// <inheritdoc/>
    public bool TryMerge(IovaRange range, InvalidationGather gather)
    {
        RequireRange(range);
        bool merged = TryMerge(Root, _levelCount, range.First.Value, range.ByteCount, gather);
        _memory.Fence();
        return merged;
    }

    /// <inheritdoc/>
    public void CollectDirty(IovaRange range, bool clear, ICollection<IovaRange> dirty, InvalidationGather gather) =>
        CollectUsed(range, TFormat.DirtyBit, clear, dirty, gather);

    /// <inheritdoc/>
    public void CollectAccessed(IovaRange range, bool clear, ICollection<IovaRange> accessed, InvalidationGather gather) =>
        CollectUsed(range, TFormat.AccessedBit, clear, accessed, gather);

    private void CollectUsed(IovaRange range, ulong bit, bool clear, ICollection<IovaRange> used, InvalidationGather gather)
    {
        if (bit == 0) throw new InvalidOperationException($"in a table of {Format} hardware does not note what it uses");
        RequireRange(range);
        if (clear) RequireUncut(range);
        var collected = new Joined(used);
        Collect(Root, _levelCount, range.First.Value, range.ByteCount, bit, clear, gather, ref collected);
        collected.End();
        if (clear) _memory.Fence();
    }

    /// <summary>The parts of the range at its two ends: the entries in which a leaf may be cut. The second is empty if they are one.</summary>
    private static (ulong HighIova, ulong LowBytes, ulong HighBytes) Ends(int level, ulong iova, ulong byteCount)
    {
        ulong low = PartInEntry(level, iova, byteCount);
        ulong end = unchecked(iova + byteCount);
        ulong high = Math.Min(byteCount - low, unchecked(((end - 1) & (EntryBytes(level) - 1)) + 1));
        return (unchecked(end - high), low, high);
    }

    private int CountSplit(PhysAddr table, int level, ulong iova, ulong byteCount)
    {
        (ulong highIova, ulong lowBytes, ulong highBytes) = Ends(level, iova, byteCount);
        return CountSplitEntry(table, level, iova, lowBytes) + (highBytes == 0 ? 0 : CountSplitEntry(table, level, highIova, highBytes));
    }

    private int CountSplitEntry(PhysAddr table, int level, ulong iova, ulong part)
    {
        if (part == EntryBytes(level)) return 0;
        ulong entry = _memory.Read64(Slot(table, level, iova));
        return TFormat.Classify(entry, level) switch
        {
            EntryKind.Table => CountSplit(TFormat.TableAddress(entry), level - 1, iova, part),
            EntryKind.Leaf => CountCut(level, iova & ~(EntryBytes(level) - 1), iova, part),
            _ => 0,
        };
    }

    /// <summary>The tables that stand in for one leaf at <paramref name="base"/> so that the range ends between leaves.</summary>
    private int CountCut(int level, ulong @base, ulong iova, ulong byteCount)
    {
        int count = 1;
        ulong entryBytes = EntryBytes(level - 1);
        for (int i = 0; i < EntryCount; i++, @base = unchecked(@base + entryBytes))
        {
            if (!StaysLeaf(level - 1, @base, iova, byteCount)) count += CountCut(level - 1, @base, iova, byteCount);
        }

        return count;
    }

    /// <summary>Whether the format has leaves at the level, and that at <paramref name="base"/> lies wholly inside the range or outside.</summary>
    private bool StaysLeaf(int level, ulong @base, ulong iova, ulong byteCount)
    {
        ulong last = unchecked(iova + byteCount - 1);
        ulong baseLast = unchecked(@base + EntryBytes(level) - 1);
        bool inside = @base >= iova && baseLast <= last;
        // Survives as `baseLast <= iova` and as `@base >= last`: equivalent, one is where a page begins, the other where one ends
        bool outside = baseLast < iova || @base > last;
        return Format.AllowsLeafAt(level) && (inside || outside);
    }

    private void Split(PhysAddr table, int level, ulong iova, ulong byteCount, TablePagePool pages, InvalidationGather gather)
    {
        (ulong highIova, ulong lowBytes, ulong highBytes) = Ends(level, iova, byteCount);
        SplitEntry(table, level, iova, lowBytes, pages, gather);
        if (highBytes != 0) SplitEntry(table, level, highIova, highBytes, pages, gather);
    }

    private void SplitEntry(PhysAddr table, int level, ulong iova, ulong part, TablePagePool pages, InvalidationGather gather)
    {
        if (part == EntryBytes(level)) return;
        PhysAddr slot = Slot(table, level, iova);
        ulong entry = _memory.Read64(slot);
        switch (TFormat.Classify(entry, level))
        {
            case EntryKind.Table:
                Split(TFormat.TableAddress(entry), level - 1, iova, part, pages, gather);
                break;
            case EntryKind.Leaf:
                SplitLeaf(slot, entry, level, iova, part, pages, gather);
                break;
        }
    }

    private void SplitLeaf(PhysAddr slot, ulong leaf, int level, ulong iova, ulong part, TablePagePool pages, InvalidationGather gather)
    {
        ulong @base = iova & ~unchecked(EntryBytes(level) - 1);
        PhysAddr lower = Cut(level, @base, TFormat.LeafAddress(leaf, level).Value, TFormat.AttributesOf(leaf, level), leaf & UsedBits, iova, part, pages);
        ulong pointer = TFormat.EncodeTable(lower);
        while (true)
        {
            ulong found = _memory.CompareExchange64(slot, TFormat.RequiresBreakBeforeMake ? 0 : pointer, leaf);
            if (found == leaf) break;
            if (((found ^ leaf) & ~UsedBits) != 0) throw Broken(slot, found, "was changed while it was split");
            // Hardware used the leaf meanwhile.
            SetInSubtree(lower, level - 1, found & ~leaf);
            leaf = found;
        }

        CleanEntries(slot, 1);
        gather.Add(RangeOf(@base, EntryBytes(level)));
        if (TFormat.RequiresBreakBeforeMake) gather.Add(new Change(this, ChangeKind.BrokenSplit, slot, level, leaf, pointer));
    }

    /// <summary>Writes the tables that say what one leaf says, with leaves that end where the range does. Nobody sees them yet.</summary>
    private PhysAddr Cut(
        int level, ulong @base, ulong address, MappingAttributes attributes, ulong used, ulong iova, ulong byteCount, TablePagePool pages)
    {
        PhysAddr table = pages.Take();
        int lower = level - 1;
        ulong entryBytes = EntryBytes(lower);
        for (int i = 0; i < EntryCount; i++)
        {
            ulong entry = StaysLeaf(lower, @base, iova, byteCount)
                ? TFormat.EncodeLeaf(new(address), lower, attributes) | used
                : TFormat.EncodeTable(Cut(lower, @base, address, attributes, used, iova, byteCount, pages));
            _memory.Write64(SlotAt(table, i), entry);
            @base = unchecked(@base + entryBytes);
            address = unchecked(address + entryBytes);
        }

        _memory.Clean(PhysRange.FromLength(table, GranuleBytes));
        return table;
    }

    private void Protect(PhysAddr table, int level, ulong iova, ulong byteCount, MappingAttributes attributes, InvalidationGather gather)
    {
        while (byteCount != 0)
        {
            ulong part = PartInEntry(level, iova, byteCount);
            PhysAddr slot = Slot(table, level, iova);
            ulong entry = _memory.Read64(slot);
            switch (TFormat.Classify(entry, level))
            {
                case EntryKind.Table:
                    Protect(TFormat.TableAddress(entry), level - 1, iova, part, attributes, gather);
                    break;
                case EntryKind.Leaf:
                    ulong leaf = TFormat.EncodeLeaf(TFormat.LeafAddress(entry, level), level, attributes);
                    if (((entry ^ leaf) & ~UsedBits) == 0) break;
                    Replace(slot, entry, leaf);
                    gather.Add(RangeOf(iova, part));
                    break;
            }

            iova = unchecked(iova + part);
            byteCount = unchecked(byteCount - part);
        }
    }

    /// <summary>Puts another leaf in the place of a live one, with the bits that hardware has set in that.</summary>
    private void Replace(PhysAddr slot, ulong entry, ulong leaf)
    {
        while (true)
        {
            ulong found = _memory.CompareExchange64(slot, leaf | (entry & UsedBits), entry);
            if (found == entry) break;
            if (((found ^ entry) & ~UsedBits) != 0) throw Broken(slot, found, "was changed while it was protected");
            entry = found;
        }

        CleanEntries(slot, 1);
    }

    private bool TryMerge(PhysAddr table, int level, ulong iova, ulong byteCount, InvalidationGather gather)
    {
        bool merged = false;
        while (level != 1 && byteCount != 0)
        {
            ulong part = PartInEntry(level, iova, byteCount);
            PhysAddr slot = Slot(table, level, iova);
            ulong entry = _memory.Read64(slot);
            if (TFormat.Classify(entry, level) == EntryKind.Table)
            {
                PhysAddr lower = TFormat.TableAddress(entry);
                // The largest first: what one leaf can say need not become several before.
                if (part == EntryBytes(level) && TryFindOneLeaf(lower, level, out ulong leaf))
                {
                    MergeTable(slot, entry, level, leaf);
                    Interlocked.Increment(ref _unlinks);
                    ChangeKind kind = TFormat.RequiresBreakBeforeMake ? ChangeKind.BrokenMerge : ChangeKind.Merged;
                    gather.Add(RangeOf(iova, part));
                    gather.Add(new Change(this, kind, slot, level, entry, leaf));
                    merged = true;
                }
                else if (TryMerge(lower, level - 1, iova, part, gather))
                {
                    merged = true;
                }
            }

            iova = unchecked(iova + part);
            byteCount = unchecked(byteCount - part);
        }

        return merged;
    }

    /// <summary>
    /// Whether all that a table says one leaf at <paramref name="level"/>, the level above, would say. What hardware has noted in
    /// the table's leaves is not in it: that is taken over when the table is released, since until then more may come.
    /// </summary>
    private bool TryFindOneLeaf(PhysAddr table, int level, out ulong leaf)
    {
        leaf = 0;
        if (!Format.AllowsLeafAt(level)) return false;
        PhysAddr at = table;
        int lower = level - 1;
        ulong entry = _memory.Read64(at);
        while (lower > 1 && TFormat.Classify(entry, lower) == EntryKind.Table)
        {
            at = TFormat.TableAddress(entry);
            lower--;
            entry = _memory.Read64(at);
        }

        if (TFormat.Classify(entry, lower) != EntryKind.Leaf) return false;
        ulong address = TFormat.LeafAddress(entry, lower).Value;
        if ((address & unchecked(EntryBytes(level) - 1)) != 0) return false;
        MappingAttributes attributes = TFormat.AttributesOf(entry, lower);
        if (!SaysAllOf(table, level - 1, address, attributes)) return false;
        leaf = TFormat.EncodeLeaf(new(address), level, attributes);
        return true;
    }

    private bool SaysAllOf(PhysAddr table, int level, ulong address, MappingAttributes attributes)
    {
        ulong entryBytes = EntryBytes(level);
        for (int i = 0; i < EntryCount; i++, address = unchecked(address + entryBytes))
        {
            ulong entry = _memory.Read64(SlotAt(table, i));
            switch (TFormat.Classify(entry, level))
            {
                case EntryKind.Leaf:
                    if ((entry & ~UsedBits) != TFormat.EncodeLeaf(new(address), level, attributes)) return false;
                    break;
                case EntryKind.Table:
                    if (!SaysAllOf(TFormat.TableAddress(entry), level - 1, address, attributes)) return false;
                    break;
                default:
                    return false;
            }
        }

        return true;
    }

    private void MergeTable(PhysAddr slot, ulong pointer, int level, ulong leaf)
    {
        while (true)
        {
            // Hardware may note in a pointer, too, that it used it.
            ulong found = _memory.CompareExchange64(slot, TFormat.RequiresBreakBeforeMake ? 0 : leaf, pointer);
            if (found == pointer) break;
            if (TFormat.Classify(found, level) != EntryKind.Table || TFormat.TableAddress(found) != TFormat.TableAddress(pointer))
                throw Broken(slot, found, "was changed while it was merged");
            pointer = found;
        }

        CleanEntries(slot, 1);
    }

    private void Collect(
        PhysAddr table, int level, ulong iova, ulong byteCount, ulong bit, bool clear, InvalidationGather gather, ref Joined collected)
    {
        while (byteCount != 0)
        {
            ulong part = PartInEntry(level, iova, byteCount);
            PhysAddr slot = Slot(table, level, iova);
            ulong entry = _memory.Read64(slot);
            switch (TFormat.Classify(entry, level))
            {
                case EntryKind.Table:
                    Collect(TFormat.TableAddress(entry), level - 1, iova, part, bit, clear, gather, ref collected);
                    break;
                case EntryKind.Leaf when (entry & bit) != 0:
                    collected.Add(RangeOf(iova, part));
                    if (!clear) break;
                    ulong found;
                    while ((found = _memory.CompareExchange64(slot, entry & ~bit, entry)) != entry) entry = found;
                    CleanEntries(slot, 1);
                    gather.Add(RangeOf(iova, part));
                    break;
            }

            iova = unchecked(iova + part);
            byteCount = unchecked(byteCount - part);
        }
    }

    private void RequireUncut(IovaRange range)
    {
        RequireEndAt(range.First.Value, range.First.Value);
        RequireEndAt(range.Last.Value, unchecked(range.Last.Value + 1));
    }

    /// <summary>Finds the leaf of an address, if there is one, and requires that <paramref name="end"/> is not inside it.</summary>
    private void RequireEndAt(ulong iova, ulong end)
    {
        PhysAddr table = Root;
        for (int level = _levelCount; level > 1; level--)
        {
            PhysAddr slot = Slot(table, level, iova);
            ulong entry = _memory.Read64(slot);
            EntryKind kind = TFormat.Classify(entry, level);
            if (kind == EntryKind.Leaf && (end & unchecked(EntryBytes(level) - 1)) != 0) throw Broken(slot, entry, "is a leaf that the range would cut");
            if (kind != EntryKind.Table) return;
            table = TFormat.TableAddress(entry);
        }
    }

    private void SetInSubtree(PhysAddr table, int level, ulong bits)
    {
        for (int i = 0; i < EntryCount; i++)
        {
            PhysAddr slot = SlotAt(table, i);
            ulong entry = _memory.Read64(slot);
            EntryKind kind = TFormat.Classify(entry, level);
            if (kind == EntryKind.Leaf) Replace(slot, entry, entry | bits);
            else if (kind == EntryKind.Table) SetInSubtree(TFormat.TableAddress(entry), level - 1, bits);
        }
    }

    private ulong UsedInSubtree(PhysAddr table, int level)
    {
        ulong used = 0;
        for (int i = 0; i < EntryCount && used != UsedBits; i++)
        {
            ulong entry = _memory.Read64(SlotAt(table, i));
            EntryKind kind = TFormat.Classify(entry, level);
            if (kind == EntryKind.Leaf) used |= entry & UsedBits;
            else if (kind == EntryKind.Table) used |= UsedInSubtree(TFormat.TableAddress(entry), level - 1);
        }

        return used;
    }

    /// <summary>Takes a change back: the hardware may still know what was there before.</summary>
    private void Undo(in Change change)
    {
        switch (change.Kind)
        {
            case ChangeKind.Merged:
                // What hardware set in the leaf meanwhile belongs to the leaves below it.
                ulong found = _memory.Read64(change.Slot);
                while (((found ^ change.New) & ~UsedBits) == 0)
                {
                    ulong used = found & ~change.New;
                    if (used != 0) SetInSubtree(TFormat.TableAddress(change.Old), change.Level - 1, used);
                    ulong present = _memory.CompareExchange64(change.Slot, change.Old, found);
                    if (present == found) break;
                    found = present;
                }

                if (((found ^ change.New) & ~UsedBits) == 0) CleanEntries(change.Slot, 1);
                else WriteEntry(change.Slot, change.Old);
                break;
            case ChangeKind.BrokenSplit:
                WriteEntry(change.Slot, change.Old);
                FreeSubtree(TFormat.TableAddress(change.New), change.Level - 1);
                break;
            default:
                WriteEntry(change.Slot, change.Old);
                break;
        }
    }

    /// <summary>Ends a change: no hardware knows any more what was there before.</summary>
    private void Finish(in Change change)
    {
        if (change.Kind == ChangeKind.BrokenSplit)
        {
            WriteEntry(change.Slot, change.New);
            return;
        }

        PhysAddr table = TFormat.TableAddress(change.Old);
        if (change.Kind == ChangeKind.BrokenMerge)
        {
            WriteEntry(change.Slot, change.New | UsedInSubtree(table, change.Level - 1));
        }
        else if (change.Kind == ChangeKind.Merged)
        {
            // Until the invalidation hardware could come to the old leaves through a cached pointer.
            ulong used = UsedInSubtree(table, change.Level - 1);
            ulong entry = _memory.Read64(change.Slot);
            if (used != 0 && ((entry ^ change.New) & ~UsedBits) == 0) Replace(change.Slot, entry, entry | used);
        }

        FreeSubtree(table, change.Level - 1);
    }

    /// <summary>Ranges that come in ascending order, those that touch as one.</summary>
    private struct Joined(ICollection<IovaRange> ranges)
    {
        private IovaRange _open;
        private bool _isOpen;

        public void Add(IovaRange range)
        {
            if (_isOpen && unchecked(_open.Last.Value + 1) == range.First.Value)
            {
                _open = new(_open.First, range.Last);
                return;
            }

            End();
            _open = range;
            _isOpen = true;
        }

        public readonly void End()
        {
            if (_isOpen) ranges.Add(_open);
        }
    }
}
