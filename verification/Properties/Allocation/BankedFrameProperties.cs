using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>Banks are chosen by what is asked for, in their order, and known by their addresses.</summary>
public sealed class BankedFrameProperties
{
    private const ulong Frame = FrameAllocator.FrameBytes;

    private static readonly MemoryType Main = new("main");
    private static readonly MemoryType OnChip = new("on-chip");

    // Not in the order of their addresses; the first two touch.
    private static readonly MemoryBank High = new(PhysRange.FromLength(new(32 * Frame), 16 * Frame), Main, IsCoherent: true);
    private static readonly MemoryBank Low = new(PhysRange.FromLength(new(16 * Frame), 16 * Frame), Main, IsCoherent: false);
    private static readonly MemoryBank Small = new(PhysRange.FromLength(new(2 * Frame), 3 * Frame), OnChip, IsCoherent: true);

    private readonly BankedFrames _frames = new([High, Low, Small]);

    /// <summary>The type that is asked for, whether the memory must be coherent, and the banks in their order.</summary>
    [Theory]
    [InlineData(null, false, "High, Low, Small")]
    [InlineData("main", false, "High, Low")]
    [InlineData(null, true, "High, Small")]
    [InlineData("main", true, "High")]
    [InlineData("on-chip", false, "Small")]
    public void A_request_takes_from_the_banks_that_it_admits_in_their_order(string? type, bool mustBeCoherent, string names)
    {
        MemoryBank[] admitted = [.. names.Split(", ").Select(static name => name switch { nameof(High) => High, nameof(Low) => Low, _ => Small })];
        var request = new MemoryRequest(type is null ? null : new MemoryType(type), mustBeCoherent);
        foreach (MemoryBank bank in admitted)
        {
            for (ulong taken = 0; taken < bank.Range.ByteCount; taken += Frame)
            {
                Assert.Equal(bank.Range.ByteCount - taken, _frames.FreeBytesOf(bank));
                VcmmError error = taken % (2 * Frame) == 0
                    ? _frames.TryAllocate(Frame, request, out PhysAddr block)
                    : _frames.TryAllocateContiguous(Frame, Frame, request, out block);
                Assert.Equal(VcmmError.None, error);
                Assert.True(_frames.TryFindBank(block, out MemoryBank? found));
                Assert.Equal(bank, found);
            }
        }

        Assert.Equal(VcmmError.NoMemory, _frames.TryAllocate(Frame, request, out _));
        Assert.Equal(VcmmError.NoMemory, _frames.TryAllocateContiguous(Frame, Frame, request, out _));
        ulong admittedBytes = admitted.Aggregate(0UL, (sum, bank) => sum + bank.Range.ByteCount);
        Assert.Equal(_frames.TotalBytes - admittedBytes, _frames.FreeBytes);
    }

    [Fact]
    public void What_no_bank_is_is_not_found()
    {
        Assert.Equal(VcmmError.NotFound, _frames.TryAllocate(Frame, new(new("flash")), out _));
        Assert.Equal(VcmmError.NotFound, _frames.TryAllocateContiguous(Frame, Frame, new(new("flash")), out _));
        Assert.Equal(VcmmError.Invalid, _frames.TryAllocate(3 * Frame, out _));
        Assert.False(_frames.TryFindBank(new(Frame), out MemoryBank? none));
        Assert.Null(none);
        Assert.False(_frames.TryFindBank(new(5 * Frame), out _));
        Assert.Throws<ArgumentException>(() => _frames.FreeBytesOf(new(High.Range, OnChip, IsCoherent: true)));
    }

    [Fact]
    public void A_free_goes_to_the_bank_of_the_address_and_a_foreign_one_nowhere()
    {
        Assert.Equal(35 * Frame, _frames.TotalBytes);
        Assert.Equal(VcmmError.None, _frames.TryAllocateAt(Small.Range));
        Assert.Equal(VcmmError.None, _frames.TryAllocateAt(High.Range));
        Assert.Equal(16 * Frame, _frames.FreeBytes);
        foreach (ulong frame in new ulong[] { 0, 1, 3, 5, 15, 16, 31, 33, 48, 1UL << 40 })
            Assert.Equal(VcmmError.Invalid, _frames.TryFree(new(frame * Frame)));
        Assert.Equal(16 * Frame, _frames.FreeBytes);
        Assert.Equal(VcmmError.None, _frames.TryFree(High.Range.First));
        Assert.Equal(VcmmError.Invalid, _frames.TryFree(High.Range.First));
        Assert.Equal(0UL, _frames.FreeBytesOf(Small));
        Assert.Equal(VcmmError.None, _frames.TryFree(Small.Range.First));
        Assert.Equal(_frames.TotalBytes, _frames.FreeBytes);
    }

