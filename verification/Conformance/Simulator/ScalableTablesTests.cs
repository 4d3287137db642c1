using IommuSim;
using Platform;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>The decoder of contexts, PASIDs and tables of the scalable mode agrees with rows typed by hand, and with the hardware.</summary>
public sealed class ScalableTablesTests
{
    private static readonly VtdOptions Options = VtdOptions.Scalable;
    private static readonly PhysAddr RootTable = new(Root | 1 << 10);

    private static (VtdFaultReason Reason, DecodedTranslation Translation) Find(RawScalable vtd, uint? pasid, StreamId? source = null, ulong mode = 1)
    {
        VtdFaultReason reason = VtdTables.FindTranslation(
            vtd.Memory, new(Root | mode << 10), source ?? Device, pasid is { } value ? new Pasid(value) : null, out DecodedTranslation found, Options);
        return (reason, found);
    }

    [Fact]
    public void A_request_is_traced_to_its_tables()
    {
        using var vtd = new RawScalable();
        vtd.SetPasid(3, FirstStage, 9 | Snoop, First5 | FiveLevels | Wpe);
        vtd.SetPasid(4, PassThrough, 10, Sre);
        vtd.SetPasid(5, 1 | 2 << 6 | 1 << 2 | Second3 | 1 << 9, 11 | Snoop, 0);
        Assert.Equal(new(TranslationStage.SecondStage, new(Second4), 4, new(7), RidPasid, false, false, false), Find(vtd, null).Translation);
        Assert.Equal(new(TranslationStage.FirstStage, new(First4), 4, new(8), FirstPasid, true, false, true), Find(vtd, 2).Translation);
        Assert.Equal(new(TranslationStage.FirstStage, new(First5), 5, new(9), new Pasid(3), true, true, false), Find(vtd, 3).Translation);
        Assert.Equal((TranslationStage.PassThrough, true), (Find(vtd, 4).Translation.Stage, Find(vtd, 4).Translation.Supervisor));
        Assert.Equal(new(TranslationStage.SecondStage, new(Second3), 3, new(11), new Pasid(5), true, false, false), Find(vtd, 5).Translation);
        vtd.Set(Context + 0x20 * 16, Second4 | 1, 2 | SecondDomain << 8);
        Assert.Equal(new(TranslationStage.SecondStage, new(Second4), 4, new(7), null, false, false, false), Find(vtd, null, mode: 0).Translation);
    }

    /// <summary>What is broken, and the reason; the unit itself must say the same.</summary>
    public static TheoryData<string, uint, byte> Broken => new()
    {
        { "root", 2, 0x39 }, { "root-reserved", 2, 0x3A }, { "root-outside", 2, 0x40 },
        { "context", 2, 0x41 }, { "context-reserved", 2, 0x42 }, { "context-invalid", 2, 0x43 }, { "pasid-off", 2, 0x45 },
        { "nothing", 1 << 13, 0x46 }, { "nothing", 1, 0x48 },
        { "directory-outside", 2, 0x50 }, { "nothing", 64, 0x51 }, { "directory-reserved", 2, 0x52 },
        { "table-outside", 2, 0x58 }, { "nothing", 5, 0x59 }, { "entry-reserved", 2, 0x5A }, { "entry-invalid", 2, 0x5B },
    };

    [Theory]
    [MemberData(nameof(Broken))]
    public void What_stands_in_the_way_is_told_as_the_unit_tells_it(string what, uint pasid, byte reason)
    {
        using var vtd = new RawScalable(NoCaches);
        const ulong good = PasidDirectory | 1 | 1 << 3;
        switch (what)
        {
            case "root": vtd.Write(Root, 0); break;
            case "root-reserved": vtd.Write(Root, Context | 3); break;
            case "root-outside": vtd.Write(Root, MemoryBytes | 1); break;
            case "context": vtd.SetContext(0, 0); break;
            case "context-reserved": vtd.SetContext(good | 1 << 8, 1); break;
            case "context-invalid": vtd.SetContext(good, 1 << 13); break;
            case "pasid-off": vtd.SetContext(PasidDirectory | 1, 1); break;
            case "directory-outside": vtd.SetContext(MemoryBytes | 1 | 1 << 3, 1); break;
            case "directory-reserved": vtd.Write(PasidDirectory, PasidTable | 5); break;
            case "table-outside": vtd.Write(PasidDirectory, MemoryBytes | 1); break;
            case "entry-reserved": vtd.SetPasid(2, FirstStage, 1UL << 63, First4); break;
            case "entry-invalid": vtd.SetPasid(2, 1, 8, First4); break;
        }

        Assert.Equal(((VtdFaultReason)reason, default(DecodedTranslation)), Find(vtd, pasid));
        vtd.Faults(reason, pasid: pasid);
    }

