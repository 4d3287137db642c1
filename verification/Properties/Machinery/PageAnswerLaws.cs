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
}
