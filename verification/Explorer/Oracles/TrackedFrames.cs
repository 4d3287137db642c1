using Explorer.Scheduling;
using Microsoft.Coyote.Rewriting;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Spec;

namespace Explorer.Oracles;

/// <summary>Watches what is handed out and taken back: no frame twice (I6), none that hardware may still reach (I5).</summary>
/// <param name="inner">What hands out.</param>
/// <param name="attempt">Where violations go.</param>
/// <param name="whoReaches">Says who can still reach a block, or null if nobody.</param>
[SkipRewriting("Keeping the books must not add steps to the schedule.")]
public sealed class TrackedFrames(IFrameSource inner, Attempt attempt, Func<PhysRange, string?> whoReaches) : IFrameSource
{
    private readonly SortedDictionary<ulong, ulong> _live = [];

    /// <inheritdoc/>
    public ulong TotalBytes => inner.TotalBytes;

    /// <inheritdoc/>
    public ulong FreeBytes => inner.FreeBytes;

    /// <summary>Whether the address lies in a block that is handed out.</summary>
    public bool IsLive(PhysAddr address) => _live.Any(block => address.Value >= block.Key && address.Value - block.Key < block.Value);

    /// <inheritdoc/>
    public VcmmError TryAllocate(ulong byteCount, out PhysAddr block)
    {
        VcmmError error = inner.TryAllocate(byteCount, out block);
        if (error != VcmmError.None) return error;
        PhysRange range = PhysRange.FromLength(block, byteCount);
        bool isFree = !_live.Any(live => PhysRange.FromLength(new(live.Key), live.Value).Overlaps(range));
        attempt.Check(Invariant.Conservation, isFree, () => $"{range} was handed out twice", () => "a block is handed out once until it is freed");
        _live[block.Value] = byteCount;
        return VcmmError.None;
    }

    /// <inheritdoc/>
    public VcmmError TryFree(PhysAddr block)
    {
        if (_live.Remove(block.Value, out ulong byteCount))
        {
            string? who = whoReaches(PhysRange.FromLength(block, byteCount));
            attempt.Check(
                Invariant.FrameSafety, who is null,
                () => $"{PhysRange.FromLength(block, byteCount)} was freed while {who}", () => "nothing reaches a frame that is freed");
        }

        return inner.TryFree(block);
    }
}
