using Properties.Library;
using Vcmm;
using Vcmm.Tables;

namespace Properties.Tables;

/// <summary>
/// Rows and bits from the VT-d specification, "Second-Stage Paging Entries". More rows are in the conformance tests.
/// </summary>
public sealed class VtdSecondStageContract : FormatContract<VtdSecondStage>
{
    protected override IEnumerable<(ulong Address, int Level, MappingAttributes Attributes, ulong Entry)> LeafRows =>
    [
        (0x1000, 1, Access.Read, 0x0000_0000_0000_1001),
        (0xF_FFFF_FFFF_F000, 1, Access.ReadWrite, 0x000F_FFFF_FFFF_F003),
        (0x20_0000, 2, Access.Write, 0x0000_0000_0020_0082),
        (0xF_FFFF_C000_0000, 3, Access.ReadWrite, 0x000F_FFFF_C000_0083),
    ];

    protected override IEnumerable<(ulong Table, ulong Entry)> TableRows => [(0x1000, 0x1003), (0xF_FFFF_FFFF_F000, 0x000F_FFFF_FFFF_F003)];

    protected override Access[] Accesses => [Access.Read, Access.Write, Access.ReadWrite];

    protected override bool CanBeSupervisorOnly => false;

    // Ignored 63, TM 62, ignored 61:52, address, SNP 11, ignored 10, D 9, A 8, ignored 7, IPAT 6, EMT 5:3, X 2, W, R.
    protected override string LeafBits(int level) => level switch
    {
        1 => "iiiiiiiiiiii" + new string('A', 40) + "iiuuiiiiiimm",
        2 => "iiiiiiiiiiii" + new string('A', 31) + new string('r', 9) + "iiuumiiiiimm",
        _ => "iiiiiiiiiiii" + new string('A', 22) + new string('r', 18) + "iiuumiiiiimm",
    };

    // Either of R and W makes it present: none of them alone changes what the entry is.
    protected override string TableBits(int level) => "iiiiiiiiiiii" + new string('A', 40) + "iiiimiiiiiii";
}

/// <summary>
/// Rows and bits from the Intel SDM, volume 3A, "4-Level Paging and 5-Level Paging": formats of a PTE that maps 4 KiB, a PDE that
/// maps 2 MiB, a PDPTE that maps 1 GiB, and entries that reference a table.
/// </summary>
public sealed class X86FirstStageContract : FormatContract<X86FirstStage>
{
    private const CachePolicy WriteThrough = CachePolicy.WriteThrough, NotCached = CachePolicy.NotCached;

    protected override IEnumerable<(ulong Address, int Level, MappingAttributes Attributes, ulong Entry)> LeafRows =>
    [
        // P, R/W, U/S are bits 0, 1, 2; XD is bit 63.
        (0x0, 1, Access.ReadWriteExecute, 0x0000_0000_0000_0007),
        (0x1000, 1, Access.ReadWrite, 0x8000_0000_0000_1007),
        (0x1000, 1, Access.Read, 0x8000_0000_0000_1005),
        (0x1000, 1, Access.Read | Access.Execute, 0x0000_0000_0000_1005),
        (0x1000, 1, new(Access.ReadWrite, SupervisorOnly: true), 0x8000_0000_0000_1003),
        (0x1000, 1, new(Access.Read | Access.Execute, SupervisorOnly: true), 0x0000_0000_0000_1001),
        // PWT is bit 3, PCD bit 4: entries 1 (WT) and 3 (UC) of the PAT.
        (0x1000, 1, new(Access.ReadWriteExecute, Cache: WriteThrough), 0x0000_0000_0000_100F),
        (0x1000, 1, new(Access.ReadWriteExecute, Cache: NotCached), 0x0000_0000_0000_101F),
        (0xF_FFFF_FFFF_F000, 1, Access.ReadWrite, 0x800F_FFFF_FFFF_F007),
        // PS is bit 7.
        (0x0, 2, Access.ReadWriteExecute, 0x0000_0000_0000_0087),
        (0x20_0000, 2, Access.ReadWrite, 0x8000_0000_0020_0087),
        (0xF_FFFF_FFE0_0000, 2, new(Access.Read, Cache: NotCached), 0x800F_FFFF_FFE0_009D),
        (0x4000_0000, 3, Access.ReadWriteExecute, 0x0000_0000_4000_0087),
        (0xF_FFFF_C000_0000, 3, new(Access.ReadWrite, true, false, WriteThrough), 0x800F_FFFF_C000_008B),
    ];

    protected override IEnumerable<(ulong Table, ulong Entry)> TableRows =>
        [(0x0, 0x7), (0x1000, 0x1007), (0x8_0000_0000_0000, 0x0008_0000_0000_0007), (0xF_FFFF_FFFF_F000, 0x000F_FFFF_FFFF_F007)];

