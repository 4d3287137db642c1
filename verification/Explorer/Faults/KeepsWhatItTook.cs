using Explorer.Scheduling;
using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Explorer.Faults;

/// <summary>Frames of which a call that is refused one does not give the next back that it frees.</summary>
internal sealed class KeepsWhatItTook(IBankedFrameSource inner) : PassingFrames(inner)
{
    private readonly HashSet<string> _refused = [];

    public override VcmmError TryAllocate(ulong byteCount, out PhysAddr block)
    {
        VcmmError error = Inner.TryAllocate(byteCount, out block);
        if (error != VcmmError.None) _refused.Add(Attempt.Agent);
        return error;
    }

    public override VcmmError TryFree(PhysAddr block) => _refused.Remove(Attempt.Agent) ? VcmmError.None : Inner.TryFree(block);
}
