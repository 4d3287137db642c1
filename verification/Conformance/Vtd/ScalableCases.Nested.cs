using static Conformance.Vtd.VtdBench;

namespace Conformance.Vtd;

/// <summary>
/// Nested translation. No QEMU offers it: its ECAP has NEST clear and it takes PGTT 011b for another type
/// (<see cref="Harness.Foreign.QemuDeviations"/>), so these rows have one judge only, the specification.
/// </summary>
internal static partial class ScalableCases
{
    private const string Nesting = "Nested Translation", Rights = "Nested Translation, Access Rights";

    private const ulong Nested = Present | 3 << 6;

    // The second stage, one frame for each table; what the guest calls Level4 … Level1 and Old are the frames at GuestOffset above.
    private const ulong Second4 = 0x102_0000, Second3 = 0x102_1000, Second2 = 0x102_2000, Second1 = 0x102_3000, SecondData = 0x102_4000;
    private const ulong Narrow = 1UL << 39;

    // Guest-physical addresses: of the tables, and of a page of data and of 2 MiB in which it lies.
    private const ulong GuestLevel4 = 0x4000, GuestLevel3 = 0x5000, GuestLevel2 = 0x6000, GuestLevel1 = 0x7000;
    private const ulong GuestLarge = 0x20_0000, GuestPage = GuestLarge | 0x3000;

    /// <summary>The second-stage entry of a guest-physical page of the first or the second 2 MiB.</summary>
    private static ulong SecondLeaf(ulong guest) => (guest < GuestLarge ? Second1 : SecondData) + (guest >> 12 & 0x1FF) * 8;

    /// <summary>Device 0 with PASID 5, nested, in domain 1: <see cref="Page"/> means <see cref="GuestPage"/>, which is <see cref="Old"/>.</summary>
    private static void BuildNested(VtdBench bench, ulong width = FourLevelTables)
    {
        Build(bench, Nested | width | (width == FourLevelTables ? Second4 : Second3), GuestLevel4);
        bench.Set(Second4, Second3 | Rw);
        bench.Set(Second3, Second2 | Rw);
        bench.Set(Second2, Second1 | Rw, SecondData | Rw);
        bench.Set(SecondLeaf(GuestLevel4), Level4 | Rw);
        bench.Set(SecondLeaf(GuestLevel3), Level3 | Rw);
        bench.Set(SecondLeaf(GuestLevel2), Level2 | Rw);
        bench.Set(SecondLeaf(GuestLevel1), Level1 | Rw);
        bench.Set(SecondLeaf(GuestPage), Old | Rw);
        bench.Set(Level4, GuestLevel3 | Pwu);
        bench.Set(Level3, GuestLevel2 | Pwu);
        bench.Set(Level2, GuestLevel1 | Pwu);
        bench.Set(Leaf(Page), GuestPage | Pwu);
    }

