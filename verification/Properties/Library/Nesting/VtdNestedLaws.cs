using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Library.Nesting;

/// <summary>The driver and nested tables: the entry as the specification's figure shows it, what the hardware is told, and what is refused.</summary>
public sealed class VtdNestedLaws
{
    private const ulong Page = ScalableSystem.Page;
    private const ulong PageWalkSnoop = 1UL << 23;

    private static readonly (ulong, ulong) Fence = ScalableSystem.Fence;
    private static readonly StreamId Device = ScalableSystem.Device;
    private static readonly DomainId Domain = new(0xABCD);
    private static readonly VtdOptions Hardware = VtdOptions.Scalable with { Nesting = true };

    [Theory]
    [InlineData(4, 4, true, false, false, 0xC9UL, 0x10UL)]
    [InlineData(4, 4, false, true, false, 0xC9UL, 0x20UL)]
    [InlineData(4, 5, false, false, false, 0xC9UL, 0x04UL)]
    [InlineData(3, 4, true, true, false, 0xC5UL, 0x30UL)]
    [InlineData(4, 5, true, true, true, 0x2C9UL, 0x34UL)]
    public void An_entry_of_both_stages_is_as_the_figure_shows(int outer, int nested, bool supervisor, bool execute, bool tracksUse, ulong low, ulong flags)
    {
        using var system = new ScalableSystem(
            Hardware with { SupervisorRequests = supervisor, ExecuteRequests = execute },
            new() { TracksUse = tracksUse, MaximumPasidCount = 1 << 15 });
        IPageTable table = system.CreateTable(system.Driver.Formats.ToList().FindIndex(format => format.LevelCount == outer));
        Iova root = new(0x12_3456_7000);
        Assert.Equal(VcmmError.None, system.Driver.AttachNested(Device, new Pasid(0x3F), Domain, table, new(Nested(system, nested), root)));
        Assert.Equal([table.Root.Value | low, Domain.Value | PageWalkSnoop, root.Value | flags, 0, 0, 0, 0, 0], system.PasidEntry(Device, 0x3F)!);
        Assert.Equal(VcmmError.None, system.Driver.AttachNested(Device, null, Domain, table, new(Nested(system, nested), root)));
        Assert.Equal(system.PasidEntry(Device, 0x3F)!, system.PasidEntry(Device, 0)!);
    }

    [Fact]
    public void Only_a_first_stage_format_is_nested_and_only_in_a_second_stage_one()
    {
        using var system = new ScalableSystem(Hardware);
        foreach (TableFormat outer in system.Driver.Formats)
        {
            foreach (TableFormat nested in system.Driver.Formats)
                Assert.Equal((outer.Encoding, nested.Encoding) == (VtdSecondStage.Encoding, X86FirstStage.Encoding), system.Driver.CanNest(outer, nested));
        }

        (TableFormat second, TableFormat first) = (system.Driver.Formats[0], Nested(system, 4));
        Assert.False(system.Driver.CanNest(second with { LevelCount = 6 }, first));
        Assert.False(system.Driver.CanNest(second, first with { LevelCount = 3 }));
        // Legacy mode has no first stage; and the hardware must say that it can.
        Assert.False(VtdDriver<Ram>.Start(system.Memory, system.Simulator, system.Frames).CanNest(second, first));
        using var without = new ScalableSystem(ecap: static ecap => ecap & ~(1UL << 26));
        Assert.False(without.Driver.CanNest(second, first));
    }

