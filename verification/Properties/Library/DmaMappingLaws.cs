using Harness;
using IommuSim;
using Platform;
using Properties.Cli;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Dma;
using Vcmm.Invalidations;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>Buffers for a device without a VCM: I2, I4, I5, I6.</summary>
public sealed class DmaMappingLaws : IDisposable
{
    private const ulong Page = 4096;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 256 * Page));
    private readonly MemoryWatch _watch = new();
    private readonly FakeClock _clock = new();
    private readonly FailingFrames _frames;
    private readonly TlbIommu _iommu;
    private readonly RecordingIommu _hardware;
    private readonly IommuDomain _domain;
    private readonly RangeAllocator _addresses = new(IovaRange.FromLength(new(16 * Page), 64 * Page));

    public DmaMappingLaws()
    {
        _frames = new(new FrameAllocator(_ram.Range));
        Assert.Equal(VcmmError.None, _frames.TryAllocate(Page, out _));
        _hardware = new(_ram.Port) { ReservedRegions = [IovaRange.FromLength(new(20 * Page), 2 * Page)] };
        _iommu = new(_hardware);
        _domain = IommuDomain.Create(_iommu, _frames);
        _domain.Attach(new(1));
    }

    public void Dispose() => _ram.Dispose();

    private DmaMapping<Ram> Create(DmaMappingOptions? options = null) => new(_domain, _addresses, _ram.Port, _frames, options);

    [Theory]
    [InlineData(0, 1, 1)]
    [InlineData(0, 4096, 1)]
    [InlineData(1, 4096, 2)]
    [InlineData(4095, 1, 1)]
    [InlineData(4095, 2, 2)]
    [InlineData(100, 8192, 3)]
    public void A_buffer_keeps_its_offset_and_takes_the_pages_that_hold_it(ulong offset, ulong byteCount, int pages)
    {
        DmaMapping<Ram> mapping = Create();
        Iova address = mapping.MapSingle(new(7 * Page + offset), byteCount, DmaDirection.Bidirectional);
        Assert.Equal(offset, address.Value % Page);
        for (ulong at = 0; at < byteCount; at += Math.Max(1, byteCount - 1)) Assert.Equal(new PhysAddr(7 * Page + offset + at), _domain.Translate(address + at).Address);
        Assert.Equal(pages, Leaves().Count);

        // Only as it was made.
        Assert.Equal(VcmmError.NotFound, mapping.TryUnmap(address, byteCount + Page));
        Assert.Equal(VcmmError.NotFound, mapping.TryUnmap(address + Page, byteCount));
        Assert.Equal(VcmmError.NotFound, mapping.TryFreeCoherent(address, byteCount));
        Assert.Equal(VcmmError.NotFound, mapping.TryUnmap(address, 0));
        Assert.Equal(VcmmError.NotFound, mapping.TryUnmap(address, ulong.MaxValue));
        mapping.Unmap(address, byteCount);
        Assert.Equal(VcmmError.NotFound, mapping.TryUnmap(address, byteCount));
        Assert.Empty(Leaves());
        Assert.Equal(VcmmError.None, _addresses.TryAllocateAt(IovaRange.FromLength(new(16 * Page), 4 * Page)));
    }

    [Fact]
    public void Scattered_memory_is_one_range_for_the_device()
    {
        DmaMapping<Ram> mapping = Create();
        PhysRange[] segments = [new(new(9 * Page + 8), new(10 * Page - 1)), PhysRange.FromLength(new(3 * Page), 2 * Page), new(new(30 * Page), new(30 * Page + 99))];
        Iova address = mapping.MapScatterGather(segments, DmaDirection.ToDevice);
        ulong at = 0;
        foreach (PhysRange segment in segments)
        {
            Assert.Equal(segment.First, _domain.Translate(address + at).Address);
            Assert.Equal(segment.Last, _domain.Translate(address + (at + segment.ByteCount - 1)).Address);
            at += segment.ByteCount;
        }

        mapping.Unmap(address, at);
        Assert.Empty(Leaves());
    }

    [Theory]
    [InlineData(DmaDirection.ToDevice, Access.Read)]
    [InlineData(DmaDirection.FromDevice, Access.Write)]
    [InlineData(DmaDirection.Bidirectional, Access.ReadWrite)]
    public void A_direction_grants_what_it_needs_and_no_more(DmaDirection direction, Access access)
    {
        Iova address = Create().MapSingle(new(0), 1, direction);
        Assert.Equal(access, _domain.Translate(address).Access);
    }

    [Fact]
    public void What_makes_no_sense_is_invalid_and_changes_nothing()
    {
        DmaMapping<Ram> mapping = Create();
        Assert.Equal(VcmmError.Invalid, mapping.TryMapSingle(new(0), 0, DmaDirection.ToDevice, out _));
        Assert.Equal(VcmmError.Invalid, mapping.TryMapSingle(new(ulong.MaxValue), 2, DmaDirection.ToDevice, out _));
        Assert.Equal(VcmmError.Invalid, mapping.TryMapSingle(new(0), 1, (DmaDirection)3, out _));
        Assert.Equal(VcmmError.Invalid, mapping.TryMapSingle(new(ulong.MaxValue), 1, DmaDirection.ToDevice, out _));
        Assert.Equal(VcmmError.Invalid, mapping.TryMapScatterGather([], DmaDirection.ToDevice, out _));
        Assert.Equal(VcmmError.Invalid, mapping.TryMapScatterGather([new(new(0), new(99)), PhysRange.FromLength(new(Page), Page)], DmaDirection.ToDevice, out _));
        Assert.Equal(VcmmError.Invalid, mapping.TryMapScatterGather([new(new(0), new(ulong.MaxValue)), new(new(0), new(ulong.MaxValue))], DmaDirection.ToDevice, out _));
        Assert.Equal(VcmmError.NoSpace, mapping.TryMapSingle(new(0), 65 * Page, DmaDirection.ToDevice, out _));
        Assert.Equal(VcmmError.Invalid, mapping.TryAllocateCoherent(0, out _, out _));
        Assert.Equal(VcmmError.Invalid, mapping.TryAllocateCoherent((1UL << 30) + 1, out _, out _));
        Assert.Equal(VcmmError.Fault, mapping.TrySyncForDevice(new(0), 1));
        Assert.Equal(VcmmError.Invalid, mapping.TrySyncForDevice(new(ulong.MaxValue), 2));
        Assert.Equal(0, mapping.Count);
        Assert.Empty(Leaves());
        AssertAllAddressesFree();
    }

    [Fact]
    public void Addresses_that_the_iommu_does_not_translate_are_not_handed_out()
    {
        DmaMapping<Ram> mapping = Create();
        var handedOut = new HashSet<ulong>();
        while (mapping.TryMapSingle(new(0), Page, DmaDirection.ToDevice, out Iova address) == VcmmError.None) Assert.True(handedOut.Add(address.Value / Page));
        Assert.Equal(Enumerable.Range(16, 64).Select(page => (ulong)page).Except([20UL, 21UL]), handedOut.Order());
    }

    [Fact]
    public void Addresses_beyond_the_devices_reach_are_not_handed_out()
    {
        DmaMapping<Ram> mapping = Create(new() { LastAddress = new(18 * Page - 1) });
        Iova first = mapping.MapSingle(new(0), Page, DmaDirection.ToDevice);
        mapping.MapSingle(new(0), Page, DmaDirection.ToDevice);
        Assert.Equal(VcmmError.NoSpace, mapping.TryMapSingle(new(0), Page, DmaDirection.ToDevice, out _));
        mapping.Unmap(first, Page);
        mapping.MapSingle(new(0), Page, DmaDirection.ToDevice);
    }

    [Fact]
    public void Coherent_memory_is_zero_and_its_frames_come_back()
    {
        for (ulong at = 64 * Page; at < 256 * Page; at += 8) _ram.Port.Write64(new(at), ulong.MaxValue);
        DmaMapping<Ram> mapping = Create();
        ulong free = _frames.FreeBytes;
        (PhysAddr memory, Iova address) = mapping.AllocateCoherent(3 * Page - 5);
        byte[] bytes = new byte[3 * Page];
        _ram.Port.Read(memory, bytes);
        Assert.All(bytes, value => Assert.Equal(0, value));
        Assert.Equal((memory, Access.ReadWrite), (_domain.Translate(address).Address, _domain.Translate(address).Access));
        Assert.Equal(3, Leaves().Count);
        Assert.Equal(VcmmError.NotFound, mapping.TryUnmap(address, 3 * Page - 5));
        ulong tables = free - _frames.FreeBytes - 4 * Page;
        mapping.FreeCoherent(address, 3 * Page - 5);
        Assert.Equal(free - tables, _frames.FreeBytes);
        Assert.Equal(VcmmError.NotFound, mapping.TryFreeCoherent(address, 3 * Page - 5));
    }

    /// <summary>Each allocation and each call to the hardware fails once, in every kind of call.</summary>
    [Fact]
    public void A_call_that_fails_leaves_everything_as_it_was()
    {
        int failures = 0;
        for (int nth = 0; nth < 8; nth++)
        {
            foreach (bool hardware in (bool[])[false, true])
            {
                using var world = new DmaMappingLaws();
                world._hardware.CachesAbsent = true;
                failures += world.FailOnce(nth, hardware);
            }
        }

        Assert.True(failures >= 10, $"{failures} failures");
    }

    private int FailOnce(int nth, bool hardware)
    {
        DmaMapping<Ram> mapping = Create();
        int left = nth;
        if (hardware) _iommu.Outcome = () => left-- == 0 ? VcmmError.HardwareFailure : VcmmError.None;
        else _frames.AllocationsBeforeFailure = nth;
        int failures = 0;
        Iova single = default, scattered = default, coherent = default;
        PhysRange[] pieces = [PhysRange.FromLength(new(9 * Page), Page), PhysRange.FromLength(new(3 * Page), Page)];
        // Each is tried until it succeeds, which is the second time at the latest.
        Func<VcmmError>[] calls =
        [
            () => mapping.TryMapSingle(new(5 * Page + 7), Page, DmaDirection.ToDevice, out single),
            () => mapping.TryMapScatterGather(pieces, DmaDirection.FromDevice, out scattered),
            () => mapping.TryAllocateCoherent(2 * Page, out _, out coherent),
            () => mapping.TryUnmap(single, Page),
            () => mapping.TryFreeCoherent(coherent, 2 * Page),
            () => mapping.TryUnmap(scattered, 2 * Page),
        ];
        foreach (Func<VcmmError> call in calls)
        {
            _iommu.TouchAll(128);
            (string Leaves, int Count, ulong Free) before = (string.Join(",", Leaves()), mapping.Count, _frames.FreeBytes);
            VcmmError error = call();
            _iommu.AssertNothingStale();
            if (error == VcmmError.None) continue;
            failures++;
            Assert.Equal(hardware ? VcmmError.HardwareFailure : VcmmError.NoMemory, error);
            Assert.Equal((before.Leaves, before.Count), (string.Join(",", Leaves()), mapping.Count));
            // Where absent entries are cached the undoing leaves tables for the next call; nothing else stays.
            if (!hardware) Assert.Equal(before.Free, _frames.FreeBytes);
            Assert.Equal(VcmmError.None, call());
        }

        Assert.Empty(Leaves());
        Assert.Equal(0, mapping.Count);
        AssertAllAddressesFree();
        _iommu.Outcome = static () => VcmmError.None;
        _domain.Detach(new(1));
        _domain.Free();
        Assert.Equal(_frames.TotalBytes - Page, _frames.FreeBytes);
        return failures;
    }

    [Fact]
    public void Deferred_nothing_is_given_out_again_before_the_flush()
    {
        var queue = new FlushQueue(new() { Time = _clock });
        DmaMapping<Ram> mapping = Create(new() { Deferred = queue });
        Iova address = mapping.MapSingle(new(5 * Page), 2 * Page, DmaDirection.Bidirectional);
        (PhysAddr _, Iova coherent) = mapping.AllocateCoherent(Page);
        _iommu.TouchAll(128);
        ulong free = _frames.FreeBytes;
        var told = new Told();
        mapping.Unmap(address, 2 * Page, told);
        mapping.FreeCoherent(coherent, Page);
        Assert.Empty(_iommu.Batches);
        Assert.Empty(Leaves());
        Assert.Equal((false, free, 2), (told.Is, _frames.FreeBytes, queue.Count));
        Assert.Equal(VcmmError.NoSpace, _addresses.TryAllocateAt(IovaRange.FromLength(new(address.Value), Page)));
        Assert.Equal(VcmmError.Busy, _domain.TryMap(address, PhysRange.FromLength(new(0), Page), Access.Read));
        Assert.Equal(VcmmError.NotFound, mapping.TryUnmap(address, 2 * Page));

        _iommu.Outcome = static () => VcmmError.HardwareFailure;
        Assert.Equal(VcmmError.HardwareFailure, queue.TryFlush());
        Assert.Equal((false, free, 2), (told.Is, _frames.FreeBytes, queue.Count));
        _iommu.Outcome = static () => VcmmError.None;
        queue.Flush();
        _iommu.AssertNothingStale();
        Assert.Equal((true, free + Page, 0), (told.Is, _frames.FreeBytes, queue.Count));
        AssertAllAddressesFree();
    }

    [Fact]
    public void Deferred_a_full_queue_that_cannot_be_flushed_refuses_the_unmap()
    {
        var queue = new FlushQueue(new() { Capacity = 1, FlushAtCount = 1, FlushAtAge = TimeSpan.FromDays(1), Time = _clock });
        DmaMapping<Ram> mapping = Create(new() { Deferred = queue });
        Iova first = mapping.MapSingle(new(5 * Page), Page, DmaDirection.Bidirectional);
        Iova second = mapping.MapSingle(new(6 * Page), Page, DmaDirection.Bidirectional);
        _iommu.TouchAll(128);
        _iommu.Outcome = static () => VcmmError.HardwareFailure;
        mapping.Unmap(first, Page);
        Assert.Equal(VcmmError.HardwareFailure, mapping.TryUnmap(second, Page));
        Assert.Equal(new PhysAddr(6 * Page), _domain.Translate(second).Address);
        Assert.Equal((1, 1), (mapping.Count, queue.Count));
        _iommu.Outcome = static () => VcmmError.None;
        mapping.Unmap(second, Page);
        queue.Flush();
        _iommu.AssertNothingStale();
        Assert.Equal((0, 0), (mapping.Count, queue.Count));
    }

    [Fact]
    public void Deferred_addresses_that_wait_are_as_good_as_free()
    {
        var queue = new FlushQueue(new() { Time = _clock });
        DmaMapping<Ram> mapping = Create(new() { Deferred = queue });
        for (int i = 0; i < 200; i++) mapping.Unmap(mapping.MapSingle(new(0), 5 * Page, DmaDirection.ToDevice), 5 * Page);
        Assert.True(_iommu.Batches.Count is >= 10 and <= 40, $"{_iommu.Batches.Count} flushes");
    }

    [Fact]
    public void A_device_that_does_not_snoop_sees_what_was_written_before_the_map()
    {
        for (ulong frame = 0; frame < 256; frame++) _watch.Taken.Add(frame * Page);
        var memory = new WatchedMemory(_ram.Port, _watch);
        var mapping = new DmaMapping<WatchedMemory>(_domain, _addresses, memory, _frames, new() { IsCoherent = false });
        memory.Write64(new(5 * Page + 8), 1);
        Assert.NotEmpty(_watch.Unclean);
        Iova address = mapping.MapSingle(new(5 * Page + 8), 2 * Page, DmaDirection.ToDevice);
        Assert.Empty(_watch.Unclean);
        memory.Write64(new(5 * Page + 16), 1);
        memory.Write64(new(6 * Page + 16), 1);
        Assert.Equal(VcmmError.None, mapping.TrySyncForCpu(address, 16));
        Assert.Equal(2, _watch.Unclean.Count);
        Assert.Empty(_watch.Unfenced);
        Assert.Equal(VcmmError.None, mapping.TrySyncForDevice(address, 16));
        Assert.Single(_watch.Unclean);
        memory.Write64(new(6 * Page + 24), 1);
        Assert.Equal(VcmmError.None, mapping.TrySyncForDevice(address, 2 * Page));
        _watch.AssertVisible("after a sync");
        mapping.AllocateCoherent(Page);
        _watch.AssertVisible("after an allocation");
    }

    [Fact]
    public void A_device_reaches_the_buffer_until_unmap_returns()
    {
        using var system = new VtdSystem();
        IommuDomain domain = IommuDomain.Create(system.Driver, system.Frames);
        domain.Attach(new(0x20));
        var device = new BusMaster<Ram, NoSteps>(system.Simulator, system.Memory, new(0x20));
        // The interrupt addresses lie in it.
        var mapping = new DmaMapping<Ram>(domain, new RangeAllocator(IovaRange.FromLength(new(0xFEDF_F000), 0x20_0000)), system.Memory, system.Frames);
        Assert.Equal(VcmmError.None, system.Frames.TryAllocate(16 * Page, out PhysAddr memory));
        PhysRange[] segments = [new(memory + 100, memory + (Page - 1)), PhysRange.FromLength(memory + 4 * Page, 100)];
        Iova address = mapping.MapScatterGather(segments, DmaDirection.FromDevice);
        byte[] sent = [.. Enumerable.Range(0, 4096).Select(i => unchecked((byte)i))];
        Assert.True(device.Write(address, sent).Ok);
        byte[] got = new byte[4096];
        system.Memory.Read(memory + 100, got.AsSpan(0, 3996));
        system.Memory.Read(memory + 4 * Page, got.AsSpan(3996));
        Assert.Equal(sent, got);
        Assert.False(device.Read(address, got).Ok);
        mapping.Unmap(address, 4096);
        Assert.False(device.Write(address, [1]).Ok);
        for (int i = 0; i < 200; i++) Assert.False(mapping.MapSingle(memory, Page, DmaDirection.ToDevice).Value is >= 0xFEE0_0000 and <= 0xFEEF_FFFF);
    }

    [Fact]
    [Trait("Category", "Threads")]
    public void Of_two_threads_that_unmap_one_buffer_one_does()
    {
        var queue = new FlushQueue(new() { Time = _clock });
        var quiet = new QuietIommu(_hardware);
        IommuDomain domain = IommuDomain.Create(quiet, _frames);
        var mapping = new DmaMapping<Ram>(domain, _addresses, _ram.Port, _frames, new() { Deferred = queue });
        int unmapped = 0, mapped = 0;
        var slots = new ulong[8];
        Thread[] threads = [.. Enumerable.Range(0, 2).Select(id => new Thread(() =>
        {
            for (int i = 0; i < 4000; i++)
            {
                if (mapping.TryMapSingle(new(5 * Page), Page, DmaDirection.ToDevice, out Iova address) == VcmmError.None)
                {
                    Interlocked.Increment(ref mapped);
                    Volatile.Write(ref slots[(i + id) % 8], address.Value);
                }

                if (mapping.TryUnmap(new(Volatile.Read(ref slots[(i * 3 + id) % 8])), Page) == VcmmError.None) Interlocked.Increment(ref unmapped);
            }
        }))];
        foreach (Thread thread in threads) thread.Start();
        foreach (Thread thread in threads) thread.Join();
        queue.Flush();
        Assert.Equal(mapped - unmapped, mapping.Count);
        Assert.Equal(mapping.Count, quiet.AdoptTable(domain.Format, domain.Root).Leaves().Count());
        Assert.True(unmapped > 100, $"{unmapped} unmaps");
    }

    [Fact]
    public void Steady_state_allocates_nothing()
    {
        var quiet = new QuietIommu(_hardware);
        IommuDomain domain = IommuDomain.Create(quiet, _frames);
        var queue = new FlushQueue(new() { Time = _clock, Capacity = 16, FlushAtCount = 8 });
        foreach (DmaMappingOptions options in (DmaMappingOptions[])[new(), new() { Deferred = queue }])
        {
            var mapping = new DmaMapping<Ram>(domain, _addresses, _ram.Port, _frames, options);
            void Round()
            {
                mapping.TryMapSingle(new(5 * Page + 3), Page, DmaDirection.ToDevice, out Iova address);
                mapping.TryUnmap(address, Page);
            }

            for (int i = 0; i < 200; i++) Round();
            Assert.Equal(0, Allocations.Of(() =>
            {
                for (int i = 0; i < 1000; i++) Round();
            }));
        }
    }

    private List<Leaf> Leaves() => [.. _iommu.AdoptTable(_domain.Format, _domain.Root).Leaves()];

    /// <summary>But for those that the IOMMU does not translate, if they were met.</summary>
    private void AssertAllAddressesFree()
    {
        Assert.Equal(VcmmError.None, _addresses.TryAllocateAt(IovaRange.FromLength(new(16 * Page), 4 * Page)));
        Assert.Equal(VcmmError.None, _addresses.TryAllocateAt(IovaRange.FromLength(new(22 * Page), 58 * Page)));
        _addresses.TryFree(IovaRange.FromLength(new(16 * Page), 4 * Page));
        _addresses.TryFree(IovaRange.FromLength(new(22 * Page), 58 * Page));
    }

    private sealed class Told : IQuarantined
    {
        public bool Is { get; private set; }

        public void Release() => Is = true;
    }
}
