using Explorer.Scheduling;
using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Explorer.Faults;

/// <summary>The invalidation after some changes of entries is left out.</summary>
internal abstract class ForgetAfter(IIommu inner) : FaultyIommu(inner)
{
    private readonly HashSet<string> _forgetting = [];

    public override VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
    {
        VcmmError error = Inner.TryCreateTable(format, frames, out IPageTable? right);
        table = right is null ? null : new Changed(right, this);
        return error;
    }

    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands) => Forgets(false) ? VcmmError.None : Inner.Invalidate(commands);

    protected virtual bool AfterProtect => false;

    protected virtual bool AfterClear => false;

    protected virtual bool TellsAll => false;

    /// <summary>Whether what the calling agent did last to entries is such a change.</summary>
    private bool Forgets(bool now)
    {
        lock (_forgetting)
        {
            bool was = _forgetting.Remove(Attempt.Agent);
            if (now) _forgetting.Add(Attempt.Agent);
            return was;
        }
    }

    private sealed class Changed(IPageTable right, ForgetAfter iommu) : PassingTable(right)
    {
        public override void Protect(IovaRange range, MappingAttributes attributes, InvalidationGather gather)
        {
            Inner.Protect(range, attributes, gather);
            iommu.Forgets(iommu.AfterProtect);
        }

        public override void Unmap(IovaRange range, InvalidationGather gather)
        {
            iommu.Forgets(false);
            Inner.Unmap(range, gather);
        }

        public override void CollectDirty(IovaRange range, bool clear, ICollection<IovaRange> dirty, InvalidationGather gather)
        {
            int before = dirty.Count;
            Inner.CollectDirty(range, clear, dirty, gather);
            iommu.Forgets(iommu.AfterClear && clear && dirty.Count != before);
            if (iommu.TellsAll) dirty.Add(range);
        }
    }
}

/// <summary>Entries that are changed to grant less are not invalidated.</summary>
internal sealed class ForgetNarrowing(IIommu inner) : ForgetAfter(inner)
{
    protected override bool AfterProtect => true;
}

/// <summary>All that is asked for is told to have been written.</summary>
internal sealed class InventsUse(IIommu inner) : ForgetAfter(inner)
{
    protected override bool TellsAll => true;
}

/// <summary>Entries that are made clean are not invalidated.</summary>
internal sealed class ForgetCleared(IIommu inner) : ForgetAfter(inner)
{
    protected override bool AfterClear => true;
}
