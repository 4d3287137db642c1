using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>Calls of a region at the borders of what they promise: parts of backings, the last address of memory, and what a refusal leaves behind.</summary>
public sealed class RegionBorderLaws : IDisposable
{
    private const ulong Page = SmallSystem.Page;

    private readonly SmallSystem _system = new();

    public void Dispose() => _system.Dispose();

    [Fact]
    public void Memory_backs_up_to_the_last_address_that_tables_lead_to_and_not_beyond()
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, iommu);
        ulong last = SmallSystem.TableOf(vcm, iommu).LastPhysAddr.Value;
        PhysicalAllocation reached = _system.Manager.Wrap(PhysRange.FromLength(new(last - (Page - 1)), Page));
        PhysicalAllocation beyond = _system.Manager.Wrap(PhysRange.FromLength(new(last + 1), Page));
        Reservation reservation = vcm.Reserve(Page);
        Assert.Equal(VcmmError.Invalid, reservation.TryBack(beyond));
        Assert.Equal(VcmmError.None, reservation.TryBack(reached));
        Assert.Equal(VcmmError.None, vcm.TryTranslate(reservation.Range.Last, out Translation translation));
        Assert.Equal(last, translation.Address.Value);
    }

    [Theory]
    [InlineData(0UL, VcmmError.None)]
    [InlineData(Page, VcmmError.Invalid)]
    public void Memory_from_address_zero_on_reaches_as_far_as_its_last_byte(ulong beyond, VcmmError expected)
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, iommu);
        PhysicalAllocation memory = _system.Manager.Wrap(new(new(0), SmallSystem.TableOf(vcm, iommu).LastPhysAddr + beyond));
        Assert.Equal(expected, vcm.Reserve(Page).TryBack(0, memory, 0, Page));
    }

    [Fact]
    public void What_is_reserved_in_a_bound_grants_what_is_said_and_else_to_read_and_write()
    {
        Bound bound = _system.CreateVcm().CreateBound(4 * Page);
        Assert.Equal(Access.Read, bound.Reserve(Page, Access.Read).Access);
        Assert.Equal(Access.ReadWrite, bound.Reserve(Page).Access);
    }

    [Fact]
    public void Unbacking_all_of_what_is_backed_only_behind_a_gap_leaves_the_neighbour_mapped()
    {
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, _system.AddIommu());
        PhysicalAllocation memory = _system.Manager.Allocate(Page);
        Reservation reservation = vcm.ReserveAt(new(8 * Page), 4 * Page);
        Reservation neighbour = vcm.ReserveAt(new(12 * Page), Page);
        reservation.Back(3 * Page, memory, 0, Page);
        neighbour.Back(memory);
        reservation.Unback();
        Assert.Equal(VcmmError.Fault, vcm.TryTranslate(new(11 * Page), out Translation _));
        Assert.Equal(VcmmError.None, vcm.TryTranslate(neighbour.Range.First, out Translation translation));
        Assert.Equal(memory.AddressAt(0), translation.Address);
    }

    [Fact]
    public void A_map_that_is_refused_keeps_no_addresses()
    {
        Vcm vcm = _system.Manager.CreateVcm(IovaRange.FromLength(new(0), Page));
        PhysicalAllocation freed = _system.Manager.Allocate(Page);
        freed.Free();
        Assert.Equal(VcmmError.Invalid, vcm.TryMap(freed, Access.Read, Page, out Reservation refused));
        Assert.Equal(default(Reservation), refused);
        Assert.Empty(vcm.Reservations);
        Assert.Equal(vcm.Range, vcm.Map(_system.Manager.Allocate(Page)).Range);
    }

    [Fact]
    public void A_bind_that_is_refused_keeps_no_memory_and_names_none()
    {
        Vcm vcm = _system.Manager.CreateVcm(IovaRange.FromLength(new(0), Page));
        ulong free = _system.Frames.FreeBytes;
        Assert.Equal(VcmmError.NoSpace, vcm.TryBind(2 * Page, Access.Read, MemoryOptions.Default, out Binding binding));
        Assert.Equal(default(Binding), binding);
        Assert.Equal(free, _system.Frames.FreeBytes);
    }

    [Theory]
    [InlineData(VcmKind.Device, "low", Access.Read)]
    [InlineData(VcmKind.Device, "high", Access.Write)]
    [InlineData(VcmKind.OneToOne, "low", Access.Read)]
    [InlineData(VcmKind.OneToOne, "high", Access.Write)]
    public void A_binding_has_the_attributes_and_the_kind_of_memory_that_were_asked_for(VcmKind kind, string type, Access access)
    {
        PhysRange low = PhysRange.FromLength(new(64 * Page), 64 * Page), high = PhysRange.FromLength(new(256 * Page), 64 * Page);
        var frames = new BankedFrames([new(low, new("low"), IsCoherent: true), new(high, new("high"), IsCoherent: true)]);
        Vcm vcm = new VcmManager(frames).CreateVcm(IovaRange.FromLength(new(0), 1UL << 30), new() { Kind = kind });
        Binding binding = vcm.Bind(Page, access, new() { From = new(new(type)) });
        Assert.Equal(access, binding.Reservation.Access);
        Assert.True((type == "low" ? low : high).Contains(Assert.Single(binding.Memory.Segments)));
    }

    [Fact]
    public void A_binding_with_another_owner_stays_until_that_one_lets_go()
    {
        Vcm vcm = _system.CreateVcm();
        Binding binding = vcm.Bind(Page);
        binding.Reservation.Acquire();
        Assert.Equal(VcmmError.Busy, vcm.TryUnbind(binding));
        Assert.True(binding.Reservation.IsBacked);
        binding.Reservation.Release();
        Assert.Equal(VcmmError.None, vcm.TryUnbind(binding));
        Assert.False(binding.Reservation.IsAlive);
    }

    [Fact]
    public void What_does_not_back_the_whole_of_it_alone_is_not_unbound_with_a_reservation()
    {
        Vcm vcm = _system.CreateVcm();
        PhysicalAllocation whole = _system.Manager.Allocate(2 * Page), alike = _system.Manager.Allocate(2 * Page);
        Reservation backed = vcm.Map(whole);
        Reservation half = vcm.Reserve(2 * Page);
        half.Back(0, alike, 0, Page);
        Binding[] wrong = [new(backed, alike), new(half, alike), new(half, whole)];
        Assert.All(wrong, binding => Assert.Equal(VcmmError.Invalid, vcm.TryUnbind(binding)));
        Assert.Equal(VcmmError.None, vcm.TryUnbind(new(backed, whole)));
        Assert.True(half.IsAlive);
    }

    [Fact]
    public void One_to_one_the_addresses_of_the_memory_have_the_alignment_that_is_asked_for_or_it_is_refused()
    {
        Vcm vcm = _system.Manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30), new() { Kind = VcmKind.OneToOne });
        PhysicalAllocation memory = _system.Manager.Wrap(PhysRange.FromLength(new(6 * Page), Page));
        Assert.Equal(VcmmError.Invalid, vcm.TryMap(memory, Access.Read, 4 * Page, out _));
        Assert.Empty(vcm.Reservations);
        Assert.Equal(VcmmError.None, vcm.TryMap(memory, Access.Read, 2 * Page, out Reservation reservation));
        Assert.Equal(6 * Page, reservation.Range.First.Value);
    }

    [Theory]
    [InlineData(1UL, Page)]
    [InlineData(0UL, Page)]
    [InlineData(Page, 3 * Page)]
    [InlineData(Page, Page / 2)]
    [InlineData(Page + 1, 3 * Page)]
    public void A_bound_of_half_pages_or_at_odd_places_is_refused(ulong byteCount, ulong alignment)
    {
        Vcm vcm = _system.CreateVcm();
        Assert.Equal(VcmmError.Invalid, vcm.TryCreateBound(byteCount, alignment, out Bound? bound));
        Assert.Null(bound);
        Assert.Empty(vcm.Bounds);
    }

    [Fact]
    public void Nothing_is_copied_for_another_manager_or_of_what_has_ended_or_of_no_bytes()
    {
        VcmManager manager = new(_system.Frames, new() { Memory = _system.Memory }), other = new(_system.Frames, new() { Memory = _system.Memory });
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        Reservation source = vcm.Bind(Page).Reservation, destination = vcm.Bind(Page).Reservation, ended = vcm.Bind(Page).Reservation;
        Reservation foreign = other.CreateVcm(vcm.Range).Bind(Page).Reservation;
        ended.Unmap();
        VcmmError[] refusals =
        [
            manager.TryCopy(source, 0, foreign, 0, 8), manager.TryCopy(foreign, 0, destination, 0, 8), other.TryCopy(source, 0, destination, 0, 8),
            manager.TryCopy(source, 0, ended, 0, 8), manager.TryCopy(ended, 0, destination, 0, 8), manager.TryCopy(source, 0, destination, 0, 0),
            manager.TryCopy(source, Page, destination, 0, 1), manager.TryCopy(source, 0, destination, Page, 1),
        ];
        Assert.All(refusals, static refusal => Assert.Equal(VcmmError.Invalid, refusal));
        Assert.Equal(VcmmError.None, manager.TryCopy(source, Page - 1, destination, 0, 1));
    }
}
