using Platform;
using Vcmm;
using Vcmm.Tables;

namespace Conformance.Vtd;

/// <summary>
/// The library's encoding of second-stage entries against rows typed from the Intel VT-d specification, "Second-Stage
/// Paging Entries": SS-PTE (level 1), SS-PDE (level 2), SS-PDPE (level 3), SS-PML4E (level 4).
/// </summary>
public sealed class SecondStageFormatTests
{
    private const ulong Rw = 3, PageSize = 0x80;

    /// <summary>Address, level, access, and the entry.</summary>
    public static TheoryData<ulong, int, Access, ulong> Leaves => new()
    {
        // SS-PTE: R is bit 0, W bit 1, the address bits 51:12.
        { 0x0, 1, Access.Read, 0x0000_0000_0000_0001 },
        { 0x0, 1, Access.Write, 0x0000_0000_0000_0002 },
        { 0x0, 1, Access.ReadWrite, 0x0000_0000_0000_0003 },
        { 0x1000, 1, Access.Read, 0x0000_0000_0000_1001 },
        { 0x1000, 1, Access.Write, 0x0000_0000_0000_1002 },
        { 0x8_0000_0000_0000, 1, Access.ReadWrite, 0x0008_0000_0000_0003 },
        { 0xF_FFFF_FFFF_F000, 1, Access.ReadWrite, 0x000F_FFFF_FFFF_F003 },

        // SS-PDE that maps 2 MiB: PS is bit 7, the address bits 51:21.
        { 0x0, 2, Access.Read, 0x0000_0000_0000_0081 },
        { 0x20_0000, 2, Access.ReadWrite, 0x0000_0000_0020_0083 },
        { 0x8_0000_0000_0000, 2, Access.Write, 0x0008_0000_0000_0082 },
        { 0xF_FFFF_FFE0_0000, 2, Access.ReadWrite, 0x000F_FFFF_FFE0_0083 },

        // SS-PDPE that maps 1 GiB: PS is bit 7, the address bits 51:30.
        { 0x0, 3, Access.Write, 0x0000_0000_0000_0082 },
        { 0x4000_0000, 3, Access.ReadWrite, 0x0000_0000_4000_0083 },
        { 0x8_0000_0000_0000, 3, Access.Read, 0x0008_0000_0000_0081 },
        { 0xF_FFFF_C000_0000, 3, Access.ReadWrite, 0x000F_FFFF_C000_0083 },
    };

    /// <summary>The address of a table, and the entry that points at it.</summary>
    public static TheoryData<ulong, ulong> Tables => new()
    {
        { 0x0, 0x0000_0000_0000_0003 },
        { 0x1000, 0x0000_0000_0000_1003 },
        { 0x8_0000_0000_0000, 0x0008_0000_0000_0003 },
        { 0xF_FFFF_FFFF_F000, 0x000F_FFFF_FFFF_F003 },
    };

    public static TheoryData<int> LeafLevels => [1, 2, 3];

    public static TheoryData<int> AllLevels => [1, 2, 3, 4];

    [Theory]
    [MemberData(nameof(Leaves))]
    public void A_leaf_is_the_entry_of_the_specification(ulong address, int level, Access access, ulong entry)
    {
        Assert.Equal(entry, VtdSecondStage.EncodeLeaf(new(address), level, access));
        Assert.Equal(EntryKind.Leaf, VtdSecondStage.Classify(entry, level));
        Assert.Equal(new PhysAddr(address), VtdSecondStage.LeafAddress(entry, level));
        Assert.Equal(access, VtdSecondStage.AttributesOf(entry, 1).Access);
    }

    [Theory]
    [MemberData(nameof(Tables))]
    public void A_pointer_to_a_table_is_the_entry_of_the_specification(ulong address, ulong entry)
    {
        Assert.Equal(entry, VtdSecondStage.EncodeTable(new(address)));
        Assert.Equal(new PhysAddr(address), VtdSecondStage.TableAddress(entry));
        Assert.Equal(Access.ReadWrite, VtdSecondStage.AttributesOf(entry, 1).Access);
        for (int level = 2; level <= 4; level++) Assert.Equal(EntryKind.Table, VtdSecondStage.Classify(entry, level));
    }

