using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;
using static Properties.Library.RecordingIommu;

namespace Properties.Library.Regions;

/// <summary>
/// A call leaves nothing behind for the next one, whether it fails or not: no table that is out of its place, no page set aside, no address
/// that only it had to invalidate (I5, I6, I11).
/// </summary>
public sealed class LeftOverLaws : IDisposable
{
    private const ulong Page = SmallSystem.Page;
    private const ulong Large = SmallSystem.Large;

    private readonly SmallSystem _system = new();
    private readonly MemoryWatch _watch = new();
    private readonly VcmManager _manager;
    private int _writesBeforeThrow = -1;

    public LeftOverLaws()
    {
        _manager = new(new WatchedFrames(_system.Frames, _watch));
        _watch.BeforeWrite = (_, _) =>
        {
            if (_writesBeforeThrow >= 0 && _writesBeforeThrow-- == 0) throw new BrokenPort();
        };
    }

    public void Dispose() => _system.Dispose();

    [Fact]
    public void Empty_tables_of_which_not_all_could_be_dropped_are_in_their_places_again()
    {
        Vcm vcm = CreateVcm(new WatchedIommu<VtdSecondStage>(_system.AddIommu(), _system.Memory, _watch));
        Reservation reservation = vcm.ReserveAt(new(2 * Large), 2 * Large);
        PhysicalAllocation page = _manager.Allocate(Page);
        foreach (ulong offset in (ulong[])[0, Large])
        {
            reservation.Back(offset, page, 0, Page);
            reservation.Unback(offset, Page);
        }

        PhysicalAllocation memory = _manager.Wrap(PhysRange.FromLength(new(1UL << 32), 2 * Large));
        ulong free = _system.Frames.FreeBytes;
        _writesBeforeThrow = 1;
        Assert.Throws<BrokenPort>(() => reservation.TryBack(memory));
        Assert.Equal(free, _system.Frames.FreeBytes);
        reservation.Back(0, page, 0, Page);
        reservation.Back(Large, page, 0, Page);
        // The tables are there, and take no pages.
        Assert.Equal(free, _system.Frames.FreeBytes);
        reservation.Unback();
        reservation.Back(memory);
        Assert.Equal(2, Leaves(vcm).Length);
    }

    [Fact]
    public void Where_memory_throws_between_two_tables_of_an_unback_both_are_in_their_places_again()
    {
        Vcm vcm = CreateVcm(new WatchedIommu<VtdSecondStage>(_system.AddIommu(), _system.Memory, _watch));
        Reservation reservation = vcm.ReserveAt(new(2 * Large), 2 * Large);
        reservation.Back(_manager.Wrap(PhysRange.FromLength(new(1UL << 32 | Page), 2 * Large)));
        Leaf[] before = Leaves(vcm);
        ulong free = _system.Frames.FreeBytes;
        _writesBeforeThrow = 1;
        Assert.Throws<BrokenPort>(() => reservation.TryUnback());
        Assert.Equal(before, Leaves(vcm));
        Assert.Equal(free, _system.Frames.FreeBytes);
        reservation.Unback();
        Assert.Empty(Leaves(vcm));
        Assert.Equal(free + 2 * Page, _system.Frames.FreeBytes);
    }

    /// <summary>A leaf of the format that is to be cut is absent for a while. Five tables stand in for one.</summary>
    [Fact]
    public void Where_memory_throws_while_leaves_are_cut_they_are_there_again_and_pages_set_aside_go_back()
    {
        const ulong leafBytes = 64UL << 10;
        const int writesOfLeaf = 5 * 4 + 1, pagesOfLeaf = 5;
        Vcm vcm = CreateVcm(new WatchedIommu<OddFormat>(new LedgerIommu(_system.Memory, new Fuse(), LedgerIommu.Odd), _system.Memory, _watch), 1UL << 20);
        Reservation reservation = vcm.ReserveAt(new(leafBytes), 2 * leafBytes);
        var behind = PhysRange.FromLength(new(1UL << 32), 2 * leafBytes);
        reservation.Back(_manager.Wrap(behind));
        for (int writes = 0; writes < 2 * writesOfLeaf; writes++)
        {
            ulong free = _system.Frames.FreeBytes;
            _writesBeforeThrow = writes;
            Assert.Throws<BrokenPort>(() => reservation.TryUnback(Page, leafBytes));
            // Those of the leaf at which memory threw.
            Assert.InRange(free - _system.Frames.FreeBytes, Page, pagesOfLeaf * Page);
            Assert.Equal([new Leaf(reservation.Range, behind.First, Access.ReadWrite)], RegionPicture.Joined(Leaves(vcm)));
        }

        _writesBeforeThrow = -1;
        reservation.Unback(Page, leafBytes);
        Assert.Equal(leafBytes, RegionPicture.Joined(Leaves(vcm)).Aggregate(0UL, static (sum, leaf) => sum + leaf.Range.ByteCount));
    }

    /// <summary>Before the table is there for anybody.</summary>
    [Fact]
    public void Where_memory_throws_while_a_new_table_is_written_all_pages_but_one_go_back()
    {
        Vcm vcm = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        vcm.Reserve(2 * Page).Back(_manager.Allocate(2 * Page));
        Device device = _manager.AddDevice(new WatchedIommu<VtdSecondStage>(_system.AddIommu(), _system.Memory, _watch), new(1));
        int thrown = 0;
        for (bool throws = true; throws; thrown += 61)
        {
            ulong free = _system.Frames.FreeBytes;
            _writesBeforeThrow = thrown;
            throws = Record.Exception(() => vcm.TryAssociate(device, out _)) is BrokenPort;
            if (throws) Assert.InRange(free - _system.Frames.FreeBytes, 0UL, Page);
        }

        Assert.True(thrown > 512, $"memory threw at {thrown} writes");
    }

