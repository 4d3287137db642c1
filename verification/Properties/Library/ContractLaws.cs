using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>Refusals, handles, sharing, and what running out of memory leaves behind.</summary>
[Collection(QuickFirst.Last + nameof(ContractLaws))]
public sealed class ContractLaws : IDisposable
{
    private const ulong Page = SmallSystem.Page;
    private const ulong Large = SmallSystem.Large;

    private readonly SmallSystem _system = new();

    public void Dispose() => _system.Dispose();

    [Theory]
    [InlineData(0UL, Page, Access.Read)]
    [InlineData(1UL, Page, Access.Read)]
    [InlineData(Page + 1, Page, Access.Read)]
    [InlineData(ulong.MaxValue, Page, Access.Read)]
    [InlineData(Page, 0UL, Access.Read)]
    [InlineData(Page, 2048UL, Access.Read)]
    [InlineData(Page, 3 * Page, Access.Read)]
    [InlineData(Page, 2UL << 30, Access.Read)]
    [InlineData(Page, Page, Access.None)]
    [InlineData(Page, Page, (Access)8)]
    public void A_reservation_of_nonsense_is_invalid(ulong byteCount, ulong alignment, Access access) =>
        Assert.Equal(VcmmError.Invalid, _system.CreateVcm().TryReserve(byteCount, access, alignment, out _));

    [Theory]
    [InlineData(0UL, 0UL, Access.Read, VcmmError.Invalid)]
    [InlineData(1UL, Page, Access.Read, VcmmError.Invalid)]
    [InlineData(0UL, Page + 8, Access.Read, VcmmError.Invalid)]
    [InlineData(0UL, Page, Access.None, VcmmError.Invalid)]
    [InlineData(1UL << 30, Page, Access.Read, VcmmError.Invalid)]
    [InlineData((1UL << 30) - Page, 2 * Page, Access.Read, VcmmError.Invalid)]
    [InlineData(ulong.MaxValue - Page + 1, 2 * Page, Access.Read, VcmmError.Invalid)]
    [InlineData(Page, ulong.MaxValue - Page + 1, Access.Read, VcmmError.Invalid)]
    [InlineData(2 * Page, 2 * Page, Access.Read, VcmmError.NoSpace)]
    [InlineData((1UL << 30) - Page, Page, Access.Write, VcmmError.None)]
    public void A_reservation_at_an_address_is_exactly_there_or_refused(ulong first, ulong byteCount, Access access, VcmmError expected)
    {
        Vcm vcm = _system.CreateVcm();
        vcm.ReserveAt(new(3 * Page), Page);
        Assert.Equal(expected, vcm.TryReserveAt(new(first), byteCount, access, out Reservation reservation));
        Assert.Equal(expected == VcmmError.None, reservation.IsAlive);
        if (expected == VcmmError.None) Assert.Equal(IovaRange.FromLength(new(first), byteCount), reservation.Range);
    }

    [Theory]
    [InlineData(1UL << 30, 1UL << 30)]
    [InlineData(Page, Page)]
    [InlineData(64 * Page, 2 * Page)]
    public void A_reservation_has_the_alignment_asked_for(ulong alignment, ulong byteCount)
    {
        Vcm vcm = _system.Manager.CreateVcm(IovaRange.FromLength(new(Page), (3UL << 30) - Page));
        Assert.True(vcm.Reserve(byteCount, Access.Read, alignment).Range.First.IsAligned(alignment));
    }

    [Fact]
    public void Reservations_are_found_by_address_and_listed_in_order()
    {
        Vcm vcm = _system.CreateVcm();
        Reservation high = vcm.ReserveAt(new(8 * Page), 2 * Page);
        Reservation low = vcm.ReserveAt(new(2 * Page), Page);
        Assert.Equal([low, high], vcm.Reservations);
        Assert.True(vcm.TryFindReservation(new(10 * Page - 1), out Reservation found));
        Assert.Equal(high, found);
        Assert.False(vcm.TryFindReservation(new(10 * Page), out _));
        Assert.False(vcm.TryFindReservation(new(0), out _));
        Assert.False(vcm.TryFindReservation(new(3 * Page), out _));
        Assert.True(vcm.TryFindReservation(new(2 * Page), out found));
        Assert.Equal(low, found);
    }

