using Harness.Passing;
using Harness.Running;
using Harness.Scenarios;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Spec;
using Vcmm.Tables;

namespace Properties.Sequences;

/// <summary>Faults that show where hardware fetches what nobody has asked for, and not, or much later, where it does not.</summary>
/// <param name="Name">What is wrong.</param>
/// <param name="CaughtBy">The invariant that names it.</param>
/// <param name="Parts">The library with the fault in it, made anew for each scenario.</param>
public sealed record PlantedEagerFault(string Name, Invariant CaughtBy, Func<SubjectParts> Parts)
{
    public static IReadOnlyList<PlantedEagerFault> All { get; } =
    [
        new("an unback that invalidates before it clears the entries", Invariant.NoStaleAccess,
            static () => new() { Iommu = static iommu => new InvalidatesFirst(iommu, LateChange.OfLeaves) }),
        new("an unback that invalidates before it unlinks a table", Invariant.FrameSafety,
            static () => new() { Iommu = static iommu => new InvalidatesFirst(iommu, LateChange.OfTables) }),
        new("a narrowing that invalidates before it changes the entries", Invariant.NoStaleAccess,
            static () => new() { Iommu = static iommu => new InvalidatesFirst(iommu, LateChange.OfRights) }),
        new("a back that invalidates what was absent before it writes the entries", Invariant.TablesAreTruth,
            static () => new() { Iommu = static iommu => new ForgetsAbsentFirst(iommu) })
        {
            CachingMode = true,
        },
    ];

    /// <summary>Whether the hardware caches absent entries.</summary>
    public bool CachingMode { get; init; }

    public override string ToString() => Name;
}

/// <summary>What is changed too late.</summary>
internal enum LateChange
{
    OfLeaves,
    OfTables,
    OfRights,
}

/// <summary>Puts off the change of entries until they have been invalidated.</summary>
internal sealed class InvalidatesFirst(IIommu inner, LateChange what) : PassingIommu(inner)
{
    private readonly List<Late> _tables = [];

    public override VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
    {
        VcmmError error = Inner.TryCreateTable(format, frames, out IPageTable? right);
        table = null;
        if (error != VcmmError.None) return error;
        var late = new Late(right!, what);
        _tables.Add(late);
        table = late;
        return VcmmError.None;
    }

    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        // Whether a table goes is not known yet.
        VcmmError error = Inner.Invalidate(Array.ConvertAll(commands.ToArray(), static command => command with { LeavesOnly = false }));
        foreach (Late table in _tables) table.ChangeNow();
        return error;
    }

    private sealed class Late(IPageTable right, LateChange what) : PassingTable(right)
    {
        private readonly List<Action> _putOff = [];

        public override void Unmap(IovaRange range, InvalidationGather gather)
        {
            if (what == (IsMappedAround(range) ? LateChange.OfLeaves : LateChange.OfTables)) PutOff(range, gather, () => Inner.Unmap(range, gather));
            else Inner.Unmap(range, gather);
        }

        public override void Protect(IovaRange range, MappingAttributes attributes, InvalidationGather gather)
        {
            if (what == LateChange.OfRights) PutOff(range, gather, () => Inner.Protect(range, attributes, gather));
            else Inner.Protect(range, attributes, gather);
        }

        public override bool TryWalk(Iova address, out Vcmm.Tables.Translation translation)
        {
            ChangeNow();
            return Inner.TryWalk(address, out translation);
        }

        public override void Release(InvalidationGather gather)
        {
            // No domain was active, so nobody invalidated.
            ChangeNow();
            Inner.Release(gather);
        }

        public void ChangeNow()
        {
            Action[] now = [.. _putOff];
            _putOff.Clear();
            foreach (Action change in now) change();
        }

        private void PutOff(IovaRange range, InvalidationGather gather, Action change)
        {
            gather.Add(range);
            _putOff.Add(change);
        }

        private bool IsMappedAround(IovaRange range) =>
            (range.First.Value >= World.PageBytes && Inner.TryWalk(new(range.First.Value - World.PageBytes), out _))
            || (range.Last.Value != ulong.MaxValue && Inner.TryWalk(new(range.Last.Value + 1), out _));
    }
}

/// <summary>Where absent entries are cached, what is to be mapped is invalidated first.</summary>
internal sealed class ForgetsAbsentFirst(IIommu inner) : PassingIommu(inner)
{
    private readonly Dictionary<IPageTable, HashSet<DomainId>> _domains = new(ReferenceEqualityComparer.Instance);

    public override bool CachesAbsent => false;

    public override VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
    {
        VcmmError error = Inner.TryCreateTable(format, frames, out table);
        if (table is not null) table = new Table(table, this);
        return error;
    }

    public override VcmmError Attach(StreamId device, Platform.Pasid? pasid, DomainId domain, IPageTable table)
    {
        if (!_domains.TryGetValue(table, out HashSet<DomainId>? domains)) _domains[table] = domains = [];
        domains.Add(domain);
        return Inner.Attach(device, pasid, domain, table);
    }

    private sealed class Table(IPageTable right, ForgetsAbsentFirst iommu) : PassingTable(right)
    {
        public override void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, TablePagePool pages)
        {
            ulong byteCount = 0;
            foreach (PhysRange segment in segments) byteCount += segment.ByteCount;
            Invalidation[] early = [.. iommu._domains.GetValueOrDefault(this, []).Select(domain => new Invalidation(domain, IovaRange.FromLength(first, byteCount), LeavesOnly: false))];
            if (early.Length != 0) iommu.Inner.Invalidate(early);
            Inner.Map(first, segments, attributes, pages);
        }
    }
}
