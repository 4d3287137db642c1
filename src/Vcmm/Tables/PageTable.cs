using Platform;
using Vcmm.Allocation;

namespace Vcmm.Tables;

/// <summary>
/// The table engine: map, unmap and walk, written once over a format's bits and a memory port, both of which the JIT
/// compiles into the loops.
/// </summary>
/// <typeparam name="TFormat">The encoding.</typeparam>
/// <typeparam name="TMemory">The memory that holds the table.</typeparam>
/// <remarks>
/// <para><b>Why two threads cannot lose a table.</b> A missing table is installed by compare-and-swap; who loses uses the
/// winner's. A table is unlinked only by an unmap that covers all of it, and ranges that are worked on at once do not touch:
/// nobody else can be inside.</para>
/// <para><b>Why <see cref="TryWalk"/> needs no lock.</b> A table page is freed only after <see cref="_releases"/> moved on; a
/// walk during which it moved is walked again.</para>
/// <para><b>Threads.</b> As <see cref="IPageTable"/>.</para>
/// </remarks>
public sealed class PageTable<TFormat, TMemory> : IPageTable
    where TFormat : struct, IPageTableFormat
    where TMemory : struct, IPhysicalMemory
{
    private const int EntryLog2 = 3;
    private const int LevelLimit = 8;

    private readonly TMemory _memory;
    private readonly IFrameSource? _frames;
    private uint _releases;
    private bool _freed;

    private PageTable(TMemory memory, IFrameSource? frames, TableFormat format, PhysAddr root)
    {
        _memory = memory;
        _frames = frames;
        Format = format;
        Root = root;
    }

    /// <inheritdoc/>
    public TableFormat Format { get; }

    /// <inheritdoc/>
    public PhysAddr Root { get; }

    /// <inheritdoc/>
    public Iova LastAddress => new((1UL << Shift(Format.LevelCount + 1)) - 1);

    private static readonly byte[] Zeros = new byte[1 << TFormat.GranuleLog2];

    private static ulong GranuleBytes => 1UL << TFormat.GranuleLog2;

    /// <summary>Makes an empty table.</summary>
    /// <param name="memory">Where the table is.</param>
    /// <param name="frames">Where its pages come from and go to.</param>
    /// <param name="format">Of the encoding that <typeparamref name="TFormat"/> is.</param>
    /// <param name="table">The table.</param>
    /// <returns><see cref="VcmmError.NoMemory"/> if there is no frame for the root.</returns>
    /// <exception cref="ArgumentException">The format is another encoding's, or has levels or leaves that the encoding lacks.</exception>
    public static VcmmError TryCreate(TMemory memory, IFrameSource frames, TableFormat format, out PageTable<TFormat, TMemory>? table)
    {
        RequireKnown(format);
        table = null;
        VcmmError error = frames.TryAllocate(GranuleBytes, out PhysAddr root);
        if (error != VcmmError.None) return error;
        table = new(memory, frames, format, root);
        table.Zero(root);
        return VcmmError.None;
    }

    /// <summary>Looks at a table that somebody else built, changes and frees; it can be walked and listed.</summary>
    /// <param name="memory">Where the table is.</param>
    /// <param name="format">Of the encoding that <typeparamref name="TFormat"/> is.</param>
    /// <param name="root">Its root page.</param>
    /// <exception cref="ArgumentException">The format is another encoding's, or has levels or leaves that the encoding lacks.</exception>
    public static PageTable<TFormat, TMemory> Adopt(TMemory memory, TableFormat format, PhysAddr root)
    {
        RequireKnown(format);
        return new(memory, null, format, root);
    }

    /// <inheritdoc/>
    public bool CanExpress(MappingAttributes attributes) => TFormat.CanExpress(attributes);

    /// <inheritdoc/>
    public int CountMissingTables(Iova first, ReadOnlySpan<PhysRange> segments)
    {
        // The last table counted at each level: two runs that meet in one missing table need it once.
        Span<ulong> counted = stackalloc ulong[LevelLimit];
        counted.Fill(ulong.MaxValue);
        int missing = 0;
        var runs = new RunEnumerator(first, segments);
        while (runs.MoveNext())
            missing += CountMissing(Root, exists: true, Format.LevelCount, runs.Iova, runs.Address, runs.ByteCount, counted);
        return missing;
    }

    /// <inheritdoc/>
    public void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, TablePagePool pages)
    {
        var runs = new RunEnumerator(first, segments);
        while (runs.MoveNext()) Fill(Root, Format.LevelCount, runs.Iova, runs.Address, runs.ByteCount, attributes, pages);
        // What follows, such as reading who must be told of the change, must not overtake the entries.
        _memory.Fence();
    }

    /// <inheritdoc/>
    public void Unmap(IovaRange range, InvalidationGather gather)
    {
        Clear(Root, Format.LevelCount, range.First.Value, range.ByteCount, gather);
        _memory.Fence();
    }

    /// <inheritdoc/>
    public void Relink(InvalidationGather gather)
    {
        foreach (InvalidationGather.Unlinked unlinked in gather.Tables)
        {
            if (!ReferenceEquals(unlinked.Owner, this)) continue;
            _memory.Write64(unlinked.Slot, unlinked.Entry);
            CleanEntries(unlinked.Slot, 1);
        }

        _memory.Fence();
    }

    /// <inheritdoc/>
    public void Release(InvalidationGather gather)
    {
        if (!gather.HasTables) return;
        Interlocked.Increment(ref _releases);
        foreach (InvalidationGather.Unlinked unlinked in gather.Tables)
        {
            if (ReferenceEquals(unlinked.Owner, this)) FreeSubtree(TFormat.TableAddress(unlinked.Entry), unlinked.Level);
        }
    }

    /// <inheritdoc/>
    public bool TryWalk(Iova address, out Translation translation)
    {
        while (true)
        {
            uint releases = Volatile.Read(ref _releases);
            if (Volatile.Read(ref _freed))
            {
                translation = default;
                return false;
            }

            bool mapped = TryWalkOnce(address, out translation);
            if (Volatile.Read(ref _releases) == releases) return mapped;
        }
    }

    /// <inheritdoc/>
    public IEnumerable<Leaf> Leaves() => Leaves(Root, Format.LevelCount, 0);

    /// <inheritdoc/>
    public IEnumerable<PhysAddr> TablePages() => TablePages(Root, Format.LevelCount);

    /// <inheritdoc/>
    public void Free()
    {
        Volatile.Write(ref _freed, true);
        Interlocked.Increment(ref _releases);
        if (_frames is not null) FreeSubtree(Root, Format.LevelCount);
    }

    private static void RequireKnown(TableFormat format)
    {
        if (format.Encoding != TFormat.Encoding || format.LevelCount < 1 || format.LevelCount > TFormat.MaxLevelCount
            || !format.AllowsLeafAt(1) || (format.LeafLevels & ~TFormat.LeafLevels) != 0)
        {
            throw new ArgumentException($"{format} is not a format of {TFormat.Encoding}", nameof(format));
        }
    }

    private static int Shift(int level) => TFormat.GranuleLog2 + TFormat.IndexBits * (level - 1);

    private static PhysAddr Slot(PhysAddr table, int level, ulong iova) =>
        new(table.Value + ((iova >> Shift(level) & ((1UL << TFormat.IndexBits) - 1)) << EntryLog2));

    /// <summary>The part of [iova, iova + byteCount) that one entry at the level covers.</summary>
    private static ulong PartInEntry(int level, ulong iova, ulong byteCount)
    {
        ulong entryBytes = 1UL << Shift(level);
        return Math.Min(byteCount, entryBytes - (iova & (entryBytes - 1)));
    }

    private bool FitsLeaf(int level, ulong part, ulong address) =>
        Format.AllowsLeafAt(level) && part == 1UL << Shift(level) && (address & (part - 1)) == 0;

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
            byteCount -= part;
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
            {
                ulong leaf = TFormat.EncodeLeaf(new(address), level, attributes);
                if (entry != 0 && entry != leaf) throw Broken(slot, entry, "is live where nothing should be mapped");
                _memory.Write64(slot, leaf);
                CleanEntries(slot, 1);
            }
            else
            {
                Fill(TableAt(slot, entry, level, pages), level - 1, iova, address, part, attributes, pages);
            }

            iova = unchecked(iova + part);
            address = unchecked(address + part);
            byteCount -= part;
        }
    }

    private void FillPages(PhysAddr slot, ulong address, ulong count, MappingAttributes attributes)
    {
        PhysAddr firstSlot = slot;
        ulong leaf = TFormat.EncodeLeaf(new(address), 1, attributes);
        for (ulong i = 0; i < count; i++)
        {
            ulong entry = _memory.Read64(slot);
            if (entry != 0 && entry != leaf) throw Broken(slot, entry, "is live where nothing should be mapped");
            _memory.Write64(slot, leaf);
            slot = new(unchecked(slot.Value + (1UL << EntryLog2)));
            leaf = unchecked(leaf + GranuleBytes);
        }

        CleanEntries(firstSlot, count);
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
            ClearPages(Slot(table, 1, iova), byteCount >> TFormat.GranuleLog2);
            return;
        }

        while (byteCount != 0)
        {
            ulong part = PartInEntry(level, iova, byteCount);
            bool whole = part == 1UL << Shift(level);
            PhysAddr slot = Slot(table, level, iova);
            ulong entry = _memory.Read64(slot);
            switch (TFormat.Classify(entry, level))
            {
                case EntryKind.Leaf when !whole:
                    throw Broken(slot, entry, "is a leaf that the range would cut");
                case EntryKind.Leaf:
                    _memory.Write64(slot, 0);
                    CleanEntries(slot, 1);
                    break;
                case EntryKind.Table when whole:
                    _memory.Write64(slot, 0);
                    CleanEntries(slot, 1);
                    gather.Add(new(this, slot, entry, level - 1));
                    break;
                case EntryKind.Table:
                    Clear(TFormat.TableAddress(entry), level - 1, iova, part, gather);
                    break;
            }

            iova = unchecked(iova + part);
            byteCount -= part;
        }
    }

    private void ClearPages(PhysAddr slot, ulong count)
    {
        PhysAddr firstSlot = slot;
        for (ulong i = 0; i < count; i++)
        {
            _memory.Write64(slot, 0);
            slot = new(unchecked(slot.Value + (1UL << EntryLog2)));
        }

        CleanEntries(firstSlot, count);
    }

    private bool TryWalkOnce(Iova address, out Translation translation)
    {
        translation = default;
        if (address.Value > LastAddress.Value) return false;
        PhysAddr table = Root;
        for (int level = Format.LevelCount; level >= 1; level--)
        {
            // A page that was freed under the walk may hold anything, an address outside memory too.
            if (!_memory.TryRead64(Slot(table, level, address.Value), out ulong entry)) return false;
            switch (TFormat.Classify(entry, level))
            {
                case EntryKind.Absent:
                    return false;
                case EntryKind.Leaf:
                    ulong leafBytes = 1UL << Shift(level);
                    ulong offset = address.Value & (leafBytes - 1);
                    translation = new(new(TFormat.LeafAddress(entry, level).Value | offset), TFormat.AttributesOf(entry, level), leafBytes);
                    return true;
                default:
                    table = TFormat.TableAddress(entry);
                    break;
            }
        }

        return false;
    }

    private IEnumerable<Leaf> Leaves(PhysAddr table, int level, ulong iova)
    {
        ulong entryBytes = 1UL << Shift(level);
        for (int i = 0; i < 1 << TFormat.IndexBits; i++, iova = unchecked(iova + entryBytes))
        {
            ulong entry = _memory.Read64(new(table.Value + ((ulong)i << EntryLog2)));
            switch (TFormat.Classify(entry, level))
            {
                case EntryKind.Leaf:
                    yield return new(IovaRange.FromLength(new(iova), entryBytes), TFormat.LeafAddress(entry, level), TFormat.AttributesOf(entry, level));
                    break;
                case EntryKind.Table:
                    foreach (Leaf leaf in Leaves(TFormat.TableAddress(entry), level - 1, iova)) yield return leaf;
                    break;
            }
        }
    }

    private IEnumerable<PhysAddr> TablePages(PhysAddr table, int level)
    {
        yield return table;
        for (int i = 0; level != 1 && i < 1 << TFormat.IndexBits; i++)
        {
            ulong entry = _memory.Read64(new(table.Value + ((ulong)i << EntryLog2)));
            if (TFormat.Classify(entry, level) != EntryKind.Table) continue;
            foreach (PhysAddr page in TablePages(TFormat.TableAddress(entry), level - 1)) yield return page;
        }
    }

    private void FreeSubtree(PhysAddr table, int level)
    {
        for (int i = 0; level != 1 && i < 1 << TFormat.IndexBits; i++)
        {
            ulong entry = _memory.Read64(new(table.Value + ((ulong)i << EntryLog2)));
            if (TFormat.Classify(entry, level) == EntryKind.Table) FreeSubtree(TFormat.TableAddress(entry), level - 1);
        }

        _frames!.Free(table);
    }

    /// <summary>A page becomes a table only when no walker can see what was in it before. Nobody sees it yet, so bytes will do.</summary>
    private void Zero(PhysAddr page)
    {
        _memory.Write(page, Zeros);
        _memory.Clean(PhysRange.FromLength(page, GranuleBytes));
    }

    private void CleanEntries(PhysAddr slot, ulong count) => _memory.Clean(PhysRange.FromLength(slot, count << EntryLog2));

    private static InvalidOperationException Broken(PhysAddr slot, ulong entry, string what) =>
        new($"the entry 0x{entry:x} at {slot} {what}");

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
            Address = _segments[_index].First.Value;
            ByteCount = _segments[_index].ByteCount;
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
