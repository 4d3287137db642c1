using Conformance.Simulator;
using Harness.Foreign;
using IommuSim;
using Platform;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Vtd;

/// <summary>
/// Every fault reason is raised by the simulator somewhere: those of the legacy mode by a row (<see cref="VtdConformance"/>), those of the
/// scalable mode, and 0xD, by a row or, where a row's devices cannot, by what is listed here. None is excused.
/// </summary>
public sealed class FaultReasonLaws
{
    private const ulong Iova = 0x1000;

    /// <summary>
    /// What no row raises. The devices of the rows send neither PASIDs nor translation requests, and nothing happens between two reads of the
    /// unit.
    /// </summary>
    private static Dictionary<VtdFaultReason, Func<byte>> Others => new()
    {
        [VtdFaultReason.TranslationTypeBlocks] = () => OfLegacyDevice(_ => { }),
        [VtdFaultReason.RootTableAddressMisprogrammed] = () => Of(vtd => vtd.SetRoot(Root | 1 << 11)),
        [VtdFaultReason.PasidInLegacyMode] = () => Of(vtd => vtd.SetRoot(Root), pasid: 2),
        [VtdFaultReason.PageRequestInLegacyMode] = () => OfLegacyDevice(
            vtd => vtd.SetContext(RawVtd.Device, RawVtd.Table4 | 1 | 1 << 2, 2 | RawVtd.DomainId << 8)),
        [VtdFaultReason.AbortDma] = () => Of(vtd => vtd.SetRoot(3 << 10), options: NoCaches with { AbortDma = true }),
        [VtdFaultReason.ScalableRootEntryUnreachable] = () => Of(vtd => vtd.SetRoot(MemoryBytes | 1 << 10)),
        [VtdFaultReason.DeviceTlbNotEnabled] = () => OfDevice(0),
        [VtdFaultReason.PasidNotEnabled] = () => Of(vtd => vtd.SetContext(PasidDirectory | 1, 1), pasid: 2),
        [VtdFaultReason.PasidBeyondDirectory] = () => Of(_ => { }, pasid: 1 << 13),
        [VtdFaultReason.PageRequestNotEnabled] = () => OfDevice(RawAts.Dte),
        [VtdFaultReason.PasidIsRidPasid] = () => Of(_ => { }, pasid: 1),
        [VtdFaultReason.ExecuteNotEnabled] = () => Of(_ => { }, pasid: 2, execute: true),
        [VtdFaultReason.SupervisorNotEnabled] = () => Of(vtd => vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First4), pasid: 2, privileged: true),
        [VtdFaultReason.SecondStageFlagsNotSnooped] = () => Of(vtd => vtd.SetPasid(1, SecondStage | Second4 | 1 << 9, SecondDomain, 0)),
        [VtdFaultReason.SecondStageFlagsNotUpdated] = () => OfChange(Second1, vtd => vtd.SetPasid(1, SecondStage | Second4 | 1 << 9, SecondDomain | Snoop, 0)),
        [VtdFaultReason.ExecuteDisabled] = () => Of(
            vtd =>
            {
                vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First4 | 1 << 1);
                vtd.SetFirst(1, FrameA | Pwu | 1UL << 63);
            },
            pasid: 2, execute: true, options: NoCaches with { ExecuteRequests = true }),
        [VtdFaultReason.AddressBeyondHostWidth] = () => Of(vtd => vtd.SetPasid(1, PassThrough, SecondDomain, 0), 1UL << 48),
        [VtdFaultReason.ScalableAddressBeyondWidth] = () => Of(_ => { }, 1UL << 48),
        [VtdFaultReason.PasidBeyondSize] = () => Of(_ => { }, pasid: 1 << 8, options: NoCaches with { PasidBits = 8 }),
        [VtdFaultReason.FirstStageFlagsNotSnooped] = () => Of(vtd => vtd.SetPasid(2, FirstStage, FirstDomain, First4), pasid: 2),
        [VtdFaultReason.FirstStageFlagsNotUpdated] = () => OfChange(First1, _ => { }, pasid: 2),
    };

    public static TheoryData<VtdFaultReason> OtherReasons => new(Others.Keys);

    [Theory]
    [MemberData(nameof(OtherReasons))]
    public void What_no_row_raises_is_raised_here(VtdFaultReason reason) => Assert.Equal((byte)reason, Others[reason]());

    [Fact]
    [Trait("Category", "Broad")]
    public void Every_fault_reason_of_the_scalable_mode_is_raised_by_a_row_or_here()
    {
        HashSet<byte> byRows = [];
        foreach (VtdCase row in VtdCases.All) byRows.UnionWith(ReasonsOf(row, VtdOptions.Default));
        foreach (VtdCase row in ScalableCases.All) byRows.UnionWith(ReasonsOf(row, VtdConformance.WholeScalable));
        IEnumerable<VtdFaultReason> all = Enum.GetValues<VtdFaultReason>()
            .Where(reason => reason is VtdFaultReason.TranslationTypeBlocks or >= VtdFaultReason.RootTableAddressMisprogrammed);
        // Each once: what a row raises need not stand here, too.
        Assert.Equal(all, byRows.Where(reason => reason >= 0x30).Select(reason => (VtdFaultReason)reason).Concat(Others.Keys).Order());
    }

    private static HashSet<byte> ReasonsOf(VtdCase row, VtdOptions options)
    {
        using var machine = new SimulatedVtd(2, options);
        var bench = new VtdBench(machine);
        row.Script(bench);
        return bench.Reasons;
    }

    private static byte Of(
        Action<RawScalable> prepare, ulong iova = Iova, uint? pasid = null, bool privileged = false, bool execute = false, VtdOptions? options = null)
    {
        using var vtd = new RawScalable(options ?? NoCaches);
        prepare(vtd);
        Assert.False(vtd.Go(iova, pasid: pasid, privileged: privileged, execute: execute).Ok);
        return Recorded(vtd.Iommu);
    }

    /// <summary>Software changes the last-level entry whenever the unit is about to set a flag in it.</summary>
    private static byte OfChange(ulong table, Action<RawScalable> prepare, uint? pasid = null)
    {
        ulong changes = 0;
        RawScalable? machine = null;
        using var vtd = new RawScalable(NoCaches, (step, detail) =>
        {
            if (step == SimStep.FlagUpdate && detail == table + 8) machine!.Write(detail, FrameA | Pwu | ++changes << 52);
        });
        machine = vtd;
        prepare(vtd);
        Assert.False(vtd.Go(Iova, pasid: pasid).Ok);
        return Recorded(vtd.Iommu);
    }

    private static byte OfDevice(ulong flags)
    {
        using var ats = new RawAts();
        ats.SetContext(flags);
        Assert.Equal(AccessOutcome.Failed, ats.Read(0x9000).Outcome);
        return Recorded(ats.Iommu);
    }

    private static byte OfLegacyDevice(Action<RawVtd> prepare)
    {
        using var vtd = new RawVtd(RawAts.All);
        prepare(vtd);
        var device = new AtsDevice<Ram, Hook>(vtd.Iommu, vtd.Memory, RawVtd.Device);
        Assert.Equal(AccessOutcome.Failed, device.Read(new(0x9000), 1).Outcome);
        return Recorded(vtd.Iommu);
    }

    private static byte Recorded(IMmio unit)
    {
        ulong high = unit.Read64(Frcd + 8);
        Assert.Equal(1UL, high >> 63);
        return (byte)(high >> 32 & 0xFF);
    }
}
