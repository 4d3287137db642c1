using Harness;
using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>Scalable mode: what the hardware is told, descriptor by descriptor, as "Guidance to Software for Invalidations" asks.</summary>
public sealed class VtdScalableCommandLaws
{
    private const ulong Page = ScalableSystem.Page;
    private static readonly (ulong, ulong) Fence = ScalableSystem.Fence;
    private static readonly StreamId Device = ScalableSystem.Device;
    private static readonly DomainId Domain = new(0xABCD);

    [Fact]
    public void A_start_sets_the_queue_up_with_wide_descriptors_first_and_forgets_everything_cache_by_cache()
    {
        var commands = new List<uint>();
        var registers = new List<uint>();
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 1 << 20));
        var hooked = new HookedRegisters(new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Scalable));
        hooked.BeforeWrite32 = (offset, value) =>
        {
            if (offset == 0x18) commands.Add(value);
        };
        hooked.BeforeWrite64 = (offset, value) =>
        {
            if (offset == 0x90) Assert.Equal(0x800UL, value & 0xFFF);
            if (offset == 0x20) Assert.Equal(0x400UL, value & 0xFFF);
            registers.Add(offset);
            return true;
        };
        VtdDriver<Ram>.Start(ram.Port, hooked, new Vcmm.Allocation.FrameAllocator(ram.Range), new() { Scalable = true });
        Assert.Equal([0x0400_0000u, 0x4400_0000u, 0x8400_0000u], commands);
        // IQT, IQA, RTADDR, and IQT with the invalidations.
        Assert.Equal([0x88u, 0x90u, 0x20u, 0x88u], registers);

        using var system = new ScalableSystem();
        Assert.Equal([(0x11UL, 0UL), Fence, (0x37UL, 0UL), Fence, (0xD2UL, 0UL)], system.Told);
        Assert.Equal(1, system.Waits);
    }

    [Fact]
    public void Translation_in_the_other_mode_is_off_before_the_mode_changes()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 1 << 20));
        var simulator = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Scalable);
        var frames = new Vcmm.Allocation.FrameAllocator(ram.Range);
        VtdDriver<Ram>.Start(ram.Port, simulator, frames);
        Assert.Equal(0x8400_0000, simulator.Read32(0x1C) & 0x8400_0000);
        var hooked = new HookedRegisters(simulator);
        hooked.BeforeWrite64 = (offset, _) =>
        {
            if (offset is 0x20 or 0x90) Assert.Equal(0u, simulator.Read32(0x1C) & 0x8000_0000);
            return true;
        };
        VtdDriver<Ram>.Start(ram.Port, hooked, frames, new() { Scalable = true });
        Assert.Equal(0x8400_0000, simulator.Read32(0x1C) & 0x8400_0000);
        Assert.Equal(0x400UL, simulator.Read64(0x20) & 0xC00);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_detach_is_told_from_the_context_cache_down(bool isFirstStage)
    {
        using var system = new ScalableSystem();
        IPageTable table = isFirstStage ? system.CreateFirstStageTable() : system.CreateTable();
        system.Told.Clear();
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, null, Domain, table));
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, new Pasid(0x7EDC), Domain, table));
        Assert.Empty(system.Told);
        int waits = system.Waits, doorbells = system.Doorbells;
        Assert.Equal(VcmmError.None, system.Driver.Detach(Device, new Pasid(0x7EDC), Domain));
        (ulong, ulong) domain = (0xABCD_00E2UL, 0UL);
        Assert.Equal([(0x7EDC_ABCD_0017UL, 0UL), Fence, isFirstStage ? (0x7EDC_ABCD_0026UL, 0UL) : domain], system.Told);
        Assert.Equal((waits + 1, doorbells + 1), (system.Waits, system.Doorbells));
        system.Told.Clear();
        Assert.Equal(VcmmError.None, system.Driver.Detach(Device, null, Domain));
        (ulong, ulong)[] last = [(0x0390_0000_0031UL, 0UL), Fence, (0xABCD_0007UL, 0UL), Fence];
        Assert.Equal(isFirstStage ? [.. last, (0xABCD_0026UL, 0UL), domain] : [.. last, domain], system.Told);
        Assert.Equal((waits + 2, doorbells + 2), (system.Waits, system.Doorbells));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void In_caching_mode_an_attach_is_told_too(bool isFirstStage)
    {
        using var system = new ScalableSystem(cap: static cap => cap | 1UL << 7);
        Assert.True(system.Driver.CachesAbsent);
        IPageTable table = isFirstStage ? system.CreateFirstStageTable() : system.CreateTable();
        (ulong, ulong) last = isFirstStage ? (0x0001_ABCD_0026UL, 0UL) : (0xABCD_00E2UL, 0UL);
        // What is cached of absent entries has domain id 0.
        (ulong, ulong)[] ofPasid = [(0x0001_0000_0017, 0), (0x0001_ABCD_0017, 0), Fence, last];
        system.Told.Clear();
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, new Pasid(1), Domain, table));
        Assert.Equal([(0x0390_0000_0031, 0), Fence, .. ofPasid], system.Told);
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, null, Domain, table));
        Assert.Equal(VcmmError.None, system.Driver.Detach(Device, new Pasid(1), Domain));
        system.Told.Clear();
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, new Pasid(1), Domain, table));
        Assert.Equal(ofPasid, system.Told);
    }

    [Fact]
    public void What_a_first_stage_table_gave_is_forgotten_under_every_PASID_of_its_domain_and_no_other()
    {
        using var system = new ScalableSystem();
        IPageTable table = system.CreateFirstStageTable();
        var other = new StreamId(0x0102);
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, null, Domain, table));
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, new Pasid(0x7FFF), Domain, table));
        Assert.Equal(VcmmError.None, system.Driver.Attach(other, new Pasid(0x7FFF), Domain, table));
        Assert.Equal(VcmmError.None, system.Driver.Attach(other, new Pasid(9), new(2), table));
        Assert.Equal(VcmmError.None, system.Driver.Attach(other, null, new(3), system.CreateTable()));

        Assert.Equal([(0xABCD_0036, 0x5040), (0x7FFF_ABCD_0036, 0x5040)], Tell(Domain, 0x5000, 1, leavesOnly: true));
        Assert.Equal([(0xABCD_0036, 0x8000_0012), (0x7FFF_ABCD_0036, 0x8000_0012)], Tell(Domain, 0x8000_0000, 1 << 18, leavesOnly: false));
        Assert.Equal([(0xABCD_0026, 0), (0x7FFF_ABCD_0026, 0)], Tell(Domain, 0, 1UL << 36, leavesOnly: false));
        Assert.Equal([(0x0009_0002_0036, 0x5000)], Tell(new(2), 0x5000, 1, leavesOnly: false));
        Assert.Equal([(0x0003_00F2, 0x5000)], Tell(new(3), 0x5000, 1, leavesOnly: false));

        // Of two devices with one PASID the first that goes leaves it.
        Assert.Equal(VcmmError.None, system.Driver.Detach(Device, new Pasid(0x7FFF), Domain));
        Assert.Equal([(0xABCD_0036, 0x5000), (0x7FFF_ABCD_0036, 0x5000)], Tell(Domain, 0x5000, 1, leavesOnly: false));
        Assert.Equal(VcmmError.None, system.Driver.Detach(other, new Pasid(0x7FFF), Domain));
        Assert.Equal([(0xABCD_0036, 0x5000)], Tell(Domain, 0x5000, 1, leavesOnly: false));
        Assert.Equal(VcmmError.None, system.Driver.Detach(Device, null, Domain));
        int doorbells = system.Doorbells;
        Assert.Empty(Tell(Domain, 0x5000, 1, leavesOnly: false));
        Assert.Equal(doorbells, system.Doorbells);

        // The id may be that of a second-stage table next.
        system.Driver.ReleaseDomain(Domain);
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, null, Domain, system.CreateTable()));
        Assert.Equal([(0xABCD_00F2, 0x5000)], Tell(Domain, 0x5000, 1, leavesOnly: false));

        List<(ulong, ulong)> Tell(DomainId domain, ulong first, ulong pageCount, bool leavesOnly)
        {
            system.Told.Clear();
            Assert.Equal(VcmmError.None, system.Driver.Invalidate(domain, IovaRange.FromLength(new(first), pageCount * Page), leavesOnly));
            return [.. system.Told];
        }
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(126, 1)]
    [InlineData(127, 2)]
    [InlineData(300, 3)]
    public void A_batch_is_waited_for_once_for_each_time_that_it_fills_the_queue(int count, int waits)
    {
        using var system = new ScalableSystem();
        system.Told.Clear();
        int before = system.Waits, doorbells = system.Doorbells;
        Invalidation[] batch = [.. Enumerable.Range(1, count).Select(i => new Invalidation(new((uint)i), IovaRange.FromLength(new((ulong)i * Page), Page), false))];
        Assert.Equal(VcmmError.None, system.Driver.Invalidate(batch));
        Assert.Equal(batch.Select(one => ((ulong)one.Domain.Value << 16 | 0xF2, one.Range.First.Value)), system.Told);
        Assert.Equal((before + waits, doorbells + waits), (system.Waits, system.Doorbells));
    }

    [Fact]
    public void A_batch_in_two_parts_of_which_the_first_fails_has_failed()
    {
        using var system = new ScalableSystem();
        Invalidation[] batch = [.. Enumerable.Range(1, 200).Select(i => new Invalidation(new((uint)i), IovaRange.FromLength(new(0), Page), false))];
        int bells = 0;
        system.OnDoorbell = () => bells++ != 0;
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.Invalidate(batch));
        Assert.Equal(VcmmError.None, system.Driver.Invalidate(batch));
    }

    [Fact]
    public void Domains_that_are_told_as_a_whole_are_told_once()
    {
        using var system = new ScalableSystem(cap: static cap => cap & ~(1UL << 39));
        system.Told.Clear();
        Invalidation Of(uint domain, ulong page) => new(new(domain), IovaRange.FromLength(new(page * Page), Page), true);
        Assert.Equal(VcmmError.None, system.Driver.Invalidate([Of(1, 0), Of(1, 9), Of(2, 0), Of(1, 3)]));
        Assert.Equal([(0x0001_00E2UL, 0UL), (0x0002_00E2UL, 0UL), (0x0001_00E2UL, 0UL)], system.Told);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_detach_that_the_hardware_does_not_confirm_leaves_everything_attached_and_nothing_freed(bool isFirstStage)
    {
        using var system = new ScalableSystem();
        IPageTable table = isFirstStage ? system.CreateFirstStageTable() : system.CreateTable();
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, new Pasid(5), Domain, table));
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, null, Domain, table));
        foreach (Pasid? pasid in (Pasid?[])[null, new(5)])
        {
            ulong[] entry = system.PasidEntry(Device, pasid?.Value ?? 0)!;
            ulong[] context = system.ContextEntry(Device)!;
            ulong free = system.Frames.FreeBytes;
            int bells = 0;
            system.OnDoorbell = () => bells++ != 0;
            system.Told.Clear();
            Assert.Equal(VcmmError.HardwareFailure, system.Driver.Detach(Device, pasid, Domain));
            Assert.Equal(entry, system.PasidEntry(Device, pasid?.Value ?? 0)!);
            Assert.Equal(context, system.ContextEntry(Device)!);
            Assert.Equal(free, system.Frames.FreeBytes);
            // The queue was started anew, and everything forgotten.
            Assert.Equal([(0x11UL, 0UL), Fence, (0x37UL, 0UL), Fence, (0xD2UL, 0UL)], system.Told[^5..]);
            // What may be cached under it is still known.
            system.Told.Clear();
            Assert.Equal(VcmmError.None, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), false));
            Assert.NotEmpty(system.Told);
            Assert.Equal(VcmmError.None, system.Driver.Detach(Device, pasid, Domain));
        }
    }

    [Fact]
    public void An_attach_in_caching_mode_that_fails_is_undone_or_stands()
    {
        using var system = new ScalableSystem(cap: static cap => cap | 1UL << 7);
        IPageTable table = system.CreateFirstStageTable();
        ulong free = system.Frames.FreeBytes;
        int bells = 0;
        system.OnDoorbell = () => bells++ != 0;
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.Attach(Device, new Pasid(5), Domain, table));
        Assert.Equal([0, 0, 0, 0], system.ContextEntry(Device)!);
        Assert.Equal(free - Page, system.Frames.FreeBytes);
        system.Told.Clear();
        Assert.Equal(VcmmError.None, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), false));
        Assert.Empty(system.Told);

        system.OnDoorbell = static () => false;
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, new Pasid(5), Domain, table));
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.Detach(Device, new Pasid(5), Domain));
        system.OnDoorbell = static () => true;
        Assert.Equal(VcmmError.None, system.Driver.Detach(Device, new Pasid(5), Domain));
    }

    [Fact]
    public void One_range_under_more_PASIDs_than_the_queue_holds_is_told_in_parts()
    {
        using var system = new ScalableSystem();
        IPageTable table = system.CreateFirstStageTable();
        for (uint pasid = 1; pasid <= 200; pasid++) Assert.Equal(VcmmError.None, system.Driver.Attach(Device, new Pasid(pasid), Domain, table));
        system.Told.Clear();
        int waits = system.Waits;
        Assert.Equal(VcmmError.None, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0x5000), Page), leavesOnly: false));
        Assert.Equal(Enumerable.Range(1, 200).Select(static pasid => ((ulong)pasid << 32 | 0xABCD_0036UL, 0x5000UL)), system.Told);
        Assert.Equal(waits + 2, system.Waits);
    }

    [Fact]
    public void Of_an_attachment_that_came_to_nothing_nobody_is_told()
    {
        using var system = new ScalableSystem(VtdOptions.Scalable with { DeviceTlbs = true });
        Assert.Equal(VcmmError.None, system.Driver.TryEnableAts(Device, new()));
        IPageTable table = system.CreateFirstStageTable();
        system.Frames.AllocationsBeforeFailure = 0;
        Assert.Equal(VcmmError.NoMemory, system.Driver.Attach(Device, new Pasid(5), Domain, table));
        system.Frames.AllocationsBeforeFailure = -1;
        system.Told.Clear();
        Assert.Equal(VcmmError.None, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: false));
        Assert.Empty(system.Told);
    }

    /// <summary>Its entries stand, so it is no refusal: whoever was told that nothing is attached would free the table.</summary>
    [Fact]
    public void An_attach_in_caching_mode_that_a_port_lets_neither_be_told_nor_be_undone_stands()
    {
        using var system = new ScalableSystem(cap: static cap => cap | 1UL << 7);
        IPageTable table = system.CreateFirstStageTable();
        int bells = 0;
        system.OnDoorbell = () => ++bells <= 2 ? throw new IOException("gone") : true;
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, new Pasid(5), Domain, table));
        Assert.Equal(2, bells);
        Assert.Equal(table.Root.Value, system.PasidEntry(Device, 5)![2] & ~0xFFFUL);
        Assert.Throws<InvalidOperationException>(() => system.Driver.Attach(Device, new Pasid(5), Domain, table));
        Assert.Equal(VcmmError.None, system.Driver.Detach(Device, new Pasid(5), Domain));
        Assert.Equal([0, 0, 0, 0], system.ContextEntry(Device)!);
    }

    [Fact]
    public void What_was_attached_and_is_detached_again_takes_no_memory()
    {
        const uint warm = 20, last = 60;
        using var ram = new RamBlock(PhysRange.FromLength(new(2UL << 20), 16UL << 20));
        var frames = new Vcmm.Allocation.FrameAllocator(ram.Range);
        VtdDriver<Ram> driver = VtdDriver<Ram>.Start(ram.Port, new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Scalable), frames, new() { Scalable = true, MaximumPasidCount = 64 });
        Assert.Equal(VcmmError.None, driver.TryCreateTable(driver.Formats.First(static format => format.Encoding == X86FirstStage.Encoding), frames, out IPageTable? table));
        // The device's tables stay.
        Assert.Equal(VcmmError.None, driver.Attach(Device, new Pasid(1), new(1), table!));
        ComeAndGo(last, last);
        ComeAndGo(2, warm);
        long first = Allocations.Of(() => ComeAndGo(warm + 1, last));
        Assert.Equal(Allocations.Of(() => ComeAndGo(warm + 1, last)), first);

        void ComeAndGo(uint from, uint to)
        {
            for (uint domain = from; domain <= to; domain++)
            {
                if (driver.Attach(Device, new Pasid(2), new(domain), table!) != VcmmError.None) Assert.Fail($"domain {domain} is not attached");
                if (driver.Detach(Device, new Pasid(2), new(domain)) != VcmmError.None) Assert.Fail($"domain {domain} is not detached");
            }
        }
    }
}
