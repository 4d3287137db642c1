using Platform;

namespace Vcmm.Tables;

// Everything that a table says, entry by entry.
public sealed partial class PageTable<TFormat, TMemory>
{
    /// <inheritdoc/>
    public IEnumerable<Leaf> Leaves() => Leaves(Root, _levelCount, 0);

    /// <inheritdoc/>
    public IEnumerable<PhysAddr> TablePages() => TablePages(Root, _levelCount);

    /// <inheritdoc/>
    public TableAudit Audit()
    {
        var audit = new Auditor();
        Audit(Root, _levelCount, 0, audit);
        return new(audit.Mapping, audit.TablePages, audit.Malformed);
    }

    private IEnumerable<Leaf> Leaves(PhysAddr table, int level, ulong iova)
    {
        ulong entryBytes = EntryBytes(level);
        for (int i = 0; i < EntryCount; i++, iova = unchecked(iova + entryBytes))
        {
            ulong entry = _memory.Read64(SlotAt(table, i));
            switch (TFormat.Classify(entry, level))
            {
                case EntryKind.Leaf:
                    yield return LeafOf(entry, level, iova);
                    break;
                case EntryKind.Table:
                    foreach (Leaf leaf in Leaves(TFormat.TableAddress(entry), level - 1, iova)) yield return leaf;
                    break;
            }
        }
    }

    private Leaf LeafOf(ulong entry, int level, ulong iova) =>
        new(RangeOf(Extend(iova), EntryBytes(level)), TFormat.LeafAddress(entry, level), TFormat.AttributesOf(entry, level));

    private IEnumerable<PhysAddr> TablePages(PhysAddr table, int level)
    {
        yield return table;
        for (int i = 0; level != 1 && i < EntryCount; i++)
        {
            ulong entry = _memory.Read64(SlotAt(table, i));
            if (TFormat.Classify(entry, level) != EntryKind.Table) continue;
            foreach (PhysAddr page in TablePages(TFormat.TableAddress(entry), level - 1)) yield return page;
        }
    }

    private void Audit(PhysAddr table, int level, ulong iova, Auditor audit)
    {
        audit.TablePages.Add(table);
        ulong entryBytes = EntryBytes(level);
        for (int i = 0; i < EntryCount; i++, iova = unchecked(iova + entryBytes))
        {
            PhysAddr slot = SlotAt(table, i);
            ulong entry = _memory.Read64(slot);
            EntryKind kind = TFormat.Classify(entry, level);
            if (kind == EntryKind.Absent) continue;
            EntryDefect? defect = DefectOf(entry, kind, level, audit);
            if (defect is { } found) audit.Malformed.Add(new(slot, entry, level, found));
            else if (kind == EntryKind.Leaf) audit.Add(LeafOf(entry, level, iova));
            else Audit(TFormat.TableAddress(entry), level - 1, iova, audit);
        }
    }

    private EntryDefect? DefectOf(ulong entry, EntryKind kind, int level, Auditor audit)
    {
        if (kind == EntryKind.Leaf ? !Format.AllowsLeafAt(level) : level == 1) return EntryDefect.WrongLevel;
        if ((entry & TFormat.ReservedBits(kind, level)) != 0) return EntryDefect.ReservedBits;
        if (kind == EntryKind.Leaf) return null;
        PhysAddr table = TFormat.TableAddress(entry);
        if (!_memory.Contains(new(table, new(table.Value | (GranuleBytes - 1))))) return EntryDefect.NoMemory;
        return table == Root || !audit.Reached.Add(table) ? EntryDefect.TableReachedTwice : null;
    }

    private sealed class Auditor
    {
        public List<Leaf> Mapping { get; } = [];

        public List<PhysAddr> TablePages { get; } = [];

        public HashSet<PhysAddr> Reached { get; } = [];

        public List<MalformedEntry> Malformed { get; } = [];

        public void Add(Leaf leaf)
        {
            if (Mapping.Count != 0)
            {
                Leaf last = Mapping[^1];
                bool continues = unchecked(last.Range.Last.Value + 1) == leaf.Range.First.Value
                    && unchecked(last.First.Value + last.Range.ByteCount) == leaf.First.Value
                    && last.Attributes == leaf.Attributes;
                if (continues)
                {
                    Mapping[^1] = last with { Range = new(last.Range.First, leaf.Range.Last) };
                    return;
                }
            }

            Mapping.Add(leaf);
        }
    }
}
