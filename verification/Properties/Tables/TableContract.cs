using CsCheck;
using Harness.Generating;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Tables;

/// <summary>One call of a random sequence; a slot is the unit in which ranges are given out.</summary>
public readonly record struct TableCall(int Kind, int Slot, int Count, int Distance, int Attributes, bool Fails);

/// <summary>
/// What the table engine promises over every format: random calls against a dictionary of slots, in a window that may lie
/// anywhere, with invalidations that fail.
/// </summary>
public abstract partial class TableContract<TFormat>
    where TFormat : struct, IPageTableFormat
{
    private const int SlotCount = 16;

    private static readonly MappingAttributes[] Attributes =
    [
        .. FormatContract<TFormat>.Expressible().Where(attributes => TFormat.AttributesOf(TFormat.EncodeLeaf(default, 1, attributes), 1) == attributes),
    ];

    /// <summary>Small leaves only, and large ones too.</summary>
    protected abstract TableFormat[] Formats { get; }

    /// <summary>The pages of a slot: large leaves are several slots.</summary>
    protected abstract int SlotPages { get; }

    /// <summary>The slots of a large leaf.</summary>
    protected abstract int LargeSlots { get; }

    /// <summary>Where the window starts; a multiple of a large leaf's size.</summary>
    protected abstract ulong[] Windows { get; }

    private ulong SlotBytes => (ulong)SlotPages << TFormat.GranuleLog2;

    [Fact]
    public void A_table_says_exactly_what_a_dictionary_says() =>
        Gen.Select(Gen.Int[0, 10], Gen.Int[0, SlotCount - 1], Gen.Int[1, 2 * SlotCount], Gen.Int[0, 9], Gen.Int[0, 1 << 20], Gen.Int[0, 3])
            .Array[1, 20]
            .ForAll(
                60,
                calls =>
                {
                    foreach (TableFormat format in Formats)
                    {
                        foreach (ulong window in Windows) Run(format, window, [.. calls.Select(Call)]);
                    }
                });

    /// <summary>The random calls are worth something only if they come to what is rare.</summary>
    [Fact]
    public void A_large_leaf_is_split_changed_and_merged_again()
    {
        foreach (ulong window in Windows)
        {
            using var rig = new Rig(Formats[^1], window, SlotBytes);
            ulong large = SlotBytes * (ulong)LargeSlots;
            rig.Map(0, LargeSlots, 0, Attributes[0]);
            Assert.Equal([large], rig.LeafSizes());
            rig.Protect(1, 1, Attributes[^1], fails: false);
            Assert.True(rig.LeafSizes().Count() > 2);
            Assert.False(rig.Merge(0, LargeSlots, fails: false));
            rig.Protect(1, 1, Attributes[0], fails: false);
            Assert.False(rig.Merge(0, LargeSlots - 1, fails: false));
            Assert.True(rig.Merge(0, LargeSlots, fails: true));
            Assert.True(rig.LeafSizes().Count() > 2);
            Assert.True(rig.Merge(0, LargeSlots, fails: false));
            Assert.Equal([large], rig.LeafSizes());
            Assert.False(rig.Merge(0, SlotCount, fails: false));
            rig.Unmap(0, LargeSlots, fails: false);
            rig.End();
        }
    }

    [Fact]
    public void What_would_cut_a_leaf_is_a_broken_promise_and_changes_nothing()
    {
        using var rig = new Rig(Formats[^1], Windows[0], SlotBytes);
        rig.Map(0, LargeSlots, 0, Attributes[0]);
        var gather = new InvalidationGather();
        Assert.Throws<InvalidOperationException>(() => rig.Table.Protect(rig.RangeOf(0, 1), Attributes[^1], gather));
        Assert.Throws<InvalidOperationException>(() => rig.Table.Protect(rig.RangeOf(1, LargeSlots - 1), Attributes[^1], gather));
        Assert.Throws<InvalidOperationException>(() => rig.Table.Unmap(rig.RangeOf(1, 1), gather));
        Assert.Equal(0, gather.Ranges.Length);
        rig.AssertSame("after three refusals");
    }

    [Fact]
    public void An_audit_finds_every_entry_that_should_not_be_there()
    {
        using var rig = new Rig(Formats[^1], Windows[0], SlotBytes);
        rig.Map(LargeSlots, 1, 0, Attributes[0]);
        Assert.Empty(rig.Table.Audit().Malformed);
        PhysAddr[] pages = [.. rig.Table.TablePages()];
        Ram port = rig.Port;
        PhysAddr lowest = pages[^1];
        ulong kept = port.Read64(rig.Table.Root + 8);

        port.Write64(rig.Table.Root + 8, TFormat.EncodeTable(rig.Table.Root));
        Assert.Equal(EntryDefect.TableReachedTwice, Assert.Single(rig.Table.Audit().Malformed).Defect);
        port.Write64(rig.Table.Root + 8, TFormat.EncodeTable(lowest));
        Assert.Contains(rig.Table.Audit().Malformed, entry => entry.Defect == EntryDefect.TableReachedTwice);
        port.Write64(rig.Table.Root + 8, TFormat.EncodeTable(new(1UL << 40)));
        Assert.Equal(EntryDefect.NoMemory, Assert.Single(rig.Table.Audit().Malformed).Defect);
        port.Write64(rig.Table.Root + 8, kept);

        ulong reserved = TFormat.ReservedBits(EntryKind.Leaf, LargeLevel);
        Assert.NotEqual(0UL, reserved);
        PhysAddr largeSlot = pages[rig.Table.Format.LevelCount - LargeLevel] + 8 * 3;
        ulong leaf = TFormat.EncodeLeaf(default, LargeLevel, Attributes[0]);
        port.Write64(largeSlot, leaf | (reserved & ~(reserved - 1)));
        MalformedEntry malformed = Assert.Single(rig.Table.Audit().Malformed);
        Assert.Equal((largeSlot, LargeLevel, EntryDefect.ReservedBits), (malformed.Slot, malformed.Level, malformed.Defect));
        port.Write64(largeSlot, 0);

        ulong top = TFormat.EncodeLeaf(default, TFormat.MaxLevelCount, Attributes[0]);
        port.Write64(rig.Table.Root + 8 * 2, top);
        Assert.Equal(EntryDefect.WrongLevel, Assert.Single(rig.Table.Audit().Malformed).Defect);
        port.Write64(rig.Table.Root + 8 * 2, 0);
        rig.AssertSame("after all was mended");
    }

    private static int LargeLevel => Enumerable.Range(2, TFormat.MaxLevelCount - 1).First(level => (TFormat.LeafLevels >> level & 1) != 0);

    /// <summary>More maps than other calls, as many small ranges as large ones, and memory that is aligned like its address more often than not.</summary>
    private static TableCall Call((int Kind, int Slot, int Count, int Distance, int Attributes, int Fails) numbers) => new(
        numbers.Kind switch { < 4 => 0, < 6 => 1, < 8 => 2, < 9 => 3, _ => 4 },
        numbers.Slot,
        numbers.Count <= SlotCount ? numbers.Count : 1 + numbers.Count % 3,
        numbers.Distance switch { < 6 => 0, < 8 => 1, _ => 4 },
        numbers.Attributes,
        numbers.Fails == 0);

    private void Run(TableFormat format, ulong window, TableCall[] calls)
    {
        using var rig = new Rig(format, window, SlotBytes);
        foreach (TableCall call in calls)
        {
            int count = Math.Min(call.Count, SlotCount - call.Slot);
            MappingAttributes attributes = Attributes[call.Attributes % Attributes.Length];
            switch (call.Kind)
            {
                case 0:
                    if (rig.IsAnyMapped(call.Slot, count)) rig.Unmap(call.Slot, count, fails: false);
                    rig.Map(call.Slot, count, call.Distance, attributes);
                    break;
                case 1:
                    rig.Unmap(call.Slot, count, call.Fails);
                    break;
                case 2:
                    rig.Protect(call.Slot, count, attributes, call.Fails);
                    break;
                case 3:
                    rig.Split(call.Slot, count, call.Fails);
                    break;
                default:
                    rig.Merge(call.Slot, count, call.Fails);
                    break;
            }

            rig.AssertSame($"{call} in {format}");
        }

        rig.Unmap(0, SlotCount, fails: false);
        rig.End();
    }

    /// <summary>A table, its memory, and what it should say.</summary>
    private sealed class Rig : IDisposable
    {
        private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 1 << 20));
        private readonly FrameAllocator _frames;
        private readonly TablePagePool _pages = new();
        private readonly InvalidationGather _gather = new();
        private readonly ulong _window;
        private readonly ulong _slotBytes;
        private readonly SortedDictionary<int, (ulong Address, MappingAttributes Attributes)> _slots = [];

        public Rig(TableFormat format, ulong window, ulong slotBytes)
        {
            _window = window;
            _slotBytes = slotBytes;
            _frames = new(_ram.Range);
            Assert.Equal(VcmmError.None, PageTable<TFormat, Ram>.TryCreate(_ram.Port, _frames, format, out PageTable<TFormat, Ram>? table));
            Table = table!;
        }

        public PageTable<TFormat, Ram> Table { get; }

        public Ram Port => _ram.Port;

        public void Dispose() => _ram.Dispose();

        public IovaRange RangeOf(int slot, int count)
        {
            ulong first = unchecked(_window + (ulong)slot * _slotBytes);
            return new(new(first), new(unchecked(first + (ulong)count * _slotBytes - 1)));
        }

        public bool IsAnyMapped(int slot, int count) => _slots.Keys.Any(key => key >= slot && key < slot + count);

        public IEnumerable<ulong> LeafSizes() => Table.Leaves().Select(leaf => leaf.Range.ByteCount);

        /// <summary>Memory that starts <paramref name="distance"/> slots behind the address's own: aligned like it, or not.</summary>
        public void Map(int slot, int count, int distance, MappingAttributes attributes)
        {
            // Empty tables would stand where large leaves should be.
            Table.Unmap(RangeOf(slot, count), _gather);
            if (_gather.HasTables) Table.Release(_gather);
            _gather.Clear();
            PhysRange[] segments = [PhysRange.FromLength(AddressOf(slot + distance), (ulong)count * _slotBytes)];
            Assert.Equal(VcmmError.None, _pages.TryFill(_frames, 4096, Table.CountMissingTables(RangeOf(slot, count).First, segments)));
            Table.Map(RangeOf(slot, count).First, segments, attributes, _pages);
            Assert.Equal(0, _pages.Count);
            for (int i = 0; i < count; i++) _slots[slot + i] = (AddressOf(slot + distance + i).Value, attributes);
        }

        public void Unmap(int slot, int count, bool fails)
        {
            Split(slot, count, fails: false);
            int[] mapped = [.. _slots.Keys.Where(key => key >= slot && key < slot + count)];
            ulong free = _frames.FreeBytes;
            Table.Unmap(RangeOf(slot, count), _gather);
            Assert.Equal(free, _frames.FreeBytes);
            Assert.DoesNotContain(Table.Leaves(), leaf => leaf.Range.Overlaps(RangeOf(slot, count)));
            AssertGathered(mapped);
            if (mapped.Length == 0 && !_gather.HasTables) Assert.Equal(0, _gather.Ranges.Length);
            if (fails)
            {
                Table.Relink(_gather);
                foreach (int key in mapped)
                    Table.Map(RangeOf(key, 1).First, [PhysRange.FromLength(new(_slots[key].Address), _slotBytes)], _slots[key].Attributes, Filled(key));
                _pages.ReturnAll(_frames);
            }
            else
            {
                Table.Release(_gather);
                foreach (int key in mapped) _slots.Remove(key);
            }

            _gather.Clear();
        }

        public void Protect(int slot, int count, MappingAttributes attributes, bool fails)
        {
            Split(slot, count, fails: false);
            int[] changed = [.. _slots.Where(entry => entry.Key >= slot && entry.Key < slot + count && entry.Value.Attributes != attributes).Select(entry => entry.Key)];
            Table.Protect(RangeOf(slot, count), attributes, _gather);
            AssertGathered(changed);
            if (changed.Length == 0) Assert.Equal(0, _gather.Ranges.Length);
            Assert.True(_gather.LeavesOnly);
            if (fails)
            {
                Table.Relink(_gather);
                // A large leaf goes back as a whole: it is several slots of one kind.
                for (int i = 0, run; i < changed.Length; i += run)
                {
                    run = 1;
                    while (i + run < changed.Length && changed[i + run] == changed[i] + run && _slots[changed[i + run]].Attributes == _slots[changed[i]].Attributes) run++;
                    Table.Protect(RangeOf(changed[i], run), _slots[changed[i]].Attributes, _gather);
                }
            }
            else
            {
                Table.Release(_gather);
                foreach (int key in changed) _slots[key] = (_slots[key].Address, attributes);
            }

            _gather.Clear();
        }

        public void Split(int slot, int count, bool fails)
        {
            ulong free = _frames.FreeBytes;
            Dictionary<ulong, byte[]> before = Bytes();
            int tables = Table.CountSplitTables(RangeOf(slot, count));
            Assert.Equal(VcmmError.None, _pages.TryFill(_frames, 4096, tables));
            Table.Split(RangeOf(slot, count), _pages, _gather);
            Assert.Equal(0, _pages.Count);
            Assert.Equal(tables != 0, _gather.Ranges.Length != 0);
            Assert.Equal(tables != 0 && TFormat.RequiresBreakBeforeMake, _gather.HasBroken);
            Assert.True(_gather.LeavesOnly);
            if (fails) Table.Relink(_gather);
            else Table.Release(_gather);
            _gather.Clear();
            if (fails && TFormat.RequiresBreakBeforeMake)
            {
                AssertBytes(before);
                Assert.Equal(free, _frames.FreeBytes);
                return;
            }

            foreach (ulong end in new[] { RangeOf(slot, count).First.Value, unchecked(RangeOf(slot, count).Last.Value + 1) })
                Assert.DoesNotContain(Table.Leaves(), leaf => leaf.Range.First.Value < end && end <= leaf.Range.Last.Value);
        }

        public bool Merge(int slot, int count, bool fails)
        {
            ulong free = _frames.FreeBytes;
            int leaves = Table.Leaves().Count();
            Dictionary<ulong, byte[]> before = Bytes();
            bool merged = Table.TryMerge(RangeOf(slot, count), _gather);
            Assert.Equal(free, _frames.FreeBytes);
            Assert.Equal((merged, merged), (_gather.Ranges.Length != 0, _gather.HasTables));
            Assert.Equal(merged && TFormat.RequiresBreakBeforeMake, _gather.HasBroken);
            if (fails)
            {
                Table.Relink(_gather);
                AssertBytes(before);
            }
            else
            {
                Table.Release(_gather);
                Assert.Equal(merged, Table.Leaves().Count() < leaves);
                Assert.Equal(merged, _frames.FreeBytes > free);
                Assert.False(Table.TryMerge(RangeOf(slot, count), _gather));
            }

            _gather.Clear();
            return merged;
        }

        public void AssertSame(string when)
        {
            TableAudit audit = Table.Audit();
            Assert.Empty(audit.Malformed);
            Assert.Equal(_frames.TotalBytes - _frames.FreeBytes, (ulong)audit.TablePages.Count << 12);
            Assert.Equal(audit.TablePages, Table.TablePages());
            Assert.True(Expected().SequenceEqual(audit.Mapping), when);
            for (int slot = 0; slot < SlotCount; slot++)
            {
                bool mapped = _slots.TryGetValue(slot, out (ulong Address, MappingAttributes Attributes) said);
                Assert.Equal(mapped, Table.TryWalk(RangeOf(slot, 1).Last, out Translation translation));
                if (!mapped) continue;
                Assert.Equal((said.Address + _slotBytes - 1, said.Attributes), (translation.Address.Value, translation.Attributes));
            }
        }

        public void End()
        {
            Assert.Empty(Table.Leaves());
            Table.Free();
            Assert.Equal(_frames.TotalBytes, _frames.FreeBytes);
        }

        /// <summary>
        /// The window's own address, small enough for every format, far from the tables.
        /// </summary>
        private PhysAddr AddressOf(int slot) => new((1UL << 32) + (ulong)slot * _slotBytes);

        private TablePagePool Filled(int key)
        {
            PhysRange[] segments = [PhysRange.FromLength(new(_slots[key].Address), _slotBytes)];
            Assert.Equal(VcmmError.None, _pages.TryFill(_frames, 4096, Table.CountMissingTables(RangeOf(key, 1).First, segments)));
            return _pages;
        }

        private void AssertGathered(int[] slots)
        {
            foreach (int slot in slots)
                Assert.Contains(_gather.Ranges.ToArray(), range => range.Contains(RangeOf(slot, 1)));
        }

        private IEnumerable<Leaf> Expected()
        {
            var leaves = new List<Leaf>();
            foreach ((int slot, (ulong address, MappingAttributes attributes)) in _slots)
            {
                IovaRange range = RangeOf(slot, 1);
                if (leaves.Count != 0
                    && leaves[^1].Range.Last.Value + 1 == range.First.Value
                    && leaves[^1].First.Value + leaves[^1].Range.ByteCount == address
                    && leaves[^1].Attributes == attributes)
                {
                    leaves[^1] = new(new(leaves[^1].Range.First, range.Last), leaves[^1].First, attributes);
                }
                else
                {
                    leaves.Add(new(range, new(address), attributes));
                }
            }

            return leaves;
        }

        private Dictionary<ulong, byte[]> Bytes()
        {
            var bytes = new Dictionary<ulong, byte[]>();
            foreach (PhysAddr page in Table.TablePages())
            {
                bytes[page.Value] = new byte[4096];
                _ram.Port.Read(page, bytes[page.Value]);
            }

            return bytes;
        }

        private void AssertBytes(Dictionary<ulong, byte[]> before)
        {
            Dictionary<ulong, byte[]> after = Bytes();
            Assert.Equal(before.Keys.Order(), after.Keys.Order());
            foreach ((ulong page, byte[] bytes) in before) Assert.Equal(bytes, after[page]);
        }
    }
}

