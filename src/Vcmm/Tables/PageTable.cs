using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using Platform;
using Vcmm.Allocation;

namespace Vcmm.Tables;

/// <summary>
/// The table engine: map, unmap, split, merge, protect and walk, written once over a format's bits and a memory port, both of
/// which the JIT compiles into the loops.
/// </summary>
/// <typeparam name="TFormat">The encoding.</typeparam>
/// <typeparam name="TMemory">The memory that holds the table.</typeparam>
/// <remarks>
/// <para><b>Why two threads cannot lose a table.</b> A missing table is installed by compare-and-swap; who loses uses the
/// winner's. A table is unlinked only by a call whose range covers all of it, and ranges that are worked on at once do not
/// touch: nobody else can be inside.</para>
/// <para><b>Why <see cref="TryWalk"/> needs no lock.</b> A table page is freed only after <see cref="_releases"/> moved on; a
/// walk during which it moved is walked again.</para>
/// <para><b>Why no bit of the hardware's is lost.</b> A live leaf changes by compare-and-swap, so a bit that is set meanwhile
/// makes it try again; of a table that a leaf replaced the bits are taken over once more when it is released.</para>
/// <para><b>Threads.</b> As <see cref="IPageTable"/>.</para>
/// </remarks>
public sealed partial class PageTable<TFormat, TMemory> : IPageTable
    where TFormat : struct, IPageTableFormat
    where TMemory : struct, IPhysicalMemory
{
    private const int EntryLog2 = 3;
    private const int LevelLimit = 8;

    private readonly TMemory _memory;
    private readonly IFrameSource? _frames;
    private readonly int _levelCount;
    private uint _releases;

    /// <summary>How often a table was unlinked or linked again: see <see cref="TableHint"/>.</summary>
    private uint _unlinks;
    private bool _freed;

    private PageTable(TMemory memory, IFrameSource? frames, TableFormat format, PhysAddr root)
    {
        _memory = memory;
        _frames = frames;
        _levelCount = format.LevelCount;
        Format = format;
        Root = root;
        uint large = format.LeafLevels & ~(1u << 1);
        LargeLeafBytes = large == 0 ? ulong.MaxValue : EntryBytes(System.Numerics.BitOperations.TrailingZeroCount(large));
    }

    /// <inheritdoc/>
    public TableFormat Format { get; }

    /// <inheritdoc/>
    public PhysAddr Root { get; }

    /// <inheritdoc/>
    public PhysAddr LastPhysAddr => TFormat.LastPhysAddr;

    /// <inheritdoc/>
    public bool HasDirtyBits => TFormat.AccessedBit != 0 && TFormat.DirtyBit != 0;

    /// <inheritdoc/>
    public ulong LargeLeafBytes { get; }

    private static readonly byte[] Zeros = new byte[1 << TFormat.GranuleLog2];

    private static ulong GranuleBytes => 1UL << TFormat.GranuleLog2;

    private static int EntryCount => 1 << TFormat.IndexBits;

    /// <summary>The bits of a leaf that belong to the hardware.</summary>
    private static ulong UsedBits
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => TFormat.AccessedBit | TFormat.DirtyBit;
    }

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
    public bool Covers(IovaRange range)
    {
        if (!IsCanonical(range.First.Value) || !IsCanonical(range.Last.Value)) return false;
        // Both ends are addresses; all between them are if they lie in one half.
        return !TFormat.IsSignExtended || (range.First.Value ^ range.Last.Value) >> 63 == 0;
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

            bool mapped = TryWalkOnce(address.Value, out translation);
            if (Volatile.Read(ref _releases) == releases) return mapped;
        }
    }

    /// <inheritdoc/>
    public void Relink(InvalidationGather gather)
    {
        List<InvalidationGather.Change> changes = gather.Changes;
        if (changes.Count != 0) Interlocked.Increment(ref _unlinks);
        // Backwards: what was changed twice becomes what it was first.
        for (int i = changes.Count - 1; i >= 0; i--)
        {
            if (ReferenceEquals(changes[i].Owner, this)) Undo(changes[i]);
        }

        _memory.Fence();
    }

    /// <inheritdoc/>
    public void Release(InvalidationGather gather)
    {
        List<InvalidationGather.Change> changes = gather.Changes;
        if (changes.Count == 0) return;
        Interlocked.Increment(ref _releases);
        foreach (InvalidationGather.Change change in changes)
        {
            if (ReferenceEquals(change.Owner, this)) Finish(change);
        }

        _memory.Fence();
    }

    /// <inheritdoc/>
    public void Free()
    {
        Volatile.Write(ref _freed, true);
        Interlocked.Increment(ref _releases);
        if (_frames is not null) FreeSubtree(Root, _levelCount);
    }

    private static void RequireKnown(TableFormat format)
    {
        if (format.Encoding != TFormat.Encoding || format.LevelCount < TFormat.MinLevelCount || format.LevelCount > TFormat.MaxLevelCount
            || !format.AllowsLeafAt(1) || (format.LeafLevels & ~TFormat.LeafLevels) != 0)
        {
            throw new ArgumentException($"{format} is not a format of {TFormat.Encoding}", nameof(format));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Shift(int level) => unchecked(TFormat.GranuleLog2 + TFormat.IndexBits * (level - 1));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong EntryBytes(int level) => 1UL << Shift(level);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static PhysAddr Slot(PhysAddr table, int level, ulong iova) => SlotBy(table, Shift(level), iova);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static PhysAddr SlotBy(PhysAddr table, int shift, ulong iova) =>
        new(unchecked(table.Value + ((iova >> shift & ((1UL << TFormat.IndexBits) - 1)) << EntryLog2)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static PhysAddr SlotAt(PhysAddr table, int index) => new(unchecked(table.Value + ((ulong)index << EntryLog2)));

    /// <summary>The part of [iova, iova + byteCount) that one entry at the level covers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong PartInEntry(int level, ulong iova, ulong byteCount)
    {
        ulong entryBytes = EntryBytes(level);
        return Math.Min(byteCount, unchecked(entryBytes - (iova & (entryBytes - 1))));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static IovaRange RangeOf(ulong iova, ulong byteCount) => new(new(iova), new(unchecked(iova + byteCount - 1)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool IsCanonical(ulong iova)
    {
        int bits = Shift(unchecked(_levelCount + 1));
        if (!TFormat.IsSignExtended) return iova >> bits == 0;
        return iova == Extend(iova, bits);
    }

    private ulong Extend(ulong iova) => TFormat.IsSignExtended ? Extend(iova, Shift(unchecked(_levelCount + 1))) : iova;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Extend(ulong iova, int bits) => unchecked((ulong)((long)(iova << (64 - bits)) >> (64 - bits)));

    /// <summary>
    /// The lowest table of which the range lies wholly inside one span and does not fill an entry of the table above.
    /// </summary>
    private PhysAddr Descend(ulong iova, ulong byteCount, out int level)
    {
        unchecked
        {
            TMemory memory = _memory;
            PhysAddr table = Root;
            int at = _levelCount;
            ulong crossed = (iova ^ (iova + byteCount - 1)) | byteCount;
            // A granule at least fills an entry of the lowest level.
            for (int shift = Shift(at); crossed >> shift == 0; at--, shift -= TFormat.IndexBits)
            {
                ulong entry = memory.Read64(SlotBy(table, shift, iova));
                if (TFormat.Classify(entry, at) != EntryKind.Table) break;
                table = TFormat.TableAddress(entry);
            }

            level = at;
            return table;
        }
    }

    /// <summary>The same, without going there if the hint knows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private PhysAddr Descend(ulong iova, ulong byteCount, ref TableHint hint, out int level)
    {
        uint unlinks = Volatile.Read(ref _unlinks);
        int shift = Shift(2);
        ulong crossed = ((iova ^ unchecked(iova + byteCount - 1)) | byteCount) >> shift;
        if (ReferenceEquals(hint.Owner, this) && hint.Unlinks == unlinks && (crossed | (hint.Index ^ iova >> shift)) == 0)
        {
            level = 1;
            return hint.Table;
        }

        PhysAddr table = Descend(iova, byteCount, out level);
        if (level == 1) hint = new() { Owner = this, Table = table, Index = iova >> shift, Unlinks = unlinks };
        return table;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool TryWalkOnce(ulong iova, out Translation translation)
    {
        unchecked
        {
            TMemory memory = _memory;
            PhysAddr table = Root;
            ulong entry;
            int level = _levelCount;
            if (!IsCanonical(iova)) goto none;
            for (int shift = Shift(level); level > 1; level--, shift -= TFormat.IndexBits)
            {
                // A page that was freed under the walk may hold anything, an address outside memory too: there nothing is present.
                _ = memory.TryRead64(SlotBy(table, shift, iova), out entry);
                EntryKind kind = TFormat.Classify(entry, level);
                if (kind == EntryKind.Leaf) goto leaf;
                if (kind == EntryKind.Absent) goto none;
                table = TFormat.TableAddress(entry);
            }

            // The lowest level by itself: what depends on the level is a constant here.
            if (!memory.TryRead64(SlotBy(table, TFormat.GranuleLog2, iova), out entry) || TFormat.Classify(entry, 1) != EntryKind.Leaf) goto none;
            translation = TranslationOf(entry, 1, iova);
            return true;
leaf:
            translation = TranslationOf(entry, level, iova);
            return true;
none:
            translation = default;
            return false;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Translation TranslationOf(ulong entry, int level, ulong iova)
    {
        ulong leafBytes = EntryBytes(level);
        ulong offset = iova & unchecked(leafBytes - 1);
        return new(new(TFormat.LeafAddress(entry, level).Value | offset), TFormat.AttributesOf(entry, level), leafBytes);
    }

    private void FreeSubtree(PhysAddr table, int level)
    {
        for (int i = 0; level != 1 && i < EntryCount; i++)
        {
            ulong entry = _memory.Read64(SlotAt(table, i));
            if (TFormat.Classify(entry, level) == EntryKind.Table) FreeSubtree(TFormat.TableAddress(entry), level - 1);
        }

        _frames!.Free(table);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void WriteEntry(PhysAddr slot, ulong entry)
    {
        _memory.Write64(slot, entry);
        CleanEntries(slot, 1);
    }

    /// <summary>A page becomes a table only when no walker can see what was in it before. Nobody sees it yet, so bytes will do.</summary>
    private void Zero(PhysAddr page)
    {
        _memory.Write(page, Zeros);
        _memory.Clean(PhysRange.FromLength(page, GranuleBytes));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void CleanEntries(PhysAddr slot, ulong count) =>
        _memory.Clean(new(slot, new(unchecked(slot.Value + (count << EntryLog2) - 1))));

    [DoesNotReturn]
    private static void ThrowLive(PhysAddr slot, ulong entry) => throw Broken(slot, entry, "is live where nothing should be mapped");

    private static InvalidOperationException Broken(PhysAddr slot, ulong entry, string what) =>
        new($"the entry 0x{entry:x} at {slot} {what}");
}
