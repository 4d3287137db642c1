using IommuSim;
using Platform;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>
/// The table Fault Conditions and Remapping Hardware Behavior for Various Requests, by its columns: each condition meets an untranslated
/// request, a translation request, and where it can a page request and a translated one.
/// </summary>
public sealed class FaultTableTests
{
    private const ulong Page = 0x1000, HostLimit = 1UL << 48;
    private const ulong ContextLow = PasidDirectory | RawAts.Present | RawAts.PasidEnable | RawAts.Dte | RawAts.Pre;

    private static readonly VtdOptions Options = NoCaches with { DeviceTlbs = true, PageRequests = true };

    /// <summary>What a translation request gets.</summary>
    private enum Answer
    {
        /// <summary>UR or CA: the fault is reported.</summary>
        Refusal,

        /// <summary>Success without any permission, and nothing is reported.</summary>
        Nothing,

        /// <summary>Both.</summary>
        NothingReported,
    }

    private sealed record Row(byte Reason, Answer Answer, Action<RawScalable> Break)
    {
        public uint? Pasid { get; init; }

        public ulong Iova { get; init; } = Page;

        public bool Privileged { get; init; }

        public bool Execute { get; init; }

        public VtdOptions Options { get; init; } = FaultTableTests.Options;
    }

    private static Dictionary<string, Row> Rows => new()
    {
        ["RTA.1"] = new(0x30, Answer.Refusal, vtd => vtd.SetRoot(Root | 2 << 10)),
        ["SRT.1"] = new(0x38, Answer.Refusal, vtd => vtd.SetRoot(MemoryBytes | 1 << 10)),
        ["SRT.2"] = new(0x39, Answer.Refusal, vtd => vtd.Write(Root, Context)),
        ["SRT.3"] = new(0x3A, Answer.Refusal, vtd => vtd.Write(Root, Context | 3)),
        ["SCT.1"] = new(0x40, Answer.Refusal, vtd => vtd.Write(Root, MemoryBytes | 1)),
        ["SCT.2"] = new(0x41, Answer.Refusal, vtd => vtd.SetContext(ContextLow & ~1UL, 1)),
        ["SCT.3"] = new(0x42, Answer.Refusal, vtd => vtd.SetContext(ContextLow | 1 << 7, 1)),
        ["SCT.4.1"] = new(0x43, Answer.Refusal, vtd => vtd.SetContext(ContextLow & ~RawAts.Dte, 1)),
        ["SCT.4.2"] = new(0x43, Answer.Refusal, vtd => vtd.SetContext(ContextLow, 1 << 13)),
        ["SCT.6"] = new(0x45, Answer.Refusal, vtd => vtd.SetContext(ContextLow & ~RawAts.PasidEnable, 1)) { Pasid = 2 },
        ["SCT.7"] = new(0x46, Answer.Refusal, _ => { }) { Pasid = 1 << 13 },
        ["SCT.9"] = new(0x48, Answer.Refusal, _ => { }) { Pasid = 1 },
        ["SPD.1"] = new(0x50, Answer.Refusal, vtd => vtd.SetContext(MemoryBytes | (ContextLow & 0xFFF), 1)),
        ["SPD.2"] = new(0x51, Answer.Nothing, vtd => vtd.Write(PasidDirectory, 0)),
        ["SPD.3"] = new(0x52, Answer.Refusal, vtd => vtd.Write(PasidDirectory, PasidTable | 5)),
        ["SPT.1"] = new(0x58, Answer.Refusal, vtd => vtd.Write(PasidDirectory, MemoryBytes | 1)),
        ["SPT.2"] = new(0x59, Answer.Nothing, vtd => vtd.SetPasid(1, 0, 0, 0)),
        ["SPT.3"] = new(0x5A, Answer.Refusal, vtd => vtd.SetPasid(1, SecondStage | Second4 | 1 << 5, SecondDomain, 0)),
        ["SPT.4"] = new(0x5B, Answer.Refusal, vtd => vtd.SetPasid(1, 1 | 7 << 6, SecondDomain, 0)),
        ["SPT.5"] = new(0x5C, Answer.Nothing, _ => { }) { Pasid = 2, Execute = true },
        ["SPT.6"] = new(0x5D, Answer.Nothing, vtd => vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First4)) { Pasid = 2, Privileged = true },
        ["SFS.1"] = new(0x70, Answer.Nothing, vtd => vtd.Write(First2, MemoryBytes | Pwu)) { Pasid = 2 },
        ["SFS.2"] = new(0x71, Answer.Nothing, vtd => vtd.SetFirst(1, 0)) { Pasid = 2 },
        ["SFS.3"] = new(0x72, Answer.Nothing, vtd => vtd.SetFirst(1, FrameA | Pwu | 1UL << 48)) { Pasid = 2 },
        ["SFS.4"] = new(0x73, Answer.Nothing, vtd => vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, MemoryBytes)) { Pasid = 2 },
        ["SFS.9"] = new(0x90, Answer.Nothing, vtd => vtd.SetPasid(2, FirstStage, FirstDomain, First4)) { Pasid = 2 },
        ["SSS.1"] = new(0x78, Answer.Refusal, vtd => vtd.Write(Second2, MemoryBytes | Rw)),
        ["SSS.2"] = new(0x79, Answer.Nothing, vtd => vtd.SetSecond(1, 0)),
        ["SSS.3"] = new(0x7A, Answer.Refusal, vtd => vtd.SetSecond(1, FrameA | Rw | 1UL << 62)),
        ["SSS.4"] = new(0x7B, Answer.Refusal, vtd => vtd.SetPasid(1, SecondStage | MemoryBytes, SecondDomain, 0)),
        ["SSS.5"] = new(0x7C, Answer.Refusal, vtd => vtd.SetPasid(1, SecondStage | Second4 | 1 << 9, SecondDomain, 0)),
        ["SGN.1"] = new(0x80, Answer.Nothing, _ => { }) { Pasid = 2, Iova = 1UL << 47 },
        ["SGN.2"] = new(0x81, Answer.Nothing, vtd => vtd.SetFirst(1, FrameA | Pw)) { Pasid = 2 },
        ["SGN.4.2"] = new(0x83, Answer.Nothing, vtd => vtd.SetPasid(1, PassThrough, SecondDomain, 0)) { Iova = HostLimit },
        ["SGN.5"] = new(0x84, Answer.Nothing, _ => { }) { Iova = 1UL << 48 },
        ["SGN.7"] = new(0x86, Answer.Nothing, vtd => vtd.SetSecond(1, FrameA | 2)),
        ["SGN.8"] = new(0x87, Answer.Refusal, vtd => vtd.SetSecond(1, 0xFEE0_0000 | Rw)),
        ["SGN.10"] = new(0x89, Answer.Refusal, _ => { }) { Pasid = 1 << 8, Options = Options with { PasidBits = 8 } },
    };

    public static TheoryData<string> Conditions => new(Rows.Keys);

    [Theory]
    [MemberData(nameof(Conditions))]
    public void An_untranslated_request_is_blocked_and_reported(string condition)
    {
        Row row = Rows[condition];
        using var ats = new RawAts(row.Options);
        row.Break(ats.Vtd);
        ats.Vtd.Faults(row.Reason, row.Iova, pasid: row.Pasid, privileged: row.Privileged, execute: row.Execute);
    }

    [Theory]
    [MemberData(nameof(Conditions))]
    public void A_translation_request_is_refused_or_told_that_it_may_do_nothing(string condition)
    {
        Row row = Rows[condition];
        using var ats = new RawAts(row.Options, device: new() { PageRequests = false });
        row.Break(ats.Vtd);
        DmaTransfer transfer = ats.Read(row.Iova, row.Pasid, row.Privileged, row.Execute);
        Assert.Equal((AccessOutcome.Failed, row.Reason), (transfer.Outcome, (byte)transfer.Reason));
        Assert.Equal(row.Answer != Answer.Nothing, ats.Vtd.HasRecord);
        if (ats.Vtd.HasRecord) Assert.Equal((row.Reason, 1UL), Recorded(ats.Iommu));
    }

    /// <summary>What a device may do nothing with it may ask for, unless the fault stands in the way of that, too.</summary>
    [Theory]
    [MemberData(nameof(Conditions))]
    public void A_device_asks_for_what_it_was_told_to_have_no_permission_for(string condition)
    {
        Row row = Rows[condition];
        using var ats = new RawAts(row.Options);
        row.Break(ats.Vtd);
        DmaTransfer transfer = ats.Read(row.Iova, row.Pasid, row.Privileged, row.Execute);
        bool isOfPasid = condition is "SPD.2" or "SPT.2";
        bool asks = row.Answer != Answer.Refusal && !isOfPasid;
        Assert.Equal(asks ? AccessOutcome.Stalled : AccessOutcome.Failed, transfer.Outcome);
        Assert.Equal(asks ? 32UL : 0UL, ats.Tail);
        Assert.False(ats.Device.HasStoppedAsking);
    }

    [Fact]
    public void SFS_10_a_flag_that_cannot_be_set_is_reported_and_the_device_may_do_nothing()
    {
        ulong changes = 0;
        RawAts? machine = null;
        using var ats = new RawAts(Options, (step, detail) =>
        {
            if (step == SimStep.FlagUpdate && detail == First1 + 8) machine!.Vtd.Write(detail, FrameA | Pwu | ++changes << 52);
        });
        machine = ats;
        Assert.Equal(AccessOutcome.Stalled, ats.Read(Page, pasid: 2).Outcome);
        Assert.Equal(((byte)0x91, 1UL), Recorded(ats.Iommu));
        Assert.Equal(32UL, ats.Tail);
    }

    [Fact]
    public void LGN_1_1_in_legacy_mode_a_translation_request_beyond_the_width_may_do_nothing()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { DeviceTlbs = true });
        vtd.SetContext(RawVtd.Device, RawVtd.Table4 | 1 | 1 << 2, 2 | RawVtd.DomainId << 8);
        var device = new AtsDevice<Ram, Hook>(vtd.Iommu, vtd.Memory, RawVtd.Device, new() { PageRequests = false });
        Assert.Equal(VtdFaultReason.AddressBeyondMgaw, vtd.Fault(1UL << 48));
        vtd.ClearFaults();
        DmaTransfer transfer = device.Read(new(1UL << 48), 1);
        Assert.Equal(VtdFaultReason.AddressBeyondMgaw, transfer.Reason);
        Assert.Equal(0UL, vtd.Iommu.Read64(Frcd + 8) >> 63);
    }

    /// <summary>What is broken while a page request is on its way.</summary>
    private static Dictionary<string, Row> PageRows => new(Rows.Where(static row => row.Key[..3] is "RTA" or "SRT" or "SCT" or "SPD"
        || row.Key is "SPT.1" or "SPT.2" or "SPT.3" or "SPT.4").Where(static row => row.Value.Pasid is null))
    {
        ["RTA.3"] = new(0x32, Answer.Refusal, vtd => vtd.SetRoot(Root)),
        ["SCT.6"] = new(0x45, Answer.Refusal, Rows["SCT.6"].Break) { Pasid = 2 },
        ["SCT.8"] = new(0x47, Answer.Refusal, vtd => vtd.SetContext(ContextLow & ~RawAts.Pre, 1)),
        ["SCT.9"] = new(0x48, Answer.Refusal, vtd => vtd.SetContext(ContextLow, 2)) { Pasid = 2 },
    };

    public static TheoryData<string> PageConditions => new(PageRows.Keys);

    [Theory]
    [MemberData(nameof(PageConditions))]
    public void A_page_request_is_answered_as_invalid_and_reported(string condition)
    {
        Row row = PageRows[condition];
        RawAts? machine = null;
        using var ats = new RawAts(Options, (step, _) =>
        {
            if (step == SimStep.PageRequest) row.Break(machine!.Vtd);
        });
        machine = ats;
        Assert.Equal(AccessOutcome.Failed, ats.Read(0x9000, row.Pasid).Outcome);
        Assert.Equal((row.Reason, 0UL), Recorded(ats.Iommu));
        // T 01b: a page request. The device goes on asking: the answer is Invalid Request.
        Assert.Equal(1UL, ats.Iommu.Read64(Frcd + 8) >> 28 & 1);
        Assert.Equal((0UL, 0UL, false), (ats.Iommu.Read64(Frcd + 8) >> 62 & 1, ats.Tail, ats.Device.HasStoppedAsking));
    }

    [Theory]
    [InlineData(40)]
    [InlineData(52)]
    public void LGN_1_3_pass_through_of_the_legacy_mode_reaches_the_hosts_addresses(int width)
    {
        using var vtd = new RawVtd(VtdOptions.Default with { HostAddressWidth = width });
        vtd.SetContext(RawVtd.Device, 1 | 2 << 2, 2 | RawVtd.DomainId << 8);
        ulong beyond = 1UL << width;
        vtd.AssertReads(beyond - 0x1000, beyond - 0x1000);
        Assert.Equal(VtdFaultReason.AddressBeyondMgaw, vtd.Fault(beyond));
    }

    /// <summary>A device that says of any address that the unit has translated it is believed, but for addresses that nothing can be translated to.</summary>
    [Theory]
    [InlineData(true, 0x83, 0x87, 0x44)]
    [InlineData(false, 0x4, 0xE, 0xD)]
    public void SGN_4_1_SGN_8_3_LGN_1_2_LGN_4_a_forged_translated_request(bool isScalable, byte beyond, byte interrupt, byte notEnabled)
    {
        using var ats = new RawAts(Options);
        if (!isScalable)
        {
            ats.Vtd.SetRoot(Root);
            SetLegacy(1);
        }

        var device = new MisbehavingDevice<Ram, Hook>(ats.Iommu, ats.Vtd.Memory, Device);
        byte[] seen = new byte[1];
        Assert.True(device.ReadTranslated(new(FrameA), seen).Ok);
        Assert.Equal(0xAA, seen[0]);
        Assert.True(device.WriteTranslated(new(FrameB), [0x77]).Ok);
        Assert.Equal(0x77UL, ats.Vtd.Read(FrameB) & 0xFF);
        // Where there is no memory nobody answers, and the unit has nothing to say.
        Assert.Equal((false, default(FaultCode)), (device.ReadTranslated(new(MemoryBytes), seen).Ok, device.ReadTranslated(new(MemoryBytes), seen).Fault));
        Assert.False(ats.Vtd.HasRecord);
        Refuses(beyond, HostLimit);
        Refuses(interrupt, 0xFEE0_0000);
        Refuses(interrupt, 0xFEEF_FFF0);
        if (isScalable) ats.SetContext(0);
        else SetLegacy(0);
        Refuses(notEnabled, FrameA);
        Assert.Throws<ArgumentOutOfRangeException>(() => device.ReadTranslated(new(FrameA + 4095), new byte[2]));

        void SetLegacy(ulong type) => ats.Vtd.Set(Context + 0x20 * 16, Second4 | 1 | type << 2, 2 | SecondDomain << 8);

        void Refuses(byte reason, ulong address)
        {
            foreach (DmaResult result in new[] { device.ReadTranslated(new(address), seen), device.WriteTranslated(new(address), seen) })
                Assert.Equal((false, reason), (result.Ok, (byte)result.Reason));
            // AT 10b, no PASID, the address as the device said it.
            Assert.Equal((reason, 2UL), Recorded(ats.Iommu));
            Assert.Equal((address & ~0xFFFUL, 0UL), (ats.Iommu.Read64(Frcd), ats.Iommu.Read64(Frcd + 8) >> 31 & 1));
            ats.Vtd.ClearFaults();
        }
    }

    [Fact]
    public void SCT_5_a_translated_request_of_a_PASIDs_translation_carries_no_PASID()
    {
        using var ats = new RawAts(Options);
        ats.Reads(Page, 0xAA, pasid: 2);
        ats.SetContext(0);
        Assert.Equal(AccessOutcome.Failed, ats.Read(Page, pasid: 2).Outcome);
        Assert.Equal(1UL << 63 | 1UL << 62 | 2UL << 60 | 0x44UL << 32 | Device.Value, ats.Iommu.Read64(Frcd + 8));
    }

    private static (byte Reason, ulong AddressType) Recorded(IMmio unit)
    {
        ulong high = unit.Read64(Frcd + 8);
        Assert.Equal(1UL, high >> 63);
        return ((byte)(high >> 32 & 0xFF), high >> 60 & 3);
    }
}