[Collection(QuickFirst.Last + nameof(VtdSecondStageTables))]
public sealed class VtdSecondStageTables : TableContract<VtdSecondStage>
{
    protected override TableFormat[] Formats => [new(VtdSecondStage.Encoding, 5, 0b0010), new(VtdSecondStage.Encoding, 4, 0b1110)];

    protected override int SlotPages => 128;

    protected override int LargeSlots => 4;

    protected override ulong[] Windows => [0, (1UL << 48) - (16UL << 19)];

    [Fact]
    public void As_many_bytes_as_there_are_addresses_and_more_are_refused()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 1 << 16));
        Assert.Equal(VcmmError.None, PageTable<VtdSecondStage, Ram>.TryCreate(ram.Port, new FrameAllocator(ram.Range), Formats[^1], out PageTable<VtdSecondStage, Ram>? table));
        var all = new PhysRange(new(0), VtdSecondStage.LastPhysAddr);
        foreach (int excess in (int[])[0, 1])
        {
            PhysRange[] memory = [.. Enumerable.Repeat(all, (1 << 12) + excess)];
            Assert.Throws<ArgumentException>("segments", () => table!.Map(new(0), memory, Access.Read, new()));
        }
    }
}

[Collection(QuickFirst.Last + nameof(X86FirstStageTables))]
public sealed class X86FirstStageTables : TableContract<X86FirstStage>
{
    protected override TableFormat[] Formats => [new(X86FirstStage.Encoding, 4, 0b0010), new(X86FirstStage.Encoding, 5, 0b0110)];