    [Fact]
    public void Nothing_is_contiguous_across_banks()
    {
        Assert.Equal(VcmmError.Invalid, _frames.TryAllocateAt(PhysRange.FromLength(Low.Range.First, 32 * Frame)));
        Assert.Equal(VcmmError.Invalid, _frames.TryAllocateAt(PhysRange.FromLength(new(0), Frame)));
        Assert.Equal(VcmmError.NoMemory, _frames.TryAllocateContiguous(17 * Frame, Frame, out _));
        Assert.Equal(VcmmError.None, _frames.TryAllocateContiguous(16 * Frame, Frame, out PhysAddr block));
        Assert.Equal(High.Range.First, block);
    }

    [Fact]
    public void What_is_asked_for_in_a_range_is_of_the_first_bank_that_is_admitted_and_has_it_there()
    {
        var both = new PhysRange(Low.Range.First, High.Range.Last);
        Assert.Equal(High, Taken(both, default));
        Assert.Equal(Low, Taken(Low.Range, default));
        Assert.Equal(Small, Taken(new(new(0), new(ulong.MaxValue)), new(OnChip)));
        Assert.Equal(VcmmError.NoMemory, _frames.TryAllocateWithin(Frame, Frame, new(OnChip), both, out _));
        Assert.Equal(VcmmError.NotFound, _frames.TryAllocateWithin(Frame, Frame, new(new("flash")), both, out _));
        Assert.Equal(VcmmError.Invalid, _frames.TryAllocateWithin(0, Frame, both, out _));
        Assert.Equal(32 * Frame, _frames.FreeBytes);

        MemoryBank? Taken(PhysRange within, MemoryRequest request)
        {
            Assert.Equal(VcmmError.None, _frames.TryAllocateWithin(Frame, Frame, request, within, out PhysAddr block));
            Assert.True(_frames.TryFindBank(block, out MemoryBank? bank));
            return bank;
        }
    }

    [Fact]
    public void A_place_in_a_range_is_found_in_the_first_bank_that_has_it_and_not_taken()
    {
        Assert.Equal(High.Range.First, Found(new(Low.Range.First, High.Range.Last)));
        Assert.Equal(Low.Range.First, Found(Low.Range));
        Assert.Equal(VcmmError.NoMemory, _frames.TryFindWithin(Frame, Frame, PhysRange.FromLength(new(8 * Frame), Frame), out _));
        Assert.Equal(VcmmError.Invalid, _frames.TryFindWithin(0, Frame, Low.Range, out _));
        Assert.Equal(_frames.TotalBytes, _frames.FreeBytes);

        PhysAddr Found(PhysRange within)
        {
            Assert.Equal(VcmmError.None, _frames.TryFindWithin(Frame, Frame, within, out PhysAddr block));
            return block;
        }
    }

    [Fact]
    public void Banks_that_overlap_or_cut_a_frame_are_refused()
    {
        Assert.Throws<ArgumentException>(() => new BankedFrames([]));
        Assert.Throws<ArgumentException>(() => new BankedFrames([High, Low with { Range = PhysRange.FromLength(new(31 * Frame), 2 * Frame) }]));
        Assert.Throws<ArgumentException>(() => new BankedFrames([Low with { Range = PhysRange.FromLength(new(1), Frame) }]));
    }

    /// <summary>Nine bytes a frame: two gibibytes for such a bank.</summary>
    [Fact]
    public void Banks_that_overlap_are_refused_before_there_is_bookkeeping_for_them()
    {
        MemoryBank large = Low with { Range = PhysRange.FromLength(new(0), 1UL << 40) };
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Throws<ArgumentException>(() => new BankedFrames([High, large]));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
    }
}