    [Fact]
    public void A_handle_is_dead_after_the_end_even_when_its_place_is_taken_again()
    {
        Vcm vcm = _system.CreateVcm();
        PhysicalAllocation memory = _system.Manager.Allocate(Page);
        Reservation old = vcm.Reserve(Page, Access.Read);
        old.Unreserve();
        Reservation next = vcm.Reserve(Page, Access.Write);
        Assert.Equal(next.Range, IovaRange.FromLength(new(0), Page));
        Assert.False(old.IsAlive);
        Assert.NotEqual(old, next);
        Assert.Equal(VcmmError.Invalid, old.TryUnreserve());
        Assert.Equal(VcmmError.Invalid, old.TryBack(memory));
        Assert.Equal(VcmmError.Invalid, old.TryUnback());
        Assert.Equal(VcmmError.Invalid, Assert.Throws<VcmmException>(() => old.Range).Error);
        Assert.Equal(VcmmError.Invalid, default(Reservation).TryUnreserve());
        Assert.Equal(VcmmError.Invalid, default(Reservation).TryUnback());
        Assert.Equal(VcmmError.Invalid, default(Reservation).TryBack(memory));
        Assert.False(default(Reservation).IsAlive);
        Assert.Equal(Access.Write, next.Access);
    }

    [Fact]
    public void Backing_is_refused_unless_lengths_agree_and_the_memory_lives_here()
    {
        Vcm vcm = _system.CreateVcm();
        Reservation reservation = vcm.Reserve(2 * Page);
        PhysicalAllocation wrongLength = _system.Manager.Allocate(Page);
        PhysicalAllocation freed = _system.Manager.Allocate(2 * Page);
        freed.Free();
        using var other = new SmallSystem();
        Assert.Equal(VcmmError.Invalid, reservation.TryBack(wrongLength));
        Assert.Equal(VcmmError.Invalid, reservation.TryBack(freed));
        Assert.Equal(VcmmError.Invalid, reservation.TryBack(other.Manager.Allocate(2 * Page)));
        Assert.Equal(VcmmError.Invalid, freed.TryFree());
        wrongLength.Free();
        PhysicalAllocation memory = _system.Manager.Allocate(2 * Page);
        reservation.Back(memory);
        Assert.Equal(VcmmError.Busy, reservation.TryBack(memory));
        Assert.Equal(VcmmError.Busy, reservation.TryUnreserve());
        Assert.Equal(VcmmError.Busy, memory.TryFree());
        reservation.Unback();
        Assert.Equal(VcmmError.NotFound, reservation.TryUnback());
        memory.Free();
    }

    [Fact]
    public void Memory_that_backs_two_reservations_is_busy_until_both_are_unbacked()
    {
        Vcm vcm = _system.CreateVcm();
        PhysicalAllocation memory = _system.Manager.Allocate(Page);
        Reservation first = vcm.Reserve(Page);
        Reservation second = vcm.Reserve(Page);
        first.Back(memory);
        second.Back(memory);
        first.Unback();
        Assert.Equal(VcmmError.Busy, memory.TryFree());
        second.Unback();
        memory.Free();
    }