    protected override int SlotPages => 128;

    protected override int LargeSlots => 4;

    /// <summary>The start of the upper half of four levels lies within that of five; the last window ends where addresses do.</summary>
    protected override ulong[] Windows => [0xFFFF_8000_0000_0000, unchecked(0UL - (16UL << 19))];

    [Theory]
    [InlineData(4, 0x0000_7FFF_FFFF_FFFFUL, 0xFFFF_8000_0000_0000UL)]
    [InlineData(5, 0x00FF_FFFF_FFFF_FFFFUL, 0xFF00_0000_0000_0000UL)]
    public void Addresses_are_canonical(int levels, ulong lastLow, ulong firstHigh)
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 1 << 16));
        var frames = new FrameAllocator(ram.Range);
        Assert.Equal(VcmmError.None, PageTable<X86FirstStage, Ram>.TryCreate(ram.Port, frames, new(X86FirstStage.Encoding, levels, 0b0010), out PageTable<X86FirstStage, Ram>? table));
        Assert.True(table!.Covers(new(new(0), new(lastLow))));
        Assert.True(table.Covers(new(new(firstHigh), new(ulong.MaxValue))));
        Assert.False(table.Covers(new(new(0), new(lastLow + 1))));
        Assert.False(table.Covers(new(new(firstHigh - 1), new(ulong.MaxValue))));
        Assert.False(table.Covers(new(new(lastLow), new(firstHigh))));
        var pages = new TablePagePool();
        PhysRange[] page = [PhysRange.FromLength(new(0x5000), 4096)];
        Assert.Equal(VcmmError.None, pages.TryFill(frames, 4096, table.CountMissingTables(new(firstHigh), page)));
        table.Map(new(firstHigh), page, Access.Read, pages);
        Assert.True(table.TryWalk(new(firstHigh + 1), out _));
        // The same bits below the sign are not the same address.
        Assert.False(table.TryWalk(new(lastLow + 2), out _));
        ulong last = ulong.MaxValue - 4095;
        Assert.Equal(VcmmError.None, pages.TryFill(frames, 4096, table.CountMissingTables(new(last), page)));
        table.Map(new(last), page, Access.Read, pages);
        Assert.True(table.TryWalk(new(ulong.MaxValue), out _));
        Assert.Equal([firstHigh, last], table.Leaves().Select(leaf => leaf.Range.First.Value));
    }
}

public sealed class OddFormatTables : TableContract<Properties.Library.OddFormat>
{
    protected override TableFormat[] Formats => [new(Properties.Library.OddFormat.Encoding, 5, 0b0010), new(Properties.Library.OddFormat.Encoding, 4, 0b1010)];

    protected override int SlotPages => 4;

    protected override int LargeSlots => 4;

    protected override ulong[] Windows => [0, 1UL << 18];
}
