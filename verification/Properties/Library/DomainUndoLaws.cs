using Platform;
using Properties.Library.Regions;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Dma;
using Vcmm.Tables;
using static Properties.Library.RecordingIommu;

namespace Properties.Library;

/// <summary>
/// Memory that throws while a table is unlinked: the table is in its place again, and a later call on the same addresses finds nothing of it
/// to tell the hardware or to free (I5, I6).
/// </summary>
public sealed class DomainUndoLaws : IDisposable
{
    private const ulong Page = 4096;
    private const ulong Large = 2UL << 20;

    /// <summary>A table of its own, full of pages.</summary>
    private static readonly IovaRange Whole = IovaRange.FromLength(new(4 * Large), Large);

    /// <summary>As long, and no large leaf.</summary>
    private static readonly PhysRange Memory = PhysRange.FromLength(new((1UL << 32) + Page), Large);

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 64 * Page));
    private readonly MemoryWatch _watch = new();
    private readonly FrameAllocator _frames;
    private readonly RecordingIommu _hardware;
    private readonly IIommu _iommu;
    private bool _throws;

    public DomainUndoLaws()
    {
        _frames = new(_ram.Range);
        _hardware = new(_ram.Port);
        _watch.BeforeWrite = (_, _) =>
        {
            if (!_throws) return;
            _throws = false;
            throw new BrokenPort();
        };
        _iommu = new WatchedTables<VtdSecondStage>(_hardware, _ram.Port, _watch);
    }

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void A_mapping_that_stands_since_memory_threw_at_its_undoing_leaves_nothing_behind()
    {
        IommuDomain domain = Create();
        _hardware.CachesAbsent = true;
        FailOnceAndThrow();
        Assert.Equal(VcmmError.None, domain.TryMap(Whole.First, Memory.First, Large, Access.Read));
        Assert.False(_throws);
        AssertNothingIsLeft(domain);
    }

    [Fact]
    public void An_unmap_at_which_memory_threw_leaves_nothing_behind()
    {
        IommuDomain domain = Create();
        domain.Map(Whole.First, Memory, Access.Read);
        _throws = true;
        Assert.Throws<BrokenPort>(() => domain.TryUnmap(Whole));
        Assert.Equal(Memory.Last, domain.IovaToPhys(Whole.Last));
        AssertNothingIsLeft(domain);
    }

    [Fact]
    public void An_empty_table_that_memory_kept_from_being_dropped_is_in_its_place_again()
    {
        IommuDomain domain = Create();
        domain.Map(Whole.First, PhysRange.FromLength(Memory.First, Page), Access.Read);
        domain.Unmap(IovaRange.FromLength(Whole.First, Page));
        _throws = true;
        Assert.Throws<BrokenPort>(() => domain.TryMap(Whole.First, new PhysAddr(8 * Large), Large, Access.Read));
        Assert.Equal(VcmmError.Fault, domain.TryTranslate(Whole.First, out _));
        ulong free = _frames.FreeBytes;
        domain.Map(Whole.First, PhysRange.FromLength(Memory.First, Page), Access.Read);
        Assert.Equal(free, _frames.FreeBytes);
        AssertNothingIsLeft(domain);
    }

    [Fact]
    public void A_table_that_was_unlinked_for_a_sync_that_fails_is_in_its_place_again()
    {
        IommuDomain domain = Create();
        domain.Map(Whole.First, Memory, Access.Read);
        ulong free = _frames.FreeBytes;
        UnmapGather gather = domain.CreateGather();
        Assert.Equal(VcmmError.None, domain.TryUnmap(Whole, gather));
        _hardware.OnCall = static _ => VcmmError.HardwareFailure;
        Assert.Equal(VcmmError.HardwareFailure, domain.TrySync(gather));
        _hardware.OnCall = static _ => VcmmError.None;
        Assert.Equal((0, free), (gather.Count, _frames.FreeBytes));
        Assert.Equal(Memory.Last, domain.IovaToPhys(Whole.Last));
        AssertNothingIsLeft(domain);
    }

    /// <summary>What is told at the second undoing is told with the next call on the same addresses at the latest, and not with others.</summary>
    [Fact]
    public void A_protect_that_stands_after_two_failures_is_not_told_again_with_another_page()
    {
        IommuDomain domain = Create();
        domain.Map(Whole.First, Memory, Access.Read);
        int failures = 2;
        _hardware.OnCall = _ => failures-- > 0 ? VcmmError.HardwareFailure : VcmmError.None;
        Assert.Equal(VcmmError.None, domain.TryProtect(IovaRange.FromLength(Whole.First + 5 * Page, Page), Access.ReadWrite));
        Assert.Equal(Access.ReadWrite, domain.Translate(Whole.First + 5 * Page).Access);
        AssertNothingIsLeft(domain);
    }

    /// <summary>While one call took pages for the tables that are missing, another made these tables.</summary>
    [Fact]
    public void Table_pages_that_are_not_needed_any_more_go_back()
    {
        var frames = new InterruptedFrames(_frames);
        IommuDomain domain = IommuDomain.Create(_hardware, frames);
        frames.OnAllocate = () =>
        {
            frames.OnAllocate = static () => { };
            // In the same tables, and far enough off to be worked on at once.
            domain.Map(new(Large - Page), PhysRange.FromLength(Memory.First, Page), Access.Read);
        };
        domain.Map(new(0), PhysRange.FromLength(Memory.First, Page), Access.Read);
        int tables = _hardware.AdoptTable(domain.Format, domain.Root).TablePages().Count();
        Assert.Equal((4, 4 * Page), (tables, _frames.TotalBytes - _frames.FreeBytes));
        domain.Free();
        Assert.Equal(_frames.TotalBytes, _frames.FreeBytes);
    }

    [Fact]
    public void A_backing_that_stands_since_memory_threw_at_its_undoing_leaves_nothing_behind()
    {
        var manager = new VcmManager(new WatchedFrames(_frames, _watch));
        Vcm region = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        region.Associate(manager.AddDevice(_iommu, new(1))).Activate();
        Reservation reservation = region.ReserveAt(Whole.First, Large);
        PhysicalAllocation memory = manager.Wrap(Memory);
        _hardware.CachesAbsent = true;
        FailOnceAndThrow();
        Assert.Equal(VcmmError.None, reservation.TryBack(memory));
        Assert.False(_throws);
        ulong free = _frames.FreeBytes;
        _hardware.Calls.Clear();
        reservation.Unback(0, Page);
        Assert.Equal(IovaRange.FromLength(Whole.First, Page), Assert.IsType<Invalidated>(Assert.Single(_hardware.Calls)).Range);
        Assert.Equal(free, _frames.FreeBytes);
        Assert.Equal(VcmmError.None, region.TryTranslate(Whole.Last, out _));
        reservation.Unback();
        Assert.Equal(VcmmError.Fault, region.TryTranslate(Whole.Last, out _));
    }

    private IommuDomain Create()
    {
        IommuDomain domain = IommuDomain.Create(_iommu, new WatchedFrames(_frames, _watch));
        domain.Attach(new(1));
        return domain;
    }

    /// <summary>The next call to the hardware fails, and the next write after it throws.</summary>
    private void FailOnceAndThrow() => _hardware.OnCall = _ =>
    {
        _hardware.OnCall = static _ => VcmmError.None;
        _throws = true;
        return VcmmError.HardwareFailure;
    };

    private void AssertNothingIsLeft(IommuDomain domain)
    {
        var page = IovaRange.FromLength(Whole.First, Page);
        ulong free = _frames.FreeBytes;
        _hardware.Calls.Clear();
        domain.Unmap(page);
        Assert.Equal([new Invalidated(domain.Id, page, LeavesOnly: true)], _hardware.Calls);
        Assert.Equal(free, _frames.FreeBytes);
        domain.Detach(new(1));
        domain.Free();
        Assert.Equal(_frames.TotalBytes, _frames.FreeBytes);
    }

    private sealed class InterruptedFrames(IFrameSource inner) : IFrameSource
    {
        public Action OnAllocate { get; set; } = static () => { };

        public ulong TotalBytes => inner.TotalBytes;

        public ulong FreeBytes => inner.FreeBytes;

        public VcmmError TryAllocate(ulong byteCount, out PhysAddr block)
        {
            OnAllocate();
            return inner.TryAllocate(byteCount, out block);
        }

        public VcmmError TryFree(PhysAddr block) => inner.TryFree(block);
    }
}
