using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library.Regions;

// What was found and could not be confirmed, since the hardware did not forget.
public sealed partial class DirtyLaws
{
    [Fact]
    public void What_was_written_and_what_was_used_are_kept_apart()
    {
        Reservation reservation = Back(4, ChunkSizes.Size4K);
        WriteSecond(1);
        Assert.Equal([Pages(1, 1)], Accessed(reservation, clear: true));
        FailToClear(reservation);
        Assert.Empty(Accessed(reservation, clear: false));
        Assert.Equal([Pages(1, 1)], Dirty(reservation, clear: true));

        ReadFirst(2);
        _system.OnDoorbell = static () => false;
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryCollectAccessed(0, 4 * Page, clear: true, []));
        _system.OnDoorbell = static () => true;
        Assert.Empty(Dirty(reservation, clear: false));
        Assert.Equal([Pages(2, 1)], Accessed(reservation, clear: true));
    }

    [Fact]
    public void A_look_at_a_part_shows_no_more_than_the_part_and_a_clear_of_it_all_that_was_found_together()
    {
        Reservation reservation = Back(8, ChunkSizes.Size4K);
        for (int page = 2; page <= 4; page++) WriteSecond(page);
        FailToClear(reservation);
        Assert.Equal([Pages(3, 1)], Dirty(reservation, clear: false, 3, 1));
        Assert.Equal([Pages(2, 1)], Dirty(reservation, clear: false, 0, 3));
        Assert.Equal([Pages(4, 1)], Dirty(reservation, clear: false, 4, 4));
        Assert.Empty(Dirty(reservation, clear: false, 5, 3));
        Assert.Equal([Pages(2, 3)], Dirty(reservation, clear: true, 3, 1));
        Assert.Empty(Dirty(reservation, clear: false));
    }

    [Fact]
    public void Nothing_was_found_at_the_lowest_address_where_nobody_was()
    {
        Reservation reservation = _region.ReserveAt(new(0), Page);
        reservation.Back(_manager.Allocate(Page));
        Assert.Empty(Dirty(reservation, clear: false));
        Assert.Empty(Accessed(reservation, clear: false));
    }

    [Fact]
    public void What_is_found_later_joins_what_was_found_before()
    {
        Reservation reservation = Back(16, ChunkSizes.Size4K);
        foreach (int page in (int[])[1, 2, 6, 7, 8, 12]) WriteSecond(page);
        FailToClear(reservation);
        // One reaches over the end of what was, one lies within, one touches it, and one does not.
        foreach (int page in (int[])[2, 3, 7, 11, 14]) WriteFirst(page);
        Assert.Equal([Pages(1, 3), Pages(6, 3), Pages(11, 2), Pages(14, 1)], Dirty(reservation, clear: false));
        Assert.Equal([Pages(1, 3), Pages(6, 3), Pages(11, 2), Pages(14, 1)], Dirty(reservation, clear: true));
        Assert.Empty(Dirty(reservation, clear: false));
    }

    [Fact]
    public void What_was_found_in_pages_that_are_unbacked_is_forgotten_and_the_rest_is_not()
    {
        Reservation reservation = Back(16, ChunkSizes.Size4K);
        foreach (int page in (int[])[1, 3, 4, 5, 6, 7, 9, 11, 12]) WriteSecond(page);
        FailToClear(reservation);
        reservation.Unback(5 * Page, Page);
        Assert.Equal([Pages(1, 1), Pages(3, 2), Pages(6, 2), Pages(9, 1), Pages(11, 2)], Dirty(reservation, clear: false));
        reservation.Unback(7 * Page, 5 * Page);
        Assert.Equal([Pages(1, 1), Pages(3, 2), Pages(6, 1), Pages(12, 1)], Dirty(reservation, clear: false));
        reservation.Unback(0, 2 * Page);
        Assert.Equal([Pages(3, 2), Pages(6, 1), Pages(12, 1)], Dirty(reservation, clear: true));
    }

    [Fact]
    public void What_was_used_in_pages_that_are_unbacked_is_forgotten_too()
    {
        Reservation reservation = Back(8, ChunkSizes.Size4K);
        foreach (int page in (int[])[1, 2, 3]) ReadFirst(page);
        _system.OnDoorbell = static () => false;
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryCollectAccessed(0, 8 * Page, clear: true, []));
        _system.OnDoorbell = static () => true;
        reservation.Unback(2 * Page, Page);
        Assert.Equal([Pages(1, 1), Pages(3, 1)], Accessed(reservation, clear: true));
    }

    [Fact]
    public void A_look_at_a_part_of_a_large_leaf_shows_the_part_and_a_clear_its_own_leaf_alone()
    {
        Reservation reservation = Back(1024, ChunkSizes.Size2M, Large);
        WriteSecond(7);
        WriteSecond(600);
        Assert.Equal([Pages(100, 3)], Dirty(reservation, clear: false, 100, 3));
        Assert.Equal([Pages(0, 512)], Dirty(reservation, clear: true, 100, 3));
        Assert.Equal([Pages(512, 512)], Dirty(reservation, clear: true));
    }

    [Fact]
    public void A_part_that_begins_in_a_small_leaf_and_ends_in_a_large_one_is_cleared_to_the_end_of_that()
    {
        Reservation reservation = _region.ReserveAt(new(4 * Large), 2 * Large);
        reservation.Back(0, _manager.Allocate(Large, ChunkSizes.Size4K, scattered: true), 0, Large);
        reservation.Back(Large, _manager.Allocate(Large, ChunkSizes.Size2M), 0, Large);
        WriteSecond(3);
        WriteSecond(1000);
        Assert.Equal([Pages(3, 1), Pages(512, 512)], Dirty(reservation, clear: true, 3, 600));
        Assert.Empty(Dirty(reservation, clear: false));
    }

    [Fact]
    public void What_a_device_used_is_known_after_its_table_is_gone()
    {
        Reservation reservation = Back(4, ChunkSizes.Size4K);
        ReadFirst(1);
        WriteFirst(2);
        LeaveFirstFormat();
        Assert.Equal([Pages(2, 1)], Dirty(reservation, clear: false));
        Assert.Equal([Pages(1, 2)], Accessed(reservation, clear: true));
        Assert.Equal([Pages(2, 1)], Dirty(reservation, clear: true));
        Assert.Empty(Accessed(reservation, clear: false));
    }

    /// <summary>As what one clear found and could not confirm: a clear of a part of it gives all of it, once.</summary>
    [Fact]
    public void What_may_be_lost_with_an_unback_that_fails_is_found_together_wherever_one_memory_ends()
    {
        Reservation reservation = BackHalves();
        for (int failure = 0; failure < 2; failure++)
        {
            _system.OnDoorbell = static () => false;
            Assert.Equal(VcmmError.HardwareFailure, reservation.TryUnback());
            _system.OnDoorbell = static () => true;
        }

        Assert.Equal([Pages(0, 8)], Dirty(reservation, clear: true, 5, 1));
        Assert.Empty(Dirty(reservation, clear: false));
        Assert.Equal([Pages(0, 8)], Accessed(reservation, clear: true));
    }

    [Fact]
    public void What_a_table_leaves_behind_is_found_together_wherever_one_memory_ends()
    {
        Reservation reservation = BackHalves();
        WriteFirst(3);
        WriteFirst(4);
        LeaveFirstFormat();
        Assert.Equal([Pages(3, 2)], Dirty(reservation, clear: true, 3, 1));
        var accessed = new List<IovaRange>();
        Assert.Equal(VcmmError.None, reservation.TryCollectAccessed(4 * Page, Page, clear: true, accessed));
        Assert.Equal([Pages(3, 2)], accessed);
        Assert.Empty(Dirty(reservation, clear: false));
        Assert.Empty(Accessed(reservation, clear: false));
    }

    /// <summary>Nothing is walked through it any more.</summary>
    [Fact]
    public void What_a_table_leaves_behind_needs_no_invalidation()
    {
        Reservation reservation = Back(8, ChunkSizes.Size4K);
        WriteFirst(1);
        ReadFirst(3);
        LeaveFirstFormat();
        _system.Told.Clear();
        reservation.Unback(6 * Page, Page);
        Assert.Single(_system.Told);
    }

    private Reservation BackHalves()
    {
        Reservation reservation = _region.ReserveAt(new(4 * Large), 8 * Page);
        reservation.Back(0, _manager.Allocate(4 * Page, ChunkSizes.Size4K), 0, 4 * Page);
        reservation.Back(4 * Page, _manager.Allocate(4 * Page, ChunkSizes.Size4K), 0, 4 * Page);
        return reservation;
    }

    private void LeaveFirstFormat()
    {
        _inFirstFormat.Deactivate();
        _inFirstFormat.Deassociate();
    }

    /// <summary>What is found stays found: the hardware does not answer.</summary>
    private void FailToClear(Reservation reservation)
    {
        _system.OnDoorbell = static () => false;
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryCollectDirty(0, reservation.Range.ByteCount, clear: true, []));
        _system.OnDoorbell = static () => true;
    }
}
