using IommuSim;
using Platform;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>The decoder agrees with the walker, and both with rows typed by hand.</summary>
public sealed class VtdTablesTests
{
    [Fact]
    public void Leaves_of_each_size_come_in_order_with_the_permission_of_their_path()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(0, FrameA | ReadWrite);
        vtd.SetPage(511, FrameB | 1);
        vtd.Write(Table2 + 511 * 8, 0x400000 | 1 << 7 | 2);
        vtd.Write(Table3 + 511 * 8, 1UL << 40 | 1 << 7 | ReadWrite);
        vtd.Write(Table4 + 511 * 8, 0x28000 | 1);
        vtd.Write(0x28000 + 511 * 8, 1UL << 30 | 1 << 7 | ReadWrite);
        Assert.Equal(
            [
                new DecodedLeaf(new(0), 4096, new(FrameA), true, true),
                new DecodedLeaf(new(0x1FF000), 4096, new(FrameB), true, false),
                new DecodedLeaf(new(0x3FE00000), 1 << 21, new(0x400000), false, true),
                new DecodedLeaf(new(0x7FC0000000), 1 << 30, new(1UL << 40), true, true),
                new DecodedLeaf(new(0xFFFFC0000000), 1 << 30, new(1UL << 30), true, false),
            ],
            VtdTables.Leaves(vtd.Memory, new(Table4), 4));
        Assert.Equal(
            new ulong[] { 0, 0x1FF000, 0x3FE00000, 0x7FC0000000 },
            VtdTables.Leaves(vtd.Memory, new(Table3), 3).Select(leaf => leaf.First.Value));
        Assert.Empty(VtdTables.Malformed(vtd.Memory, new(Table4), 4));
        Assert.Throws<ArgumentOutOfRangeException>(() => VtdTables.Leaves(vtd.Memory, new(Table4), 6));
    }

    [Fact]
    public void What_the_hardware_lacks_is_told_by_its_options()
    {
        using var vtd = new RawVtd();
        vtd.Write(Table2 + 8, 0x400000 | 1 << 7 | ReadWrite);
        vtd.Write(Table2 + 16, 1UL << 40 | ReadWrite);
        VtdOptions less = VtdOptions.Default with { Pages2M = false, PassThrough = false, HostAddressWidth = 39 };
        Assert.Single(VtdTables.Leaves(vtd.Memory, new(Table4), 4));
        Assert.Empty(VtdTables.Leaves(vtd.Memory, new(Table4), 4, less));
        Assert.Equal(1UL << 40, Assert.Single(VtdTables.Malformed(vtd.Memory, new(Table4), 4)).EntryAddress.Value);
        Assert.Equal([Table2 + 8, Table2 + 16], VtdTables.Malformed(vtd.Memory, new(Table4), 4, less).Select(static entry => entry.EntryAddress.Value));
        Assert.Equal([Table4, Table3, Table2, Table1, 1UL << 40], VtdTables.TablePages(vtd.Memory, new(Table4), 4).Select(static page => page.Value));
        Assert.Equal([Table4, Table3, Table2, Table1], VtdTables.TablePages(vtd.Memory, new(Table4), 4, less).Select(static page => page.Value));
        vtd.SetContext(Device, 1 | 2 << 2, 2 | DomainId << 8);
        Assert.True(VtdTables.TryFindContext(vtd.Memory, new(Root), Device, out _));
        Assert.False(VtdTables.TryFindContext(vtd.Memory, new(Root), Device, out _, less));
        Assert.Equal(VtdFaultReason.None, VtdTables.FindTranslation(vtd.Memory, new(Root), Device, null, out _));
        Assert.NotEqual(VtdFaultReason.None, VtdTables.FindTranslation(vtd.Memory, new(Root), Device, null, out _, less));
    }

    [Fact]
    public void Table_pages_are_each_given_once_and_large_pages_are_none()
    {
        using var vtd = new RawVtd();
        vtd.Write(Table2 + 8, Table1 | ReadWrite);
        vtd.Write(Table2 + 16, 0x200000 | 1 << 7 | ReadWrite);
        vtd.Write(Table2 + 24, 0x28000);
        Assert.Equal(
            new ulong[] { Table4, Table3, Table2, Table1 },
            VtdTables.TablePages(vtd.Memory, new(Table4), 4).Select(page => page.Value));
    }

    [Fact]
    public void Tables_that_point_at_themselves_end()
    {
        using var vtd = new RawVtd();
        for (ulong i = 0; i < 512; i++) vtd.Write(Table4 + i * 8, Table4 | ReadWrite);
        Assert.Equal([new PhysAddr(Table4)], VtdTables.TablePages(vtd.Memory, new(Table4), 4));
        // Each walk ends at the last level; the page is the table itself.
        Assert.Equal(new PhysAddr(Table4), VtdTables.Leaves(vtd.Memory, new(Table4), 4).First().Address);
        vtd.AssertReads(0xFFFF_FFFF_FFFF, Table4 | 0xFFF);
    }

    [Fact]
    public void Malformed_entries_are_told_apart_from_absent_ones()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(3, FrameA | ReadWrite | 1 << 11);
        vtd.SetPage(4, FrameA | 1 << 11);
        vtd.Write(Table2 + 8, 0x201000 | 1 << 7 | ReadWrite);
        vtd.Write(Table3 + 8, MemoryBytes | ReadWrite);
        Assert.Equal(
            [
                new MalformedEntry(new(0x3000), 1, new(Table1 + 24), VtdFaultReason.PagingEntryReserved),
                new MalformedEntry(new(0x200000), 2, new(Table2 + 8), VtdFaultReason.PagingEntryReserved),
                new MalformedEntry(new(1UL << 30), 2, new(MemoryBytes), VtdFaultReason.NextTablePointerInvalid),
            ],
            VtdTables.Malformed(vtd.Memory, new(Table4), 4));
        Assert.Empty(VtdTables.Leaves(vtd.Memory, new(Table4), 4));
    }

    [Fact]
    public void A_context_is_found_where_the_hardware_would_use_it()
    {
        using var vtd = new RawVtd();
        Assert.True(VtdTables.TryFindContext(vtd.Memory, new(Root), Device, out DecodedContext context));
        Assert.Equal(new DecodedContext(new(Table4), 4, new(7), false), context);
        Assert.False(VtdTables.TryFindContext(vtd.Memory, new(Root), new(0x21), out _));
        Assert.False(VtdTables.TryFindContext(vtd.Memory, new(Root), new(0x120), out _));
        Assert.False(VtdTables.TryFindContext(vtd.Memory, new(MemoryBytes), Device, out _));
        vtd.SetContext(Device, Table4 | 1, 3);
        Assert.False(VtdTables.TryFindContext(vtd.Memory, new(Root), Device, out _));
        vtd.SetContext(Device, 1 | 2 << 2, 1 | 0xFFFF << 8);
        Assert.True(VtdTables.TryFindContext(vtd.Memory, new(Root), Device, out context));
        Assert.Equal(new DecodedContext(new(0), 3, new(0xFFFF), true), context);
        vtd.Write(Root + 8, 1);
        Assert.False(VtdTables.TryFindContext(vtd.Memory, new(Root), Device, out _));
    }

    /// <summary>Random small tables: the walker and the decoder say the same of every page of the first GiB's tables.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void The_decoder_and_the_walker_agree_on_random_tables(int seed)
    {
        var random = new Random(seed);
        using var vtd = new RawVtd(VtdOptions.Default with { IotlbSets = 0, WalkCacheEntriesPerLevel = 0, ContextCacheEntries = 0 });
        vtd.Write(Table2 + 8, 0x28000 | (ulong)random.NextInt64(4));
        vtd.Write(Table2 + 16, 0x400000 | 1 << 7 | (ulong)random.NextInt64(4));
        foreach (ulong table in new[] { Table1, 0x28000UL })
        {
            for (ulong i = 0; i < 512; i++)
            {
                ulong entry = (ulong)random.NextInt64(4) | (ulong)random.NextInt64(0x1000) << 12 | (random.Next(8) == 0 ? 1UL << random.Next(64) : 0);
                vtd.Write(table + i * 8, entry);
            }
        }

        var leaves = VtdTables.Leaves(vtd.Memory, new(Table4), 4)
            .SelectMany(leaf => Enumerable.Range(0, (int)(leaf.ByteCount >> 12))
                .Select(page => (Page: (leaf.First.Value >> 12) + (ulong)page, leaf, Offset: (ulong)page << 12)))
            .ToDictionary(found => found.Page);
        int translated = 0;
        for (ulong page = 0; page < 4 * 512; page++)
        {
            TranslationResult read = vtd.Read(page << 12);
            TranslationResult write = vtd.WriteTo(page << 12);
            bool isMapped = leaves.TryGetValue(page, out var found);
            Assert.Equal(isMapped && found.leaf.Read, read.Ok);
            Assert.Equal(isMapped && found.leaf.Write, write.Ok);
            if (read.Ok) Assert.Equal(found.leaf.Address.Value + found.Offset, read.Address.Value);
            if (write.Ok) Assert.Equal(found.leaf.Address.Value + found.Offset, write.Address.Value);
            if (read.Ok || write.Ok) translated++;
        }

        Assert.InRange(translated, 200, 1500);
    }
}
