using static Conformance.Vtd.VtdBench;

namespace Conformance.Vtd;

/// <summary>
/// The scalable mode, by requests without PASID, which any device can make: root, context and PASID structures, tables of both
/// stages, wide descriptors.
/// </summary>
internal static partial class ScalableCases
{
    private const string Mode = "Scalable Mode Address Translation", Entry = "Scalable-Mode PASID Table Entry";
    private const string Caches = "Invalidation of Translation Caches", Faults = "Fault Conditions and Remapping Hardware Behavior";
    public const ulong Directory = 0x101_2000, Pasids = 0x101_3000, Level5 = 0x101_4000;

    // Words of PASID entries: P and PGTT, with AW; PWSNP.
    public const ulong SecondStage = Present | 2 << 6, FourLevelTables = 2 << 2, ThreeLevelTables = 1 << 2;
    public const ulong FirstStage = Present | 1 << 6, PassThrough = Present | 4 << 6, FiveLevels = 1 << 2;
    private const ulong WalkSnoop = 1 << 23;
    private const ulong Pwu = 7;
    public const ulong PasidCacheGlobal = 0x37, PasidCacheDomain = 0x07, PasidCachePasid = 0x17, PasidIotlb = 0x26, PasidIotlbPage = 0x36;

    public static IReadOnlyList<VtdCase> All { get; } =
    [
        .. SecondStageRows, .. FirstStageRows.Select(row => row with { Since = VtdCase.FirstStageSince }), .. FaultRows.Select(row => row with { Since = VtdCase.FirstStageSince }),
        .. NestedRows.Select(row => row with { Since = VtdCase.NoQemu }),
    ];

    private static ulong Pasid(ulong id) => id << 32;

    public static ulong ContextEntry(VtdBench bench, int device = 0) => ContextTable + (bench.Requester(device) & 0x7F) * 32;

    public static ulong PasidEntry(ulong pasid) => Pasids + pasid * 64;

    /// <summary>Device 0 with PASID 5: domain 1, tables of four levels in which <see cref="Page"/> means <see cref="Old"/>.</summary>
    public static void Build(VtdBench bench, ulong first = SecondStage | FourLevelTables | Level4, ulong third = 0)
    {
        bench.Build();
        for (ulong word = 0; word < 512; word++) bench.Set(ContextTable + word * 8, 0);
        Choose(bench, 5);
        bench.Set(Directory, Pasids | Present);
        SetPasid(bench, 5, first, 1, third);
    }

    public static void BuildFirstStage(VtdBench bench)
    {
        Build(bench, FirstStage, Level4);
        bench.Set(Level4, Level3 | Pwu);
        bench.Set(Level3, Level2 | Pwu);
        bench.Set(Level2, Level1 | Pwu);
        bench.Set(Leaf(Page), Old | Pwu);
    }

    private static void Choose(VtdBench bench, ulong pasid, int device = 0)
    {
        bench.Set(ContextEntry(bench, device), Directory | Present, pasid);
        bench.Set(ContextEntry(bench, device) + 16, 0, 0);
    }

    public static void SetPasid(VtdBench bench, ulong pasid, ulong first, ulong domain, ulong third)
    {
        ulong at = PasidEntry(pasid);
        for (ulong word = 3; word < 8; word++) bench.Set(at + word * 8, 0);
        // Where the hardware has no coherent walks to choose, the bit is reserved: Extended Capability Register, bit 48.
        bool snoops = (bench.Registers.Read64(VtdRegister.ECAP) >> 48 & 1) == 1;
        bench.Set(at, first, domain | (snoops ? WalkSnoop : 0));
        bench.Set(at + 16, third);
    }

    public static void Enable(VtdBench bench)
    {
        bench.WidenDescriptors();
        bench.Registers.Write64(VtdRegister.IQT, 0);
        bench.Registers.Write64(0x90, QueueBase | 1 << 11);
        bench.Command(26);
        bench.SetRoot(Root | 1 << 10);
        bench.Invalidate(Descriptor.ContextGlobal);
        bench.Invalidate(PasidCacheGlobal);
        bench.Invalidate(Descriptor.IotlbGlobal);
        bench.Command(31);
    }