    [Fact]
    public void A_region_is_freed_only_when_nothing_is_in_it()
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm vcm = _system.CreateVcm();
        Reservation reservation = vcm.Reserve(Page);
        Assert.Equal(VcmmError.Busy, vcm.TryFree());
        reservation.Unreserve();
        Association association = vcm.Associate(_system.AddDevice(iommu));
        Assert.Equal(VcmmError.Busy, vcm.TryFree());
        association.Deassociate();
        vcm.Free();
        Assert.Equal(VcmmError.Invalid, vcm.TryFree());
        Assert.Equal(VcmmError.Invalid, vcm.TryReserve(Page, Access.Read, Page, out _));
        Assert.Equal(VcmmError.Invalid, vcm.TryReserveAt(new(0), Page, Access.Read, out _));
        Assert.Equal(VcmmError.Invalid, vcm.TryAssociate(_system.AddDevice(iommu), out _));
        Assert.Equal(_system.Frames.TotalBytes, _system.Frames.FreeBytes);
    }

    [Fact]
    public void Associations_are_refused_as_the_contract_says()
    {
        RecordingIommu iommu = _system.AddIommu();
        RecordingIommu narrow = _system.AddIommu(levelCount: 3);
        Vcm vcm = _system.CreateVcm();
        Device device = _system.AddDevice(iommu);
        Association association = vcm.Associate(device);
        Assert.Equal(VcmmError.Busy, vcm.TryAssociate(device, out _));
        Assert.Equal(VcmmError.NotFound, association.TryDeactivate());
        association.Activate();
        Assert.Equal(VcmmError.Busy, association.TryActivate());
        Assert.Equal(VcmmError.Busy, association.TryDeassociate());
        Association elsewhere = _system.CreateVcm().Associate(device);
        Assert.Equal(VcmmError.Busy, elsewhere.TryActivate());
        association.Deactivate();
        elsewhere.Activate();
        association.Deassociate();
        Assert.Equal(VcmmError.Invalid, association.TryActivate());
        Assert.Equal(VcmmError.Invalid, association.TryDeactivate());
        Assert.Equal(VcmmError.Invalid, association.TryDeassociate());

        Vcm wide = _system.Manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 40));
        Assert.Equal(VcmmError.Invalid, wide.TryAssociate(_system.AddDevice(narrow), out _));
        using var other = new SmallSystem();
        Assert.Equal(VcmmError.Invalid, vcm.TryAssociate(other.AddDevice(other.AddIommu()), out _));

        iommu.DomainLimit = 0;
        Assert.Equal(VcmmError.NoSpace, vcm.Associate(_system.AddDevice(iommu)).TryActivate());
    }

    [Fact]
    public void What_an_iommu_does_not_translate_is_not_handed_out_while_it_is_associated()
    {
        RecordingIommu iommu = _system.AddIommu();
        iommu.ReservedRegions = [IovaRange.FromLength(new(Page), Page), IovaRange.FromLength(new(4 * Page), 8 * Page), IovaRange.FromLength(new(1UL << 35), Page)];
        Vcm vcm = _system.Manager.CreateVcm(IovaRange.FromLength(new(0), 6 * Page));
        Reservation inTheWay = vcm.ReserveAt(new(5 * Page), Page);
        Device device = _system.AddDevice(iommu);
        Assert.Equal(VcmmError.Invalid, vcm.TryAssociate(device, out _));
        vcm.ReserveAt(new(Page), Page).Unreserve();
        inTheWay.Unreserve();

        Association first = vcm.Associate(device);
        Association second = vcm.Associate(_system.AddDevice(iommu));
        first.Deassociate();
        Assert.Equal(VcmmError.NoSpace, vcm.TryReserve(3 * Page, Access.Read, Page, out _));
        Assert.Equal(VcmmError.NoSpace, vcm.TryReserveAt(new(5 * Page), Page, Access.Read, out _));
        Assert.Equal(new Iova(2 * Page), vcm.Reserve(2 * Page).Range.First);
        second.Deassociate();
        vcm.ReserveAt(new(4 * Page), 2 * Page);
        vcm.ReserveAt(new(Page), Page);
    }

    [Fact]
    public void Devices_and_regions_are_refused_as_the_contract_says()
    {
        RecordingIommu iommu = _system.AddIommu();
        Assert.Equal(VcmmError.NoDevice, _system.Manager.TryAddDevice(iommu, new(0x10000), out _));
        Assert.Equal(VcmmError.None, _system.Manager.TryAddDevice(iommu, new(0xFFFF), out _));
        Assert.Equal(VcmmError.Busy, _system.Manager.TryAddDevice(iommu, new(0xFFFF), out _));
        Assert.Equal(VcmmError.None, _system.Manager.TryAddDevice(_system.AddIommu(), new(0xFFFF), out _));
        Assert.Equal(VcmmError.Invalid, _system.Manager.TryCreateVcm(IovaRange.FromLength(new(1), 2 * Page - 1), out _));
        Assert.Equal(VcmmError.Invalid, _system.Manager.TryCreateVcm(IovaRange.FromLength(new(0), Page + 1), out _));
        Assert.Equal(VcmmError.None, _system.Manager.TryCreateVcm(new(new(0), new(ulong.MaxValue)), out _));
    }

    [Theory]
    [InlineData(0UL, ChunkSizes.All, VcmmError.Invalid)]
    [InlineData(100UL, ChunkSizes.All, VcmmError.Invalid)]
    [InlineData(Page, ChunkSizes.Size64K, VcmmError.Invalid)]
    [InlineData(Page, ChunkSizes.None, VcmmError.Invalid)]
    [InlineData(1UL << 40, ChunkSizes.All, VcmmError.NoMemory)]
    [InlineData(17 * Large, ChunkSizes.All, VcmmError.NoMemory)]
    [InlineData(16 * Large, ChunkSizes.Size2M, VcmmError.None)]
    [InlineData(Large + 17 * Page, ChunkSizes.All, VcmmError.None)]
    [InlineData(Large + 17 * Page, ChunkSizes.Size4K | ChunkSizes.Size64K, VcmmError.None)]
    public void Memory_is_made_of_the_chunks_allowed_or_not_at_all(ulong byteCount, ChunkSizes sizes, VcmmError expected)
    {
        Assert.Equal(expected, _system.Manager.TryAllocate(byteCount, sizes, scattered: false, out PhysicalAllocation? memory));
        Assert.Equal(expected == VcmmError.None ? byteCount : 0, _system.Frames.TotalBytes - _system.Frames.FreeBytes);
        if (memory is null) return;
        Assert.Equal(byteCount, memory.Segments.Aggregate(0UL, (sum, segment) => sum + segment.ByteCount));
        Assert.All(memory.Segments, segment => Assert.True(((uint)sizes & segment.ByteCount) != 0 && segment.First.IsAligned(segment.ByteCount)));
        memory.Free();
        Assert.Equal(_system.Frames.TotalBytes, _system.Frames.FreeBytes);
    }

    [Fact]
    public void Scattered_memory_has_no_chunk_that_continues_the_one_before()
    {
        PhysicalAllocation memory = _system.Manager.Allocate(40 * Page, ChunkSizes.Size4K | ChunkSizes.Size64K, scattered: true);
        Assert.Equal(2 + 8, memory.Segments.Count);
        Assert.All(
            memory.Segments.Zip(memory.Segments.Skip(1)),
            pair => Assert.NotEqual(pair.First.Last.Value + 1, pair.Second.First.Value));
    }

    [Fact]
    public void What_was_backed_before_any_association_is_in_the_table_of_the_first()
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm vcm = _system.CreateVcm();
        Reservation reservation = vcm.Reserve(3 * Page, Access.Read);
        PhysicalAllocation memory = _system.Manager.Allocate(3 * Page);
        reservation.Back(memory);
        Assert.Equal(VcmmError.Fault, vcm.TryTranslate(new(Page), out _));
        Association association = vcm.Associate(_system.AddDevice(iommu));
        Assert.Equal(VcmmError.None, vcm.TryTranslate(new(Page + 5), out Translation translation));
        Assert.Equal(new Translation(memory.Segments[0].First + Page + 5, Access.Read, Page), translation);
        association.Deassociate();
        Assert.Equal(VcmmError.Fault, vcm.TryTranslate(new(Page), out _));
        Assert.False(vcm.TryGetTable(iommu.Format, out _));
        Assert.Equal(_system.Frames.TotalBytes - 3 * Page, _system.Frames.FreeBytes);
        vcm.Associate(_system.AddDevice(iommu));
        Assert.Equal(VcmmError.None, vcm.TryTranslate(new(Page), out _));
        reservation.Unback();
        Assert.Equal(VcmmError.Fault, vcm.TryTranslate(new(Page), out _));
    }

    [Fact]
    public void A_table_lives_as_long_as_an_association_of_its_format()
    {
        RecordingIommu four = _system.AddIommu();
        RecordingIommu three = _system.AddIommu(levelCount: 3);
        Vcm vcm = _system.CreateVcm();
        Association first = vcm.Associate(_system.AddDevice(four));
        Association other = vcm.Associate(_system.AddDevice(three));
        Association second = vcm.Associate(_system.AddDevice(four));
        vcm.Reserve(Page).Back(_system.Manager.Allocate(Page));
        IPageTable shared = SmallSystem.TableOf(vcm, four);
        first.Deassociate();
        Assert.Same(shared, SmallSystem.TableOf(vcm, four));
        Assert.Single(shared.Leaves());
        second.Deassociate();
        Assert.False(vcm.TryGetTable(four.Format, out _));
        Assert.Equal(VcmmError.None, vcm.TryTranslate(new(0), out _));
        other.Deassociate();
        Assert.False(vcm.TryGetTable(three.Format, out _));
    }

    [Fact]
    public void Tables_of_two_formats_agree()
    {
        RecordingIommu four = _system.AddIommu();
        RecordingIommu three = _system.AddIommu(levelCount: 3);
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, four);
        Association narrow = _system.Activate(vcm, three);
        Reservation first = vcm.Reserve(Large + 3 * Page, Access.Write);
        first.Back(_system.Manager.Allocate(Large + 3 * Page));
        Assert.NotSame(SmallSystem.TableOf(vcm, four), SmallSystem.TableOf(vcm, three));
        Assert.Equal(SmallSystem.TableOf(vcm, four).Leaves(), SmallSystem.TableOf(vcm, three).Leaves());
        Assert.NotEmpty(SmallSystem.TableOf(vcm, four).Leaves());
        narrow.Deactivate();
        narrow.Deassociate();
        first.Unback();
        Assert.Empty(SmallSystem.TableOf(vcm, four).Leaves());
    }

    [Fact]
    public void A_back_that_runs_out_of_table_pages_anywhere_changes_nothing()
    {
        RecordingIommu four = _system.AddIommu();
        RecordingIommu three = _system.AddIommu(levelCount: 3);
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, four);
        _system.Activate(vcm, three);
        Reservation reservation = vcm.Reserve(2 * Large, alignment: Page);
        PhysicalAllocation memory = _system.Manager.Allocate(2 * Large, ChunkSizes.Size4K, scattered: true);
        int failures = 0;
        for (int n = 0; ; n++)
        {
            ulong free = _system.Frames.FreeBytes;
            _system.Frames.AllocationsBeforeFailure = n;
            VcmmError error = reservation.TryBack(memory);
            _system.Frames.AllocationsBeforeFailure = -1;
            if (error == VcmmError.None) break;
            failures++;
            Assert.Equal(VcmmError.NoMemory, error);
            Assert.Equal(free, _system.Frames.FreeBytes);
            Assert.False(reservation.IsBacked);
            Assert.Empty(SmallSystem.TableOf(vcm, four).Leaves());
            Assert.Empty(SmallSystem.TableOf(vcm, three).Leaves());
        }

        // Four levels need one table at level 3, one at level 2 and two at level 1, three levels all but the first of these.
        Assert.Equal(7, failures);
    }

    [Fact]
    public void An_association_that_runs_out_of_table_pages_leaves_no_trace()
    {
        RecordingIommu four = _system.AddIommu();
        RecordingIommu three = _system.AddIommu(levelCount: 3);
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, four);
        Reservation reservation = vcm.Reserve(Large, alignment: Large);
        PhysicalAllocation memory = _system.Manager.Allocate(Large, ChunkSizes.Size4K, scattered: true);
        reservation.Back(memory);
        vcm.ReserveAt(new(512UL << 20), Page).Back(_system.Manager.Allocate(Page));
        Device device = _system.AddDevice(three);
        int failures = 0;
        for (int n = 0; ; n++)
        {
            ulong free = _system.Frames.FreeBytes;
            _system.Frames.AllocationsBeforeFailure = n;
            VcmmError error = vcm.TryAssociate(device, out _);
            _system.Frames.AllocationsBeforeFailure = -1;
            if (error == VcmmError.None) break;
            failures++;
            Assert.Equal(VcmmError.NoMemory, error);
            Assert.Equal(free, _system.Frames.FreeBytes);
            Assert.False(vcm.TryGetTable(three.Format, out _));
        }

        // The root, one table at level 2 and two at level 1.
        Assert.Equal(4, failures);
        Assert.Equal(SmallSystem.TableOf(vcm, four).Leaves(), SmallSystem.TableOf(vcm, three).Leaves());
        reservation.Unback();
        memory.Free();
    }

    [Fact]
    public void A_refusal_is_thrown_with_its_code()
    {
        VcmmException thrown = Assert.Throws<VcmmException>(() => _system.CreateVcm().Reserve(1));
        Assert.Equal(VcmmError.Invalid, thrown.Error);
        Assert.Contains("Invalid", thrown.Message);
        Assert.Contains("Reserve", thrown.Message);
    }
}
