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
    // Blocks lie apart, in ascending order: asked for each word that hardware reads.
    private readonly List<(ulong First, ulong ByteCount)> _live = [];

    /// <inheritdoc/>
    public ulong TotalBytes => inner.TotalBytes;

    /// <inheritdoc/>
    public ulong FreeBytes => inner.FreeBytes;

    /// <summary>Whether the address lies in a block that is handed out.</summary>
    public bool IsLive(PhysAddr address) => LastFrom(address.Value) is >= 0 and int at && address.Value - _live[at].First < _live[at].ByteCount;

    /// <inheritdoc/>
    public VcmmError TryAllocate(ulong byteCount, out PhysAddr block)
    {
        VcmmError error = inner.TryAllocate(byteCount, out block);
        if (error != VcmmError.None) return error;
        PhysRange range = PhysRange.FromLength(block, byteCount);
        int before = LastFrom(range.Last.Value);
        bool isFree = before < 0 || !PhysRange.FromLength(new(_live[before].First), _live[before].ByteCount).Overlaps(range);
        attempt.Check(Invariant.Conservation, isFree, () => $"{range} was handed out twice", () => "a block is handed out once until it is freed");
        _live.Insert(before + 1, (block.Value, byteCount));
        return VcmmError.None;
    }

    /// <inheritdoc/>
    public VcmmError TryFree(PhysAddr block)
    {
        int at = LastFrom(block.Value);
        if (at >= 0 && _live[at].First == block.Value)
        {
            PhysRange range = PhysRange.FromLength(block, _live[at].ByteCount);
            _live.RemoveAt(at);
            string? who = whoReaches(range);
            attempt.Check(Invariant.FrameSafety, who is null, () => $"{range} was freed while {who}", () => "nothing reaches a frame that is freed");
            attempt.Races?.Free(range);
        }

        return inner.TryFree(block);
    }

    /// <summary>The last block that begins at the address or below; -1: there is none.</summary>
    private int LastFrom(ulong address)
    {
        int low = 0, high = _live.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_live[middle].First <= address) low = middle + 1;
            else high = middle;
        }

        return low - 1;
    }
}
