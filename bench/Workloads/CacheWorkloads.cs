using Platform;
using Vcmm;
using Vcmm.Allocation;
using Workloads.Fixtures;

namespace Workloads;

/// <summary>
/// Frees a range and allocates one of its length, through the cache of the calling thread: what comes is what went, so that the
/// allocator behind is never asked. The ranges are as those of <see cref="Ranges"/>, ten of them.
/// </summary>
public sealed class CacheHits : IWorkload
{
    /// <summary>Pairs of free and allocate in a batch.</summary>
    public const int Operations = 1024;

    private const int LiveCount = 10;
    private const int SmallestLog2 = 12;
    private const int SizeCount = 5;

    private readonly CachedRangeAllocator _allocator;
    private readonly IovaRange[] _live = new IovaRange[LiveCount];

    /// <summary>An allocator to itself.</summary>
    public CacheHits(int operations = Operations)
        : this(CreateAllocator(), operations)
    {
    }

    internal CacheHits(CachedRangeAllocator allocator, int operations)
    {
        _allocator = allocator;
        OperationsPerBatch = operations;
        for (int i = 0; i < LiveCount; i++)
        {
            ulong byteCount = 1UL << SmallestLog2 + i % SizeCount;
            Require.That(_allocator.TryAllocate(byteCount, byteCount, out _live[i]) == VcmmError.None, "there is room");
        }
    }

    /// <inheritdoc/>
    public int OperationsPerBatch { get; }

    /// <inheritdoc/>
    public void Batch()
    {
        // On the stack: of two threads none writes where the other reads, but for what the allocator does.
        Span<IovaRange> live = stackalloc IovaRange[LiveCount];
        _live.CopyTo(live);
        CachedRangeAllocator allocator = _allocator;
        int count = OperationsPerBatch;
        VcmmError refused = VcmmError.None;
        int next = 0;
        for (int i = 0; i < count; i++)
        {
            ref IovaRange range = ref live[next];
            next = next == LiveCount - 1 ? 0 : next + 1;
            ulong byteCount = range.Last.Value - range.First.Value + 1;
            refused |= allocator.TryFree(range);
            refused |= allocator.TryAllocate(byteCount, byteCount, out range);
        }

        live.CopyTo(_live);

        Require.That(refused == VcmmError.None, "nothing is refused");
    }

    /// <inheritdoc/>
    public void Check()
    {
        IovaRange[] before = [.. _live];
        Batch();
        Require.That(before.AsSpan().SequenceEqual(_live), "what comes is what went");
        foreach (IovaRange range in _live)
        {
            Require.That(_allocator.TryAllocateAt(range) == VcmmError.NoSpace, "what is live cannot be taken again");
            Require.That(_allocator.TryFree(range) == VcmmError.None && _allocator.TryFree(range) == VcmmError.Invalid, "a range goes back once");
            Require.That(_allocator.TryAllocate(range.ByteCount, range.ByteCount, out IovaRange again) == VcmmError.None && again == range, "what went comes again");
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    internal static CachedRangeAllocator CreateAllocator() => new(new RangeAllocator(IovaRange.FromLength(new(1UL << 32), 1UL << 30)));
}

/// <summary>Allocates a frame of 4 KiB and frees it.</summary>
public sealed class SingleFrame : IWorkload
{
    /// <summary>Pairs of allocate and free in a batch.</summary>
    public const int Operations = 1024;

    private readonly FrameAllocator _frames = new(PhysRange.FromLength(new(1UL << 32), 1UL << 30));

    /// <inheritdoc/>
    public int OperationsPerBatch => Operations;

    /// <inheritdoc/>
    public void Batch()
    {
        VcmmError refused = VcmmError.None;
        for (int i = 0; i < Operations; i++)
        {
            refused |= _frames.TryAllocate(FrameAllocator.FrameBytes, out PhysAddr frame);
            refused |= _frames.TryFree(frame);
        }

        Require.That(refused == VcmmError.None, "nothing is refused");
    }

    /// <inheritdoc/>
    public void Check()
    {
        Require.That(_frames.TryAllocate(FrameAllocator.FrameBytes, out PhysAddr frame) == VcmmError.None, "there is a frame");
        Require.That(_frames.TryAllocate(FrameAllocator.FrameBytes, out PhysAddr other) == VcmmError.None && other != frame, "no frame is handed out twice");
        Require.That(_frames.TryFree(frame) == VcmmError.None && _frames.TryFree(frame) == VcmmError.Invalid, "a frame goes back once");
        Require.That(_frames.TryFree(other) == VcmmError.None && _frames.FreeBytes == _frames.TotalBytes, "all of them are back");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}

/// <summary>Allocates a block of 4 KiB to 1 MiB, a power of two, and frees another, chosen at random: blocks are split and joined.</summary>
public sealed class MixedBlocks : IWorkload
{
    /// <summary>Pairs of free and allocate in a batch.</summary>
    public const int Operations = 1024;

    private const int LiveCount = 1000;
    private const int SmallestLog2 = 12;
    private const int SizeCount = 9;

    private readonly FrameAllocator _frames = new(PhysRange.FromLength(new(1UL << 32), 4UL << 30));
    private readonly PhysAddr[] _live = new PhysAddr[LiveCount];
    private PageSequence _random = new(PageSequence.Seed);

    /// <summary>Allocates the live blocks.</summary>
    public MixedBlocks()
    {
        for (int i = 0; i < LiveCount; i++) Require.That(_frames.TryAllocate(NextByteCount(), out _live[i]) == VcmmError.None, "there is room");
    }

    /// <inheritdoc/>
    public int OperationsPerBatch => Operations;

    /// <inheritdoc/>
    public void Batch()
    {
        VcmmError refused = VcmmError.None;
        for (int i = 0; i < Operations; i++)
        {
            ref PhysAddr block = ref _live[_random.NextBelow(LiveCount)];
            refused |= _frames.TryFree(block);
            refused |= _frames.TryAllocate(NextByteCount(), out block);
        }

        Require.That(refused == VcmmError.None, "nothing is refused");
    }

    /// <inheritdoc/>
    public void Check()
    {
        Batch();
        Require.That(_live.Distinct().Count() == LiveCount, "no block is handed out twice");
        foreach (PhysAddr block in _live) Require.That(_frames.TryFree(block) == VcmmError.None, "what is live can be given back");
        Require.That(_frames.FreeBytes == _frames.TotalBytes, "all of it is back");
        for (int i = 0; i < LiveCount; i++) Require.That(_frames.TryAllocate(NextByteCount(), out _live[i]) == VcmmError.None, "there is room again");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    private ulong NextByteCount() => 1UL << SmallestLog2 + _random.NextBelow(SizeCount);
}
