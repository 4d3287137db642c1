using Harness.Passing;
using Platform;
using Vcmm;

namespace Properties.Library;

/// <summary>
/// An IOMMU that knows what it may still hold of translations that are gone: what a test makes stale stays so until an
/// invalidation that reaches it has succeeded.
/// </summary>
internal sealed class ForgettingIommu(IIommu inner) : PassingIommu(inner)
{
    private readonly object _gate = new();
    private readonly HashSet<(DomainId Domain, ulong Page, bool IsTable, object Owner)> _stale = [];

    /// <summary>The commands of each call, in order.</summary>
    public List<Invalidation[]> Batches { get; } = [];

    /// <summary>What the next call returns.</summary>
    public Func<VcmmError> Outcome { get; set; } = static () => VcmmError.None;

    public int StaleCount
    {
        get
        {
            lock (_gate) return _stale.Count;
        }
    }

    public void MakeStale(DomainId domain, IovaRange range, bool leavesOnly, object owner)
    {
        lock (_gate)
        {
            for (ulong page = range.First.Value >> 12; page <= range.Last.Value >> 12; page++) _stale.Add((domain, page, !leavesOnly, owner));
        }
    }

    public bool IsStale(object owner)
    {
        lock (_gate) return _stale.Any(entry => ReferenceEquals(entry.Owner, owner));
    }

    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        Invalidation[] batch = commands.ToArray();
        lock (_gate)
        {
            Batches.Add(batch);
            VcmmError error = Outcome();
            if (error != VcmmError.None) return error;
            _stale.RemoveWhere(entry => Array.Exists(batch, command => command.Domain == entry.Domain
                && command.Range.Contains(new Iova(entry.Page << 12)) && !(command.LeavesOnly && entry.IsTable)));
        }

        return base.Invalidate(commands);
    }
}
