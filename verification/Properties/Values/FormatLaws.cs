using FsCheck.Xunit;
using Platform;
using Vcmm;
using Vcmm.Tables;

namespace Properties.Values;

/// <summary>Round trips of the VT-d second-stage format. Rows typed from the specification are in the conformance tests.</summary>
[Properties(MaxTest = 2000, Replay = RangeLaws.Replay)]
public sealed class FormatLaws
{
    [Property]
    public void A_leaf_is_read_as_it_was_written(ulong address, byte level, byte access)
    {
        int at = 1 + level % 3;
        ulong size = 1UL << (12 + 9 * (at - 1));
        var target = new PhysAddr(address & VtdSecondStage.LastPhysAddr.Value & ~(size - 1));
        var grants = (Access)(1 + access % 3);
        ulong entry = VtdSecondStage.EncodeLeaf(target, at, grants);
        Assert.Equal(EntryKind.Leaf, VtdSecondStage.Classify(entry, at));
        Assert.Equal(target, VtdSecondStage.LeafAddress(entry, at));
        Assert.Equal(grants, VtdSecondStage.AttributesOf(entry, 1).Access);
    }

    [Property]
    public void A_pointer_to_a_table_is_read_as_it_was_written(ulong address, byte level)
    {
        var table = new PhysAddr(address & VtdSecondStage.LastPhysAddr.Value & ~0xFFFUL);
        ulong entry = VtdSecondStage.EncodeTable(table);
        Assert.Equal(EntryKind.Table, VtdSecondStage.Classify(entry, 2 + level % 3));
        Assert.Equal(table, VtdSecondStage.TableAddress(entry));
        Assert.Equal(Access.ReadWrite, VtdSecondStage.AttributesOf(entry, 1).Access);
    }

    [Property]
    public void An_entry_that_grants_nothing_is_absent(ulong bits, byte level) =>
        Assert.Equal(EntryKind.Absent, VtdSecondStage.Classify(bits & ~3UL, 1 + level % 4));

    [Property]
    public void Different_leaves_have_different_entries(ulong one, ulong other, byte access, byte otherAccess)
    {
        ulong mask = VtdSecondStage.LastPhysAddr.Value & ~0xFFFUL;
        bool same = (one & mask) == (other & mask) && access % 3 == otherAccess % 3;
        ulong first = VtdSecondStage.EncodeLeaf(new(one & mask), 1, (Access)(1 + access % 3));
        ulong second = VtdSecondStage.EncodeLeaf(new(other & mask), 1, (Access)(1 + otherAccess % 3));
        Assert.Equal(same, first == second);
    }
}
