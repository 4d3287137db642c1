using Harness.Running;
using Harness;
using IommuSim;
using IommuSim.Cpu;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Cpu;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>Misuse, shortage in the middle of a call, and the ends of the address space.</summary>
public sealed class RefusalLaws : IDisposable
{
    private const ulong Page = SmallSystem.Page;
    private const ulong Large = SmallSystem.Large;
    private const ulong Medium = 64 << 10;

    private readonly SmallSystem _system = new();

    public void Dispose() => _system.Dispose();

    [Fact]
    public void What_is_not_there_is_refused_by_name()
    {
        Vcm vcm = _system.CreateVcm();
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 16 * Page));
        var frames = new FrameAllocator(ram.Range);
        var registers = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default);
        (string Name, Action Call)[] calls =
        [
            ("frames", () => _ = new VcmManager(null!)),
            ("iommu", () => _system.Manager.TryAddDevice(null!, new(1), out _)),
            ("device", () => vcm.TryAssociate(null!, out _)),
            ("memory", () => vcm.Reserve(Page).TryBack(null!)),
            ("registers", () => VtdDriver<Ram>.TryStart(ram.Port, null!, frames, new(), out _)),
            ("frames", () => VtdDriver<Ram>.TryStart(ram.Port, registers, null!, new(), out _)),
            ("options", () => VtdDriver<Ram>.TryStart(ram.Port, registers, frames, null!, out _)),
        ];
        Assert.All(calls, call => Assert.Equal(call.Name, Assert.Throws<ArgumentNullException>(call.Call).ParamName));
    }

    [Fact]
    public void A_refusal_is_thrown_by_every_call_that_has_a_twin()
    {
        RecordingIommu iommu = _system.AddIommu();
        Device device = _system.AddDevice(iommu);
        Vcm vcm = _system.CreateVcm();
        Vcm ended = _system.CreateVcm();
        ended.Free();
        Reservation reservation = vcm.Reserve(Page);
        Association association = vcm.Associate(device);
        PhysicalAllocation memory = _system.Manager.Allocate(Page);
        PhysicalAllocation freed = _system.Manager.Allocate(Page);
        freed.Free();
        Association dropped = vcm.Associate(_system.AddDevice(iommu));
        dropped.Deassociate();
        (VcmmError Error, Action Call)[] calls =
        [
            (VcmmError.Busy, () => _system.Manager.AddDevice(iommu, device.Id)),
            (VcmmError.Invalid, () => _system.Manager.CreateVcm(IovaRange.FromLength(new(1), Page))),
            (VcmmError.Invalid, () => _system.Manager.Allocate(1)),
            (VcmmError.NoSpace, () => vcm.Reserve(1UL << 40)),
            (VcmmError.NoSpace, () => vcm.ReserveAt(reservation.Range.First, Page)),
            (VcmmError.Busy, () => vcm.Associate(device)),
            (VcmmError.Invalid, ended.Free),
            (VcmmError.Invalid, () => reservation.Back(freed)),
            (VcmmError.NotFound, () => reservation.Unback()),
            (VcmmError.Invalid, () => default(Reservation).Unreserve()),
            (VcmmError.Invalid, freed.Free),
            (VcmmError.NotFound, association.Deactivate),
            (VcmmError.Invalid, dropped.Activate),
            (VcmmError.Invalid, dropped.Deassociate),
        ];
        Assert.All(calls, call => Assert.Equal(call.Error, Assert.Throws<VcmmException>(call.Call).Error));
        memory.Free();
    }

    /// <summary>What no format could write into an entry as it is meant.</summary>
    [Theory]
    [InlineData(Access.None, CachePolicy.WriteBackWriteAllocate)]
    [InlineData((Access)8, CachePolicy.WriteBackWriteAllocate)]
    [InlineData(Access.Read | (Access)8, CachePolicy.WriteBackWriteAllocate)]
    [InlineData(Access.Read, CachePolicy.NotCached + 1)]
    [InlineData(Access.Read, (CachePolicy)byte.MaxValue)]
    public void Attributes_without_a_name_are_refused_by_every_call(Access access, CachePolicy cache)
    {
        MappingAttributes attributes = new(access, Cache: cache), named = new(Access.Read, Cache: CachePolicy.NotCached);
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, _system.AddIommu());
        Assert.Equal(VcmmError.None, vcm.TryCreateBound(Large, Large, out Bound? bound));
        Reservation reservation = vcm.Reserve(Page, named);
        PhysicalAllocation memory = _system.Manager.Allocate(Page);
        ulong free = _system.Frames.FreeBytes;
        VcmmError[] refusals =
        [
            vcm.TryReserve(Page, attributes, Page, out _), vcm.TryReserveAt(new(8 * Page), Page, attributes, out _),
            bound!.TryReserve(Page, attributes, Page, out _), bound.TryReserveAt(bound.Range.First, Page, attributes, out _),
            vcm.TryMap(memory, attributes, Page, out _), vcm.TryBind(Page, attributes, MemoryOptions.Default, out _), reservation.TrySetAttributes(attributes),
        ];
        Assert.All(refusals, static refusal => Assert.Equal(VcmmError.Invalid, refusal));
        Assert.Equal(reservation, Assert.Single(vcm.Reservations));
        Assert.Equal((named, free), (reservation.Attributes, _system.Frames.FreeBytes));
    }

    /// <summary>Where no leaf reaches over the end of what is unmapped, none must be cut, and unmapping cannot fail for want of memory.</summary>
    [Fact]
    public void Unmapping_whole_leaves_takes_no_memory()
    {
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, _system.AddIommu());
        Reservation reservation = vcm.Reserve(4 * Page);
        reservation.Back(_system.Manager.Allocate(4 * Page, ChunkSizes.Size4K));
        _system.Frames.AllocationsBeforeFailure = 0;
        Assert.Equal(VcmmError.None, reservation.TryUnback(Page, Page));
        Assert.Equal(VcmmError.None, reservation.TryUnback(3 * Page, Page));
        Assert.Equal(VcmmError.None, reservation.TryUnback());
        Assert.Equal(0, _system.Frames.AllocationsBeforeFailure);
    }

    [Fact]
    public void A_handle_says_what_it_is_a_handle_of()
    {
        Vcm vcm = _system.CreateVcm();
        Reservation reservation = vcm.ReserveAt(new(2 * Page), Page, Access.Read);
        Assert.Equal("iova:0x2000-0x2fff r--", reservation.ToString());
        Assert.Same(vcm, reservation.Vcm);
        Assert.Null(reservation.Memory);
        reservation.Unreserve();
        Assert.Equal("ended reservation", reservation.ToString());
        Assert.Equal("no reservation", default(Reservation).ToString());
        Assert.Equal("vcm iova:0x0-0x3fffffff", vcm.ToString());
        Assert.Equal("sid:0x1", _system.AddDevice(_system.AddIommu()).ToString());
        Assert.Equal("did:17", new DomainId(17).ToString());
        Assert.Equal("vtd-second-stage/4", _system.AddIommu().Format.ToString());
    }

    [Fact]
    public void The_last_page_of_the_64_bit_space_can_be_reserved_and_found()
    {
        var all = new IovaRange(new(0), new(ulong.MaxValue));
        Vcm vcm = _system.Manager.CreateVcm(all);
        Iova last = new(ulong.MaxValue - Page + 1);
        Reservation reservation = vcm.ReserveAt(last, Page);
        Assert.Equal(new IovaRange(last, all.Last), reservation.Range);
        Assert.True(vcm.TryFindReservation(all.Last, out Reservation found));
        Assert.Equal(reservation, found);
        Assert.False(vcm.TryFindReservation(new(last.Value - 1), out _));
        Assert.Equal(VcmmError.Invalid, vcm.TryReserveAt(last, 2 * Page, Access.Read, out _));
        Assert.Equal(VcmmError.Invalid, vcm.TryAssociate(_system.AddDevice(_system.AddIommu()), out _));
    }

    /// <summary>No format has two table bases. What would be ignored is refused.</summary>
    [Theory]
    [InlineData(TableBase.Low, null)]
    [InlineData(TableBase.High, null)]
    [InlineData(TableBase.Low, 1UL << 31)]
    [InlineData(TableBase.High, 1UL << 31)]
    [InlineData(TableBase.Only, 1UL << 31)]
    [InlineData((TableBase)3, null)]
    public void An_association_that_names_a_table_base_or_a_split_is_refused(TableBase @base, ulong? split)
    {
        Vcm vcm = _system.Manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        Device device = _system.AddDevice(_system.AddIommu());
        var options = new AssociationOptions { Base = @base, Split = split is { } address ? new Iova(address) : null };
        Assert.Equal(VcmmError.Invalid, vcm.TryAssociate(device, options, out Association? association));
        Assert.Null(association);
        Assert.Equal(VcmmError.None, vcm.TryAssociate(device, options with { Base = TableBase.Only, Split = null }, out _));
    }

    /// <summary>Of every IOMMU that there is, and of the CPU.</summary>
    [Fact]
    public void No_format_that_an_association_can_name_has_two_bases()
    {
        using var scalable = new ScalableSystem();
        var manager = new VcmManager(scalable.Frames);
        var cpu = new CpuMmu<X86FirstStage, Ram>(new SimulatedCpus(scalable.Memory, CpuOptions.Default), scalable.Memory);
        AssociationOptions[] twoBases = [new() { Base = TableBase.Low }, new() { Base = TableBase.High }, new() { Split = new Iova(1UL << 29) }, new() { Base = TableBase.High, Split = new Iova(1UL << 29) }];
        int formats = 0;
        foreach (IIommu iommu in (IIommu[])[scalable.Driver, new NoIommu(), cpu])
        {
            uint number = 0;
            foreach (TableFormat format in iommu.Formats)
            {
                formats++;
                Device device = manager.AddDevice(iommu, new(number++));
                Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30), new() { Kind = VcmKind.OneToOne });
                foreach (AssociationOptions options in twoBases) Assert.Equal(VcmmError.Invalid, vcm.TryAssociate(device, options with { Format = format }, out _));
                Assert.Equal(VcmmError.None, vcm.TryAssociate(device, new() { Format = format }, out _));
            }
        }

        Assert.InRange(formats, 5, 32);
    }

    [Fact]
    public void A_region_that_ends_where_the_iommu_ends_can_be_associated_and_one_page_more_cannot()
    {
        RecordingIommu iommu = _system.AddIommu(levelCount: 3);
        ulong byteCount = 1UL << 39;
        Vcm fits = _system.Manager.CreateVcm(IovaRange.FromLength(new(0), byteCount));
        Vcm exceeds = _system.Manager.CreateVcm(IovaRange.FromLength(new(0), byteCount + Page));
        Assert.Equal(VcmmError.None, fits.TryAssociate(_system.AddDevice(iommu), out _));
        Assert.Equal(VcmmError.Invalid, exceeds.TryAssociate(_system.AddDevice(iommu), out _));
        Reservation last = fits.ReserveAt(new(byteCount - Page), Page);
        last.Back(_system.Manager.Allocate(Page));
        Assert.Equal(VcmmError.None, fits.TryTranslate(new(byteCount - 1), out _));
        last.Unback();
        Assert.Equal(VcmmError.Fault, fits.TryTranslate(new(byteCount - 1), out _));
    }

    [Fact]
    public void Every_page_of_many_reservations_is_found_in_its_own()
    {
        Vcm vcm = _system.CreateVcm();
        // Not in the order of addresses, so that each place in the list is inserted at.
        Reservation[] reservations = [.. Enumerable.Range(0, 37).Select(i => vcm.ReserveAt(new((ulong)(i * 11 % 37 * 3 + 1) * Page), 2 * Page))];
        Assert.Equal(reservations.OrderBy(reservation => reservation.Range.First.Value), vcm.Reservations);
        foreach (Reservation reservation in reservations)
        {
            Assert.True(vcm.TryFindReservation(reservation.Range.First, out Reservation first));
            Assert.True(vcm.TryFindReservation(reservation.Range.Last, out Reservation last));
            Assert.Equal((reservation, reservation), (first, last));
            Assert.False(vcm.TryFindReservation(new(reservation.Range.First.Value - 1), out _));
        }

        // Ended in yet another order; what is left stays in order.
        foreach (Reservation reservation in reservations.Where((_, i) => i % 2 == 0)) reservation.Unreserve();
        Assert.Equal(reservations.Where((_, i) => i % 2 != 0).OrderBy(reservation => reservation.Range.First.Value), vcm.Reservations);
    }

    [Fact]
    public void Reserving_again_what_was_given_back_allocates_nothing()
    {
        Vcm vcm = _system.CreateVcm();
        Round();
        Assert.Equal(0, Allocations.Of(() =>
        {
            for (int i = 0; i < 100; i++) Round();
        }));

        void Round()
        {
            VcmmError reserved = vcm.TryReserve(Page, Access.Read, Page, out Reservation reservation);
            VcmmError ended = reservation.TryUnreserve();
            if (reserved != VcmmError.None || ended != VcmmError.None) throw new InvalidOperationException($"{reserved}, {ended}");
        }
    }

    [Fact]
    public void A_handle_of_what_has_ended_stays_one_however_often_its_place_is_reserved_again()
    {
        Vcm vcm = _system.CreateVcm();
        var ended = new List<Reservation>();
        for (int i = 0; i < 4; i++)
        {
            Reservation reservation = vcm.ReserveAt(new(0), Page);
            Assert.True(reservation.IsAlive);
            Assert.All(ended, static handle => Assert.False(handle.IsAlive));
            reservation.Unreserve();
            ended.Add(reservation);
        }

        Assert.All(ended, static handle => Assert.Equal(VcmmError.Invalid, handle.TryUnreserve()));
    }

    [Fact]
    public void Backing_again_what_was_unbacked_allocates_nothing()
    {
        Vcm vcm = _system.CreateVcm();
        Reservation reservation = vcm.Reserve(2 * Page);
        PhysicalAllocation memory = _system.Manager.Allocate(2 * Page);
        Round();
        Assert.Equal(0, Allocations.Of(() =>
        {
            for (int i = 0; i < 100; i++) Round();
        }));

        void Round()
        {
            VcmmError backed = reservation.TryBack(memory);
            VcmmError unbacked = reservation.TryUnback();
            if (backed != VcmmError.None || unbacked != VcmmError.None) throw new InvalidOperationException($"{backed}, {unbacked}");
        }
    }

    [Fact]
    public void A_back_for_which_there_is_no_table_page_allocates_nothing_the_next_time()
    {
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, _system.AddIommu());
        Reservation reservation = vcm.Reserve(2 * Page);
        PhysicalAllocation memory = _system.Manager.Allocate(2 * Page);
        Round();
        Assert.Equal(0, Allocations.Of(() =>
        {
            for (int i = 0; i < 100; i++) Round();
        }));

        void Round()
        {
            _system.Frames.AllocationsBeforeFailure = 0;
            VcmmError error = reservation.TryBack(memory);
            if (error != VcmmError.NoMemory) throw new InvalidOperationException($"{error}");
        }
    }

    [Fact]
    public void Where_no_large_chunk_is_left_smaller_ones_are_taken()
    {
        const ChunkSizes sizes = ChunkSizes.Size2M | ChunkSizes.Size64K | ChunkSizes.Size4K;
        _system.Frames.AllocationsBeforeFailure = 0;
        PhysicalAllocation memory = _system.Manager.Allocate(Large + Medium, sizes);
        Assert.Equal(33, memory.Segments.Count);
        Assert.All(memory.Segments, segment => Assert.Equal(Medium, segment.ByteCount));
        memory.Free();

        _system.Frames.AllocationsBeforeFailure = 1;
        memory = _system.Manager.Allocate(2 * Large, sizes);
        Assert.Equal([Large, Medium], memory.Segments.Select(segment => segment.ByteCount).Distinct());
        memory.Free();
        Assert.Equal(_system.Frames.TotalBytes, _system.Frames.FreeBytes);
    }

    [Fact]
    public void An_allocation_that_runs_out_half_way_gives_back_what_it_took()
    {
        PhysicalAllocation most = _system.Manager.Allocate(_system.Frames.TotalBytes - 3 * Large);
        ulong free = _system.Frames.FreeBytes;
        Assert.Equal(VcmmError.NoMemory, _system.Manager.TryAllocate(4 * Large, ChunkSizes.All, scattered: false, out PhysicalAllocation? memory));
        Assert.Null(memory);
        Assert.Equal(free, _system.Frames.FreeBytes);
        Assert.Equal(VcmmError.None, _system.Manager.TryAllocate(3 * Large, ChunkSizes.All, scattered: false, out memory));
        memory!.Free();
        most.Free();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Chunks_of_one_size_ascend_or_descend_and_larger_ones_come_first(bool scattered)
    {
        PhysicalAllocation memory = _system.Manager.Allocate(2 * Large + 2 * Medium + 3 * Page, ChunkSizes.All, scattered);
        Assert.Equal([Large, Large, Medium, Medium, Page, Page, Page], memory.Segments.Select(segment => segment.ByteCount));
        foreach (IGrouping<ulong, PhysRange> size in memory.Segments.GroupBy(segment => segment.ByteCount))
        {
            IEnumerable<ulong> addresses = size.Select(segment => segment.First.Value);
            Assert.Equal(scattered ? addresses.OrderDescending() : addresses.Order(), addresses);
        }
    }

    [Fact]
    public void A_range_allocator_that_loses_what_it_gave_is_a_broken_promise()
    {
        var manager = new VcmManager(_system.Frames, new() { RangeAllocator = static space => new ForgetfulRanges(space) });
        Reservation reservation = manager.CreateVcm(IovaRange.FromLength(new(0), 4 * Page)).Reserve(Page);
        Assert.Throws<InvalidOperationException>(() => reservation.TryUnreserve());
    }

    private sealed class ForgetfulRanges(IovaRange space) : IRangeAllocator
    {
        public VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range)
        {
            range = IovaRange.FromLength(space.First, byteCount);
            return VcmmError.None;
        }

        public VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range) =>
            TryAllocate(byteCount, alignment, Placement.BottomUp, within, out range);

        public VcmmError TryAllocateAt(IovaRange range) => VcmmError.None;

        public VcmmError TryFree(IovaRange range) => VcmmError.Invalid;
    }
}