    [Fact]
    public void A_misprogrammed_mode_and_a_supervisor_without_leave_are_told()
    {
        using var vtd = new RawScalable();
        Assert.Equal(VtdFaultReason.RootTableAddressMisprogrammed, Find(vtd, null, mode: 2).Reason);
        Assert.Equal(VtdFaultReason.PasidInLegacyMode, Find(vtd, 2, mode: 0).Reason);
        vtd.SetContext(PasidDirectory | 1 | 1 << 3, 1 | 1 << 20);
        Assert.Equal(VtdFaultReason.SupervisorNotEnabled, Find(vtd, null).Reason);
        Assert.Equal(VtdFaultReason.ScalableRootEntryNotPresent, Find(vtd, null, UpperDevice).Reason);
    }

    [Fact]
    public void The_PASIDs_of_a_device_are_listed_with_what_is_wrong_with_them()
    {
        using var vtd = new RawScalable();
        vtd.SetPasid(5, FirstStage, 1UL << 63, First4);
        vtd.Write(PasidDirectory + 2 * 8, PasidTable | 5);
        vtd.Write(PasidDirectory + 3 * 8, MemoryBytes | 1);
        vtd.Write(PasidDirectory + 127 * 8, 0x15000 | 1);
        vtd.Set(0x15000 + 63 * 64, PassThrough, 12);
        Assert.Equal(
            [(1, 0x00), (2, 0x00), (5, 0x5A), (128, 0x52), (192, 0x58), (8191, 0x00)],
            VtdTables.Pasids(vtd.Memory, RootTable, Device, Options).Select(found => ((int)found.Pasid.Value, (int)found.Reason)));
        Assert.Equal(
            new DecodedTranslation(TranslationStage.FirstStage, new(First4), 4, new(8), FirstPasid, true, false, true),
            VtdTables.Pasids(vtd.Memory, RootTable, Device, Options).Single(found => found.Pasid == FirstPasid).Translation);
        Assert.Empty(VtdTables.Pasids(vtd.Memory, RootTable, UpperDevice, Options));
        Assert.Empty(VtdTables.Pasids(vtd.Memory, new(Root), Device, Options));
        vtd.SetContext(PasidDirectory | 1 | 1 << 3 | 1 << 8, 1);
        Assert.Empty(VtdTables.Pasids(vtd.Memory, RootTable, Device, Options));
    }

    [Fact]
    public void Each_PASID_is_listed_once_and_none_beyond_the_directory()
    {
        using var vtd = new RawScalable();
        vtd.SetPasid(0, PassThrough, 12, 0);
        // The second entry leads to the same table; the 129th lies behind a directory of 128.
        vtd.Write(PasidDirectory + 8, PasidTable | 1);
        vtd.Write(PasidDirectory + 128 * 8, PasidTable | 1);
        Assert.Equal([0, 1, 2, 64, 65, 66], VtdTables.Pasids(vtd.Memory, RootTable, Device, Options).Select(static found => (int)found.Pasid.Value));
    }

    [Fact]
    public void A_directory_where_no_memory_is_is_told_once_for_each_of_its_entries()
    {
        using var vtd = new RawScalable();
        vtd.SetContext(MemoryBytes | 1 | 1 << 3, 1);
        DecodedPasid[] found = [.. VtdTables.Pasids(vtd.Memory, RootTable, Device, Options)];
        Assert.Equal(Enumerable.Range(0, 128).Select(static i => (uint)i * 64), found.Select(static each => each.Pasid.Value));
        Assert.All(found, static each => Assert.Equal(VtdFaultReason.PasidDirectoryEntryUnreachable, each.Reason));
    }

    [Fact]
    public void A_requester_id_of_more_than_16_bits_is_refused()
    {
        using var vtd = new RawScalable();
        var source = new StreamId(0x1_0000);
        Assert.Equal("source", Assert.Throws<ArgumentOutOfRangeException>(() => Find(vtd, null, source)).ParamName);
        Assert.Equal("source", Assert.Throws<ArgumentOutOfRangeException>(() => VtdTables.Pasids(vtd.Memory, RootTable, source, Options)).ParamName);
    }

