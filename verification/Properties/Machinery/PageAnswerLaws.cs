using IommuSim;
using IommuSim.Devices;
using Platform;
using Properties.Library;
using Vcmm;

namespace Properties.Machinery;

/// <summary>What a unit answers a device by itself that asks for a page.</summary>
public sealed class PageAnswerLaws
{
    /// <summary>PCI Express Base Specification, Page Request Services: a group is answered as a whole.</summary>
    [Fact]
    public void Of_a_group_the_last_request_has_an_answer_and_no_other()
    {
        using var system = new PageRequestSystem();
        (Device device, _) = system.AddDevice();
        // It is in no address space yet.
        Assert.Equal([null, PageResponseCode.InvalidRequest], Answers());
        system.Activate(device);
        int taken = 0;
        while (Ask(isLast: true) is null && taken < 1000) taken++;
        // A page of 32-byte entries, one of which stays empty.
        Assert.Equal(127, taken);
        Assert.Equal([null, PageResponseCode.Success], Answers());

        PageResponseCode?[] Answers() => [Ask(isLast: false), Ask(isLast: true)];

        PageResponseCode? Ask(bool isLast) =>
            system.Simulator.AskForPage(new(new StreamId(0x20), null, new(PageRequestSystem.RegionStart), Read: true, Write: false, isLast, Group: 3), null);
    }

    /// <summary>VT-d specification, the table of fault conditions: SGN.10 is met by no page request.</summary>
    [Fact]
    public void A_page_may_be_asked_for_with_a_PASID_of_more_bits_than_a_translation()
    {
        using var system = new PageRequestSystem(PageRequestSystem.Hardware with { PasidBits = 8 });
        (Device device, _) = system.AddDevice();
        system.Activate(device, pasid: 5);
        var source = new StreamId(0x20);
        var beyond = new PasidPrefix(new(1 << 8));
        Assert.Equal(
            PageResponseCode.InvalidRequest,
            system.Simulator.AskForPage(new(source, beyond, new(PageRequestSystem.RegionStart), Read: true, Write: false, IsLast: true, Group: 3), null));
        // What was recorded first: the directory has no such entry.
        Assert.Equal((ulong)VtdFaultReason.PasidDirectoryEntryNotPresent, system.Simulator.Read64(0x220 + 8) >> 32 & 0xFF);
        Assert.Equal(VtdFaultReason.PasidBeyondSize, system.Simulator.Translate(source, new(PageRequestSystem.RegionStart), DeviceAccess.Read, beyond).Reason);
    }
}
