using Platform;
using Vcmm;

namespace Properties.Library.Regions;

/// <summary>What a region says of its addresses: which reservation each lies in, wherever the region begins, and where others map its memory.</summary>
public sealed class RegionLookUpLaws : IDisposable
{
    private const ulong Page = SmallSystem.Page;

    private readonly SmallSystem _system = new();

    public void Dispose() => _system.Dispose();

    [Theory]
    [InlineData(0UL)]
    [InlineData((1UL << 40) + 37 * Page)]
    [InlineData((1UL << 44) + 63 * Page)]
    public void An_address_is_found_in_its_reservation_and_in_none_below_between_and_above(ulong first)
    {
        IovaRange range = IovaRange.FromLength(new(first + Page), 1UL << 30);
        Vcm vcm = _system.Manager.CreateVcm(range);
        Reservation low = vcm.ReserveAt(range.First, Page);
        Reservation middle = vcm.ReserveAt(range.First + 50 * Page, 100 * Page);
        Reservation high = vcm.ReserveAt(new(range.Last.Value - (Page - 1)), Page);

        foreach (Reservation reservation in (Reservation[])[high, middle, low])
        {
            ulong end = reservation.Range.Last.Value;
            foreach (ulong address in (ulong[])[end, end - (Page - 1), reservation.Range.First.Value])
            {
                Assert.True(vcm.TryFindReservation(new(address), out Reservation found));
                Assert.Equal(reservation, found);
            }
        }

        ulong[] others =
        [
            0, range.First.Value - 1, low.Range.Last.Value + 1, middle.Range.First.Value - 1, middle.Range.Last.Value + 1, high.Range.First.Value - 1,
            range.Last.Value + 1, ulong.MaxValue,
        ];
        Assert.All(others, address =>
        {
            Assert.False(vcm.TryFindReservation(new(address), out Reservation found));
            Assert.Equal(default(Reservation), found);
        });
    }

    [Fact]
    public void Reservations_and_bounds_are_listed_in_the_order_of_their_addresses_however_they_came()
    {
        Vcm vcm = _system.CreateVcm();
        Reservation third = vcm.ReserveAt(new(300 * Page), Page);
        Reservation first = vcm.ReserveAt(new(0), Page);
        Reservation second = vcm.ReserveAt(new(70 * Page), Page);
        Bound higher = vcm.CreateBound(Page, 2 * SmallSystem.Large);
        Bound high = vcm.CreateBound(Page, SmallSystem.Large);
        Bound low = vcm.CreateBound(Page);
        Assert.Equal([low, high, higher], vcm.Bounds);
        Assert.Equal([first, second, third], vcm.Reservations);
    }

    [Fact]
    public void What_is_not_backed_is_nowhere_in_another_region()
    {
        Vcm vcm = _system.CreateVcm(), other = _system.CreateVcm();
        Reservation reservation = vcm.ReserveAt(new(4 * Page), 2 * Page);
        PhysicalAllocation memory = _system.Manager.Allocate(Page);
        reservation.Back(0, memory, 0, Page);
        Assert.Equal(VcmmError.NotFound, vcm.TryTranslate(new(4 * Page), other, out _));
        Iova[] unbacked = [new(0), new(5 * Page), new(6 * Page), new(ulong.MaxValue)];
        Assert.All(unbacked, address => Assert.Equal(VcmmError.Fault, vcm.TryTranslate(address, other, out _)));
        Reservation there = other.ReserveAt(new(9 * Page), Page);
        there.Back(memory);
        Assert.Equal(VcmmError.None, vcm.TryTranslate(new(4 * Page + 5), other, out Iova translated));
        Assert.Equal(9 * Page + 5, translated.Value);
    }

    [Fact]
    public void Of_a_table_that_somebody_else_builds_it_is_told_where_a_region_maps_what_it_leads_to()
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm owner = _system.CreateVcm(), other = _system.CreateVcm();
        _system.Activate(owner, iommu);
        owner.ReserveAt(new(5 * Page), Page).Back(_system.Manager.Allocate(Page));
        Vcm adopted = _system.Manager.AdoptVcm(owner.Range, iommu.Format, SmallSystem.TableOf(owner, iommu).Root);
        _system.Activate(adopted, iommu);
        Assert.Equal(VcmmError.Fault, adopted.TryTranslate(new(6 * Page), owner, out _));
        Assert.Equal(VcmmError.NotFound, adopted.TryTranslate(new(5 * Page), other, out _));
        Assert.Equal(VcmmError.None, adopted.TryTranslate(new(5 * Page + 7), owner, out Iova translated));
        Assert.Equal(5 * Page + 7, translated.Value);
    }
}
