using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>What memory is refused for, to the last page, and what ports say by themselves of what they do not have.</summary>
public sealed class MemoryRefusalLaws : IDisposable
{
    private const ulong Page = SmallSystem.Page;
    private const ulong Gigabyte = 1UL << 30;

    // The last page that an entry of the second stage can name, and the first that it cannot.
    private static readonly ulong LastPage = VtdSecondStage.LastPhysAddr.Value - (Page - 1);
    private static readonly ulong Beyond = VtdSecondStage.LastPhysAddr.Value + 1;

    private readonly SmallSystem _system = new();

    public static TheoryData<ulong[], VcmmError> Places => new()
    {
        { [LastPage], VcmmError.None },
        { [LastPage, 0], VcmmError.None },
        { [Beyond], VcmmError.Invalid },
        { [Beyond, 0], VcmmError.Invalid },
        { [0, Beyond], VcmmError.Invalid },
        { [0, Page, Beyond], VcmmError.Invalid },
    };

    public void Dispose() => _system.Dispose();

    [Theory]
    [MemberData(nameof(Places))]
    public void Memory_backs_what_its_highest_page_can_be_named_for(ulong[] pages, VcmmError expected)
    {
        var frames = new GivenFrames(_system.Frames);
        var manager = new VcmManager(frames);
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), Gigabyte));
        vcm.Associate(manager.AddDevice(_system.AddIommu(), new(1)));
        foreach (ulong page in pages) frames.Given.Enqueue(new(page));
        PhysicalAllocation memory = manager.Allocate((ulong)pages.Length * Page, ChunkSizes.Size4K, scattered: pages[0] > pages[^1]);
        Assert.Equal(pages, memory.Segments.Select(static segment => segment.First.Value));
        Assert.Equal(expected, vcm.Reserve(memory.ByteCount).TryBack(memory));
    }

    [Theory]
    [MemberData(nameof(Places))]
    public void A_table_is_made_of_memory_whose_highest_page_it_can_name(ulong[] pages, VcmmError expected)
    {
        var frames = new GivenFrames(_system.Frames);
        var manager = new VcmManager(frames);
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), Gigabyte));
        foreach (ulong page in pages) frames.Given.Enqueue(new(page));
        PhysicalAllocation memory = manager.Allocate((ulong)pages.Length * Page, ChunkSizes.Size4K, scattered: pages[0] > pages[^1]);
        vcm.Reserve(memory.ByteCount).Back(memory);
        Assert.Equal(expected, vcm.TryAssociate(manager.AddDevice(_system.AddIommu(), new(1)), out _));
    }

    [Theory]
    [InlineData(0UL, Page, VcmmError.Invalid)]
    [InlineData(Page + 1, Page, VcmmError.Invalid)]
    [InlineData(Page, 3 * Page, VcmmError.Invalid)]
    [InlineData(Page, Page / 2, VcmmError.Invalid)]
    [InlineData(Page, 2 * Gigabyte, VcmmError.Invalid)]
    [InlineData(Page, Page, VcmmError.None)]
    [InlineData(3 * Page, Page, VcmmError.NoMemory)]
    [InlineData(Page, 2 * Page, VcmmError.NoMemory)]
    public void A_piece_of_a_source_of_blocks_is_a_block_or_refused(ulong byteCount, ulong alignment, VcmmError expected)
    {
        Assert.Equal(expected, _system.Manager.TryAllocateContiguous(byteCount, alignment, default, out PhysicalAllocation? memory));
        Assert.Equal(expected == VcmmError.None ? byteCount : null, memory?.ByteCount);
    }

    [Fact]
    public void The_largest_block_and_the_largest_alignment_are_a_gigabyte()
    {
        var frames = new GivenFrames(_system.Frames) { Given = new([new(Gigabyte)]) };
        PhysicalAllocation memory = new VcmManager(frames).AllocateContiguous(Gigabyte, Gigabyte);
        Assert.Equal([PhysRange.FromLength(new(Gigabyte), Gigabyte)], memory.Segments);
    }

    [Theory]
    [InlineData(0UL, Page - 1, VcmmError.None)]
    [InlineData(ulong.MaxValue - Page + 1, ulong.MaxValue, VcmmError.None)]
    [InlineData(Page, ulong.MaxValue, VcmmError.None)]
    [InlineData(0UL, ulong.MaxValue, VcmmError.Invalid)]
    [InlineData(1UL, Page - 1, VcmmError.Invalid)]
    [InlineData(0UL, Page, VcmmError.Invalid)]
    [InlineData(1UL, Page, VcmmError.Invalid)]
    public void What_is_wrapped_is_made_of_whole_pages_and_not_all_there_is(ulong first, ulong last, VcmmError expected)
    {
        Assert.Equal(expected, _system.Manager.TryWrap(new(new(first), new(last)), out PhysicalAllocation? memory));
        Assert.Equal(expected == VcmmError.None, memory is not null);
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(1, true)]
    [InlineData(64, true)]
    [InlineData(65, false)]
    public void A_manager_has_one_stripe_to_sixty_four(int stripeCount, bool isMade)
    {
        var options = new VcmManagerOptions { StripeCount = stripeCount };
        if (isMade) Assert.NotNull(new VcmManager(_system.Frames, options));
        else Assert.Equal("options", Assert.Throws<ArgumentOutOfRangeException>(() => new VcmManager(_system.Frames, options)).ParamName);
    }

    [Fact]
    public void A_byte_beyond_the_end_of_memory_is_nowhere()
    {
        PhysicalAllocation memory = _system.Manager.Allocate(2 * Page);
        Assert.Equal(memory.Segments[^1].Last, memory.AddressAt((2 * Page) - 1));
        Assert.Equal("offset", Assert.Throws<ArgumentOutOfRangeException>(() => memory.AddressAt(2 * Page)).ParamName);
    }

    [Fact]
    public void What_is_bound_ends_when_its_memory_backs_nothing_else()
    {
        Vcm vcm = _system.CreateVcm();
        Assert.Equal(VcmmError.None, vcm.TryBind(Page, Access.Read, MemoryOptions.Default, out Binding binding));
        Reservation other = vcm.Reserve(Page);
        other.Back(binding.Memory);
        Assert.Equal(VcmmError.Busy, vcm.TryUnbind(binding));
        Assert.Equal([binding.Reservation, other], vcm.Reservations);
        other.Unback();
        Assert.Equal(VcmmError.None, vcm.TryUnbind(binding));
        Assert.Equal(VcmmError.Invalid, vcm.TryUnbind(binding));
        Assert.Equal([other], vcm.Reservations);
    }

    [Fact]
    public void A_port_that_says_nothing_of_it_lets_nobody_through() => Assert.False(((IIommu)_system.AddIommu()).CanPassThrough);

    [Fact]
    public void What_is_not_the_default_is_said()
    {
        Assert.Equal("rw-", new MappingAttributes(Access.ReadWrite).ToString());
        Assert.Equal("--x supervisor", new MappingAttributes(Access.Execute) { SupervisorOnly = true }.ToString());
        Assert.Equal("r-- secure", new MappingAttributes(Access.Read) { Secure = true }.ToString());
        Assert.Equal("r-- NotCached", new MappingAttributes(Access.Read) { Cache = CachePolicy.NotCached }.ToString());
        var fault = new DeviceFault(new(0x20), new(5), new(0x1000), Access.Write, 5) { Cause = FaultCause.NotPermitted };
        Assert.EndsWith("Write iova:0x1000 NotPermitted (reason 0x05)", fault.ToString());
        Assert.EndsWith("Write iova:0x1000 waits", (fault with { IsStalled = true }).ToString());
    }

    /// <summary>Gives what it was given first, wherever that is; nobody reads or writes there.</summary>
    private sealed class GivenFrames(IFrameSource frames) : IFrameSource
    {
        public Queue<PhysAddr> Given { get; init; } = [];

        public ulong TotalBytes => frames.TotalBytes;

        public ulong FreeBytes => frames.FreeBytes;

        public VcmmError TryAllocate(ulong byteCount, out PhysAddr block) =>
            Given.TryDequeue(out block) ? VcmmError.None : frames.TryAllocate(byteCount, out block);

        public VcmmError TryFree(PhysAddr block) => frames.TryFree(block);
    }
}