    private static IEnumerable<VtdCase> SecondStageRows =>
    [
        new("A PASID entry leads to second-stage tables", Mode, bench =>
        {
            Build(bench);
            Enable(bench);
            bench.Reads(Page, Old);
            bench.Writes(Page, Old);
        }),
        new("A PASID entry with second-stage tables of three levels", Entry, bench =>
        {
            Build(bench, SecondStage | ThreeLevelTables | Level3);
            Enable(bench);
            bench.Reads(Page, Old);
            bench.Writes(Page, Old);
        }),
        new("The context entry chooses among twenty bits of PASIDs", "Scalable-Mode Context-Entry, RID_PASID", bench =>
        {
            Build(bench);
            // A directory of 2^14 entries would take 128 KiB; PDTS 7 says that it has them, and two of them are there.
            const ulong directory = 0x180_0000;
            bench.Set(directory, Pasids | Present);
            bench.Set(directory + 0x3FFF * 8, Pasids | Present);
            SetPasid(bench, 63, SecondStage | FourLevelTables | Level4, 1, 0);
            SetPasid(bench, 0, SecondStage | FourLevelTables | SpareLevel4, 2, 0);
            bench.Set(ContextEntry(bench), directory | Present | 7 << 9, 0xFFFFF);
            bench.Set(ContextEntry(bench, 1), directory | Present | 7 << 9, 0);
            ContextCases.Second(bench, domain: 2);
            bench.Set(ContextTable + (bench.Requester(1) & 0xFF) * 16, 0, 0);
            bench.Set(ContextEntry(bench, 1), directory | Present | 7 << 9, 0);
            Enable(bench);
            bench.Reads(Page, Old);
            bench.Reads(Page, Third, device: 1);
        }),
        new("A PASID entry may let its device through untranslated", Entry, bench =>
        {
            Build(bench, PassThrough | FourLevelTables);
            Enable(bench);
            bench.Reads(Old, Old);
            bench.Writes(New, New);
        }),
        new("Pages of 2 MiB of the second stage", "Second-Stage Translation", bench =>
        {
            Build(bench);
            bench.Set(Level2, LargeFirst | PageSize | Rw);
            Enable(bench);
            bench.Reads(LargePart - LargeFirst, LargePart);
            bench.Writes(LargeOtherPart - LargeFirst, LargeOtherPart);
        }),
        new("A wide queue goes round", "Queued Invalidation Interface, descriptor width", bench =>
        {
            Build(bench);
            Enable(bench);
            for (int i = 0; i < 130; i++) bench.Sync();
            bench.AssertHead(bench.Tail);
            bench.Reads(Page, Old);
        }),
        new("A changed second-stage entry is seen after an invalidation of its page or domain", Caches, bench =>
        {
            Build(bench);
            Enable(bench);
            bench.Reads(Page, Old);
            bench.Set(Leaf(Page), New | Rw);
            bench.Invalidate(Descriptor.IotlbPage | Descriptor.Domain(2), Page);
            bench.Invalidate(Descriptor.IotlbPage | Descriptor.Domain(1), Page + 0x1000);
            bench.Reads(Page, Old);
            bench.Invalidate(Descriptor.IotlbPage | Descriptor.Domain(1), Page);
            bench.Reads(Page, New);
            bench.Set(Leaf(Page), Third | Rw);
            bench.Invalidate(Descriptor.IotlbDomain | Descriptor.Domain(1));
            bench.Reads(Page, Third);
        }),
    ];

