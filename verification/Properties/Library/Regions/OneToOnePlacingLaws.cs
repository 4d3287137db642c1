using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>Where a binding of a one-to-one region goes when little is free, in the region or in memory, and when others are faster.</summary>
public sealed class OneToOnePlacingLaws
{
    private const ulong Page = VcmManager.PageBytes;
    private const int PageCount = 10_002;

    private static readonly PhysRange Bank = PhysRange.FromLength(new(256 * Page), PageCount * Page);

    private readonly Rivals _frames = new(new BankedFrames([new(Bank, new("main"), IsCoherent: true)]));

    /// <summary>Two pages are not reserved, the memory is all free: whoever tries one piece after the other holds ten thousand.</summary>
    [Theory]
    [InlineData(0, 1)]
    [InlineData(4_999, 5_000)]
    [InlineData(7_321, 9_998)]
    [InlineData(10_000, 10_001)]
    public void The_one_place_in_a_region_that_is_nearly_all_reserved_is_found_at_once(int first, int second)
    {
        Vcm vcm = Create();
        for (int page = 0; page < PageCount; page++)
        {
            if (page != first && page != second) vcm.ReserveAt(AddressOf(page), Page);
        }

        foreach (int page in (int[])[first, second])
        {
            _frames.Calls = 0;
            Assert.Equal(AddressOf(page), vcm.Bind(Page).Reservation.Range.First);
            Assert.Equal(1, _frames.Calls);
        }

        _frames.Calls = 0;
        Assert.Equal(VcmmError.NoSpace, vcm.TryBind(Page, Access.ReadWrite, MemoryOptions.Default, out _));
        Assert.Equal((0, Bank.ByteCount - 2 * Page), (_frames.Calls, _frames.FreeBytes));
    }

    /// <summary>What is free of the one is taken of the other, page by page, but for one place: nothing is held on the way there.</summary>
    [Theory]
    [InlineData(-1)]
    [InlineData(0)]
    [InlineData(6_001)]
    [InlineData(10_001)]
    public void Where_region_and_memory_interlock_the_place_in_common_is_found_or_that_there_is_none(int common)
    {
        Vcm vcm = Create();
        for (int page = 0; page < PageCount; page++)
        {
            if (page == common) continue;
            if (page % 2 == 0) vcm.ReserveAt(AddressOf(page), Page);
            else Assert.Equal(VcmmError.None, _frames.TryAllocateAt(MemoryAt(page)));
        }

        _frames.Calls = 0;
        _frames.Looks = 0;
        if (common >= 0) Assert.Equal(AddressOf(common), vcm.Bind(Page).Reservation.Range.First);
        Assert.Equal(common < 0 ? 0 : 1, _frames.Calls);
        Assert.Equal(VcmmError.NoSpace, vcm.TryBind(Page, Access.ReadWrite, MemoryOptions.Default, out _));
        Assert.Equal(VcmmError.NoMemory, vcm.TryBind(4 * Page, Access.ReadWrite, MemoryOptions.Default, out _));
        Assert.InRange(_frames.Looks, 1, 2 * PageCount);
    }

    /// <summary>Addresses that other threads gave back lie at hand for them; they are free for all.</summary>
    [Fact]
    public void A_place_at_hand_of_another_thread_is_free()
    {
        int thread = 0;
        var manager = new VcmManager(_frames, new() { RangeAllocator = space => new CachedRangeAllocator(new RangeAllocator(space), 4, () => thread) });
        Vcm vcm = Create(manager);
        var reservations = new Reservation[PageCount];
        for (int page = 0; page < PageCount; page++) reservations[page] = vcm.ReserveAt(AddressOf(page), Page);
        thread = 3;
        reservations[17].Unreserve();
        thread = 1;
        reservations[18].Unreserve();
        thread = 0;
        Assert.Equal(AddressOf(17), vcm.Bind(2 * Page).Reservation.Range.First);
    }

    [Fact]
    public void Who_is_late_goes_on_to_the_next_place()
    {
        Vcm vcm = Create();
        _frames.MostTaken = 5;
        Assert.Equal(AddressOf(5), vcm.Bind(Page).Reservation.Range.First);
        Assert.Equal(Bank.ByteCount - 6 * Page, _frames.FreeBytes);
    }

    /// <summary>The range goes while the memory is there: the memory is given back, and the next place taken.</summary>
    [Fact]
    public void Who_is_late_in_the_region_holds_no_memory()
    {
        var manager = new VcmManager(_frames, new() { RangeAllocator = space => new RivalRanges(space, range => range.First.Value < AddressOf(3).Value) });
        Vcm vcm = Create(manager);
        Assert.Equal(AddressOf(3), vcm.Bind(Page).Reservation.Range.First);
        Assert.Equal(Bank.ByteCount - Page, _frames.FreeBytes);
    }

    /// <summary>A rival that takes each place just before, until nothing is left: the end is a refusal and no hang, and nothing is held.</summary>
    [Fact]
    public void Who_is_always_late_is_refused()
    {
        Vcm vcm = Create();
        _frames.MostTaken = int.MaxValue;
        Assert.Equal(VcmmError.NoMemory, vcm.TryBind(Page, Access.ReadWrite, MemoryOptions.Default, out _));
        Assert.Equal((PageCount, 0UL), (_frames.Calls, _frames.FreeBytes));
    }

    /// <summary>The same with a rival that gives back at once what it took: there would be no end of looking.</summary>
    [Fact]
    public void Who_is_always_late_for_what_is_free_again_is_refused_too()
    {
        Vcm vcm = Create();
        for (int page = 8; page < PageCount; page++) vcm.ReserveAt(AddressOf(page), Page);
        _frames.MostTaken = int.MaxValue;
        _frames.GivesBack = true;
        Assert.Equal(VcmmError.NoMemory, vcm.TryBind(Page, Access.ReadWrite, MemoryOptions.Default, out _));
        Assert.InRange(_frames.Calls, 8, 8 * 16);
        Assert.Equal(Bank.ByteCount, _frames.FreeBytes);
        _frames.MostTaken = 0;
        Assert.Equal(AddressOf(0), vcm.Bind(Page).Reservation.Range.First);
    }

