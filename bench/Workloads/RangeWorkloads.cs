using Platform;
using Vcmm;
using Vcmm.Allocation;
using Workloads.Fixtures;

namespace Workloads;

/// <summary>
/// Frees one of the live ranges and allocates another, chosen at random: powers of two from 4 KiB to 64 KiB, aligned to
/// their size. The live ranges are a random two thirds of what was allocated, so that there are gaps from the start.
/// </summary>
public sealed class Ranges : IWorkload
{
    /// <summary>Pairs of free and allocate in a batch.</summary>
    public const int Operations = 1024;

    private const int SmallestLog2 = 12;
    private const int SizeCount = 5;
    private const ulong LargestBytes = 1UL << SmallestLog2 + SizeCount - 1;

    private readonly IovaRange _space;
    private readonly IRangeAllocator _allocator;
    private readonly IovaRange[] _live;
    private PageSequence _random = new(PageSequence.Seed);

    /// <summary>Allocates the live ranges.</summary>
    /// <param name="liveCount">How many, above 1.</param>
    /// <param name="allocator">Makes the allocator for a space.</param>
    public Ranges(int liveCount, Func<IovaRange, IRangeAllocator> allocator)
    {
        _live = new IovaRange[liveCount];
        // A range of at most 64 KiB touches one unit of 64 KiB only, so that with twice as many units there is always room.
        _space = IovaRange.FromLength(new(1UL << 32), LargestBytes * 2 * (ulong)liveCount);
        _allocator = allocator(_space);
        Fill();
    }

    /// <inheritdoc/>
    public int OperationsPerBatch => Operations;

    /// <summary>What an allocator holds on the managed heap for each live range, in bytes.</summary>
    /// <param name="liveCount">As for the constructor.</param>
    /// <param name="allocator">As for the constructor.</param>
    public static double BytesPerRange(int liveCount, Func<IovaRange, IRangeAllocator> allocator)
    {
        ulong ownBytes = (ulong)liveCount * 16;
        ulong before = (ulong)GC.GetTotalMemory(forceFullCollection: true);
        using var ranges = new Ranges(liveCount, allocator);
        ulong after = (ulong)GC.GetTotalMemory(forceFullCollection: true);
        GC.KeepAlive(ranges);
        return ((double)after - before - ownBytes) / liveCount;
    }

    /// <inheritdoc/>
    public void Batch()
    {
        VcmmError refused = VcmmError.None;
        for (int i = 0; i < Operations; i++)
        {
            ref IovaRange range = ref _live[_random.NextBelow(_live.Length)];
            refused |= _allocator.TryFree(range);
            ulong byteCount = NextByteCount();
            refused |= _allocator.TryAllocate(byteCount, byteCount, out range);
        }

        Require.That(refused == VcmmError.None, "nothing is refused");
    }

    /// <inheritdoc/>
    public void Check()
    {
        Batch();
        IovaRange[] sorted = [.. _live];
        Array.Sort(sorted, static (a, b) => a.First.CompareTo(b.First));
        for (int i = 0; i < sorted.Length; i++)
        {
            Require.That(_space.Contains(sorted[i]) && sorted[i].First.IsAligned(sorted[i].ByteCount), "a range lies in the space, aligned");
            Require.That(i == 0 || sorted[i - 1].Last.Value < sorted[i].First.Value, "no two live ranges overlap");
            Require.That(_allocator.TryAllocateAt(sorted[i]) == VcmmError.NoSpace, "what is live cannot be taken again");
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    private void Fill()
    {
        // In the order of addresses where the allocator goes by it: half as many again, of which a third is chosen to go.
        var all = new IovaRange[_live.Length + _live.Length / 2];
        for (int i = 0; i < all.Length; i++)
        {
            ulong byteCount = NextByteCount();
            Require.That(_allocator.TryAllocate(byteCount, byteCount, out all[i]) == VcmmError.None, "there is room");
        }

        Array.Sort(all, static (a, b) => a.First.CompareTo(b.First));
        int kept = 0;
        for (int i = 0; i < all.Length; i++)
        {
            if (_random.NextBelow(all.Length - i) < _live.Length - kept) _live[kept++] = all[i];
            else Require.That(_allocator.TryFree(all[i]) == VcmmError.None, "what was taken can be given back");
        }
    }

    private ulong NextByteCount() => 1UL << SmallestLog2 + _random.NextBelow(SizeCount);
}
