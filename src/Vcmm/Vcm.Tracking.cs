using Platform;
using Vcmm.Tables;

namespace Vcmm;

// What devices used and wrote to, as hardware notes it in the leaves of all tables. Under the reservation's gate.
public sealed partial class Vcm
{
    /// <summary>How many associations have an IOMMU that notes nothing. Written under the association gate.</summary>
    private int _untrackedCount;

    private static bool IsTracked(Association association) => association.Device.Iommu.TracksUse(association.Format);

    /// <param name="state">The reservation.</param>
    /// <param name="offset">Of the part.</param>
    /// <param name="byteCount">Of the part.</param>
    /// <param name="dirty">What was written to; else what was used.</param>
    /// <param name="clear">Whether it begins anew.</param>
    /// <param name="found">Empty; gets the ranges. After an error it means nothing.</param>
    internal VcmmError CollectUsed(ReservationState state, ulong offset, ulong byteCount, bool dirty, bool clear, List<IovaRange> found)
    {
        if (!IsPart(offset, byteCount, state.Range.ByteCount) || Volatile.Read(ref _untrackedCount) != 0) return VcmmError.Invalid;
        IovaRange range = IovaRange.FromLength(state.Range.First + offset, byteCount);
        IPageTable[] tables = state.MappedIn;
        foreach (IPageTable table in tables)
        {
            if (!table.HasDirtyBits) return VcmmError.Invalid;
        }

        List<IovaRange> unconfirmed = dirty ? state.UnconfirmedDirty : state.UnconfirmedAccessed;
        found.AddRange(unconfirmed.Where(former => former.Overlaps(range)));
        foreach (IPageTable table in tables)
        {
            IovaRange leaves = clear ? WholeLeaves(table, range) : range;
            if (dirty) table.CollectDirty(leaves, clear, found, state.Gather);
            else table.CollectAccessed(leaves, clear, found, state.Gather);
        }

        Join(found);
        if (clear)
        {
            foreach (IovaRange former in unconfirmed.Where(former => former.Overlaps(range))) state.Gather.Add(former);
            VcmmError error = Finish(tables, state.Gather);
            unconfirmed.RemoveAll(former => former.Overlaps(range));
            if (error != VcmmError.None)
            {
                // The bits are clear, and hardware that has a leaf cached does not set them again: what was found stays found.
                unconfirmed.AddRange(found);
                return error;
            }
        }

        return VcmmError.None;
    }

    /// <summary>What is mapped anew has clean leaves; what devices had done there counts as found, rather than be lost.</summary>
    private void NoteLostUse(ReservationState state, IovaRange range)
    {
        if (Volatile.Read(ref _untrackedCount) != 0) return;
        if (!state.UnconfirmedDirty.Exists(former => former.Contains(range))) state.UnconfirmedDirty.Add(range);
        if (!state.UnconfirmedAccessed.Exists(former => former.Contains(range))) state.UnconfirmedAccessed.Add(range);
    }

    /// <summary>The leaves that meet the range. Those of a backing do not reach beyond it.</summary>
    private static IovaRange WholeLeaves(IPageTable table, IovaRange range)
    {
        ulong first = range.First.Value;
        ulong last = range.Last.Value;
        if (table.TryWalk(range.First, out Translation leaf)) first &= ~(leaf.LeafBytes - 1);
        if (table.TryWalk(range.Last, out leaf)) last |= leaf.LeafBytes - 1;
        return new(new(first), new(last));
    }

    /// <summary>In ascending order; what touches or overlaps is one.</summary>
    private static void Join(List<IovaRange> ranges)
    {
        ranges.Sort(static (one, other) => one.First.CompareTo(other.First));
        int count = 0;
        for (int i = 0; i < ranges.Count; i++)
        {
            IovaRange range = ranges[i];
            if (count != 0 && (ranges[count - 1].Last.Value == ulong.MaxValue || range.First.Value <= ranges[count - 1].Last.Value + 1))
            {
                if (range.Last.Value > ranges[count - 1].Last.Value) ranges[count - 1] = new(ranges[count - 1].First, range.Last);
                continue;
            }

            ranges[count++] = range;
        }

        ranges.RemoveRange(count, ranges.Count - count);
    }
}
