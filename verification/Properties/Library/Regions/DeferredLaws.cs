using IommuSim;
using Platform;
using Properties.Cli;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Invalidations;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>
/// A region with a flush queue: until the flush a device sees the old translation or none, and nobody else gets what is behind it;
/// after the flush it sees none and everybody may (I4, I5), for one call to the hardware (I11).
/// </summary>
public sealed class DeferredLaws : IDisposable
{
    private const ulong Page = VcmManager.PageBytes;
    private const ulong Large = 2UL << 20;

    private static readonly IovaRange Range = IovaRange.FromLength(new(0), 1UL << 30);

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(Large), 4 * Large));
    private readonly FakeClock _clock = new();
    private readonly Fuse _fuse = new();
    private readonly FrameAllocator _frames;
    private readonly VcmManager _manager;
    private readonly LedgerIommu _iommu;
    private readonly List<Association> _made = [];
    private uint _nextDevice = 1;

    public DeferredLaws()
    {
        _frames = new(_ram.Range);
        _manager = new(_frames);
        _iommu = new(_ram.Port, _fuse, LedgerIommu.SecondStage);
    }

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void Memory_that_was_freed_is_not_handed_out_before_the_flush()
    {
        Vcm vcm = CreateActive(new());
        PhysicalAllocation memory = _manager.Allocate(Page);
        Reservation reservation = vcm.Reserve(Page);
        reservation.Back(memory);
        PhysRange frame = memory.Segments[0];
        ulong free = _frames.FreeBytes;
        reservation.Unback();
        memory.Free();
        Assert.Equal(VcmmError.Invalid, memory.TryFree());
        Assert.Equal(free, _frames.FreeBytes);
        PhysicalAllocation rest = _manager.Allocate(free);
        Assert.DoesNotContain(rest.Segments, frame.Overlaps);
        vcm.Flush();
        Assert.Equal(frame, Assert.Single(_manager.Allocate(Page).Segments));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_flush_tells_whether_a_table_went(bool wholeTable)
    {
        Vcm vcm = CreateActive(new());
        ulong byteCount = wholeTable ? Large : Page;
        Reservation reservation = vcm.ReserveAt(new(Large), Large);
        reservation.Back(_manager.Allocate(Large, ChunkSizes.Size4K, scattered: true));
        reservation.Unback(0, byteCount);
        Assert.Empty(_iommu.Batches);
        vcm.Flush();
        Assert.Equal(new(IovaRange.FromLength(new(Large), byteCount), !wholeTable), Assert.Single(_iommu.Batches).Select(command => (command.Range, command.LeavesOnly)).Single());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Addresses_that_were_given_back_are_not_reserved_before_the_flush(bool inBound)
    {
        Vcm vcm = CreateActive(new());
        Bound? bound = inBound ? vcm.CreateBound(4 * Page) : null;
        Reservation reservation = bound?.Reserve(2 * Page) ?? vcm.Reserve(2 * Page);
        IovaRange range = reservation.Range;
        reservation.Back(_manager.Allocate(2 * Page));
        reservation.Unback(0, Page);
        reservation.Unmap();
        AssertTaken(vcm, bound, range);
        vcm.Flush();
        if (bound is not null) Assert.Equal(range, ReserveAt(bound, range).Range);
        else Assert.Equal(range, vcm.ReserveAt(range.First, range.ByteCount).Range);
    }

    [Fact]
    public void A_bound_that_is_freed_keeps_the_addresses_in_quarantine()
    {
        Vcm vcm = CreateActive(new());
        Bound bound = vcm.CreateBound(4 * Page);
        IovaRange whole = bound.Range;
        Reservation reservation = bound.Reserve(2 * Page);
        IovaRange range = reservation.Range;
        reservation.Back(_manager.Allocate(2 * Page));
        // Twice: they are kept once.
        reservation.Unback(0, Page);
        reservation.Unmap();
        bound.Free();
        AssertTaken(vcm, null, range);
        Assert.Equal(VcmmError.NoSpace, vcm.TryReserveAt(whole.First, whole.ByteCount, Access.Read, out _));
        vcm.Flush();
        Assert.Equal(whole, vcm.ReserveAt(whole.First, whole.ByteCount).Range);
    }

    [Fact]
    public void Table_pages_that_were_unlinked_are_not_freed_before_the_flush()
    {
        Vcm vcm = CreateActive(new());
        Reservation reservation = vcm.Reserve(Large, alignment: Large);
        reservation.Back(_manager.Allocate(Large, ChunkSizes.Size4K, scattered: true));
        Assert.True(vcm.TryGetTable(LedgerIommu.SecondStage, out IPageTable? table));
        PhysAddr[] before = [.. table!.TablePages()];
        ulong free = _frames.FreeBytes;
        reservation.Unback();
        PhysAddr unlinked = Assert.Single(before.Except(table.TablePages()));
        Assert.Equal(free, _frames.FreeBytes);
        Assert.DoesNotContain(unlinked, Enumerable.Range(0, 100).Select(_ => _manager.Allocate(Page).Segments[0].First));
        ulong left = _frames.FreeBytes;
        vcm.Flush();
        Assert.Equal(left + Page, _frames.FreeBytes);
    }

    [Fact]
    public void Backing_the_same_addresses_again_flushes_first()
    {
        Vcm vcm = CreateActive(new());
        Reservation reservation = vcm.Reserve(4 * Page);
        reservation.Back(0, _manager.Allocate(2 * Page), 0, 2 * Page);
        reservation.Unback(0, Page);
        Assert.Empty(_iommu.Batches);
        _iommu.OnInvalidate = () => Assert.Equal(VcmmError.Fault, vcm.TryTranslate(reservation.Range.First, out _));
        reservation.Back(0, _manager.Allocate(Page), 0, Page);
        Invalidation command = Assert.Single(Assert.Single(_iommu.Batches));
        Assert.True(command.Range.Contains(reservation.Range.First));

        // Where the hardware does not answer the old stays in quarantine and the new is refused.
        _iommu.OnInvalidate = static () => { };
        reservation.Unback(0, Page);
        _fuse.Arm(1, stays: true);
        PhysicalAllocation next = _manager.Allocate(Page);
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryBack(0, next, 0, Page));
        next.Free();
        _fuse.Disarm();
        // Another reservation has nothing to wait for.
        _iommu.Batches.Clear();
        vcm.Reserve(Page).Back(_manager.Allocate(Page));
        Assert.Empty(_iommu.Batches);
    }

    [Fact]
    public void Backing_again_after_the_flush_flushes_nothing()
    {
        var queue = new FlushQueue(new() { Time = _clock });
        Vcm vcm = CreateActive(queue, _iommu);
        Reservation reservation = vcm.Reserve(4 * Page);
        reservation.Back(0, _manager.Allocate(2 * Page), 0, 2 * Page);
        reservation.Unback(0, Page);
        vcm.Flush();
        vcm.Unbind(vcm.Bind(Page));
        reservation.Back(0, _manager.Allocate(Page), 0, Page);
        Assert.Equal((1, 1), (queue.Count, _iommu.Batches.Count));
    }

    /// <summary>What waits is told once, each range of it, and not again with what comes later.</summary>
    [Fact]
    public void Each_flush_tells_what_was_unbacked_since_the_last()
    {
        Vcm vcm = CreateActive(new());
        Reservation reservation = vcm.ReserveAt(new(Large), 2 * Large);
        reservation.Back(0, _manager.Allocate(8 * Page), 0, 8 * Page);
        foreach (ulong page in (ulong[])[0, 2, 4])
        {
            _iommu.Batches.Clear();
            reservation.Unback(page * Page, Page);
            vcm.Flush();
            Assert.Equal(IovaRange.FromLength(new(Large + page * Page), Page), Assert.Single(Assert.Single(_iommu.Batches)).Range);
        }

        Reservation apart = vcm.ReserveAt(new(8 * Large), 2 * Large);
        // Two tables, and a page that is not backed between them.
        apart.Back(0, _manager.Allocate(Page), 0, Page);
        apart.Back(Large + Page, _manager.Allocate(Page), 0, Page);
        _iommu.Batches.Clear();
        apart.Unback();
        vcm.Flush();
        Assert.Equal(2, Assert.Single(_iommu.Batches).Length);
    }

    [Fact]
    public void Memory_behind_what_was_unbacked_is_not_kept_with_it()
    {
        var queue = new FlushQueue(new() { Time = _clock });
        Vcm vcm = CreateActive(queue, _iommu);
        Reservation reservation = vcm.Reserve(2 * Page);
        PhysicalAllocation first = _manager.Allocate(Page), behind = _manager.Allocate(Page);
        reservation.Back(0, first, 0, Page);
        reservation.Back(Page, behind, 0, Page);
        reservation.Unback(0, Page);
        // Without a device nothing waits.
        Assert.Single(_made).Deactivate();
        reservation.Unback(Page, Page);
        ulong free = _frames.FreeBytes;
        first.Free();
        Assert.Equal((1, free), (queue.Count, _frames.FreeBytes));
        behind.Free();
        Assert.Equal(free + Page, _frames.FreeBytes);
    }

    [Fact]
    public void Many_unbacks_cost_one_call_to_the_hardware()
    {
        var queue = new FlushQueue(new() { Time = _clock });
        Vcm first = CreateActive(queue, _iommu);
        Vcm second = CreateActive(queue, _iommu);
        for (int i = 0; i < 20; i++)
        {
            Vcm vcm = i % 2 == 0 ? first : second;
            Binding binding = vcm.Bind(Page);
            vcm.Unbind(binding);
        }

        Assert.Empty(_iommu.Batches);
        first.Flush();
        Assert.Equal(2, Assert.Single(_iommu.Batches).Select(command => command.Domain).Distinct().Count());
        first.Flush();
        second.Flush();
        Assert.Single(_iommu.Batches);
    }

    [Fact]
    public void The_queue_flushes_by_count_by_age_and_when_it_is_full()
    {
        var queue = new FlushQueue(new() { Capacity = 4, FlushAtCount = 3, FlushAtAge = TimeSpan.FromMilliseconds(10), Time = _clock });
        Vcm vcm = CreateActive(queue, _iommu);
        Reservation[] reservations = [.. Enumerable.Range(0, 12).Select(_ => vcm.Bind(Page).Reservation)];
        ulong free = _frames.FreeBytes;
        PhysicalAllocation[] memories = [.. reservations.Select(reservation => reservation.Memory!)];
        int next = 0;
        void UnbackOne()
        {
            reservations[next].Unback();
            memories[next++].Free();
        }

        UnbackOne();
        UnbackOne();
        Assert.Equal((0, 2, free), (_iommu.Batches.Count, queue.Count, _frames.FreeBytes));
        UnbackOne();
        Assert.Equal((1, 0, free + 3 * Page), (_iommu.Batches.Count, queue.Count, _frames.FreeBytes));

        UnbackOne();
        _clock.Advance(TimeSpan.FromMilliseconds(9));
        queue.TryPoll();
        Assert.Equal(free + 3 * Page, _frames.FreeBytes);
        _clock.Advance(TimeSpan.FromMilliseconds(1));
        queue.TryPoll();
        Assert.Equal(free + 4 * Page, _frames.FreeBytes);

        // Bounded: with hardware that does not answer no more than four wait, and everything is kept.
        _fuse.Arm(1, stays: true);
        for (int i = 0; i < 4; i++) UnbackOne();
        Assert.Equal((4, free + 4 * Page), (queue.Count, _frames.FreeBytes));
        Reservation refused = reservations[next];
        Assert.Equal(VcmmError.HardwareFailure, refused.TryUnback());
        Assert.True(refused.IsBacked);
        Assert.Equal(VcmmError.None, vcm.TryTranslate(refused.Range.First, out _));
        Assert.Equal(VcmmError.Busy, memories[next].TryFree());
        Assert.Equal(VcmmError.HardwareFailure, vcm.TryFlush());
        Assert.Equal((4, free + 4 * Page), (queue.Count, _frames.FreeBytes));
        _fuse.Disarm();
        UnbackOne();
        vcm.Flush();
        Assert.Equal((0, free + 9 * Page), (queue.Count, _frames.FreeBytes));
    }

    /// <summary>It is backed as before, with the table that was unlinked, and nothing of it waits: neither memory nor addresses stay behind.</summary>
    [Theory]
    [InlineData(Page)]
    [InlineData(Large)]
    public void Where_the_hardware_throws_while_room_is_made_for_an_unback_it_is_not_done(ulong byteCount)
    {
        var queue = new FlushQueue(new() { Capacity = 1, FlushAtCount = 1, Time = _clock });
        Vcm vcm = CreateActive(queue, _iommu);
        Binding waits = vcm.Bind(Page);
        Reservation reservation = vcm.Reserve(byteCount, alignment: Large);
        PhysicalAllocation memory = _manager.Allocate(byteCount, ChunkSizes.Size4K, scattered: true);
        reservation.Back(memory);
        IovaRange range = reservation.Range;
        _fuse.Arm(1, stays: true, throws: true);
        waits.Reservation.Unback();
        Assert.Throws<BrokenPort>(() => reservation.TryUnback());
        _fuse.Disarm();
        Assert.Equal((true, 1), (reservation.IsBacked, queue.Count));
        for (ulong at = 0; at < byteCount; at += Page)
        {
            Assert.Equal(VcmmError.None, vcm.TryTranslate(range.First + at, out Translation found));
            Assert.Equal(memory.AddressAt(at), found.Address);
        }

        reservation.Unmap();
        memory.Free();
        waits.Reservation.Unreserve();
        waits.Memory.Free();
        queue.Flush();
        Assert.Equal(range, vcm.ReserveAt(range.First, byteCount).Range);
        vcm.Reservations[0].Unreserve();
        Association association = Assert.Single(_made);
        association.Deactivate();
        association.Deassociate();
        vcm.Free();
        Assert.Equal(_frames.TotalBytes, _frames.FreeBytes);
    }

    /// <summary>Without a device that translates there is nothing to wait for.</summary>
    [Fact]
    public void Where_no_device_is_active_nothing_waits()
    {
        var queue = new FlushQueue(new() { Time = _clock });
        Vcm vcm = _manager.CreateVcm(Range, new() { FlushQueue = queue });
        vcm.Associate(_manager.AddDevice(_iommu, new(_nextDevice++)));
        ulong free = _frames.FreeBytes;
        Binding binding = vcm.Bind(Page);
        vcm.Unbind(binding);
        Assert.Equal((0, 0), (queue.Count, _iommu.Batches.Count));
        Assert.InRange(_frames.FreeBytes, free - 3 * Page, free);
        vcm.ReserveAt(new(0), Page);
    }

    /// <summary>The owner may end everything while the last unback waits; the flush after it gives back the rest.</summary>
    [Fact]
    public void A_region_can_end_before_its_quarantine_does()
    {
        var queue = new FlushQueue(new() { Time = _clock });
        Vcm vcm = CreateActive(queue, _iommu);
        Association association = Assert.Single(_made);
        Binding binding = vcm.Bind(Large, options: new() { Sizes = ChunkSizes.Size4K, Scattered = true });
        vcm.Unbind(binding);
        association.Deactivate();
        association.Deassociate();
        Assert.Equal(VcmmError.None, vcm.TryFree());
        Assert.True(_frames.FreeBytes < _frames.TotalBytes);
        queue.Flush();
        Assert.Equal(_frames.TotalBytes, _frames.FreeBytes);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(512)]
    public void A_device_sees_the_old_or_nothing_until_the_flush_and_nothing_after_it(int pages)
    {
        using var system = new VtdSystem();
        var queue = new FlushQueue(new() { Time = _clock });
        Vcm vcm = system.Manager.CreateVcm(Range, new() { FlushQueue = queue });
        vcm.Associate(system.Manager.AddDevice(system.Driver, new(0x20))).Activate();
        var device = new BusMaster<Ram, NoSteps>(system.Simulator, system.Memory, new(0x20));
        ulong byteCount = (ulong)pages * Page;
        Binding binding = vcm.Bind(byteCount, options: new() { Sizes = ChunkSizes.Size4K, Scattered = true });
        Iova[] addresses = [binding.Reservation.Range.First, binding.Reservation.Range.First + (byteCount - Page)];
        for (int i = 0; i < 2; i++) system.Memory.Write64(binding.Memory.AddressAt(addresses[i].Value - addresses[0].Value), 0xA0 + (ulong)i);
        byte[] word = new byte[8];
        Assert.All(addresses, address => Assert.True(device.Read(address, word).Ok));

        vcm.Unbind(binding);
        int stale = 0;
        PhysicalAllocation others = system.Manager.Allocate(system.Frames.FreeBytes);
        foreach (PhysRange segment in others.Segments)
        {
            for (ulong at = segment.First.Value; at < segment.Last.Value; at += Page) system.Memory.Write64(new(at), 0xBAD);
        }

        for (int i = 0; i < 2; i++)
        {
            if (!device.Read(addresses[i], word).Ok) continue;
            stale++;
            Assert.Equal(0xA0UL + (ulong)i, BitConverter.ToUInt64(word));
        }

        Assert.True(stale > 0, "nothing stale was reached, so nothing was deferred");
        vcm.Flush();
        Assert.All(addresses, address => Assert.False(device.Read(address, word).Ok));
    }

    [Fact]
    public void Addresses_in_quarantine_are_flushed_for_a_device_that_reserves_them()
    {
        var reserved = IovaRange.FromLength(new(64 * Page), 4 * Page);
        var other = new LedgerIommu(_ram.Port, new Fuse(), LedgerIommu.SecondStage) { ReservedRegions = [reserved] };
        Vcm vcm = CreateActive(new());
        Reservation reservation = vcm.ReserveAt(reserved.First + Page, Page);
        reservation.Back(_manager.Allocate(Page));
        Device device = _manager.AddDevice(other, new(77));
        Assert.Equal(VcmmError.Invalid, vcm.TryAssociate(device, out _));
        reservation.Unmap();
        // If the hardware does not forget, the addresses stay where they are.
        _fuse.Arm(1);
        Assert.Equal(VcmmError.HardwareFailure, vcm.TryAssociate(device, out _));
        _fuse.Disarm();
        Assert.Equal(VcmmError.None, vcm.TryAssociate(device, out Association? association));
        Assert.Single(_iommu.Batches);
        Assert.Equal(VcmmError.NoSpace, vcm.TryReserveAt(reserved.First, Page, Access.Read, out _));
        association!.Deassociate();
        Assert.Equal(VcmmError.None, vcm.TryReserveAt(reserved.First, reserved.ByteCount, Access.Read, out _));
    }

    private Vcm CreateActive(FlushQueueOptions options) => CreateActive(new FlushQueue(options with { Time = _clock }), _iommu);

    private Vcm CreateActive(FlushQueue queue, IIommu iommu)
    {
        Vcm vcm = _manager.CreateVcm(Range, new() { FlushQueue = queue });
        Association association = vcm.Associate(_manager.AddDevice(iommu, new(_nextDevice++)));
        association.Activate();
        _made.Add(association);
        return vcm;
    }

    private static Reservation ReserveAt(Bound bound, IovaRange range)
    {
        Assert.Equal(VcmmError.None, bound.TryReserveAt(range.First, range.ByteCount, Access.Read, out Reservation reservation));
        return reservation;
    }

    private static void AssertTaken(Vcm vcm, Bound? bound, IovaRange range)
    {
        for (ulong at = range.First.Value; at < range.Last.Value; at += Page)
        {
            VcmmError error = bound?.TryReserveAt(new(at), Page, Access.Read, out _) ?? vcm.TryReserveAt(new(at), Page, Access.Read, out _);
            Assert.Equal(VcmmError.NoSpace, error);
        }
    }
}
