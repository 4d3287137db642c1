using Harness.Foreign;
using static Conformance.Vtd.ScalableCases;
using static Conformance.Vtd.VtdBench;

namespace Conformance.Vtd;

/// <summary>
/// Where the scalable mode of QEMU 7.2 or 10.0 does otherwise than the specification says. The simulator, made as that unit says it
/// is, does as the specification says.
/// </summary>
internal static class ScalableDeviations
{
    private const ulong FaultsDisabled = 2;

    public static IReadOnlyList<VtdDeviation> All { get; } =
    [
        Row(QemuDeviations.SnoopBit, bench => bench.Set(Leaf(Page), Old | Rw | 1 << 11), bench => bench.ReadFaults(Page, 0x7A), bench => bench.Reads(Page, Old)),
        Row(QemuDeviations.RecordedPasid, _ => { }, bench => RecordsPasid(bench, 0), bench => RecordsPasid(bench, 5)),
        Row(QemuDeviations.LegacyNumbers, _ => { }, bench => bench.ReadFaults(0x3000, 0x79), bench => bench.ReadFaults(0x3000, Reason.ReadDenied)),
        Row(QemuDeviations.OnePasidReason, bench => bench.Set(ScalableCases.Directory, 0), bench => bench.ReadFaults(Page, 0x51), bench => bench.ReadFaults(Page, 0x58)),
        Row(QemuDeviations.TypeFirst, bench => bench.Set(PasidEntry(5), 0), bench => bench.ReadFaults(Page, 0x59), bench => bench.ReadFaults(Page, 0x5B)),
        Row(
            QemuDeviations.PasidSilence,
            bench => bench.Set(PasidEntry(5), Present | FaultsDisabled | 7 << 6 | FourLevelTables | Level4),
            bench =>
            {
                bench.WriteIsBlockedInSilence(Page);
                DisableInDirectory(bench);
                bench.WriteIsBlockedInSilence(Page);
            },
            bench =>
            {
                bench.ReadFaults(Page, 0x5B);
                DisableInDirectory(bench);
                bench.ReadFaults(Page, 0x51);
            }),
        Row(QemuDeviations.PasidReserved, bench => bench.Set(PasidEntry(5) + 56, 1UL << 63), bench => bench.ReadFaults(Page, 0x5A), bench => bench.Reads(Page, Old)),
        Row(
            QemuDeviations.OtherTypes,
            bench => bench.Set(PasidEntry(5), Present | 1 << 6 | FourLevelTables | Level4),
            bench => bench.ReadFaults(Page, 0x5B),
            bench => bench.Reads(Page, Old)),
        Row(
            QemuDeviations.EitherHalf,
            bench => bench.Set(bench.RootEntry() + 8, ContextTable | Present | 2),
            bench => bench.Reads(Page, Old),
            bench => bench.ReadFaults(Page, Reason.RootReserved)),
        Row(
            QemuDeviations.DirectorySize,
            bench =>
            {
                // A directory of 128 entries is for 2^13 PASIDs; in memory its 129th place leads to PASID entry 0.
                bench.Set(ContextEntry(bench) + 8, 1 << 13);
                bench.Set(ScalableCases.Directory + 128 * 8, Pasids | Present);
                SetPasid(bench, 0, SecondStage | FourLevelTables | Level4, 1, 0);
            },
            bench => bench.ReadFaults(Page, 0x43),
            bench => bench.Reads(Page, Old)),
        new(
            QemuDeviations.AbsentPasid,
            bench => Changed(bench, SecondStage & ~Present, () => bench.ReadFaults(Page, 0x59)),
            bench => Changed(bench, SecondStage & ~Present, () => bench.Reads(Page, Old))),
        new(
            QemuDeviations.LastingType,
            bench => Changed(
                bench, Present | 6 << 6,
                () => bench.WriteIsBlockedInSilence(Page), FaultsDisabled),
            bench => Changed(bench, Present | 6 << 6, () => bench.Reads(Page, Old), FaultsDisabled)),
        new(
            QemuDeviations.LastingPassThrough,
            bench => NoLongerPassed(bench, () => bench.Reads(Page, Old)),
            bench => NoLongerPassed(bench, () => bench.Reads(Old, Old))),
        FirstStageRow(QemuDeviations.FirstStageWidth, _ => { }, bench => bench.ReadFaults(1UL << 29, 0x71), bench => bench.ReadFaults(1UL << 29, 0x80)),
        FirstStageRow(QemuDeviations.FlagSnoop, bench => bench.Set(PasidEntry(5) + 8, 1), bench => bench.ReadFaults(Page, 0x90), bench => bench.Reads(Page, Old)),
        Taken(QemuDeviations.UpperHalf, Descriptor.IotlbGlobal, third: 1),
        Taken(QemuDeviations.PasidCacheDescriptor, PasidCacheGlobal | 1 << 6),
        Taken(QemuDeviations.PasidIotlbDescriptor, PasidIotlb | 1 << 6),
        Taken(QemuDeviations.UnofferedDeviceType, 0x8),
    ];

