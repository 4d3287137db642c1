using Harness;
using Harness.Passing;
using Harness.Running;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Dma;
using Vcmm.Invalidations;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>What address spaces and mappings without a VCM refuse, give back and leave as it is, at the ends of what they take.</summary>
public sealed class DmaContractLaws : IDisposable
{
    private const ulong Page = 4096;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 256 * Page));
    private readonly FailingFrames _frames;
    private readonly RecordingIommu _iommu;
    private readonly IommuDomain _domain;
    private readonly RangeAllocator _addresses = new(IovaRange.FromLength(new(16 * Page), 64 * Page));

    public DmaContractLaws()
    {
        _frames = new(new FrameAllocator(_ram.Range));
        _iommu = new(_ram.Port);
        _domain = IommuDomain.Create(_iommu, _frames);
    }

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void A_domain_id_goes_back_when_its_address_space_ends_and_when_it_cannot_be_made()
    {
        Assert.Empty(Released());
        Assert.Equal(VcmmError.None, _domain.TryFree());
        Assert.Equal([_domain.Id], Released());
        Assert.Equal(VcmmError.Invalid, _domain.TryFree());
        Assert.Equal([_domain.Id], Released());
        _frames.AllocationsBeforeFailure = 0;
        Assert.Equal(VcmmError.NoMemory, IommuDomain.TryCreate(_iommu, _iommu.Format, _frames, out IommuDomain? none));
        Assert.Null(none);
        Assert.Equal([_domain.Id, new DomainId(_domain.Id.Value + 1)], Released());

        DomainId[] Released() => [.. _iommu.Calls.OfType<RecordingIommu.Released>().Select(static call => call.Domain)];
    }

    [Fact]
    public void What_has_ended_maps_unmaps_and_protects_nothing()
    {
        IovaRange range = IovaRange.FromLength(new(Page), Page);
        UnmapGather gather = _domain.CreateGather();
        Assert.Equal(VcmmError.None, _domain.TryMap(range.First, PhysRange.FromLength(new(Page), Page), Access.ReadWrite));
        Assert.Equal(VcmmError.None, _domain.TryFree());
        Assert.Equal(VcmmError.Invalid, _domain.TryMap(range.First, PhysRange.FromLength(new(Page), Page), Access.ReadWrite));
        Assert.Equal(VcmmError.Invalid, _domain.TryUnmap(range));
        Assert.Equal(VcmmError.Invalid, _domain.TryUnmap(range, gather));
        Assert.Equal(VcmmError.Invalid, _domain.TryProtect(range, Access.Read));
        Assert.Equal(0, gather.Count);
    }

    [Fact]
    public void No_gather_and_no_queue_is_a_mistake_of_the_caller()
    {
        IovaRange range = IovaRange.FromLength(new(Page), Page);
        Assert.Throws<ArgumentNullException>("gather", () => _domain.TryUnmap(range, null!));
        Assert.Throws<ArgumentNullException>("gather", () => _domain.TrySync(null!));
        Assert.Throws<ArgumentNullException>("gather", () => _domain.TryDefer(null!, new FlushQueue()));
        Assert.Throws<ArgumentNullException>("queue", () => _domain.TryDefer(_domain.CreateGather(), null!));
    }

    [Fact]
    public void A_gather_that_a_queue_holds_is_busy_until_it_is_released()
    {
        Attach();
        _domain.Map(new(Page), PhysRange.FromLength(new(Page), Page), Access.ReadWrite);
        UnmapGather gather = _domain.CreateGather();
        var queue = new FlushQueue(new() { FlushAtAge = TimeSpan.MaxValue });
        Assert.Equal(VcmmError.None, _domain.TryUnmap(IovaRange.FromLength(new(Page), Page), gather));
        Assert.Equal(VcmmError.None, _domain.TryDefer(gather, queue));
        Assert.True(gather.IsDeferred);
        Assert.Equal(VcmmError.Busy, _domain.TryDefer(gather, queue));
        Assert.Equal(VcmmError.Busy, _domain.TrySync(gather));
        Assert.Equal(VcmmError.Busy, _domain.TryUnmap(IovaRange.FromLength(new(Page), Page), gather));
        queue.Flush();
        Assert.Equal((false, 0), (gather.IsDeferred, gather.Count));
        Assert.Equal(VcmmError.None, _domain.TrySync(gather));
    }

    /// <summary>What waits for its sync is nobody's yet, to its first byte and its last, and what lies beside it is not held up.</summary>
    [Theory]
    [InlineData(3, 1, false)]
    [InlineData(4, 1, true)]
    [InlineData(5, 1, true)]
    [InlineData(3, 2, true)]
    [InlineData(5, 4, true)]
    [InlineData(6, 1, false)]
    [InlineData(8, 1, true)]
    [InlineData(9, 1, false)]
    public void Addresses_that_wait_for_a_sync_are_busy(ulong page, ulong count, bool isBusy)
    {
        Attach();
        _domain.Map(new(4 * Page), PhysRange.FromLength(new(Page), 2 * Page), Access.ReadWrite);
        _domain.Map(new(8 * Page), PhysRange.FromLength(new(Page), Page), Access.ReadWrite);
        UnmapGather gather = _domain.CreateGather();
        Assert.Equal(VcmmError.None, _domain.TryUnmap(IovaRange.FromLength(new(8 * Page), Page), gather));
        Assert.Equal(VcmmError.None, _domain.TryUnmap(IovaRange.FromLength(new(4 * Page), 2 * Page), gather));
        Assert.Equal(isBusy ? VcmmError.Busy : VcmmError.None, _domain.TryMap(new(page * Page), PhysRange.FromLength(new(Page), count * Page), Access.Read));
        _domain.Sync(gather);
        if (isBusy) Assert.Equal(VcmmError.None, _domain.TryMap(new(page * Page), PhysRange.FromLength(new(Page), count * Page), Access.Read));
    }

    [Theory]
    [InlineData(1UL, 4096UL)]
    [InlineData(5000UL, 8192UL)]
    public void Coherent_memory_is_zero_to_its_last_byte_whatever_was_in_it(ulong byteCount, ulong zeroBytes)
    {
        byte[] dirt = [.. Enumerable.Repeat((byte)0xAA, (int)Page)];
        for (ulong page = 0; page < 256; page++)
        {
            if (_frames.TryAllocate(Page, out PhysAddr frame) != VcmmError.None) break;
            _ram.Port.Write(frame, dirt);
        }

        // All but the table's are free again, and dirty.
        for (ulong page = 0; page < 256; page++)
        {
            if (new PhysAddr(page * Page) != _domain.Root) Assert.Equal(VcmmError.None, _frames.TryFree(new(page * Page)));
        }

        DmaMapping<Ram> mapping = Create();
        (PhysAddr memory, Iova address) = mapping.AllocateCoherent(byteCount);
        byte[] content = new byte[zeroBytes];
        _ram.Port.Read(memory, content);
        Assert.All(content, static value => Assert.Equal(0, value));
        Assert.Equal(memory, _domain.IovaToPhys(address));
        mapping.FreeCoherent(address, byteCount);
        Assert.Equal(VcmmError.Invalid, mapping.TryAllocateCoherent(0, out _, out _));
        Assert.Equal(VcmmError.Invalid, mapping.TryAllocateCoherent((1UL << 30) + 1, out _, out _));
        Assert.Equal(VcmmError.NoMemory, mapping.TryAllocateCoherent(1UL << 30, out _, out _));
    }

    [Fact]
    public void A_sync_reaches_to_the_last_byte_of_what_is_mapped_and_no_further()
    {
        DmaMapping<Ram> mapping = Create();
        Iova address = mapping.MapSingle(new(7 * Page), 2 * Page, DmaDirection.Bidirectional);
        foreach (Func<Iova, ulong, VcmmError> sync in (Func<Iova, ulong, VcmmError>[])[mapping.TrySyncForDevice, mapping.TrySyncForCpu])
        {
            Assert.Equal(VcmmError.None, sync(address, 2 * Page));
            Assert.Equal(VcmmError.None, sync(address + (2 * Page - 1), 1));
            Assert.Equal(VcmmError.Fault, sync(address + (2 * Page - 1), 2));
            Assert.Equal(VcmmError.Fault, sync(address, 2 * Page + 1));
            Assert.Equal(VcmmError.Invalid, sync(address, 0));
            // The last byte that there is, and one too many.
            Assert.Equal(VcmmError.Fault, sync(new(ulong.MaxValue), 1));
            Assert.Equal(VcmmError.Invalid, sync(new(ulong.MaxValue), 2));
            Assert.Equal(VcmmError.Invalid, sync(address, ulong.MaxValue));
        }
    }

    [Fact]
    public void What_the_device_does_not_snoop_is_cleaned_to_the_byte()
    {
        var cleaned = new List<PhysRange>();
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 64 * Page));
        var mapping = new DmaMapping<PortMemory>(_domain, _addresses, new(new CleanedMemory(ram.Port, cleaned)), _frames, new() { IsCoherent = false });
        Iova address = mapping.MapScatterGather([PhysRange.FromLength(new(7 * Page), Page), PhysRange.FromLength(new(3 * Page), Page)], DmaDirection.ToDevice);
        cleaned.Clear();
        mapping.SyncForDevice(address + 100, Page);
        Assert.Equal([new(new(7 * Page + 100), new(8 * Page - 1)), new(new(3 * Page), new(3 * Page + 99))], cleaned);
        cleaned.Clear();
        mapping.SyncForCpu(address, Page);
        Assert.Empty(cleaned);

        // What it does is what it does unless it is told that the device snoops not.
        var snooped = new DmaMapping<PortMemory>(_domain, _addresses, new(new CleanedMemory(ram.Port, cleaned)), _frames);
        snooped.SyncForDevice(snooped.MapSingle(new(7 * Page), Page, DmaDirection.ToDevice), Page);
        Assert.Empty(cleaned);
    }

    /// <summary>Memory at the very top of what an address can say.</summary>
    [Fact]
    public void A_range_that_would_wrap_is_invalid_and_one_that_ends_at_the_end_is_not_that()
    {
        Assert.Equal(VcmmError.Invalid, _domain.TryMap(new(0), new PhysRange(new(ulong.MaxValue - Page + 1), new(ulong.MaxValue)), Access.Read));
        Assert.Equal(VcmmError.Invalid, _domain.TryUnmap(new IovaRange(new(ulong.MaxValue - Page + 1), new(ulong.MaxValue))));
        // More than there is room for, up to the last byte.
        Assert.Equal(VcmmError.NoSpace, Create().TryMapSingle(new(ulong.MaxValue - 65 * Page + 1), 65 * Page, DmaDirection.ToDevice, out _));
        // The last byte of 52 bits.
        _domain.Map(new(0), new PhysRange(new((1UL << 52) - Page), new((1UL << 52) - 1)), Access.Read);
        Assert.Equal(new PhysAddr((1UL << 52) - 1), _domain.IovaToPhys(new(Page - 1)));
    }

    /// <summary>Two pieces of memory that are not one behind the other, and both granted more: what stands after two failures is all of it.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void What_a_protect_grants_to_any_number_of_pieces_stands_after_two_failures(int pieces)
    {
        Attach();
        for (ulong i = 0; i < (ulong)pieces; i++) _domain.Map(new(i * Page), PhysRange.FromLength(new((40 - 2 * i) * Page), Page), Access.Read);
        int failures = 2;
        _iommu.OnCall = _ => failures-- > 0 ? VcmmError.HardwareFailure : VcmmError.None;
        Assert.Equal(VcmmError.None, _domain.TryProtect(IovaRange.FromLength(new(0), (ulong)pieces * Page), Access.ReadWrite));
        Assert.Equal(0, failures);
        for (ulong i = 0; i < (ulong)pieces; i++) Assert.Equal(Access.ReadWrite, _domain.Translate(new(i * Page)).Access);
    }

    [Fact]
    public void Where_nothing_translates_only_what_is_one_to_one_can_be_mapped()
    {
        IommuDomain domain = IommuDomain.Create(new NoIommu(), _frames);
        Assert.Equal(VcmmError.Invalid, domain.TryMap(new(5 * Page), PhysRange.FromLength(new(6 * Page), Page), Access.ReadWrite));
        PhysRange[] gap = [PhysRange.FromLength(new(5 * Page), Page), PhysRange.FromLength(new(7 * Page), Page)];
        Assert.Equal(VcmmError.Invalid, domain.TryMap(new(5 * Page), gap, Access.ReadWrite));
        PhysRange[] whole = [PhysRange.FromLength(new(5 * Page), 2 * Page), PhysRange.FromLength(new(7 * Page), Page)];
        Assert.Equal(VcmmError.None, domain.TryMap(new(5 * Page), whole, Access.ReadWrite));
    }

    /// <summary>So that the largest leaf fits.</summary>
    [Theory]
    [InlineData(1UL << 30, 1UL << 30)]
    [InlineData((1UL << 30) - 4096, 2UL << 20)]
    [InlineData(2UL << 20, 2UL << 20)]
    [InlineData((2UL << 20) - 4096, 4096UL)]
    public void A_large_buffer_gets_addresses_of_its_leafs_alignment(ulong byteCount, ulong alignment)
    {
        var addresses = new RangeAllocator(new(new(Page), new((8UL << 30) - 1)));
        var mapping = new DmaMapping<Ram>(_domain, addresses, _ram.Port, _frames);
        Iova first = mapping.MapSingle(new(1UL << 32), Page, DmaDirection.ToDevice);
        Iova address = mapping.MapSingle(new(1UL << 33), byteCount, DmaDirection.ToDevice);
        Assert.Equal(new Iova(Page), first);
        Assert.Equal(Math.Max(alignment, 2 * Page), address.Value);
    }

    /// <summary>Of what was tried and lies across the end of what the IOMMU does not translate the rest can be used.</summary>
    [Theory]
    [InlineData(20, 2, 8, 22, 4, 16)]       // [16, 24) was tried
    [InlineData(14, 4, 8, 18, 8, 26)]       // [16, 24) was tried, and 14, 15 are not of the space
    [InlineData(78, 4, 64, 0, 62, 16)]      // [16, 80) was tried, and 80, 81 are not of the space
    public void What_is_tried_around_a_reserved_region_is_not_lost(
        ulong reserved, ulong count, ulong firstPages, ulong firstAt, ulong secondPages, ulong secondAt)
    {
        _iommu.ReservedRegions = [IovaRange.FromLength(new(reserved * Page), count * Page)];
        IommuDomain domain = IommuDomain.Create(_iommu, _frames);
        var mapping = new DmaMapping<Ram>(domain, _addresses, _ram.Port, _frames);
        VcmmError error = mapping.TryMapSingle(new(Page), firstPages * Page, DmaDirection.ToDevice, out Iova first);
        Assert.Equal((firstAt == 0 ? VcmmError.NoSpace : VcmmError.None, firstAt * Page), (error, first.Value));
        Assert.Equal(secondAt * Page, mapping.MapSingle(new(Page), secondPages * Page, DmaDirection.ToDevice).Value);
        // In the end everything is handed out but what is reserved.
        ulong left = 0;
        while (mapping.TryMapSingle(new(Page), Page, DmaDirection.ToDevice, out _) == VcmmError.None) left++;
        ulong inSpace = Math.Min(reserved + count, 80) - Math.Max(reserved, 16);
        Assert.Equal(64 - inSpace, left + secondPages + (firstAt == 0 ? 0 : firstPages));
    }

    [Fact]
    public void Coherent_memory_takes_one_block_and_flushes_only_for_want_of_one()
    {
        var queue = new FlushQueue(new() { FlushAtAge = TimeSpan.MaxValue });
        var mapping = new DmaMapping<Ram>(_domain, _addresses, _ram.Port, _frames, new() { Deferred = queue });
        (_, Iova warm) = mapping.AllocateCoherent(Page);
        mapping.FreeCoherent(warm, Page);
        queue.Flush();
        ulong free = _frames.FreeBytes;
        (_, Iova first) = mapping.AllocateCoherent(Page);
        (_, Iova second) = mapping.AllocateCoherent(Page);
        Assert.Equal(free - 2 * Page, _frames.FreeBytes);
        mapping.FreeCoherent(first, Page);
        _frames.AllocationsBeforeFailure = 0;
        (_, Iova third) = mapping.AllocateCoherent(Page);
        Assert.Equal((0, free - 2 * Page), (queue.Count, _frames.FreeBytes));
        mapping.FreeCoherent(third, Page);
        (_, Iova fourth) = mapping.AllocateCoherent(Page);
        Assert.Equal((1, free - 3 * Page), (queue.Count, _frames.FreeBytes));
        mapping.FreeCoherent(second, Page);
        mapping.FreeCoherent(fourth, Page);
        queue.Flush();
        Assert.Equal(free, _frames.FreeBytes);
    }

    [Fact]
    public void Pieces_that_meet_off_a_page_or_are_more_than_there_is_are_invalid()
    {
        DmaMapping<Ram> mapping = Create();
        PhysRange page = PhysRange.FromLength(new(7 * Page), Page);
        Assert.Equal(VcmmError.Invalid, mapping.TryMapScatterGather([page, PhysRange.FromLength(new(9 * Page), Page / 2), page], DmaDirection.ToDevice, out _));
        Assert.Equal(VcmmError.Invalid, mapping.TryMapScatterGather([page, PhysRange.FromLength(new(9 * Page + 512), Page - 512), page], DmaDirection.ToDevice, out _));
        var most = new PhysRange(new(0), new(ulong.MaxValue));
        Assert.Equal(VcmmError.Invalid, mapping.TryMapScatterGather([most], DmaDirection.ToDevice, out _));
        Assert.Equal(VcmmError.Invalid, mapping.TryMapScatterGather([page, most], DmaDirection.ToDevice, out _));
        var half = new PhysRange(new(0), new(ulong.MaxValue >> 1));
        Assert.Equal(VcmmError.Invalid, mapping.TryMapScatterGather([half, half], DmaDirection.ToDevice, out _));
        Assert.NotEqual(VcmmError.None, mapping.TryMapScatterGather([half], DmaDirection.ToDevice, out _));

        // Whole pages in all, of which no piece is: whether there is room for them or not.
        PhysRange[] pieces = [page, PhysRange.FromLength(new(9 * Page), Page / 2), PhysRange.FromLength(new(9 * Page + Page / 2), Page / 2), page];
        Assert.Equal(VcmmError.Invalid, _domain.TryMap(new(0), pieces.AsSpan(1, 2), Access.Read));
        Assert.Equal(VcmmError.Invalid, mapping.TryMapScatterGather(pieces, DmaDirection.ToDevice, out _));
        mapping.MapSingle(new(0), 64 * Page, DmaDirection.ToDevice);
        Assert.Equal(VcmmError.NoSpace, mapping.TryMapScatterGather([page], DmaDirection.ToDevice, out _));
        Assert.Equal(VcmmError.Invalid, mapping.TryMapScatterGather(pieces, DmaDirection.ToDevice, out _));
    }

    [Fact]
    public void A_range_allocator_that_does_not_take_back_what_it_gave_is_a_broken_promise()
    {
        var mapping = new DmaMapping<Ram>(_domain, new KeptRanges(_addresses), _ram.Port, _frames);
        Iova address = mapping.MapSingle(new(Page), Page, DmaDirection.ToDevice);
        Assert.Throws<InvalidOperationException>(() => mapping.TryUnmap(address, Page));
    }

    [Fact]
    public void Unmaps_that_a_full_queue_refuses_allocate_nothing()
    {
        var quiet = new QuietIommu(_iommu) { Outcome = VcmmError.HardwareFailure };
        IommuDomain domain = IommuDomain.Create(quiet, _frames);
        domain.Attach(new(1));
        var queue = new FlushQueue(new() { Capacity = 1, FlushAtCount = 1, FlushAtAge = TimeSpan.MaxValue });
        var mapping = new DmaMapping<Ram>(domain, _addresses, _ram.Port, _frames, new() { Deferred = queue });
        mapping.Unmap(mapping.MapSingle(new(Page), Page, DmaDirection.ToDevice), Page);
        Iova address = mapping.MapSingle(new(Page), Page, DmaDirection.ToDevice);
        VcmmError error = mapping.TryUnmap(address, Page);
        Assert.Equal(0, Allocations.Of(() =>
        {
            for (int i = 0; i < 20; i++) error = mapping.TryUnmap(address, Page);
        }));
        Assert.Equal((VcmmError.HardwareFailure, 1, 1), (error, queue.Count, mapping.Count));
    }

    private void Attach() => _domain.Attach(new(1));

    private DmaMapping<Ram> Create() => new(_domain, _addresses, _ram.Port, _frames);

    private sealed class KeptRanges(IRangeAllocator inner) : IRangeAllocator
    {
        public VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range) =>
            inner.TryAllocate(byteCount, alignment, placement, within, out range);

        public VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range) => inner.TryFind(byteCount, alignment, within, out range);

        public VcmmError TryAllocateAt(IovaRange range) => inner.TryAllocateAt(range);

        public VcmmError TryFree(IovaRange range) => VcmmError.Invalid;
    }

    private sealed class CleanedMemory(IPhysicalMemory inner, List<PhysRange> cleaned) : PassingMemory(inner)
    {
        public override void Clean(PhysRange range) => cleaned.Add(range);
    }
}
