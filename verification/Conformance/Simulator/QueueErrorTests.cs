using IommuSim;
using Platform;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>Hardware Handling of Queued Invalidation Interface Errors: what went wrong, device TLBs that do not answer, answers that nobody waits for.</summary>
public sealed class QueueErrorTests
{
    private const uint Iqercd = 0xB0, Iqe = 1 << 4, Ice = 1 << 5, Ite = 1 << 6;
    private const ulong Page = 0x1000;

    public static TheoryData<string, ulong> Causes => new()
    {
        { "a tail beyond the queue", 1 },
        { "a descriptor where no memory is", 2 },
        { "a type that there is not", 3 },
        { "a type that is not offered", 3 },
        { "a page group response where no page is asked for", 3 },
        { "bits of a longer type", 3 },
        { "a reserved bit", 4 },
        { "a reserved granularity", 4 },
        { "narrow descriptors in scalable mode", 5 },
        { "a tail between two descriptors", 6 },
        { "a mode that there is not", 7 },
    };

    [Theory]
    [MemberData(nameof(Causes))]
    public void IQEI_says_what_stopped_the_queue(string cause, ulong info)
    {
        using var vtd = new RawScalable();
        Assert.Equal(0UL, vtd.Iommu.Read64(Iqercd) & 0xF);
        switch (cause)
        {
            case "a tail beyond the queue":
                vtd.Iommu.Write64(Iqt, 4096);
                break;
            case "a descriptor where no memory is":
                Restart(MemoryBytes | 1 << 11);
                vtd.Iommu.Write64(Iqt, 32);
                break;
            case "a type that there is not":
                vtd.Submit(0xF);
                break;
            case "a type that is not offered":
                vtd.Submit(0x8);
                break;
            case "a page group response where no page is asked for":
                vtd.Submit(0x9);
                break;
            case "bits of a longer type":
                vtd.Submit(0x5 | 1 << 9);
                break;
            case "a reserved bit":
                vtd.Submit(0x12, third: 1);
                break;
            case "a reserved granularity":
                vtd.Submit(0x2);
                break;
            case "narrow descriptors in scalable mode":
                Restart(Queue);
                vtd.Iommu.Write64(Iqt, 32);
                break;
            case "a tail between two descriptors":
                vtd.Iommu.Write64(Iqt, 16);
                break;
            default:
                vtd.SetRoot(Root | 2 << 10);
                vtd.Submit(0x12);
                break;
        }

        Assert.Equal(Iqe, vtd.Iommu.Read32(Fsts));
        Assert.Equal(info, vtd.Iommu.Read64(Iqercd));
        vtd.Iommu.Write64(Iqercd, 0xFF);
        Assert.Equal(info, vtd.Iommu.Read64(Iqercd));

        void Restart(ulong queue)
        {
            vtd.Iommu.Write32(Gcmd, 0);
            vtd.Iommu.Write64(Iqt, 0);
            vtd.Iommu.Write64(Iqa, queue);
            vtd.Iommu.Write32(Gcmd, 0x0400_0000);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_descriptor_of_which_a_word_cannot_be_read_stops_the_queue(ulong word)
    {
        using var vtd = new RawScalable();
        var memory = new ScriptedMemory(vtd.Memory, address => address != Queue + word * 8);
        var iommu = new VtdIommu<ScriptedMemory, NoSteps>(memory, VtdOptions.Scalable);
        iommu.Write64(Rtaddr, Root | 1 << 10);
        iommu.Write32(Gcmd, 0x4000_0000);
        iommu.Write64(Iqa, Queue | 1 << 11);
        iommu.Write32(Gcmd, 0x0400_0000);
        vtd.Set(Queue, 0x12, 0, 0, 0);
        iommu.Write64(Iqt, 32);
        Assert.Equal((Iqe, 2UL, 0UL), (iommu.Read32(Fsts), iommu.Read64(Iqercd), iommu.Read64(Iqh)));
        Assert.Equal(0, iommu.Statistics.IotlbGlobalInvalidations);
    }

    [Fact]
    public void Wide_descriptors_without_the_scalable_mode_are_of_a_wrong_width()
    {
        using var vtd = new RawVtd();
        vtd.Iommu.Write32(RawVtd.Gcmd, 0);
        vtd.Iommu.Write64(RawVtd.Iqa, RawVtd.Queue | 1 << 11);
        vtd.Iommu.Write32(RawVtd.Gcmd, RawVtd.GcmdQie);
        vtd.Iommu.Write64(RawVtd.Iqt, 32);
        Assert.Equal(5UL, vtd.Iommu.Read64(Iqercd));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_device_that_does_not_answer_an_invalidation_stops_the_wait_behind_it(bool hasPasid)
    {
        using var ats = new RawAts();
        uint? pasid = hasPasid ? 2 : null;
        ats.Reads(Page, 0xAA, pasid);
        ats.Device.IsResponding = false;
        Invalidate();
        // It is on its way, and other commands go on.
        ats.Vtd.InvalidateIotlb();
        Assert.Equal((0u, ats.Vtd.Tail), (ats.Iommu.Read32(Fsts), ats.Iommu.Read64(Iqh)));
        ulong wait = ats.Vtd.Tail;
        Assert.False(ats.Vtd.Wait());
        Assert.Equal((Ite, (ulong)Device.Value << 32, wait), (ats.Iommu.Read32(Fsts), ats.Iommu.Read64(Iqercd), ats.Iommu.Read64(Iqh)));
        // Nothing is fetched while ITE is set, and the device still has what it had.
        ats.Vtd.InvalidateIotlb();
        Assert.Equal(wait, ats.Iommu.Read64(Iqh));
        Assert.Single(ats.Device.Tlb);
        // Once it is clear the descriptor at the head is fetched. Which is no proof that the device has answered: software must ask again.
        ats.Iommu.Write32(Fsts, Ite);
        Assert.Equal((0u, ats.Vtd.Tail), (ats.Iommu.Read32(Fsts), ats.Iommu.Read64(Iqh)));
        Assert.True(ats.Vtd.IsWaitDone);
        ats.Reads(Page, 0xAA, pasid);
        ats.Device.IsResponding = true;
        Invalidate();
        Assert.True(ats.Vtd.Wait());
        Assert.Empty(ats.Device.Tlb);
        Assert.Equal((0u, 1L), (ats.Iommu.Read32(Fsts), ats.Iommu.Statistics.InvalidationTimeouts));

        void Invalidate()
        {
            if (pasid is { } value) ats.InvalidateDevice(value, Page);
            else ats.InvalidateDevice(Page);
        }
    }

    [Fact]
    public void What_answers_late_is_not_waited_for_any_more()
    {
        using var ats = new RawAts();
        ats.Device.IsResponding = false;
        ats.InvalidateDevice(Page);
        ats.Device.IsResponding = true;
        // The message was lost; that the device would answer another one is no answer to this.
        Assert.False(ats.Vtd.Wait());
        Assert.Equal(Ite, ats.Iommu.Read32(Fsts));
        // A new start of the queue forgets what was outstanding.
        ats.Iommu.Write32(Fsts, Ite);
        ats.Device.IsResponding = false;
        ats.InvalidateDevice(Page);
        ats.Iommu.Write32(Gcmd, 0x8000_0000);
        ats.Iommu.Write64(Iqt, 0);
        ats.Iommu.Write32(Gcmd, 0x8400_0000);
        ats.Vtd.Set(Queue, 0x25 | 0x99UL << 32, Status, 0, 0);
        ats.Iommu.Write64(Iqt, 32);
        Assert.Equal((0u, 0x99u), (ats.Iommu.Read32(Fsts), ats.Vtd.Memory.Read32(new(Status))));
    }

    [Fact]
    public void An_answer_that_nobody_waits_for_is_an_error_and_the_queue_goes_on()
    {
        using var ats = new RawAts();
        var stranger = new MisbehavingDevice<Ram, Hook>(ats.Iommu, ats.Vtd.Memory, new(0x31));
        stranger.CompleteInvalidation();
        Assert.Equal((Ice, 0x31UL << 48), (ats.Iommu.Read32(Fsts), ats.Iommu.Read64(Iqercd)));
        Assert.True(ats.Vtd.Wait());
        // The first one's requester stays until software has cleared ICE.
        new MisbehavingDevice<Ram, Hook>(ats.Iommu, ats.Vtd.Memory, new(0x32)).CompleteInvalidation();
        Assert.Equal(0x31UL << 48, ats.Iommu.Read64(Iqercd));
        ats.Iommu.Write32(Fsts, Ice);
        Assert.Equal(0u, ats.Iommu.Read32(Fsts));
        using var without = new RawScalable();
        new MisbehavingDevice<Ram, Hook>(without.Iommu, without.Memory, new(0x31)).CompleteInvalidation();
        Assert.Equal(0u, without.Iommu.Read32(Fsts));
    }

    [Fact]
    public void Errors_raise_the_fault_event_and_their_bits_are_cleared_one_by_one()
    {
        const uint fectl = 0x38, mask = 1u << 31, pending = 1u << 30;
        using var ats = new RawAts();
        ats.Device.IsResponding = false;
        ats.InvalidateDevice(Page);
        Assert.Equal(mask, ats.Iommu.Read32(fectl));
        ats.Vtd.Wait();
        Assert.Equal(mask | pending, ats.Iommu.Read32(fectl));
        new MisbehavingDevice<Ram, Hook>(ats.Iommu, ats.Vtd.Memory, new(0x31)).CompleteInvalidation();
        Assert.Equal(Ite | Ice, ats.Iommu.Read32(Fsts));
        ats.Iommu.Write32(Fsts, Ice);
        Assert.Equal((Ite, mask | pending), (ats.Iommu.Read32(Fsts), ats.Iommu.Read32(fectl)));
        ats.Iommu.Write32(Fsts, Ite);
        Assert.Equal((0u, mask), (ats.Iommu.Read32(Fsts), ats.Iommu.Read32(fectl)));
    }
}
