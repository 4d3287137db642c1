using Harness.Passing;
using Vcmm;
using Vcmm.Spec;

namespace Harness.Running;

/// <summary>Counts how often an IOMMU is told to forget, each of which is one wait for it.</summary>
/// <param name="inner">What does the work.</param>
public sealed class CountingIommu(IIommu inner) : PassingIommu(inner)
{
    private int _invalidations;

    /// <summary>How often so far.</summary>
    public int Invalidations => Volatile.Read(ref _invalidations);

    /// <inheritdoc/>
    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        Interlocked.Increment(ref _invalidations);
        return Inner.Invalidate(commands);
    }
}

/// <summary>
/// I11: how often one operation may make the IOMMU forget. Once is enough for whatever it takes away, and nothing is told where nothing was
/// there before, unless the hardware caches that; but for a flush that comes to it, and a table that a large leaf takes the place of.
/// </summary>
public static class FrugalLedger
{
    // What fits here takes no large leaf.
    private const ulong LargeLeafBytes = 2UL << 20;

    /// <summary>How often it may; null: that is not counted, since owners of adopted tables tell of each change as it comes, and hooks may back many pages.</summary>
    /// <param name="before">The world before the operation.</param>
    /// <param name="operation">Its objects are known.</param>
    /// <param name="cachesAbsent">Whether the hardware caches that something is not mapped.</param>
    public static int? MostOf(World before, Operation operation, bool cachesAbsent)
    {
        if (before.Vcms.Values.Any(static vcm => !vcm.IsFreed && vcm.Adopted is not null) || (operation is DispatchFaults && cachesAbsent)) return null;
        return (TakesAway(before, operation, cachesAbsent) ? 1 : 0) + (before.Quarantine.IsEmpty ? 0 : 1);
    }

    private static bool TakesAway(World before, Operation operation, bool cachesAbsent) => operation switch
    {
        Unback or UnbackPart or Unmap or Unbind or SetAttributes or CollectUse { Clears: true } => true,
        Back o => cachesAbsent || before.Memories[o.Memory].ByteCount >= LargeLeafBytes,
        BackPart o => cachesAbsent || o.ByteCount >= LargeLeafBytes,
        Map o => cachesAbsent || before.Memories[o.Memory].ByteCount >= LargeLeafBytes,
        Bind o => cachesAbsent || o.ByteCount >= LargeLeafBytes,
        _ => false,
    };
}