    [Fact]
    public void The_memory_type_of_a_small_page_is_not_read_from_its_address()
    {
        using var vtd = new RawScalable();
        vtd.SetFirst(1, FrameB | Pwu);
        Assert.Equal(new DecodedLeaf(new(0x1000), 4096, new(FrameB), true, true, true, true), VtdTables.Leaves(vtd.Memory, new(First4), 4, Options, TranslationStage.FirstStage).First());
    }

    /// <summary>As large as a page would be that no unit has.</summary>
    [Fact]
    public void A_second_stage_entry_above_the_pages_is_no_leaf_whatever_the_unit_has()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.Write(Second4, 1 << 7 | Rw);
        vtd.Faults(0x7A);
    }

    [Fact]
    public void First_stage_leaves_come_in_order_with_the_permission_of_their_path_and_their_memory_type()
    {
        using var vtd = new RawScalable();
        vtd.SetFirst(511, FrameB | Pu | 1 << 7 | 1 << 3 | 1UL << 63);
        vtd.Write(First2 + 511 * 8, 0x400000 | 1 << 12 | 1 << 7 | P);
        vtd.Write(First3 + 511 * 8, 1UL << 40 | 1 << 7 | 1 << 4 | 1 << 3 | Pwu);
        Assert.Equal(
            [
                new DecodedLeaf(new(0x1000), 4096, new(FrameA), true, true, true, true),
                new DecodedLeaf(new(0x1FF000), 4096, new(FrameB), true, false, true, false, 5),
                new DecodedLeaf(new(0x3FE00000), 1 << 21, new(0x400000), true, false, false, true, 4),
                new DecodedLeaf(new(0x7FC0000000), 1 << 30, new(1UL << 40), true, true, true, true, 3),
            ],
            VtdTables.Leaves(vtd.Memory, new(First4), 4, Options, TranslationStage.FirstStage));
        vtd.Write(First5, 0);
        vtd.Write(First5 + 511 * 8, First4 | Pw);
        DecodedLeaf first = VtdTables.Leaves(vtd.Memory, new(First5), 5, Options, TranslationStage.FirstStage).First();
        Assert.Equal((511UL << 48 | 0x1000, false), (first.First.Value, first.User));
        Assert.Equal(
            new ulong[] { First5, First4, First3, First2, First1 },
            VtdTables.TablePages(vtd.Memory, new(First5), 5, Options, TranslationStage.FirstStage).Select(page => page.Value));
        Assert.Throws<ArgumentOutOfRangeException>(() => VtdTables.Leaves(vtd.Memory, new(First4), 3, Options, TranslationStage.FirstStage));
        Assert.Throws<ArgumentOutOfRangeException>(() => VtdTables.Leaves(vtd.Memory, new(First4), 6, Options));
        Assert.Throws<ArgumentOutOfRangeException>(() => VtdTables.Leaves(vtd.Memory, new(First4), 4, Options, TranslationStage.PassThrough));
    }

    [Fact]
    public void Malformed_first_stage_entries_are_told_apart_from_absent_ones()
    {
        using var vtd = new RawScalable();
        vtd.SetFirst(2, (FrameA | Pwu | 1UL << 48) & ~1UL);
        vtd.SetFirst(3, FrameA | Pwu | 1UL << 48);
        vtd.Write(First2 + 8, 1UL << 13 | 1 << 7 | Pwu);
        vtd.Write(First2 + 16, MemoryBytes | Pwu);
        vtd.Write(First4 + 8, 1 << 7 | Pwu);
        Assert.Equal(
            [
                new MalformedEntry(new(0x3000), 1, new(First1 + 24), VtdFaultReason.FirstStageEntryReserved),
                new MalformedEntry(new(0x200000), 2, new(First2 + 8), VtdFaultReason.FirstStageEntryReserved),
                new MalformedEntry(new(0x400000), 1, new(MemoryBytes), VtdFaultReason.FirstStageEntryUnreachable),
                new MalformedEntry(new(1UL << 39), 4, new(First4 + 8), VtdFaultReason.FirstStageEntryReserved),
            ],
            VtdTables.Malformed(vtd.Memory, new(First4), 4, Options, TranslationStage.FirstStage));
    }
}
