using Harness.Foreign;
using static Conformance.Vtd.ScalableCases;
using static Conformance.Vtd.VtdBench;

namespace Conformance.Vtd;

/// <summary>
/// Where the scalable mode of QEMU 7.2 does otherwise than the specification says. The simulator, made as that unit says it is,
/// does as the specification says.
/// </summary>
internal static class ScalableDeviations
{
    public static IReadOnlyList<VtdDeviation> All { get; } =
    [
        Row(QemuDeviations.SnoopBit, bench => bench.Set(Leaf(Page), Old | Rw | 1 << 11), bench => bench.ReadFaults(Page, 0x7A), bench => bench.Reads(Page, Old)),
        Row(QemuDeviations.LegacyNumbers, _ => { }, bench => bench.ReadFaults(0x3000, 0x79), bench => bench.ReadFaults(0x3000, Reason.ReadDenied)),
        Row(QemuDeviations.OnePasidReason, bench => bench.Set(PasidEntry(5), 0), bench => bench.ReadFaults(Page, 0x59), bench => bench.ReadFaults(Page, 0x58)),
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
        new(QemuDeviations.AbsentPasid, bench => MadeAbsent(bench, () => bench.ReadFaults(Page, 0x59)), bench => MadeAbsent(bench, () => bench.Reads(Page, Old))),
        new(
            QemuDeviations.LastingPassThrough,
            bench => NoLongerPassed(bench, () => bench.Reads(Page, Old)),
            bench => NoLongerPassed(bench, () => bench.Reads(Old, Old))),
        new(QemuDeviations.UpperHalf, bench => TakesUpperHalf(bench, takes: false), bench => TakesUpperHalf(bench, takes: true)),
    ];

    private static VtdDeviation Row(QemuDeviation known, Action<VtdBench> prepare, Action<VtdBench> law, Action<VtdBench> deviation)
    {
        return new(known, bench => With(bench, law), bench => With(bench, deviation));

        void With(VtdBench bench, Action<VtdBench> see)
        {
            Build(bench);
            prepare(bench);
            Enable(bench);
            see(bench);
        }
    }

    private static void MadeAbsent(VtdBench bench, Action see)
    {
        Build(bench);
        Enable(bench);
        bench.Reads(Page, Old);
        bench.Set(PasidEntry(5), (SecondStage | FourLevelTables | Level4) & ~Present);
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

    private static void TakesUpperHalf(VtdBench bench, bool takes)
    {
        Build(bench);
        Enable(bench);
        uint place = bench.Tail;
        bench.Put(Descriptor.IotlbGlobal);
        bench.Set(QueueBase + place + 16, 1);
        bench.Ring();
        Assert.Equal(takes, (bench.FaultStatus & VtdRegister.IQE) == 0);
    }
}