    private static IEnumerable<VtdCase> FirstStageRows =>
    [
        new("A PASID entry leads to first-stage tables", Mode, bench =>
        {
            BuildFirstStage(bench);
            Enable(bench);
            bench.Reads(Page, Old);
            bench.Writes(Page, Old);
        }),
        new("First-stage tables of five levels", "First-Stage Translation", bench =>
        {
            BuildFirstStage(bench);
            bench.Set(Level5 + 511 * 8, Level4 | Pwu);
            bench.Set(Level4 + 511 * 8, Level3 | Pwu);
            SetPasid(bench, 5, FirstStage, 1, Level5 | FiveLevels);
            Enable(bench);
            bench.Reads(0xFFFF_FF80_0000_0000 | Page, Old);
            bench.ReadFaults(0x8000_0000_0000_0000 | Page, 0x80);
        }),
        new("First-stage pages of 2 MiB", "First-Stage Translation", bench =>
        {
            BuildFirstStage(bench);
            bench.Set(Level2, LargeFirst | 1 << 12 | PageSize | Pwu);
            Enable(bench);
            bench.Reads(LargePart - LargeFirst, LargePart);
            bench.Writes(LargeOtherPart - LargeFirst, LargeOtherPart);
        }),
        new("First-stage pages of 1 GiB", "First-Stage Translation", bench =>
        {
            BuildFirstStage(bench);
            bench.Set(Level3, 0 | PageSize | Pwu);
            Enable(bench);
            bench.Reads(LargePart, LargePart);
            bench.Writes(New, New);
        }),
        new("Accessed and dirty flags of first-stage entries", "Accessed, Extended Accessed, and Dirty Flags", bench =>
        {
            BuildFirstStage(bench);
            Enable(bench);
            bench.Reads(Page, Old);
            Assert.Equal(Level3 | Pwu | 1 << 5, bench.Memory.Read64(new(Level4)));
            Assert.Equal(Old | Pwu | 1 << 5, bench.Memory.Read64(new(Leaf(Page))));
            bench.Writes(Page, Old);
            Assert.Equal(Old | Pwu | 3 << 5, bench.Memory.Read64(new(Leaf(Page))));
        }),
        new("Accessed and dirty flags of second-stage entries", "Accessed and Dirty Flags", bench =>
        {
            Build(bench, SecondStage | FourLevelTables | Level4 | 1 << 9);
            Enable(bench);
            bench.Reads(Page, Old);
            Assert.Equal(Level3 | Rw | 1 << 8, bench.Memory.Read64(new(Level4)));
            bench.Writes(Page, Old);
            Assert.Equal(Old | Rw | 3 << 8, bench.Memory.Read64(new(Leaf(Page))));
        }),
        new("A changed first-stage entry is seen after an invalidation of its PASID or of its page", Caches, bench =>
        {
            BuildFirstStage(bench);
            Enable(bench);
            bench.Reads(Page, Old);
            bench.Set(Leaf(Page), New | Pwu);
            bench.Invalidate(PasidIotlb | Descriptor.Domain(1) | Pasid(4));
            bench.Invalidate(PasidIotlb | Descriptor.Domain(2) | Pasid(5));
            bench.Invalidate(PasidIotlbPage | Descriptor.Domain(1) | Pasid(5), Page + 0x1000);
            bench.Reads(Page, Old);
            bench.Invalidate(PasidIotlbPage | Descriptor.Domain(1) | Pasid(5), Page | Descriptor.LeafOnly);
            bench.Reads(Page, New);
            bench.Set(Leaf(Page), Third | Pwu);
            bench.Invalidate(PasidIotlb | Descriptor.Domain(1) | Pasid(5));
            bench.Reads(Page, Third);
        }),
        new("A changed PASID entry is seen after an invalidation of the PASID cache", Caches, bench =>
        {
            BuildFirstStage(bench);
            Enable(bench);
            foreach (ulong descriptor in (ulong[])[PasidCacheGlobal, PasidCacheDomain | Descriptor.Domain(1), PasidCachePasid | Descriptor.Domain(1) | Pasid(5)])
            {
                SetPasid(bench, 5, FirstStage, 1, Level4);
                bench.Invalidate(PasidCacheGlobal);
                bench.Reads(Page, Old);
                bench.Set(PasidEntry(5), 0);
                bench.Invalidate(PasidIotlb | Descriptor.Domain(1) | Pasid(5));
                bench.Invalidate(PasidCacheDomain | Descriptor.Domain(2));
                bench.Reads(Page, Old);
                bench.Invalidate(descriptor);
                bench.ReadFaults(Page, 0x59);
            }
        }),
        new("A changed context entry is seen after an invalidation of the context cache", Caches, bench =>
        {
            BuildFirstStage(bench);
            Enable(bench);
            bench.Reads(Page, Old);
            bench.Set(ContextEntry(bench), 0);
            bench.Invalidate(PasidCacheGlobal);
            bench.Invalidate(Descriptor.IotlbGlobal);
            bench.Reads(Page, Old);
            bench.Invalidate(Descriptor.ContextDevice | Descriptor.Source(bench.Requester()));
            bench.ReadFaults(Page, 0x41);
        }),
    ];

