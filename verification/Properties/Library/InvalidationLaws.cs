using Platform;
using Properties.Library.Regions;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;
using static Properties.Library.RecordingIommu;

namespace Properties.Library;

/// <summary>What the library tells an IOMMU, and when: I4, I5, I11, and I6 where the IOMMU fails.</summary>
public sealed class InvalidationLaws : IDisposable
{
    private const ulong Page = SmallSystem.Page;
    private const ulong Large = SmallSystem.Large;

    private readonly SmallSystem _system = new();

    public void Dispose() => _system.Dispose();

    [Fact]
    public void Entries_go_before_the_invalidation_and_table_pages_after_it()
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, iommu);
        Reservation reservation = vcm.Reserve(Large, alignment: Large);
        reservation.Back(_system.Manager.Allocate(Large, ChunkSizes.Size4K, scattered: true));
        ulong freeBefore = _system.Frames.FreeBytes;
        iommu.OnCall = call =>
        {
            Assert.Equal(new Invalidated(new(1), IovaRange.FromLength(new(0), Large), LeavesOnly: false), call);
            Assert.Equal(VcmmError.Fault, vcm.TryTranslate(new(0), out _));
            Assert.Equal(freeBefore, _system.Frames.FreeBytes);
            return VcmmError.None;
        };
        iommu.Calls.Clear();
        reservation.Unback();
        Assert.Single(iommu.Calls);
        Assert.Equal(freeBefore + Page, _system.Frames.FreeBytes);
    }

    [Fact]
    public void Where_no_table_is_unlinked_leaves_alone_are_invalidated()
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, iommu);
        Reservation reservation = vcm.ReserveAt(new(Large - Page), 2 * Page);
        reservation.Back(_system.Manager.Allocate(2 * Page));
        iommu.Calls.Clear();
        reservation.Unback();
        Assert.Equal([new Invalidated(new(1), IovaRange.FromLength(new(Large - Page), 2 * Page), LeavesOnly: true)], iommu.Calls);
    }

    [Theory]
    [InlineData(false, 0)]
    [InlineData(true, 1)]
    public void Backing_invalidates_only_where_absent_entries_are_cached(bool cachesAbsent, int invalidations)
    {
        RecordingIommu iommu = _system.AddIommu();
        iommu.CachesAbsent = cachesAbsent;
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, iommu);
        _system.Activate(vcm, iommu);
        iommu.Calls.Clear();
        vcm.Reserve(4 * Page).Back(_system.Manager.Allocate(4 * Page));
        Assert.Equal(invalidations, iommu.Calls.Count);
        Assert.All(iommu.Calls, call => Assert.Equal(new Invalidated(new(1), IovaRange.FromLength(new(0), 4 * Page), LeavesOnly: false), call));
    }

    [Fact]
    public void Two_devices_of_one_iommu_cost_one_invalidation_and_two_iommus_one_each()
    {
        RecordingIommu first = _system.AddIommu();
        RecordingIommu second = _system.AddIommu();
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, first);
        _system.Activate(vcm, first);
        _system.Activate(vcm, second);
        Assert.Same(SmallSystem.TableOf(vcm, first), SmallSystem.TableOf(vcm, second));
        Assert.Single(first.Calls.Concat(second.Calls).Cast<Attached>().Select(call => call.Root).Distinct());
        Reservation reservation = vcm.Reserve(Page);
        reservation.Back(_system.Manager.Allocate(Page));
        first.Calls.Clear();
        second.Calls.Clear();
        reservation.Unback();
        Assert.Single(first.Calls);
        Assert.Single(second.Calls);
    }

    [Fact]
    public void Of_several_IOMMUs_that_throw_all_are_told_and_the_first_exception_comes_out()
    {
        RecordingIommu[] iommus = [_system.AddIommu(), _system.AddIommu()];
        Vcm vcm = _system.CreateVcm();
        foreach (RecordingIommu iommu in iommus) _system.Activate(vcm, iommu);
        Reservation reservation = vcm.Reserve(Page);
        reservation.Back(_system.Manager.Allocate(Page));
        var thrown = new List<Exception>();
        foreach (RecordingIommu iommu in iommus)
        {
            iommu.OnCall = _ =>
            {
                thrown.Add(new InvalidOperationException());
                throw thrown[^1];
            };
        }

        Exception exception = Assert.Throws<InvalidOperationException>(() => reservation.TryUnback());
        Assert.Equal(2, thrown.Count);
        Assert.Same(thrown[0], exception);
    }

    /// <summary>A second-stage entry says nothing of caches.</summary>
    [Fact]
    public void What_changes_no_entry_costs_no_call_to_the_hardware()
    {
        RecordingIommu iommu = _system.AddIommu();
        var quiet = new QuietIommu(iommu);
        Vcm vcm = _system.CreateVcm();
        vcm.Associate(_system.Manager.AddDevice(quiet, new(99))).Activate();
        Reservation reservation = vcm.Reserve(Page);
        reservation.Back(_system.Manager.Allocate(Page));
        Assert.Equal(VcmmError.None, reservation.TrySetAttributes(reservation.Attributes with { Cache = CachePolicy.NotCached }));
        Assert.Equal(0, quiet.Count);
        Assert.Equal(VcmmError.None, reservation.TrySetAttributes(Access.Read));
        Assert.Equal(1, quiet.Count);
    }

    [Theory]
    [InlineData(0, 1, 0)]
    [InlineData(0, 0, 1)]
    [InlineData(0, 1, 1)]
    public void All_domains_of_one_iommu_cost_one_call_whichever_came_between(params int[] order)
    {
        LedgerIommu[] iommus = [.. Enumerable.Range(0, 2).Select(_ => new LedgerIommu(_system.Memory, new Fuse(), LedgerIommu.SecondStage, LedgerIommu.FirstStage))];
        Vcm vcm = _system.CreateVcm();
        for (int i = 0; i < order.Length; i++)
        {
            // The second domain of an IOMMU is that of another format.
            TableFormat format = order[..i].Contains(order[i]) ? LedgerIommu.FirstStage : LedgerIommu.SecondStage;
            vcm.Associate(_system.Manager.AddDevice(iommus[order[i]], new((uint)i + 1)), new() { Format = format }).Activate();
        }

        Reservation reservation = vcm.Map(_system.Manager.Allocate(Page));
        reservation.Unback();
        for (int i = 0; i < iommus.Length; i++) Assert.Equal(order.Count(which => which == i), Assert.Single(iommus[i].Batches).Length);
    }

    [Theory]
    [InlineData(ChunkSizes.Size4K)]
    [InlineData(ChunkSizes.Size2M)]
    public void An_unback_whose_invalidation_fails_changes_nothing_and_can_be_tried_again(ChunkSizes sizes)
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, iommu);
        Reservation reservation = vcm.ReserveAt(new(Large - (sizes == ChunkSizes.Size4K ? Page : 0)), 2 * Large);
        PhysicalAllocation memory = _system.Manager.Allocate(2 * Large, sizes, scattered: true);
        reservation.Back(memory);
        Leaf[] before = [.. SmallSystem.TableOf(vcm, iommu).Leaves()];
        ulong free = _system.Frames.FreeBytes;

        iommu.OnCall = static _ => VcmmError.HardwareFailure;
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryUnback());
        Assert.Equal(before, SmallSystem.TableOf(vcm, iommu).Leaves());
        Assert.Equal(free, _system.Frames.FreeBytes);
        Assert.Same(memory, reservation.Memory);
        Assert.Equal(VcmmError.Busy, memory.TryFree());
        Assert.Equal(VcmmError.Busy, reservation.TryUnreserve());

        iommu.OnCall = static _ => VcmmError.None;
        reservation.Unback();
        Assert.Empty(SmallSystem.TableOf(vcm, iommu).Leaves());
        memory.Free();
    }

    [Fact]
    public void A_back_whose_invalidation_fails_is_undone()
    {
        RecordingIommu iommu = _system.AddIommu();
        iommu.CachesAbsent = true;
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, iommu);
        Reservation reservation = vcm.Reserve(Large, alignment: Large);
        PhysicalAllocation memory = _system.Manager.Allocate(Large, ChunkSizes.Size4K);
        ulong free = _system.Frames.FreeBytes;
        int calls = 0;
        iommu.OnCall = _ => calls++ == 0 ? VcmmError.HardwareFailure : VcmmError.None;
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryBack(memory));
        Assert.Equal(2, calls);
        Assert.False(reservation.IsBacked);
        Assert.Empty(SmallSystem.TableOf(vcm, iommu).Leaves());
        // The tables inside the range went with it; those above it stay for the next back.
        Assert.Equal(free - 2 * Page, _system.Frames.FreeBytes);
        memory.Free();
    }

    [Fact]
    public void A_back_that_can_be_neither_confirmed_nor_undone_stands()
    {
        RecordingIommu iommu = _system.AddIommu();
        iommu.CachesAbsent = true;
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, iommu);
        Reservation reservation = vcm.Reserve(2 * Page);
        PhysicalAllocation memory = _system.Manager.Allocate(2 * Page);
        iommu.OnCall = static _ => VcmmError.HardwareFailure;
        Assert.Equal(VcmmError.None, reservation.TryBack(memory));
        Assert.Equal(VcmmError.None, vcm.TryTranslate(new(Page), out _));
        Assert.Equal(VcmmError.Busy, memory.TryFree());
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryUnback());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void A_large_leaf_takes_the_place_of_an_empty_table_after_a_full_invalidation(int leafCount)
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, iommu);
        Reservation small = vcm.ReserveAt(new(Page), Page);
        small.Back(_system.Manager.Allocate(Page));
        small.Unback();
        small.Unreserve();
        ulong byteCount = (ulong)leafCount * Large;
        Reservation large = vcm.ReserveAt(new(0), byteCount);
        PhysicalAllocation memory = _system.Manager.Allocate(byteCount, ChunkSizes.Size2M);
        ulong free = _system.Frames.FreeBytes;
        iommu.Calls.Clear();

        iommu.OnCall = static _ => VcmmError.HardwareFailure;
        Assert.Equal(VcmmError.HardwareFailure, large.TryBack(memory));
        Assert.Equal(free, _system.Frames.FreeBytes);
        Assert.Empty(SmallSystem.TableOf(vcm, iommu).Leaves());

        iommu.OnCall = static _ => VcmmError.None;
        large.Back(memory);
        Assert.Equal(Enumerable.Repeat(Large, leafCount), SmallSystem.TableOf(vcm, iommu).Leaves().Select(leaf => leaf.Range.ByteCount));
        Assert.All(iommu.Calls, call => Assert.Equal(new Invalidated(new(1), IovaRange.FromLength(new(0), Large), LeavesOnly: false), call));
        Assert.Equal(2, iommu.Calls.Count);
        Assert.Equal(free + Page, _system.Frames.FreeBytes);
    }

    [Fact]
    public void An_unback_during_the_attach_reaches_the_domain_that_is_being_attached()
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm vcm = _system.CreateVcm();
        Association association = vcm.Associate(_system.AddDevice(iommu));
        Reservation reservation = vcm.Reserve(Page);
        reservation.Back(_system.Manager.Allocate(Page));
        iommu.OnCall = call =>
        {
            if (call is Attached) reservation.Unback();
            return VcmmError.None;
        };
        association.Activate();
        Assert.Equal(new Invalidated(new(1), reservation.Range, LeavesOnly: true), iommu.Calls[^1]);
    }

    [Fact]
    public void An_unback_during_the_detach_still_reaches_the_domain()
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm vcm = _system.CreateVcm();
        Association association = _system.Activate(vcm, iommu);
        Reservation reservation = vcm.Reserve(Page);
        reservation.Back(_system.Manager.Allocate(Page));
        iommu.Calls.Clear();
        iommu.OnCall = call =>
        {
            if (call is Detached) reservation.Unback();
            return VcmmError.None;
        };
        association.Deactivate();
        Assert.Equal(
            [new Detached(association.Device.Id, new(1)), new Invalidated(new(1), reservation.Range, LeavesOnly: true), new Released(new(1))],
            iommu.Calls);
    }

    [Fact]
    public void A_domain_is_released_when_its_last_device_is_detached()
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm vcm = _system.CreateVcm();
        Association first = _system.Activate(vcm, iommu);
        Association second = _system.Activate(vcm, iommu);
        iommu.Calls.Clear();
        second.Deactivate();
        Assert.Equal([new Detached(second.Device.Id, new(1))], iommu.Calls);
        first.Deactivate();
        Assert.Equal(new Released(new(1)), iommu.Calls[^1]);
    }

    [Fact]
    public void A_failed_attach_or_detach_changes_nothing()
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm vcm = _system.CreateVcm();
        Association association = vcm.Associate(_system.AddDevice(iommu));
        iommu.OnCall = static call => call is Released ? VcmmError.None : VcmmError.HardwareFailure;
        Assert.Equal(VcmmError.HardwareFailure, association.TryActivate());
        Assert.False(association.IsActive);
        Assert.IsType<Released>(iommu.Calls[^1]);

        iommu.OnCall = static _ => VcmmError.None;
        association.Activate();
        iommu.OnCall = static _ => VcmmError.HardwareFailure;
        Assert.Equal(VcmmError.HardwareFailure, association.TryDeactivate());
        Assert.True(association.IsActive);
        Assert.Equal(VcmmError.Busy, association.TryDeassociate());

        iommu.OnCall = static _ => VcmmError.None;
        association.Deactivate();
        association.Deassociate();
    }
}