    [Fact]
    public void A_widening_that_could_be_taken_back_is_refused()
    {
        (Reservation reservation, RecordingIommu iommu) = BackReadOnly();
        int calls = 0;
        iommu.OnCall = _ => calls++ == 0 ? VcmmError.HardwareFailure : VcmmError.None;
        Assert.Equal(VcmmError.HardwareFailure, reservation.TrySetAttributes(Access.ReadWrite));
        Assert.Equal((2, Access.Read, Access.Read), (calls, reservation.Access, AccessInTable(reservation)));
    }

    /// <summary>Hardware that does not answer may have the wider cached, so nobody may be told that it was refused. Nothing was taken away.</summary>
    [Fact]
    public void A_widening_that_could_not_be_taken_back_stands_and_the_next_call_invalidates_its_own_pages_alone()
    {
        (Reservation reservation, RecordingIommu iommu) = BackReadOnly();
        iommu.OnCall = static _ => VcmmError.HardwareFailure;
        Assert.Equal(VcmmError.None, reservation.TrySetAttributes(Access.ReadWrite));
        Assert.Equal((Access.ReadWrite, Access.ReadWrite), (reservation.Access, AccessInTable(reservation)));
        iommu.OnCall = static _ => VcmmError.None;
        iommu.Calls.Clear();
        reservation.Unback(0, Page);
        Assert.Equal([new Invalidated(new(1), IovaRange.FromLength(reservation.Range.First, Page), LeavesOnly: true)], iommu.Calls);
    }

    /// <summary>What takes something away, and what does that too, is refused whatever the hardware has cached: the former is what it may know.</summary>
    [Theory]
    [InlineData(Access.Write)]
    [InlineData(Access.ReadWrite)]
    public void A_change_that_takes_something_away_never_stands_where_the_hardware_fails(Access former)
    {
        (Reservation reservation, RecordingIommu iommu) = BackReadOnly(former);
        iommu.OnCall = static _ => VcmmError.HardwareFailure;
        Assert.Equal(VcmmError.HardwareFailure, reservation.TrySetAttributes(Access.Read));
        Assert.Equal((former, former), (reservation.Access, AccessInTable(reservation)));
    }

    /// <summary>A leaf that becomes a table in one go needs no wait of its own.</summary>
    [Fact]
    public void A_part_of_a_large_leaf_is_unbacked_with_one_invalidation()
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm vcm = CreateVcm(iommu);
        Reservation reservation = vcm.ReserveAt(new(2 * Large), Large);
        reservation.Back(_manager.Wrap(PhysRange.FromLength(new(1UL << 32), Large)));
        iommu.Calls.Clear();
        reservation.Unback(Page, Page);
        Assert.Equal([new Invalidated(new(1), reservation.Range, LeavesOnly: true)], iommu.Calls);
    }

    /// <summary>What devices may have done there is noted each time, as one range up to the last address.</summary>
    [Fact]
    public void At_the_end_of_all_addresses_an_unback_may_fail_more_than_once()
    {
        var iommu = new SilentIommu();
        Vcm vcm = _manager.CreateVcm(new(new(ulong.MaxValue - (16 * Page - 1)), new(ulong.MaxValue)), new() { Kind = VcmKind.OneToOne });
        vcm.Associate(_manager.AddDevice(iommu, new(1))).Activate();
        Reservation reservation = vcm.Map(_manager.Wrap(new(new(ulong.MaxValue - (Page - 1)), new(ulong.MaxValue))));
        iommu.IsSilent = true;
        for (int failure = 0; failure < 3; failure++) Assert.Equal(VcmmError.HardwareFailure, reservation.TryUnback());
        iommu.IsSilent = false;
        Assert.Equal(VcmmError.None, reservation.TryUnback());
    }

    private (Reservation Reservation, RecordingIommu Iommu) BackReadOnly(Access access = Access.Read)
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm vcm = CreateVcm(iommu);
        Reservation reservation = vcm.Reserve(3 * Page, access);
        reservation.Back(_manager.Allocate(3 * Page));
        iommu.Calls.Clear();
        return (reservation, iommu);
    }

    private Vcm CreateVcm(IIommu iommu, ulong byteCount = 1UL << 30)
    {
        Vcm vcm = _manager.CreateVcm(IovaRange.FromLength(new(0), byteCount));
        vcm.Associate(_manager.AddDevice(iommu, new(1))).Activate();
        return vcm;
    }

    private static Leaf[] Leaves(Vcm vcm)
    {
        TableFormat format = vcm.TryGetTable(LedgerIommu.Odd, out _) ? LedgerIommu.Odd : LedgerIommu.SecondStage;
        Assert.True(vcm.TryGetTable(format, out IPageTable? table));
        return [.. table!.Leaves()];
    }

    private static Access AccessInTable(Reservation reservation)
    {
        Assert.Equal(VcmmError.None, reservation.Vcm.TryTranslate(reservation.Range.First, out Translation translation));
        return translation.Attributes.Access;
    }

    private sealed class SilentIommu() : PassingIommu(new NoIommu())
    {
        public bool IsSilent { get; set; }

        public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands) => IsSilent ? VcmmError.HardwareFailure : base.Invalidate(commands);
    }

    private sealed class WatchedIommu<TFormat>(IIommu inner, Ram ram, MemoryWatch watch) : PassingIommu(inner)
        where TFormat : struct, IPageTableFormat
    {
        public override VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
        {
            VcmmError error = PageTable<TFormat, WatchedMemory>.TryCreate(new(ram, watch), frames, format, out PageTable<TFormat, WatchedMemory>? created);
            table = created;
            return error;
        }
    }
}