    /// <summary>What is done to a working machine, and the code of the fault of a read and a write of <see cref="Page"/> then.</summary>
    private static IEnumerable<VtdCase> FaultRows => new (string Name, byte Read, byte Write, bool First, Action<VtdBench> Break)[]
    {
        ("SRT.2, an absent half of the root entry", 0x39, 0x39, false, bench => bench.Set(bench.RootEntry(), 0)),
        ("SRT.3, a reserved bit of the root entry", 0x3A, 0x3A, false, bench => bench.Set(bench.RootEntry(), ContextTable | Present | 2)),
        ("SCT.1, a context table where there is no memory", 0x40, 0x40, false, bench => bench.Set(bench.RootEntry(), Nowhere | Present)),
        ("SCT.2, an absent context entry", 0x41, 0x41, false, bench => bench.Set(ContextEntry(bench), 0)),
        ("SCT.3, a reserved bit of the context entry", 0x42, 0x42, false, bench => bench.Set(ContextEntry(bench), Directory | Present | 1 << 8)),
        ("SCT.4.2, a PASID beyond the directory", 0x43, 0x43, false, bench => bench.Set(ContextEntry(bench) + 8, 1 << 13)),
        ("SPD.1, a directory where there is no memory", 0x50, 0x50, false, bench => bench.Set(ContextEntry(bench), Nowhere | Present)),
        ("SPD.2, an absent directory entry", 0x51, 0x51, false, bench => bench.Set(Directory, 0)),
        ("SPD.3, a reserved bit of the directory entry", 0x52, 0x52, false, bench => bench.Set(Directory, Pasids | Present | 1 << 11)),
        ("SPT.1, a PASID table where there is no memory", 0x58, 0x58, false, bench => bench.Set(Directory, Nowhere | Present)),
        ("SPT.2, an absent PASID entry", 0x59, 0x59, false, bench => bench.Set(PasidEntry(5), 0)),
        ("SPT.3, a reserved bit of the PASID entry", 0x5A, 0x5A, false, bench => bench.Set(PasidEntry(5) + 56, 1UL << 63)),
        ("SPT.4.1, an address width that there is not", 0x5B, 0x5B, false, bench => bench.Set(PasidEntry(5), SecondStage | Level4)),
        ("SPT.4.2, a translation type that there is not", 0x5B, 0x5B, false, bench => bench.Set(PasidEntry(5), Present | 7 << 6 | FourLevelTables | Level4)),
        ("SSS.1, a second-stage table where there is no memory", 0x78, 0x78, false, bench => bench.Set(Level3, Nowhere | Rw)),
        ("SSS.2, an absent second-stage entry", 0x79, 0x79, false, bench => bench.Set(Leaf(Page), 0)),
        ("SSS.3, a reserved bit of a second-stage entry", 0x7A, 0x7A, false, bench => bench.Set(Leaf(Page), Old | Rw | 1UL << 48)),
        ("SSS.4, a first second-stage table where there is no memory", 0x7B, 0x7B, false, bench => bench.Set(PasidEntry(5), SecondStage | FourLevelTables | Nowhere)),
        ("SGN.7, a page that may not be read", 0x86, 0, false, bench => bench.Set(Leaf(Page), Old | W)),
        ("SGN.6, a page that may not be written", 0, 0x85, false, bench => bench.Set(Leaf(Page), Old | R)),
        ("SFS.1, a first-stage table where there is no memory", 0x70, 0x70, true, bench => bench.Set(Level3, Nowhere | Pwu)),
        ("SFS.2, an absent first-stage entry", 0x71, 0x71, true, bench => bench.Set(Leaf(Page), Old)),
        ("SFS.3, a reserved bit of a first-stage entry", 0x72, 0x72, true, bench => bench.Set(Leaf(Page), Old | Pwu | 1UL << 48)),
        ("SFS.4, a first first-stage table where there is no memory", 0x73, 0x73, true, bench => bench.Set(PasidEntry(5) + 16, Nowhere)),
        ("SPT.4.3, a paging mode that there is not", 0x5B, 0x5B, true, bench => bench.Set(PasidEntry(5) + 16, Level4 | 2 << 2)),
        ("SGN.2, a supervisor's page", 0x81, 0x81, true, bench => bench.Set(Leaf(Page), Old | 3)),
        ("SGN.6, a first-stage page that may not be written", 0, 0x85, true, bench => bench.Set(Leaf(Page), Old | 5)),
    }.Select(row => new VtdCase(row.Name, Faults, bench =>
    {
        if (row.First) BuildFirstStage(bench);
        else Build(bench);
        row.Break(bench);
        Enable(bench);
        if (row.Read == 0) bench.Reads(Page, Old);
        else bench.ReadFaults(Page, row.Read);
        if (row.Write == 0) bench.Writes(Page, Old);
        else bench.WriteFaults(Page, row.Write);
    }));
}
