using Platform;
using Vcmm.Tables;

namespace Vcmm;

// What devices used and wrote to, as hardware notes it in the leaves of all tables. Under the reservation's gate.
public sealed partial class Vcm
{
    /// <summary>How many associations have an IOMMU that notes nothing. Written under the association gate.</summary>
    private int _untrackedCount;

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
        IPageTable[] tables = _tables;
        foreach (IPageTable table in tables)
        {
            if (!table.HasDirtyBits) return VcmmError.Invalid;
        }

        List<IovaRange> unconfirmed = dirty ? state.UnconfirmedDirty : state.UnconfirmedAccessed;
        foreach (IovaRange former in unconfirmed)
        {
            if (former.Overlaps(range)) found.Add(clear ? former : Common(former, range));
        }

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
            VcmmError error = VcmmError.HardwareFailure;
            try
            {
                error = Finish(tables, state.Gather);
            }
            finally
            {
                unconfirmed.RemoveAll(former => former.Overlaps(range));
                // The bits are clear, and hardware that has a leaf cached does not set them again: what was found stays found.
                // Also where a port throws.
                if (error != VcmmError.None) unconfirmed.AddRange(found);
            }

            return error;
        }

        return VcmmError.None;
    }

    /// <summary>What is mapped anew has clean leaves; what devices had done there counts as found, rather than be lost.</summary>
    private static void NoteLostUse(ReservationState state, IovaRange range)
    {
        foreach (List<IovaRange> unconfirmed in (ReadOnlySpan<List<IovaRange>>)[state.UnconfirmedDirty, state.UnconfirmedAccessed])
        {
            unconfirmed.Add(range);
            Join(unconfirmed);
        }
    }

    /// <summary>What devices had done where nothing is mapped any more is forgotten with it.</summary>
    private static void ForgetUse(ReservationState state, IovaRange range)
    {
        if (state.UnconfirmedDirty.Count != 0) Cut(state.UnconfirmedDirty, range);
        if (state.UnconfirmedAccessed.Count != 0) Cut(state.UnconfirmedAccessed, range);
    }

    /// <summary>The table is about to go, and with it what hardware has noted in it: that stays found.</summary>
    private static void KeepUse(ReservationState state, IPageTable table)
    {
        foreach (Backing backing in state.Backings)
        {
            table.CollectDirty(backing.Range, clear: false, state.UnconfirmedDirty, state.Gather);
            table.CollectAccessed(backing.Range, clear: false, state.UnconfirmedAccessed, state.Gather);
        }

        Join(state.UnconfirmedDirty);
        Join(state.UnconfirmedAccessed);
    }

    private static IovaRange Common(IovaRange one, IovaRange other) => new(
        new(Math.Max(one.First.Value, other.First.Value)),
        new(Math.Min(one.Last.Value, other.Last.Value)));

    /// <summary>Takes a range out of others.</summary>
    private static void Cut(List<IovaRange> ranges, IovaRange range)
    {
        for (int i = ranges.Count - 1; i >= 0; i--)
        {
            IovaRange former = ranges[i];
            if (!former.Overlaps(range)) continue;
            ranges.RemoveAt(i);
            if (former.Last.Value > range.Last.Value) ranges.Insert(i, new(range.Last + 1, former.Last));
            if (former.First.Value < range.First.Value) ranges.Insert(i, new(former.First, new(range.First.Value - 1)));
        }
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
                ranges[count - 1] = new(ranges[count - 1].First, new(Math.Max(ranges[count - 1].Last.Value, range.Last.Value)));
                continue;
            }

            ranges[count++] = range;
        }

        ranges.RemoveRange(count, ranges.Count - count);
    }
}