    [Fact]
    public void The_geometry_is_that_of_the_specification()
    {
        Assert.Equal(12, VtdSecondStage.GranuleLog2);
        Assert.Equal(9, VtdSecondStage.IndexBits);
        Assert.Equal(3, VtdSecondStage.MinLevelCount);
        Assert.Equal(5, VtdSecondStage.MaxLevelCount);
        Assert.Equal(0b1110u, VtdSecondStage.LeafLevels);
        Assert.Equal(new PhysAddr(0xF_FFFF_FFFF_FFFF), VtdSecondStage.LastPhysAddr);
    }

    /// <summary>
    /// Each of the 64 bits alone: R and W grant, PS makes a leaf of levels 2 and 3, the address bits from the page's size to
    /// bit 51 are address, and every other bit says nothing to software: 6:2 memory type and execute, 10:8 accessed, dirty and
    /// ignored, 11 snoop, 61:52 and 63 ignored, 62 transient mapping, and the address bits below a large page's size, reserved.
    /// </summary>
    [Theory]
    [MemberData(nameof(LeafLevels))]
    public void Every_bit_of_a_leaf_means_what_the_specification_says(int level)
    {
        ulong leaf = level == 1 ? Rw : Rw | PageSize;
        int firstAddressBit = level switch { 1 => 12, 2 => 21, _ => 30 };
        for (int bit = 2; bit < 64; bit++)
        {
            ulong entry = leaf | 1UL << bit;
            ulong address = bit >= firstAddressBit && bit <= 51 ? 1UL << bit : 0;
            Assert.Equal(EntryKind.Leaf, VtdSecondStage.Classify(entry, level));
            Assert.Equal(new PhysAddr(address), VtdSecondStage.LeafAddress(entry, level));
            Assert.Equal(Access.ReadWrite, VtdSecondStage.AttributesOf(entry, 1).Access);
        }
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Every_bit_of_a_pointer_to_a_table_means_what_the_specification_says(int level)
    {
        for (int bit = 2; bit < 64; bit++)
        {
            if (bit == 7) continue;
            ulong entry = Rw | 1UL << bit;
            Assert.Equal(EntryKind.Table, VtdSecondStage.Classify(entry, level));
            Assert.Equal(new PhysAddr(bit is >= 12 and <= 51 ? 1UL << bit : 0), VtdSecondStage.TableAddress(entry));
            Assert.Equal(Access.ReadWrite, VtdSecondStage.AttributesOf(entry, 1).Access);
        }
    }

    [Theory]
    [MemberData(nameof(AllLevels))]
    public void An_entry_that_grants_nothing_is_absent_whatever_else_is_in_it(int level)
    {
        Assert.Equal(EntryKind.Absent, VtdSecondStage.Classify(0, level));
        Assert.Equal(EntryKind.Absent, VtdSecondStage.Classify(~Rw, level));
        for (int bit = 2; bit < 64; bit++) Assert.Equal(EntryKind.Absent, VtdSecondStage.Classify(1UL << bit, level));
        Assert.NotEqual(EntryKind.Absent, VtdSecondStage.Classify(1, level));
        Assert.NotEqual(EntryKind.Absent, VtdSecondStage.Classify(2, level));
    }

    [Fact]
    public void The_page_size_bit_is_ignored_at_the_lowest_level()
    {
        Assert.Equal(EntryKind.Leaf, VtdSecondStage.Classify(0x5000 | PageSize | Rw, 1));
        Assert.Equal(new PhysAddr(0x5000), VtdSecondStage.LeafAddress(0x5000 | PageSize | Rw, 1));
    }

    /// <summary>A large leaf off its boundary has reserved bits set: the hardware refuses it, and no decoder may take these bits for address.</summary>
    [Theory]
    [InlineData(0x0000_0000_0020_1083UL, 2, 0x20_0000UL)]
    [InlineData(0x000F_FFFF_FFFF_F083UL, 2, 0xF_FFFF_FFE0_0000UL)]
    [InlineData(0x0000_0000_4020_0083UL, 3, 0x4000_0000UL)]
    [InlineData(0x000F_FFFF_FFFF_F083UL, 3, 0xF_FFFF_C000_0000UL)]
    public void The_reserved_bits_of_a_large_leaf_are_not_address(ulong entry, int level, ulong address) =>
        Assert.Equal(new PhysAddr(address), VtdSecondStage.LeafAddress(entry, level));
}
