using Explorer.Scheduling;
using Harness.Passing;
using Microsoft.Coyote.Rewriting;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Spec;

namespace Explorer.Scripts;

/// <summary>The library's frames under watch: none is freed that the IOMMU may still reach through what it caches (I5).</summary>
/// <param name="inner">What hands out; it keeps the books of what is handed out twice, and of what tables map.</param>
/// <param name="attempt">Where violations go.</param>
/// <param name="whoReaches">Says who can still reach a block, or null if nobody.</param>
/// <param name="taken">Told what was handed out to the calling agent.</param>
[SkipRewriting("Keeping the books must not add steps to the schedule.")]
internal sealed class ScriptFrames(IBankedFrameSource inner, Attempt attempt, Func<PhysRange, string?> whoReaches, Action<PhysRange> taken) : PassingFrames(inner)
{
    private readonly SortedDictionary<ulong, ulong> _live = [];

    /// <summary>Whether the address lies in a block that is handed out.</summary>
    public bool IsLive(PhysAddr address) => _live.Any(block => address.Value >= block.Key && address.Value - block.Key < block.Value);

    public override VcmmError TryAllocate(ulong byteCount, out PhysAddr block) => Note(Inner.TryAllocate(byteCount, out block), block, byteCount);

    public override VcmmError TryAllocate(ulong byteCount, MemoryRequest request, out PhysAddr block) =>
        Note(Inner.TryAllocate(byteCount, request, out block), block, byteCount);

    public override VcmmError TryAllocateContiguous(ulong byteCount, ulong alignment, out PhysAddr block) =>
        Note(Inner.TryAllocateContiguous(byteCount, alignment, out block), block, byteCount);

    public override VcmmError TryAllocateContiguous(ulong byteCount, ulong alignment, MemoryRequest request, out PhysAddr block) =>
        Note(Inner.TryAllocateContiguous(byteCount, alignment, request, out block), block, byteCount);

    public override VcmmError TryAllocateWithin(ulong byteCount, ulong alignment, PhysRange within, out PhysAddr block) =>
        Note(Inner.TryAllocateWithin(byteCount, alignment, within, out block), block, byteCount);

    public override VcmmError TryAllocateWithin(ulong byteCount, ulong alignment, MemoryRequest request, PhysRange within, out PhysAddr block) =>
        Note(Inner.TryAllocateWithin(byteCount, alignment, request, within, out block), block, byteCount);

    public override VcmmError TryAllocateAt(PhysRange range) => Note(Inner.TryAllocateAt(range), range.First, range.ByteCount);

    public override VcmmError TryFree(PhysAddr block)
    {
        if (_live.Remove(block.Value, out ulong byteCount))
        {
            string? who = whoReaches(PhysRange.FromLength(block, byteCount));
            attempt.Check(
                Invariant.FrameSafety, who is null,
                () => $"{PhysRange.FromLength(block, byteCount)} was freed while {who}", () => "nothing reaches a frame that is freed");
            attempt.Races?.Free(PhysRange.FromLength(block, byteCount));
        }

        return Inner.TryFree(block);
    }

    private VcmmError Note(VcmmError error, PhysAddr block, ulong byteCount)
    {
        if (error != VcmmError.None) return error;
        _live[block.Value] = byteCount;
        taken(PhysRange.FromLength(block, byteCount));
        return error;
    }
}
