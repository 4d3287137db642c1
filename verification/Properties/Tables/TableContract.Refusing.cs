using Platform;
using Vcmm;
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

    [Fact]
    public void What_no_entry_can_say_is_refused_by_name_and_changes_nothing()
    {
        using var rig = new Rig(Formats[^1], Windows[0], SlotBytes);
        rig.Map(0, LargeSlots, 0, Attributes[0]);
        ulong granule = 1UL << TFormat.GranuleLog2, last = TFormat.LastPhysAddr.Value;
        IovaRange live = rig.RangeOf(0, LargeSlots);
        Iova free = rig.RangeOf(LargeSlots, 1).First;
        var gather = new InvalidationGather();
        var secure = new MappingAttributes(Access.ReadWrite, Secure: true);
        Assert.False(rig.Table.CanExpress(secure));
        Assert.Throws<ArgumentException>("attributes", () => rig.Table.Protect(live, secure, gather));
        Assert.Throws<ArgumentException>("attributes", () => rig.Table.Map(free, [PhysRange.FromLength(new(0), granule)], secure, new()));
        PhysRange[][] memories =
        [
            [PhysRange.FromLength(new(8), granule)],
            // Which together are as long as a granule.
            [new(new(8), new(granule - 1)), new(new(0), new(7))], [new(new(0), new(granule - 9)), new(new(granule), new(granule + 7))],
            [PhysRange.FromLength(new(last - granule + 1), 2 * granule)],
        ];
        foreach (PhysRange[] memory in memories)
        {
            Assert.Throws<ArgumentException>("segments", () => rig.Table.CountMissingTables(free, memory));
            Assert.Throws<ArgumentException>("segments", () => rig.Table.Map(free, memory, Attributes[0], new()));
        }

        PhysRange[] two = [PhysRange.FromLength(new(0), 2 * granule)];
        Assert.Throws<ArgumentException>("first", () => rig.Table.CountMissingTables(new(ulong.MaxValue - granule + 1), two));
        Assert.Equal(0, gather.Ranges.Length);
        rig.AssertSame("after all was refused");
    }

    [Fact]
    public void Nothing_can_be_mapped_anywhere()
    {
        using var rig = new Rig(Formats[^1], Windows[0], SlotBytes);
        foreach (ulong first in (ulong[])[0, Windows[0], ulong.MaxValue])
        {
            Assert.Equal(0, rig.Table.CountMissingTables(new(first), []));
            rig.Table.Map(new(first), [], Attributes[0], new());
        }

        rig.AssertSame("after nothing was mapped");
    }
}