    private static IEnumerable<VtdCase> NestedRows =>
    [
        new("A PASID entry leads through both stages", Nesting, bench =>
        {
            BuildNested(bench);
            Enable(bench);
            bench.Reads(Page, Old);
            bench.Writes(Page, Old);
        }),
        new("Flags of first-stage entries are set where the second stage says", "Accessed, Extended Accessed, and Dirty Flags", bench =>
        {
            BuildNested(bench);
            Enable(bench);
            bench.Reads(Page, Old);
            Assert.Equal(GuestLevel3 | Pwu | 1 << 5, bench.Memory.Read64(new(Level4)));
            bench.Writes(Page, Old);
            Assert.Equal(GuestPage | Pwu | 3 << 5, bench.Memory.Read64(new(Leaf(Page))));
            Assert.Equal(Old | Rw, bench.Memory.Read64(new(SecondLeaf(GuestPage))));
        }),
        new("The second stage keeps flags for the tables of the first", "Accessed and Dirty Flags", bench =>
        {
            BuildNested(bench);
            SetPasid(bench, 5, Nested | FourLevelTables | Second4 | 1 << 9, 1, GuestLevel4);
            Enable(bench);
            bench.Reads(Page, Old);
            Assert.Equal(Level1 | Rw | 3 << 8, bench.Memory.Read64(new(SecondLeaf(GuestLevel1))));
            Assert.Equal(Old | Rw | 1 << 8, bench.Memory.Read64(new(SecondLeaf(GuestPage))));
            bench.Writes(Page, Old);
            Assert.Equal(Old | Rw | 3 << 8, bench.Memory.Read64(new(SecondLeaf(GuestPage))));
        }),
        new("Pages of 2 MiB in both stages", Nesting, bench =>
        {
            BuildNested(bench);
            bench.Set(Level2, GuestLarge | PageSize | Pwu);
            bench.Set(Second2 + 8, LargeFirst | PageSize | Rw);
            Enable(bench);
            bench.Reads(LargePart - LargeFirst, LargePart);
            bench.Writes(LargeOtherPart - LargeFirst, LargeOtherPart);
        }),
        new("What the second stage cuts small is cached small", "Caching Translation Information, IOTLB", bench =>
        {
            BuildNested(bench);
            bench.Set(Level2, GuestLarge | PageSize | Pwu);
            bench.Set(SecondLeaf(GuestLarge | 0x4000), Old | Rw);
            Enable(bench);
            bench.Reads(0x3000, Old);
            bench.Reads(0x4000, Old);
            bench.Set(SecondLeaf(GuestLarge | 0x3000), New | Rw, New | Rw);
            bench.Invalidate(PasidIotlbPage | Descriptor.Domain(1) | Pasid(5), 0x3000);
            bench.Reads(0x3000, New);
            bench.Reads(0x4000, Old);
            bench.Invalidate(PasidIotlbPage | Descriptor.Domain(1) | Pasid(5), 9);
            bench.Reads(0x4000, New);
        }),
        new("A changed first-stage entry under nesting is seen after an invalidation of its PASID or of its page", Caches, bench =>
        {
            BuildNested(bench);
            bench.Set(SecondLeaf(GuestLarge), New | Rw, Third | Rw);
            Enable(bench);
            bench.Reads(Page, Old);
            bench.Set(Leaf(Page), GuestLarge | Pwu);
            bench.Invalidate(PasidIotlb | Descriptor.Domain(1) | Pasid(4));
            bench.Invalidate(PasidIotlb | Descriptor.Domain(2) | Pasid(5));
            bench.Invalidate(PasidIotlbPage | Descriptor.Domain(1) | Pasid(5), GuestPage);
            bench.Reads(Page, Old);
            bench.Invalidate(PasidIotlbPage | Descriptor.Domain(1) | Pasid(5), Page | Descriptor.LeafOnly);
            bench.Reads(Page, New);
            bench.Set(Leaf(Page), GuestLarge | 0x1000 | Pwu);
            bench.Invalidate(PasidIotlb | Descriptor.Domain(1) | Pasid(5));
            bench.Reads(Page, Third);
        }),
        new("A changed second-stage entry under nesting is seen after an invalidation of any page of the domain, or of the domain", Caches, bench =>
        {
            BuildNested(bench);
            Enable(bench);
            bench.Reads(Page, Old);
            bench.Set(SecondLeaf(GuestPage), New | Rw);
            bench.Invalidate(Descriptor.IotlbPage | Descriptor.Domain(2), GuestPage);
            bench.Reads(Page, Old);
            bench.Invalidate(Descriptor.IotlbPage | Descriptor.Domain(1), GuestPage | Descriptor.LeafOnly);
            bench.Reads(Page, New);
            bench.Set(SecondLeaf(GuestPage), Third | Rw);
            bench.Invalidate(Descriptor.IotlbDomain | Descriptor.Domain(1));
            bench.Reads(Page, Third);
        }),
        new("A moved first-stage table is found after an invalidation of the second stage", Caches, bench =>
        {
            BuildNested(bench);
            bench.Set(SecondLeaf(GuestLarge), New | Rw);
            bench.Set(SpareLevel1 + (Page >> 12) * 8, GuestLarge | Pwu);
            Enable(bench);
            bench.Reads(Page, Old);
            bench.Set(SecondLeaf(GuestLevel1), SpareLevel1 | Rw);
            bench.Invalidate(PasidIotlbPage | Descriptor.Domain(1) | Pasid(5), Page | Descriptor.LeafOnly);
            bench.Reads(Page, Old);
            bench.Invalidate(Descriptor.IotlbPage | Descriptor.Domain(1), GuestLevel1 | Descriptor.LeafOnly);
            bench.Reads(Page, New);
        }),
        .. NestedFaultRows,
    ];