    private static VtdDeviation Row(QemuDeviation known, Action<VtdBench> prepare, Action<VtdBench> law, Action<VtdBench> deviation) =>
        Row(known, static bench => Build(bench), prepare, law, deviation);

    private static VtdDeviation FirstStageRow(QemuDeviation known, Action<VtdBench> prepare, Action<VtdBench> law, Action<VtdBench> deviation) =>
        Row(known, BuildFirstStage, prepare, law, deviation) with { HasFirstStage = true };

    private static VtdDeviation Row(QemuDeviation known, Action<VtdBench> build, Action<VtdBench> prepare, Action<VtdBench> law, Action<VtdBench> deviation)
    {
        return new(known, bench => With(bench, law), bench => With(bench, deviation));

        void With(VtdBench bench, Action<VtdBench> see)
        {
            build(bench);
            prepare(bench);
            Enable(bench);
            see(bench);
        }
    }

    // FPD counts in an absent directory entry, too.
    private static void DisableInDirectory(VtdBench bench)
    {
        bench.Set(ScalableCases.Directory, FaultsDisabled);
        bench.Invalidate(Descriptor.ContextGlobal);
        bench.Invalidate(PasidCacheGlobal);
        bench.Invalidate(Descriptor.IotlbGlobal);
    }

    // Fault Recording Registers: PP is bit 95, PV 123:104.
    private static void RecordsPasid(VtdBench bench, ulong pasid)
    {
        bench.Read(0x3000, stackalloc byte[8]);
        ulong high = bench.Registers.Read64(bench.FaultRecord + 8);
        Assert.Equal(1UL, high >> 63);
        Assert.Equal(pasid == 0 ? (0UL, 0UL) : (1UL, pasid), (high >> 31 & 1, high >> 40 & 0xFFFFF));
    }

    // The entry worked, and became another, of the same tables.
    private static void Changed(VtdBench bench, ulong first, Action see, ulong context = 0)
    {
        Build(bench);
        bench.Set(ContextEntry(bench), ScalableCases.Directory | Present | context);
        Enable(bench);
        bench.Reads(Page, Old);
        bench.Set(PasidEntry(5), first | FourLevelTables | Level4);
        bench.Invalidate(PasidCacheGlobal);
        bench.Invalidate(Descriptor.IotlbGlobal);
        see();
    }

    private static void NoLongerPassed(VtdBench bench, Action see)
    {
        Build(bench, PassThrough | FourLevelTables);
        Enable(bench);
        bench.Reads(Old, Old);
        SetPasid(bench, 5, SecondStage | FourLevelTables | Level4, 1, 0);
        bench.Invalidate(PasidCacheGlobal);
        bench.Invalidate(Descriptor.IotlbGlobal);
        see();
    }

    private static VtdDeviation Taken(QemuDeviation known, ulong low, ulong third = 0)
    {
        return new(known, bench => Put(bench, takes: false), bench => Put(bench, takes: true));

        void Put(VtdBench bench, bool takes)
        {
            Build(bench);
            Enable(bench);
            uint place = bench.Tail;
            bench.Put(low);
            bench.Set(QueueBase + place + 16, third);
            bench.Ring();
            Assert.Equal(takes, (bench.FaultStatus & VtdRegister.IQE) == 0);
        }
    }
}
