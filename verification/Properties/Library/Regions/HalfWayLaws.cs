using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library.Regions;

/// <summary>While one thread is half way through making or ending a reservation, no other finds the region in between (I1, I12).</summary>
public sealed class HalfWayLaws : IDisposable
{
    private const ulong Page = VcmManager.PageBytes;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(2UL << 20), 2UL << 20));
    private readonly List<WatchedRanges> _ranges = [];
    private readonly VcmManager _manager;
    private readonly int _mainThread = Environment.CurrentManagedThreadId;
    private Func<int>? _number;
    private Action? _onTake, _onFree;

    public HalfWayLaws() => _manager = CreateManager(new());

    public void Dispose() => _ram.Dispose();

    [Theory]
    [InlineData("reserve")]
    [InlineData("reserve at")]
    [InlineData("map")]
    public void A_region_is_not_freed_while_a_reservation_of_it_is_being_made(string name)
    {
        Vcm vcm = CreateVcm(_manager, 16);
        PhysicalAllocation memory = _manager.Allocate(Page);
        SecondCall? freeing = null;
        _onTake = () => (freeing = new(vcm.TryFree)).Begin();
        Reservation made;
        VcmmError error = name switch
        {
            "reserve" => vcm.TryReserve(Page, Access.Read, Page, out made),
            "reserve at" => vcm.TryReserveAt(new(3 * Page), Page, Access.Read, out made),
            _ => vcm.TryMap(memory, Access.Read, Page, out made),
        };
        Assert.Equal((VcmmError.None, VcmmError.Busy), (error, freeing!.End()));
        Assert.True(made.IsAlive);
    }

    /// <summary>All of the region is one reservation: who is too early would be told that there is no space.</summary>
    [Theory]
    [InlineData("unreserve")]
    [InlineData("release")]
    [InlineData("unmap")]
    [InlineData("unbind")]
    public void Who_reserves_what_is_being_given_back_gets_it(string name)
    {
        Vcm vcm = CreateVcm(_manager, 1);
        Binding binding = vcm.Bind(Page);
        if (name is "unreserve" or "release") binding.Reservation.Unback();
        SecondCall? reserving = null;
        _onFree = () => (reserving = new(() => vcm.TryReserve(Page, Access.Read, Page, out _))).Begin();
        VcmmError error = name switch
        {
            "unreserve" => binding.Reservation.TryUnreserve(),
            "release" => binding.Reservation.TryRelease(),
            "unmap" => binding.Reservation.TryUnmap(),
            _ => vcm.TryUnbind(binding),
        };
        Assert.Equal((VcmmError.None, VcmmError.None), (error, reserving!.End()));
        Assert.False(binding.Reservation.IsAlive);
        Assert.Equal(vcm.Range, Assert.Single(vcm.Reservations).Range);
    }

    /// <summary>The numbers that threads are given decide which of them wait for each other.</summary>
    [Theory]
    [InlineData(5, 5, false)]
    [InlineData(5, 21, false)]
    [InlineData(5, 6, true)]
    [InlineData(-1, 0, true)]
    public void Threads_reserve_beside_each_other_if_their_numbers_are_of_two_stripes(int first, int second, bool comesBack)
    {
        VcmManager manager = CreateManager(new() { Thread = () => _number?.Invoke() ?? 0, StripeCount = 16 });
        Vcm vcm = CreateVcm(manager, 16);
        _number = () => Environment.CurrentManagedThreadId == _mainThread ? first : second;
        SecondCall? other = null;
        bool isThrough = false;
        _onTake = () =>
        {
            other = new(() => vcm.TryReserve(Page, Access.Read, Page, out _));
            if (comesBack) other.Run();
            else other.Begin();
            isThrough = !other.HasWaited;
        };
        vcm.Reserve(Page);
        Assert.Equal((VcmmError.None, comesBack), (other!.End(), isThrough));
        Assert.Equal(2, vcm.Reservations.Count);
    }

    /// <summary>Who needs all reservations at rest takes the older ones first, as does who needs two of them: the younger are free while it waits.</summary>
    [Fact]
    public void Who_waits_for_a_reservation_holds_none_that_is_younger()
    {
        Vcm vcm = CreateVcm(_manager, 16);
        // Told of what was absent, in the middle of a back.
        var iommu = new RecordingIommu(_ram.Port) { CachesAbsent = true };
        vcm.Associate(_manager.AddDevice(iommu, new(1))).Activate();
        Reservation older = vcm.ReserveAt(new(8 * Page), Page), younger = vcm.ReserveAt(new(2 * Page), Page);
        PhysicalAllocation memory = _manager.Allocate(Page);
        var cloning = new SecondCall(() => vcm.TryClone(out _));
        var backing = new SecondCall(() => younger.TryBack(memory));
        iommu.OnCall = _ =>
        {
            iommu.OnCall = static _ => VcmmError.None;
            cloning.Begin();
            backing.Begin();
            return VcmmError.None;
        };
        Assert.Equal(VcmmError.None, older.TryBack(memory));
        Assert.Equal((true, false), (cloning.HasWaited, backing.HasWaited));
        Assert.Equal((VcmmError.None, VcmmError.None), (cloning.End(), backing.End()));
    }

    /// <summary>Out of quarantine and not free yet: the flush has just begun to give back what it held.</summary>
    [Fact]
    public void What_a_flush_is_about_to_give_back_is_not_in_the_way_of_a_device()
    {
        Vcm vcm = _manager.CreateVcm(IovaRange.FromLength(new(0), 16 * Page), new() { FlushQueue = new(new() { FlushAtAge = TimeSpan.MaxValue }) });
        vcm.Associate(_manager.AddDevice(new RecordingIommu(_ram.Port), new(1))).Activate();
        Binding binding = vcm.Bind(Page);
        IovaRange range = binding.Reservation.Range;
        vcm.Unbind(binding);
        Device device = _manager.AddDevice(new RecordingIommu(_ram.Port) { ReservedRegions = [range] }, new(2));
        SecondCall? joining = null;
        _onFree = () => (joining = new(() => vcm.TryAssociate(device, out _))).Begin();
        Assert.Equal(VcmmError.None, vcm.TryFlush());
        Assert.Equal(VcmmError.None, joining!.End());
    }

    [Fact]
    public void What_is_given_back_to_an_allocator_was_taken_from_it()
    {
        Vcm vcm = CreateVcm(_manager, 16);
        var iommu = new RecordingIommu(_ram.Port) { ReservedRegions = [IovaRange.FromLength(new(4 * Page), 2 * Page), IovaRange.FromLength(new(9 * Page), Page)] };
        Association association = vcm.Associate(_manager.AddDevice(iommu, new(1)));
        vcm.CreateBound(2 * Page).Free();
        vcm.Unbind(vcm.Bind(Page));
        association.Deassociate();
        Assert.Equal(Enumerable.Repeat(VcmmError.None, 4), _ranges[0].Freed);
    }

    private VcmManager CreateManager(VcmManagerOptions options) => new(new FrameAllocator(_ram.Range), options with
    {
        RangeAllocator = space =>
        {
            var ranges = new WatchedRanges(space) { OnTake = OnTake, OnFree = () => Once(ref _onFree) };
            _ranges.Add(ranges);
            return ranges;
        },
    });

    private static Vcm CreateVcm(VcmManager manager, int pageCount) => manager.CreateVcm(IovaRange.FromLength(new(0), (ulong)pageCount * Page));

    private VcmmError OnTake()
    {
        Once(ref _onTake);
        return VcmmError.None;
    }

    private static void Once(ref Action? hook)
    {
        Action? now = hook;
        hook = null;
        now?.Invoke();
    }
}