    /// <summary>What is done to a working machine, and the code of the fault of a read and a write of <see cref="Page"/> then.</summary>
    private static IEnumerable<VtdCase> NestedFaultRows => new (string Name, string Section, byte Read, byte Write, ulong Width, Action<VtdBench> Break)[]
    {
        ("SPT.4.1, an address width that nesting does not have", Faults, 0x5B, 0x5B, FourLevelTables, bench => bench.Set(PasidEntry(5), Nested | Second4)),
        ("SPT.4.3, a paging mode that nesting does not have", Faults, 0x5B, 0x5B, FourLevelTables, bench => bench.Set(PasidEntry(5) + 16, GuestLevel4 | 3 << 2)),
        ("SFS.1, a first-stage table that the second stage puts where there is no memory", Faults, 0x70, 0x70, FourLevelTables, bench => bench.Set(SecondLeaf(GuestLevel2), Nowhere | Rw)),
        ("SFS.2, an absent first-stage entry under nesting", Faults, 0x71, 0x71, FourLevelTables, bench => bench.Set(Leaf(Page), 0)),
        ("SFS.3, a reserved bit of a first-stage entry under nesting", Faults, 0x72, 0x72, FourLevelTables, bench => bench.Set(Leaf(Page), GuestPage | Pwu | 1UL << 48)),
        ("SFS.4, a first first-stage table that the second stage puts where there is no memory", Faults, 0x73, 0x73, FourLevelTables, bench => bench.Set(SecondLeaf(GuestLevel4), Nowhere | Rw)),
        ("SPT.4.4, a first first-stage table beyond the second stage", Faults, 0x5B, 0x5B, ThreeLevelTables, bench => bench.Set(PasidEntry(5) + 16, Narrow | GuestLevel4)),
        ("SFS.5, a first-stage table beyond the second stage", Faults, 0x74, 0x74, ThreeLevelTables, bench => bench.Set(Level2, Narrow | GuestLevel1 | Pwu)),
        ("SFS.6, a first first-stage table that the second stage lets nobody read", Rights, 0x75, 0x75, FourLevelTables, bench => bench.Set(SecondLeaf(GuestLevel4), Level4 | W)),
        ("SFS.7, a first-stage table that the second stage lets nobody read", Rights, 0x76, 0x76, FourLevelTables, bench => bench.Set(SecondLeaf(GuestLevel1), Level1 | W)),
        ("SFS.8, a flag to set in a first-stage table that the second stage lets nobody write", Rights, 0x77, 0x77, FourLevelTables, bench => bench.Set(SecondLeaf(GuestLevel3), Level3 | R)),
        ("SFS.8, a dirty flag to set where the second stage lets nobody write", Rights, 0, 0x77, FourLevelTables, bench =>
        {
            bench.Set(Leaf(Page), GuestPage | Pwu | 1 << 5);
            bench.Set(SecondLeaf(GuestLevel1), Level1 | R);
        }),
        ("SSS.1, a second-stage table where there is no memory, under nesting", Faults, 0x78, 0x78, FourLevelTables, bench => bench.Set(Second2, Nowhere | Rw)),
        ("SSS.2, a first-stage table that the second stage does not have", Faults, 0x79, 0x79, FourLevelTables, bench => bench.Set(SecondLeaf(GuestLevel2), 0)),
        ("SSS.2, a page that the second stage does not have", Faults, 0x79, 0x79, FourLevelTables, bench => bench.Set(SecondLeaf(GuestPage), 0)),
        ("SSS.3, a reserved bit of a second-stage entry of a first-stage table", Faults, 0x7A, 0x7A, FourLevelTables, bench => bench.Set(SecondLeaf(GuestLevel3), Level3 | Rw | 1UL << 48)),
        ("SSS.3, snoop control in a second-stage entry that leads to a table of the first stage's way", Faults, 0x7A, 0x7A, FourLevelTables, bench => bench.Set(Second2, Second1 | Rw | 1 << 11)),
        ("SSS.4, a first second-stage table where there is no memory, under nesting", Faults, 0x7B, 0x7B, FourLevelTables, bench => bench.Set(PasidEntry(5), Nested | FourLevelTables | Nowhere)),
        ("SGN.2, a supervisor's page under nesting", Rights, 0x81, 0x81, FourLevelTables, bench => bench.Set(Leaf(Page), GuestPage | 3)),
        ("SFS.5, a page beyond the second stage", Faults, 0x74, 0x74, ThreeLevelTables, bench => bench.Set(Leaf(Page), Narrow | GuestPage | Pwu)),
        ("SGN.6, a page that the first stage lets nobody write", Rights, 0, 0x85, FourLevelTables, bench => bench.Set(Leaf(Page), GuestPage | 5)),
        ("SGN.6, a page that the second stage lets nobody write", Rights, 0, 0x85, FourLevelTables, bench => bench.Set(SecondLeaf(GuestPage), Old | R)),
        ("SGN.7, a page that the second stage lets nobody read", Rights, 0x86, 0, FourLevelTables, bench => bench.Set(SecondLeaf(GuestPage), Old | W)),
        ("SGN.8, a page that the second stage puts into the interrupt range", Faults, 0x87, 0x87, FourLevelTables, bench => bench.Set(SecondLeaf(GuestPage), 0xFEE0_0000 | Rw)),
    }.Select(row => new VtdCase(row.Name, row.Section, bench =>
    {
        BuildNested(bench, row.Width);
        row.Break(bench);
        Enable(bench);
        if (row.Read == 0) bench.Reads(Page, Old);
        else bench.ReadFaults(Page, row.Read);
        if (row.Write == 0) bench.Writes(Page, Old);
        else bench.WriteFaults(Page, row.Write);
    }));
}
