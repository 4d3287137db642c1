using IommuSim;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>Queued Invalidation Interface: ring, wait, errors and recovery.</summary>
public sealed class VtdQueueTests
{
    private const uint Iqe = 1 << 4;

    [Fact]
    public void The_head_follows_the_tail()
    {
        using var vtd = new RawVtd();
        Assert.Equal(0UL, vtd.Iommu.Read64(Iqh));
        vtd.InvalidateAll();
        Assert.Equal(0x10UL, vtd.Iommu.Read64(Iqh));
        vtd.InvalidateContexts();
        Assert.Equal(0x20UL, vtd.Iommu.Read64(Iqh));
        Assert.Equal(0x20UL, vtd.Iommu.Read64(Iqt));
    }

    [Theory]
    [InlineData(0, 256, 0x200000)]
    [InlineData(1, 512, 0x200000)]
    // Any multiple of 4 KiB will do, also one that is none of the queue's size.
    [InlineData(1, 512, 0x201000)]
    [InlineData(7, 32768, 0x200000)]
    public void The_queue_wraps_at_the_size_that_QS_says(int sizeLog2, int entryCount, ulong address)
    {
        using var vtd = new RawVtd(enable: false);
        vtd.Iommu.Write64(Rtaddr, Root);
        vtd.Iommu.Write32(Gcmd, GcmdSrtp);
        vtd.Iommu.Write64(Iqa, address | (uint)sizeLog2);
        vtd.Iommu.Write32(Gcmd, GcmdQie);
        // Two rounds and a bit; the status of a wait at the end of each tells that the whole round was consumed.
        ulong index = 0;
        for (uint round = 1; round <= 3; round++)
        {
            for (int i = 0; i < entryCount - 1; i++)
            {
                bool isLast = i == entryCount - 2;
                vtd.Write(address + index * 16, isLast ? 0x25 | (ulong)round << 32 : 0x12);
                vtd.Write(address + index * 16 + 8, isLast ? Status : 0);
                index = (index + 1) % (ulong)entryCount;
            }

            vtd.Iommu.Write64(Iqt, index * 16);
            Assert.Equal(index * 16, vtd.Iommu.Read64(Iqh));
            Assert.Equal(round, vtd.Memory.Read32(new(Status)));
        }

        Assert.Equal(3 * (entryCount - 2), vtd.Iommu.Statistics.IotlbGlobalInvalidations);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0xFFFF_FFFFu)]
    [InlineData(0x8000_0001u)]
    public void A_wait_writes_its_32_bits_and_no_more(uint data)
    {
        using var vtd = new RawVtd();
        vtd.Write(Status, 0x1111_1111_1111_1111);
        vtd.Submit(0x25 | (ulong)data << 32, Status + 4);
        Assert.Equal(0x1111_1111UL | (ulong)data << 32, vtd.Memory.Read64(new(Status)));
    }

    [Theory]
    [InlineData(MemoryBytes)]
    [InlineData(0xFFFF_FFFF_FFFF_FFFC)]
    public void A_wait_whose_status_address_has_no_memory_completes(ulong address)
    {
        using var vtd = new RawVtd();
        vtd.Submit(0x25, address);
        Assert.Equal(0x10UL, vtd.Iommu.Read64(Iqh));
        Assert.Equal(0u, vtd.Iommu.Read32(Fsts));
    }

    [Fact]
    public void A_wait_without_status_write_writes_nothing_and_the_interrupt_flag_sets_IWC()
    {
        using var vtd = new RawVtd();
        vtd.Submit(0x5 | 0xFFUL << 32, Status);
        Assert.Equal(0u, vtd.Memory.Read32(new(Status)));
        Assert.Equal(0u, vtd.Iommu.Read32(0x9C));
        vtd.Submit(0x5 | 1 << 4, 0);
        Assert.Equal(1u, vtd.Iommu.Read32(0x9C));
        // The event is masked after reset: the message is pending.
        Assert.Equal(0xC000_0000u, vtd.Iommu.Read32(0xA0));
        vtd.Iommu.Write32(0x9C, 1);
        Assert.Equal(0u, vtd.Iommu.Read32(0x9C));
        Assert.Equal(0x8000_0000u, vtd.Iommu.Read32(0xA0));
        vtd.Submit(0x5 | 1 << 6, 0);
        Assert.Equal(0x30UL, vtd.Iommu.Read64(Iqh));
        Assert.Equal(0u, vtd.Iommu.Read32(Fsts));
    }

    public static TheoryData<string, ulong, ulong> BadDescriptors => new()
    {
        { "type 0", 0x0, 0 },
        { "type 3: device TLB", 0x3, 0 },
        { "type 4: interrupt entry cache", 0x4 | 1 << 4, 0 },
        { "type 6: PASID", 0x6, 0 },
        { "type 15", 0xF, 0 },
        { "type with a bit 9", 0x2 | 1 << 4 | 1 << 9, 0 },
        { "context: granularity 0", 0x1, 0 },
        { "context: bit 6", 0x1 | 1 << 4 | 1 << 6, 0 },
        { "context: bit 15", 0x1 | 1 << 4 | 1 << 15, 0 },
        { "context: bit 50", 0x1 | 1 << 4 | 1UL << 50, 0 },
        { "context: bit 63", 0x1 | 1 << 4 | 1UL << 63, 0 },
        { "context: bit 64", 0x1 | 1 << 4, 1 },
        { "context: bit 127", 0x1 | 1 << 4, 1UL << 63 },
        { "IOTLB: granularity 0", 0x2, 0 },
        { "IOTLB: bit 8", 0x2 | 1 << 4 | 1 << 8, 0 },
        { "IOTLB: bit 15", 0x2 | 1 << 4 | 1 << 15, 0 },
        { "IOTLB: bit 32", 0x2 | 1 << 4 | 1UL << 32, 0 },
        { "IOTLB: bit 63", 0x2 | 1 << 4 | 1UL << 63, 0 },
        { "IOTLB: bit 71", 0x2 | 3 << 4, 1 << 7 },
        { "IOTLB: bit 75", 0x2 | 3 << 4, 1 << 11 },
        { "IOTLB: mask beyond MAMV", 0x2 | 3 << 4, 19 },
        { "IOTLB: mask 63", 0x2 | 3 << 4, 63 },
        { "wait: bit 7", 0x5 | 1 << 5 | 1 << 7, Status },
        { "wait: bit 31", 0x5 | 1 << 5 | 1UL << 31, Status },
        { "wait: bit 64", 0x5 | 1 << 5, Status | 1 },
        { "wait: bit 65", 0x5 | 1 << 5, Status | 2 },
    };

    [Theory]
    [MemberData(nameof(BadDescriptors))]
    public void A_bad_descriptor_stops_the_queue_at_it_until_it_is_replaced_and_IQE_cleared(string name, ulong low, ulong high)
    {
        using var vtd = new RawVtd();
        vtd.InvalidateAll();
        vtd.Submit(low, high);
        Assert.Equal(Iqe, vtd.Iommu.Read32(Fsts));
        Assert.True(vtd.Iommu.Read64(Iqh) == 0x10, name);
        Assert.False(vtd.Wait());
        Assert.Equal(0x10UL, vtd.Iommu.Read64(Iqh));

        // Cleared with the bad descriptor still there: the same error again.
        vtd.Iommu.Write32(Fsts, Iqe);
        Assert.Equal(Iqe, vtd.Iommu.Read32(Fsts));

        vtd.Write(Queue + 0x10, 0x12);
        vtd.Write(Queue + 0x18, 0);
        vtd.Iommu.Write32(Fsts, Iqe);
        vtd.Iommu.Write64(Iqt, vtd.Tail);
        Assert.True(vtd.IsWaitDone);
        Assert.Equal(0u, vtd.Iommu.Read32(Fsts));
        Assert.Equal(vtd.Tail, vtd.Iommu.Read64(Iqh));
    }

    [Fact]
    public void Clearing_IQE_alone_sets_the_queue_going_again()
    {
        using var vtd = new RawVtd();
        vtd.Submit(0, 0);
        Assert.False(vtd.Wait());
        vtd.Write(Queue, 0x12);
        Assert.False(vtd.IsWaitDone);
        vtd.Iommu.Write32(Fsts, Iqe);
        Assert.True(vtd.IsWaitDone);
    }

    [Theory]
    [InlineData(0x1000)]        // one past the end
    [InlineData(0x7FFF0)]
    [InlineData(0x8)]           // between two descriptors
    [InlineData(0x11)]
    public void A_tail_outside_the_queue_is_an_error_from_which_a_good_tail_recovers(ulong tail)
    {
        using var vtd = new RawVtd();
        vtd.InvalidateAll();
        vtd.Iommu.Write64(Iqt, tail);
        Assert.Equal(Iqe, vtd.Iommu.Read32(Fsts));
        Assert.Equal(0x10UL, vtd.Iommu.Read64(Iqh));
        vtd.Iommu.Write32(Fsts, Iqe);
        Assert.Equal(0u, vtd.Iommu.Read32(Fsts));
        Assert.True(vtd.Wait());
    }

    [Fact]
    public void A_queue_outside_memory_or_of_wide_descriptors_is_an_error()
    {
        foreach (ulong address in new ulong[] { MemoryBytes, 0xFFFF_FFFF_FFFF_F000, Queue | 1 << 11 })
        {
            using var vtd = new RawVtd(enable: false);
            vtd.Iommu.Write64(Iqa, address);
            vtd.Iommu.Write32(Gcmd, GcmdQie);
            Assert.Equal(0u, vtd.Iommu.Read32(Fsts));
            vtd.Write(Queue, 0x12);
            vtd.Iommu.Write64(Iqt, 0x10);
            Assert.Equal(Iqe, vtd.Iommu.Read32(Fsts));
        }
    }

    [Fact]
    public void Nothing_is_consumed_while_the_queue_is_off_and_switching_it_off_resets_the_head()
    {
        using var vtd = new RawVtd();
        vtd.InvalidateAll();
        Assert.Equal(0x10UL, vtd.Iommu.Read64(Iqh));
        vtd.Iommu.Write32(Gcmd, GcmdTe);
        Assert.Equal(0UL, vtd.Iommu.Read64(Iqh));
        vtd.InvalidateAll();
        Assert.Equal(1, vtd.Iommu.Statistics.IotlbGlobalInvalidations);
        vtd.Iommu.Write32(Gcmd, GcmdTe | GcmdQie);
        // From the head, which is at 0 again, to the tail: both descriptors.
        Assert.Equal(3, vtd.Iommu.Statistics.IotlbGlobalInvalidations);
    }

    [Theory]
    [InlineData(SimStep.CommandFetch, 0x12UL)]
    [InlineData(SimStep.CommandExecute, 0x12UL)]
    [InlineData(SimStep.CommandExecute, 0x25UL)]
    [InlineData(SimStep.StatusWrite, 0x25UL)]
    public void A_queue_switched_off_between_the_steps_of_a_command_does_not_move(SimStep at, ulong descriptor)
    {
        Action? switchOff = null;
        using var vtd = new RawVtd(null, (step, _) =>
        {
            if (step == at) switchOff!();
        });
        switchOff = () => vtd.Iommu.Write32(Gcmd, GcmdTe);
        vtd.Submit(descriptor, Status);
        Assert.Equal(0UL, vtd.Iommu.Read64(Iqh));
        Assert.Equal(0, vtd.Iommu.Statistics.IotlbGlobalInvalidations);
        Assert.Equal(0, vtd.Iommu.Statistics.Waits);
        Assert.Equal(0u, vtd.Iommu.Read32(Fsts));
    }

    [Fact]
    public void The_queue_address_cannot_be_moved_while_the_queue_is_on()
    {
        using var vtd = new RawVtd();
        vtd.Iommu.Write64(Iqa, 0x50000);
        Assert.Equal(Queue, vtd.Iommu.Read64(Iqa));
        Assert.True(vtd.Wait());
    }

    [Fact]
    public void In_manual_mode_a_tail_write_rings_and_consumes_nothing()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { Commands = CommandMode.Manual });
        int rings = 0;
        vtd.Iommu.Doorbell += () => rings++;
        vtd.InvalidateAll();
        vtd.InvalidateContexts();
        Assert.False(vtd.Wait());
        Assert.Equal(3, rings);
        Assert.Equal(0UL, vtd.Iommu.Read64(Iqh));
        Assert.True(vtd.Iommu.ProcessNextCommand());
        Assert.Equal(0x10UL, vtd.Iommu.Read64(Iqh));
        Assert.Equal(2, vtd.Iommu.ProcessCommands());
        Assert.True(vtd.IsWaitDone);
        Assert.False(vtd.Iommu.ProcessNextCommand());
    }

    [Fact]
    public void The_event_of_a_wait_is_sent_at_once_when_it_is_not_masked()
    {
        using var vtd = new RawVtd();
        vtd.Iommu.Write32(0xA0, 0);
        vtd.Submit(0x5 | 1 << 4, 0);
        Assert.Equal(0u, vtd.Iommu.Read32(0xA0));
        vtd.Iommu.Write32(0xA0, 0x8000_0000);
        vtd.Iommu.Write32(0x9C, 1);
        vtd.Submit(0x5 | 1 << 4, 0);
        Assert.Equal(0xC000_0000u, vtd.Iommu.Read32(0xA0));
        vtd.Iommu.Write32(0xA0, 0);
        Assert.Equal(0u, vtd.Iommu.Read32(0xA0));
    }
}