    [Fact]
    public void Each_bank_is_searched_in_its_turn_and_no_piece_spans_two()
    {
        MemoryBank[] banks = [new(PhysRange.FromLength(new(64 * Page), 16 * Page), new("near"), true), new(PhysRange.FromLength(new(48 * Page), 16 * Page), new("far"), true)];
        var frames = new Rivals(new BankedFrames(banks));
        Vcm vcm = new VcmManager(frames).CreateVcm(IovaRange.FromLength(new(50 * Page), 20 * Page), new() { Kind = VcmKind.OneToOne });
        Assert.Equal(64 * Page, vcm.Bind(Page).Reservation.Range.First.Value);
        Assert.Equal(50 * Page, vcm.Bind(6 * Page).Reservation.Range.First.Value);
        // Eight pages below the first bank's end of the region and five in it are free; they touch, and are no piece.
        Assert.Equal(VcmmError.NoSpace, vcm.TryBind(9 * Page, Access.ReadWrite, MemoryOptions.Default, out _));
        Assert.Equal(56 * Page, vcm.Bind(8 * Page).Reservation.Range.First.Value);
        Assert.Equal(VcmmError.NoSpace, vcm.TryBind(Page, Access.ReadWrite, new() { From = new(new("far")) }, out _));
        Assert.Equal(65 * Page, vcm.Bind(5 * Page).Reservation.Range.First.Value);
    }

    /// <summary>The region has addresses beyond those.</summary>
    [Fact]
    public void Memory_beyond_the_last_address_that_tables_lead_to_is_passed_over()
    {
        MemoryBank[] banks = [new(PhysRange.FromLength(new(64 * Page), 16 * Page), new("high"), true), new(PhysRange.FromLength(new(16 * Page), 16 * Page), new("low"), true)];
        var manager = new VcmManager(new BankedFrames(banks));
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), 128 * Page), new() { Kind = VcmKind.OneToOne });
        vcm.Associate(manager.AddDevice(new ShortIommu(new(66 * Page - 1)), new(1)));
        foreach (ulong page in (ulong[])[64, 65, 16]) Assert.Equal(page * Page, vcm.Bind(Page).Reservation.Range.First.Value);
    }

    private Vcm Create(VcmManager? manager = null) => (manager ?? new VcmManager(_frames)).CreateVcm(
        IovaRange.FromLength(new(0), 2 * (Bank.Last.Value + 1)), new() { Kind = VcmKind.OneToOne });

    private static Iova AddressOf(int page) => new(MemoryAt(page).First.Value);

    private static PhysRange MemoryAt(int page) => PhysRange.FromLength(Bank.First + (ulong)page * Page, Page);

    /// <summary>Counts what is asked for; and takes a place itself, as another thread would, just before it is taken.</summary>
    private sealed class Rivals(IBankedFrameSource inner) : PassingFrames(inner)
    {
        public int Calls { get; set; }

        public int Looks { get; set; }

        public int MostTaken { get; set; }

        public bool GivesBack { get; set; }

        public override VcmmError TryFindWithin(ulong byteCount, ulong alignment, PhysRange within, out PhysAddr block)
        {
            Looks++;
            return base.TryFindWithin(byteCount, alignment, within, out block);
        }

        public override VcmmError TryAllocateAt(PhysRange range)
        {
            Calls++;
            if (MostTaken <= 0) return base.TryAllocateAt(range);
            MostTaken--;
            Assert.Equal(VcmmError.None, base.TryAllocateAt(range));
            VcmmError error = base.TryAllocateAt(range);
            if (GivesBack) base.TryFree(range.First);
            return error;
        }

        public override VcmmError TryAllocate(ulong byteCount, out PhysAddr block)
        {
            Calls++;
            return base.TryAllocate(byteCount, out block);
        }

        public override VcmmError TryAllocateContiguous(ulong byteCount, ulong alignment, out PhysAddr block)
        {
            Calls++;
            return base.TryAllocateContiguous(byteCount, alignment, out block);
        }

        public override VcmmError TryAllocateWithin(ulong byteCount, ulong alignment, PhysRange within, out PhysAddr block)
        {
            Calls++;
            return base.TryAllocateWithin(byteCount, alignment, within, out block);
        }
    }

    private sealed class ShortIommu(PhysAddr last) : PassingIommu(new NoIommu())
    {
        public override VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
        {
            VcmmError error = base.TryCreateTable(format, frames, out table);
            table = new ShortTable(table!, last);
            return error;
        }
    }

    private sealed class ShortTable(IPageTable inner, PhysAddr last) : PassingTable(inner), IPageTable
    {
        PhysAddr IPageTable.LastPhysAddr => last;
    }

    /// <summary>Ranges that another thread takes just before.</summary>
    private sealed class RivalRanges(IovaRange space, Func<IovaRange, bool> isFaster) : IRangeAllocator
    {
        private readonly RangeAllocator _right = new(space);

        public VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range) =>
            _right.TryAllocate(byteCount, alignment, placement, within, out range);

        public VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range) => _right.TryFind(byteCount, alignment, within, out range);

        public VcmmError TryAllocateAt(IovaRange range)
        {
            if (isFaster(range)) _right.TryAllocateAt(range);
            return _right.TryAllocateAt(range);
        }

        public VcmmError TryFree(IovaRange range) => _right.TryFree(range);
    }
}
