using Explorer.Scheduling;
using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Explorer.Faults;

/// <summary>Entries that are changed to grant less are not invalidated.</summary>
internal sealed class ForgetNarrowing(IIommu inner) : FaultyIommu(inner)
{
    private readonly HashSet<string> _narrowing = [];

    public override VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
    {
        VcmmError error = Inner.TryCreateTable(format, frames, out IPageTable? right);
        table = right is null ? null : new Narrowed(right, this);
        return error;
    }

    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands) => IsNarrowing(false) ? VcmmError.None : Inner.Invalidate(commands);

    /// <summary>Whether what the calling agent did last to entries was to change what they grant.</summary>
    private bool IsNarrowing(bool now)
    {
        lock (_narrowing)
        {
            bool was = _narrowing.Remove(Attempt.Agent);
            if (now) _narrowing.Add(Attempt.Agent);
            return was;
        }
    }

    private sealed class Narrowed(IPageTable right, ForgetNarrowing iommu) : PassingTable(right)
    {
        public override void Protect(IovaRange range, MappingAttributes attributes, InvalidationGather gather)
        {
            Inner.Protect(range, attributes, gather);
            iommu.IsNarrowing(true);
        }

        public override void Unmap(IovaRange range, InvalidationGather gather)
        {
            iommu.IsNarrowing(false);
            Inner.Unmap(range, gather);
        }
    }
}
