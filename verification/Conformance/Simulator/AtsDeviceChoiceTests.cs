using IommuSim;
using Platform;

namespace Conformance.Simulator;

/// <summary>What a device with a TLB asks for of its own accord.</summary>
public sealed class AtsDeviceChoiceTests
{
    [Fact]
    public void A_translation_that_it_had_for_writing_is_asked_for_again_for_writing()
    {
        const ulong Dirty = 1 << 6;
        using var ats = new RawAts(device: new() { Refetches = true });
        uint pasid = RawScalable.FirstPasid.Value;
        Assert.Equal(AccessOutcome.Completed, ats.Write(0x1000, pasid: pasid).Outcome);
        Assert.Equal(Dirty, ats.Vtd.Read(RawScalable.First1 + 8) & Dirty);
        // Software has taken note and begins anew.
        ats.Vtd.SetFirst(1, RawScalable.FrameA | RawScalable.Pwu);
        ats.Vtd.InvalidatePasidIotlb(RawScalable.FirstDomain, pasid, 0x1000);
        ats.InvalidateDevice(pasid, 0x1000);
        Assert.True(Assert.Single(ats.Device.Tlb).Write);
        Assert.Equal(Dirty, ats.Vtd.Read(RawScalable.First1 + 8) & Dirty);
    }

    [Fact]
    public void A_group_of_page_requests_ends_before_a_page_that_no_answer_could_mend()
    {
        const ulong Reserved = 1UL << 50;
        using var ats = new RawAts(device: new() { PagesInGroup = 3 });
        ats.Vtd.SetSecond(1, 0);
        ats.Vtd.SetSecond(2, RawScalable.FrameA | RawScalable.Rw | Reserved);
        ats.Vtd.SetSecond(3, 0);
        DmaTransfer transfer = ats.Device.Read(new(0x1000), 3 * 4096);
        Assert.Equal((AccessOutcome.Stalled, 32UL), (transfer.Outcome, ats.Tail));
        Assert.Equal(0x1000UL, ats.Request().High & ~0xFFFUL);
    }

    [Fact]
    public void A_page_of_a_group_that_it_may_reach_is_not_in_flight_while_the_transfer_waits()
    {
        using var ats = new RawAts(device: new() { PagesInGroup = 2 });
        ats.Vtd.SetSecond(1, 0);
        ats.Vtd.SetSecond(2, RawScalable.FrameA | RawScalable.Rw);
        Assert.Equal(AccessOutcome.Stalled, ats.Device.Read(new(0x1000), 2 * 4096).Outcome);
        ats.Vtd.SetSecond(2, 0);
        ats.Vtd.InvalidateIotlb(RawScalable.SecondDomain, 0x2000);
        ats.InvalidateDevice(0x2000);
        Assert.True(ats.Vtd.Wait());
    }
}
