using Platform;
using Vcmm.Tables;

namespace Properties.Tables;

// What a caller must not ask for.
public abstract partial class TableContract<TFormat>
{
    /// <summary>Entries of other addresses would be met: a range that cuts a granule, and one that is not the table's.</summary>
    [Fact]
    public void What_is_not_made_of_granules_of_the_table_is_refused_by_every_call_and_changes_nothing()
    {
        using var rig = new Rig(Formats[^1], Windows[0], SlotBytes);
        rig.Map(0, LargeSlots, 0, Attributes[0]);
        IovaRange whole = rig.RangeOf(0, LargeSlots);
        IovaRange beyond = new(new(1UL << 62), new((1UL << 62) + SlotBytes - 1));
        Assert.False(rig.Table.Covers(beyond));
        var gather = new InvalidationGather();
        foreach (IovaRange range in (IovaRange[])[new(new(whole.First.Value + 8), whole.Last), new(whole.First, new(whole.Last.Value - 8)), beyond])
        {
            PhysRange[] segments = [PhysRange.FromLength(new(0), range.ByteCount)];
            Action[] calls =
            [
                () => rig.Table.CountMissingTables(range.First, segments), () => rig.Table.Map(range.First, segments, Attributes[0], new()), () => rig.Table.Unmap(range, gather),
                () => rig.Table.CountSplitTables(range), () => rig.Table.Split(range, new(), gather), () => rig.Table.Protect(range, Attributes[^1], gather),
                () => rig.Table.TryMerge(range, gather),
            ];
            Assert.All(calls, call => Assert.Throws<ArgumentException>(call));
            if (TFormat.DirtyBit != 0) Assert.Throws<ArgumentException>(() => rig.Table.CollectDirty(range, clear: false, [], gather));
            if (TFormat.AccessedBit != 0) Assert.Throws<ArgumentException>(() => rig.Table.CollectAccessed(range, clear: true, [], gather));
        }

        Assert.Equal(0, gather.Ranges.Length);
        rig.AssertSame("after all was refused");
    }
}