    protected override Access[] Accesses => [Access.Read, Access.ReadWrite, Access.Read | Access.Execute, Access.ReadWriteExecute];

    protected override bool CanBeSupervisorOnly => true;

    // XD 63, protection key and ignored 62:52, address, ignored 11:9, G 8, PAT 7 or PS, D 6, A 5, PCD 4, PWT 3, U/S, R/W, P.
    protected override string LeafBits(int level) => level switch
    {
        1 => "miiiiiiiiiii" + new string('A', 40) + "iiiiiuummmmm",
        // PAT is bit 12, reserved are 20:13.
        2 => "miiiiiiiiiii" + new string('A', 31) + new string('r', 8) + "i" + "iiiimuummmmm",
        // PAT is bit 12, reserved are 29:13.
        _ => "miiiiiiiiiii" + new string('A', 22) + new string('r', 17) + "i" + "iiiimuummmmm",
    };

    protected override string TableBits(int level) => "iiiiiiiiiiii" + new string('A', 40) + "iiiimiiiiiim";

    [Fact]
    public void The_geometry_is_that_of_the_architecture()
    {
        Assert.Equal((12, 9, 4, 5, 0b1110u), (X86FirstStage.GranuleLog2, X86FirstStage.IndexBits, X86FirstStage.MinLevelCount, X86FirstStage.MaxLevelCount, X86FirstStage.LeafLevels));
        Assert.Equal(0xF_FFFF_FFFF_FFFFUL, X86FirstStage.LastPhysAddr.Value);
        Assert.True(X86FirstStage.IsSignExtended);
        Assert.False(X86FirstStage.RequiresBreakBeforeMake);
        Assert.Equal((1UL << 5, 1UL << 6), (X86FirstStage.AccessedBit, X86FirstStage.DirtyBit));
    }

    /// <summary>The power-on PAT: WB, WT, UC-, UC, WB, WT, UC-, UC; and what has no encoding becomes the nearest.</summary>
    [Theory]
    [InlineData(0b000, CachePolicy.WriteBackWriteAllocate)]
    [InlineData(0b001, CachePolicy.WriteThrough)]
    [InlineData(0b010, CachePolicy.NotCached)]
    [InlineData(0b011, CachePolicy.NotCached)]
    [InlineData(0b100, CachePolicy.WriteBackWriteAllocate)]
    [InlineData(0b101, CachePolicy.WriteThrough)]
    [InlineData(0b110, CachePolicy.NotCached)]
    [InlineData(0b111, CachePolicy.NotCached)]
    public void The_memory_type_is_that_of_the_power_on_pat(int index, CachePolicy policy)
    {
        ulong bits = (ulong)(index & 3) << 3;
        Assert.Equal(policy, X86FirstStage.AttributesOf(0x7 | bits | (ulong)(index >> 2) << 7, 1).Cache);
        Assert.Equal(policy, X86FirstStage.AttributesOf(0x87 | bits | (ulong)(index >> 2) << 12, 2).Cache);
        MappingAttributes noAllocate = new(Access.Read, Cache: CachePolicy.WriteBackNoWriteAllocate);
        Assert.Equal(X86FirstStage.EncodeLeaf(default, 1, Access.Read), X86FirstStage.EncodeLeaf(default, 1, noAllocate));
    }
}

/// <summary>The bits of a format that no hardware has.</summary>
public sealed class OddFormatContract : FormatContract<OddFormat>
{
    protected override IEnumerable<(ulong Address, int Level, MappingAttributes Attributes, ulong Entry)> LeafRows =>
        [(0x1000, 1, Access.Read, 0x2000_0000_0000_1001), (0xFFFF_FFFF_0000, 3, Access.ReadWriteExecute, 0xE000_FFFF_FFFF_0001)];

    protected override IEnumerable<(ulong Table, ulong Entry)> TableRows => [(0x1000, 0x1003)];

    protected override Access[] Accesses => [.. Enumerable.Range(1, 7).Select(access => (Access)access)];

    protected override bool CanBeSupervisorOnly => false;

    protected override string LeafBits(int level) => level == 1
        ? "mmm" + new string('r', 13) + new string('A', 36) + new string('r', 10) + "mm"
        : "mmm" + new string('r', 13) + new string('A', 32) + new string('r', 14) + "mm";

    protected override string TableBits(int level) => new string('r', 16) + new string('A', 36) + new string('r', 10) + "mm";

    /// <summary>The odd format alone stands for hardware that demands it.</summary>
    [Fact]
    public void It_requires_break_before_make() => Assert.True(OddFormat.RequiresBreakBeforeMake);
}
