using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Explorer.Faults;

/// <summary>The invalidation comes before the entries are cleared, so that a walk in between caches them again.</summary>
internal sealed class InvalidateFirst(IIommu inner) : FaultyIommu(inner)
{
    private readonly List<ClearLate> _tables = [];

    public override VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
    {
        VcmmError error = Inner.TryCreateTable(format, frames, out IPageTable? right);
        table = null;
        if (error != VcmmError.None) return error;
        var late = new ClearLate(right!);
        _tables.Add(late);
        table = late;
        return VcmmError.None;
    }

    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        VcmmError error = Inner.Invalidate(commands);
        foreach (Invalidation command in commands)
        {
            foreach (ClearLate table in _tables) table.ClearNow(command.Range);
        }

        return error;
    }

    /// <summary>Puts off each unmap until it is told. Good for ranges that unlink no table.</summary>
    private sealed class ClearLate(IPageTable right) : PassingTable(right)
    {
        private readonly List<IovaRange> _putOff = [];

        public override void Unmap(IovaRange range, InvalidationGather gather)
        {
            lock (_putOff) _putOff.Add(range);
        }

        public void ClearNow(IovaRange range)
        {
            lock (_putOff)
            {
                if (!_putOff.Remove(range)) return;
            }

            Inner.Unmap(range, new InvalidationGather());
        }

        public override void Release(InvalidationGather gather)
        {
            // No domain was active, so nobody invalidated.
            IovaRange[] left;
            lock (_putOff)
            {
                left = [.. _putOff];
                _putOff.Clear();
            }

            foreach (IovaRange range in left) Inner.Unmap(range, new InvalidationGather());
            Inner.Release(gather);
        }
    }
}
