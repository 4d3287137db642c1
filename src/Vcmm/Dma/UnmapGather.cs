using Platform;
using Vcmm.Invalidations;
using Vcmm.Tables;

namespace Vcmm.Dma;

/// <summary>
/// Unmaps of one <see cref="IommuDomain"/> that share one wait for the hardware. Fill it with
/// <see cref="IommuDomain.TryUnmap(IovaRange, UnmapGather)"/>, end it with <see cref="IommuDomain.TrySync"/> or
/// <see cref="IommuDomain.TryDefer"/>, use it again.
/// </summary>
/// <remarks><b>Threads.</b> One at a time.</remarks>
public sealed class UnmapGather : IQuarantined
{
    private readonly PendingInvalidation[] _invalidations = new PendingInvalidation[InvalidationGather.MaxRangeCount];
    private IQuarantined? _after;
    private bool _isDeferred;

    internal UnmapGather(IommuDomain domain) => Domain = domain;

    /// <summary>The domain that it belongs to.</summary>
    public IommuDomain Domain { get; }

    /// <summary>How many unmaps wait in it.</summary>
    public int Count => Ranges.Count;

    /// <summary>Whether a flush queue holds it; until that has released it, it cannot be used.</summary>
    public bool IsDeferred => Volatile.Read(ref _isDeferred);

    /// <summary>Whether a port threw half-way, be it as something was unmapped or as it was mapped again: then it can only be mapped again.</summary>
    internal bool IsHalfDone { get; set; }

    internal List<IovaRange> Ranges { get; } = [];

    internal MappedRuns Runs { get; } = new();

    internal InvalidationGather Tables { get; } = new();

    void IQuarantined.Release()
    {
        Domain.Complete(this);
        IQuarantined? after = _after;
        _after = null;
        Volatile.Write(ref _isDeferred, false);
        after?.Release();
    }

    internal VcmmError TryDefer(FlushQueue queue, IIommu iommu, DomainId id, IQuarantined? after)
    {
        int count = 0;
        foreach (IovaRange range in Tables.Ranges) _invalidations[count++] = new(iommu, id, range, Tables.LeavesOnly);
        _after = after;
        Volatile.Write(ref _isDeferred, true);
        VcmmError error = queue.TryAdd(_invalidations.AsSpan(0, count), this);
        if (error == VcmmError.None) return VcmmError.None;
        _after = null;
        Volatile.Write(ref _isDeferred, false);
        return error;
    }

    internal void Clear()
    {
        Ranges.Clear();
        Runs.Clear();
        Tables.Clear();
        IsHalfDone = false;
    }
}