    [Fact]
    public void What_is_refused_takes_nothing()
    {
        using var system = new ScalableSystem(Hardware);
        (IPageTable table, TableFormat first) = (system.CreateTable(), Nested(system, 4));
        ulong free = system.Frames.FreeBytes, end = system.Driver.LastAddress.Value + 1;
        system.Told.Clear();
        foreach (NestedTable nested in (NestedTable[])[new(table.Format, new(Page)), new(first, new(Page + 8)), new(first, new(end))])
            Assert.Equal(VcmmError.Invalid, system.Driver.AttachNested(Device, null, Domain, table, nested));
        Assert.Equal(VcmmError.Invalid, system.Driver.AttachNested(Device, null, Domain, system.CreateFirstStageTable(), new(first, new(Page))));
        Assert.Equal(free - Page, system.Frames.FreeBytes);
        Assert.Empty(system.Told);
        Assert.Equal(VcmmError.None, system.Driver.AttachNested(Device, null, Domain, table, new(first, new(end - Page))));
        Assert.Throws<ArgumentOutOfRangeException>(() => system.Driver.AttachNested(Device, new Pasid(0), Domain, table, new(first, new(Page))));
        Assert.Throws<InvalidOperationException>(() => system.Driver.AttachNested(Device, null, Domain, table, new(first, new(Page))));

        // An IOMMU that knows nothing of it.
        IIommu none = new NoIommu();
        Assert.False(none.CanNest(table.Format, first));
        Assert.Equal(VcmmError.Invalid, none.AttachNested(Device, null, Domain, table, new(first, new(Page))));
        Assert.Equal(VcmmError.Invalid, none.InvalidateNested(Domain, IovaRange.FromLength(new(0), Page)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_detach_is_told_from_the_context_cache_down(bool cachesAbsent)
    {
        using var system = new ScalableSystem(Hardware, cap: cap => cachesAbsent ? cap | 1UL << 7 : cap);
        IPageTable table = system.CreateTable();
        NestedTable nested = new(Nested(system, 4), new(Page));
        (ulong, ulong) domain = (0xABCD_00E2UL, 0UL);
        system.Told.Clear();
        Assert.Equal(VcmmError.None, system.Driver.AttachNested(Device, null, Domain, table, nested));
        Assert.Equal(VcmmError.None, system.Driver.AttachNested(Device, new Pasid(0x7EDC), Domain, table, nested));
        // What is cached of absent entries has domain id 0.
        (ulong, ulong)[] first = [(0x0390_0000_0031, 0), Fence, (0x17, 0), (0xABCD_0017, 0), Fence, domain];
        (ulong, ulong)[] second = [(0x7EDC_0000_0017, 0), (0x7EDC_ABCD_0017, 0), Fence, domain];
        Assert.Equal(cachesAbsent ? [.. first, .. second] : [], system.Told);
        system.Told.Clear();
        int waits = system.Waits;
        Assert.Equal(VcmmError.None, system.Driver.Detach(Device, new Pasid(0x7EDC), Domain));
        Assert.Equal([(0x7EDC_ABCD_0017UL, 0UL), Fence, domain], system.Told);
        system.Told.Clear();
        Assert.Equal(VcmmError.None, system.Driver.Detach(Device, null, Domain));
        Assert.Equal([(0x0390_0000_0031UL, 0UL), Fence, (0xABCD_0007UL, 0UL), Fence, domain], system.Told);
        Assert.Equal(waits + 2, system.Waits);
    }

    /// <summary>Of the second stage a page is enough: what came through it by way of the first goes with it. Of the first, each PASID is told.</summary>
    [Fact]
    public void Each_stage_is_told_in_its_own_words_and_devices_after_it()
    {
        using var system = new ScalableSystem(Hardware with { DeviceTlbs = true });
        IPageTable table = system.CreateTable();
        NestedTable nested = new(Nested(system, 4), new(Page));
        var other = new StreamId(0x0102);
        system.Driver.EnableAts(other, new() { InvalidateQueueDepth = 3 });
        Assert.Equal(VcmmError.None, system.Driver.AttachNested(Device, null, Domain, table, nested));
        Assert.Equal(VcmmError.None, system.Driver.AttachNested(Device, new Pasid(9), Domain, table, nested));
        Assert.Equal(VcmmError.None, system.Driver.AttachNested(other, new Pasid(9), Domain, table, nested));
        Assert.Equal(VcmmError.None, system.Driver.Attach(other, null, new(2), table));

        // All pages of the PASID in the device's TLB; by pages it is told only of its own.
        (ulong, ulong) all = (0x0009_0102_0038UL, 0x7FFF_FFFF_FFFF_F800UL);
        Assert.Equal([(0xABCD_00F2, 0x5040), all], Tell(() => system.Driver.Invalidate([Of(Domain, 5, true)])));
        Assert.Equal([(0xABCD_00F2, 0x5000), (0xABCD_00F2, 0x9000), (0x0002_00F2, 0x5000), all, (0x0000_0102_0003_0003, 0x5000)],
            Tell(() => system.Driver.Invalidate([Of(Domain, 5), Of(Domain, 9), Of(new(2), 5)])));
        Assert.Equal([(0xABCD_0036, 0x5000), (0x0009_ABCD_0036, 0x5000), (0x0009_0102_0038, 0x5000)], Tell(() => system.Driver.InvalidateNested(Domain, Pages(5, 1))));
        Assert.Equal(
            [(0xABCD_0036, 0x5000), (0xABCD_0036, 0x6001), (0x0009_ABCD_0036, 0x5000), (0x0009_ABCD_0036, 0x6001), (0x0009_0102_0038, 0x5000), (0x0009_0102_0038, 0x6800)],
            Tell(() => system.Driver.InvalidateNested(Domain, Pages(5, 3))));
        Assert.Equal([(0xABCD_0026, 0), (0x0009_ABCD_0026, 0), all], Tell(() => system.Driver.InvalidateNested(Domain, new(new(0), new(ulong.MaxValue)))));
        // What is not nested, and what nobody has.
        Assert.Empty(Tell(() => system.Driver.InvalidateNested(new(2), Pages(5, 1))));
        Assert.Empty(Tell(() => system.Driver.InvalidateNested(new(3), Pages(5, 1))));

        Assert.Equal(VcmmError.None, system.Driver.Detach(other, new Pasid(9), Domain));
        Assert.Equal([(0xABCD_0036, 0x5000), (0x0009_ABCD_0036, 0x5000)], Tell(() => system.Driver.InvalidateNested(Domain, Pages(5, 1))));
        Assert.Equal(VcmmError.None, system.Driver.Detach(Device, new Pasid(9), Domain));
        Assert.Equal([(0xABCD_0036, 0x5000)], Tell(() => system.Driver.InvalidateNested(Domain, Pages(5, 1))));
        Assert.Equal(VcmmError.None, system.Driver.Detach(Device, null, Domain));
        Assert.Empty(Tell(() => system.Driver.InvalidateNested(Domain, Pages(5, 1))));

        // The id may be that of any table next.
        system.Driver.ReleaseDomain(Domain);
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, new Pasid(7), Domain, system.CreateFirstStageTable()));
        Assert.Equal([(0x0007_ABCD_0036, 0x5000)], Tell(() => system.Driver.Invalidate([Of(Domain, 5)])));
        Assert.Empty(Tell(() => system.Driver.InvalidateNested(Domain, Pages(5, 1))));

        List<(ulong, ulong)> Tell(Func<VcmmError> call)
        {
            system.Told.Clear();
            int waits = system.Waits;
            Assert.Equal(VcmmError.None, call());
            Assert.Equal(system.Told.Count == 0 ? waits : waits + 1, system.Waits);
            return [.. system.Told];
        }
    }

    /// <summary>All that they have goes: to be told that once is enough, however many they are.</summary>
    [Fact]
    public void Of_many_ranges_of_a_second_stage_each_device_is_told_once()
    {
        using var system = new ScalableSystem(Hardware with { DeviceTlbs = true });
        IPageTable table = system.CreateTable();
        NestedTable nested = new(Nested(system, 4), new(Page));
        for (uint id = 0x0102; id <= 0x0103; id++)
        {
            system.Driver.EnableAts(new(id), new() { InvalidateQueueDepth = 3 });
            Assert.Equal(VcmmError.None, system.Driver.AttachNested(new(id), new Pasid(9), Domain, table, nested));
        }

        system.Told.Clear();
        Assert.Equal(VcmmError.None, system.Driver.Invalidate([Of(Domain, 5), Of(Domain, 9), Of(Domain, 13)]));
        Assert.Equal(
            [
                (0xABCD_00F2, 0x5000), (0xABCD_00F2, 0x9000), (0xABCD_00F2, 0xD000),
                (0x0009_0102_0038UL, 0x7FFF_FFFF_FFFF_F800UL), (0x0009_0103_0038UL, 0x7FFF_FFFF_FFFF_F800UL),
            ],
            system.Told);
    }

    /// <summary>More commands than the queue takes at once are told in parts.</summary>
    [Fact]
    public void As_many_PASIDs_as_there_are_are_told()
    {
        using var system = new ScalableSystem(Hardware);
        IPageTable table = system.CreateTable();
        NestedTable nested = new(Nested(system, 4), new(Page));
        for (uint pasid = 1; pasid <= 200; pasid++) Assert.Equal(VcmmError.None, system.Driver.AttachNested(Device, new Pasid(pasid), Domain, table, nested));
        system.Told.Clear();
        int waits = system.Waits;
        Assert.Equal(VcmmError.None, system.Driver.InvalidateNested(Domain, Pages(5, 1)));
        Assert.Equal(Enumerable.Range(1, 200).Select(static pasid => ((ulong)pasid << 32 | 0xABCD_0036UL, 0x5000UL)), system.Told);
        Assert.Equal(waits + 2, system.Waits);
        int bells = 0;
        system.OnDoorbell = () => bells++ != 0;
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.InvalidateNested(Domain, Pages(5, 1)));
        Assert.Equal(VcmmError.None, system.Driver.InvalidateNested(Domain, Pages(5, 1)));
    }

    private static IovaRange Pages(ulong first, ulong count) => IovaRange.FromLength(new(first * Page), count * Page);

    private static Invalidation Of(DomainId domain, ulong page, bool leavesOnly = false) => new(domain, Pages(page, 1), leavesOnly);

    private static TableFormat Nested(ScalableSystem system, int levelCount) =>
        system.Driver.Formats.First(format => format.Encoding == X86FirstStage.Encoding && format.LevelCount == levelCount);
}
