using IommuSim;
using Platform;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>A device that reads and writes through the unit.</summary>
public sealed class BusMasterTests
{
    [Fact]
    public void A_transfer_goes_page_by_page_where_the_tables_say()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, FrameB | ReadWrite);
        vtd.SetPage(2, FrameA | ReadWrite);
        byte[] sent = new byte[0x1700];
        new Random(1).NextBytes(sent);
        Assert.Equal(new DmaResult(true, 0x1700, default, default), vtd.Master.Write(new(0x1800), sent));
        byte[] there = new byte[0x1700];
        vtd.Memory.Read(new(FrameB + 0x800), there.AsSpan(0, 0x800));
        vtd.Memory.Read(new(FrameA), there.AsSpan(0x800));
        Assert.Equal(sent, there);
        byte[] received = new byte[0x1700];
        Assert.Equal(new DmaResult(true, 0x1700, default, default), vtd.Master.Read(new(0x1800), received));
        Assert.Equal(sent, received);
        Assert.Equal(4, vtd.Iommu.Statistics.Translations);
    }

    [Fact]
    public void A_transfer_stops_at_the_first_page_that_is_refused()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.SetPage(2, FrameB | 1);
        DmaResult result = vtd.Master.Write(new(0x1FF0), new byte[0x20]);
        Assert.Equal(new DmaResult(false, 0x10, VtdFaultReason.Write.ToCode(), new Iova(0x2000)), result);
        Assert.Equal(0xBBu, vtd.Memory.Read32(new(FrameB)) & 0xFF);
        Assert.Equal(0x2000UL, vtd.Iommu.Read64(Frcd));
    }

    [Fact]
    public void A_translated_address_without_memory_ends_the_transfer_and_is_no_translation_fault()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, MemoryBytes | ReadWrite);
        var failed = new DmaResult(false, 0, default, new Iova(0x1000));
        Assert.Equal(failed, vtd.Master.Write(new(0x1000), [1]));
        Assert.Equal(failed, vtd.Master.Read(new(0x1000), new byte[1]));
        Assert.Equal(0u, vtd.Iommu.Read32(Fsts));
    }

    [Fact]
    public void Nothing_is_transferred_by_a_transfer_of_no_bytes()
    {
        using var vtd = new RawVtd();
        Assert.Equal(new DmaResult(true, 0, default, default), vtd.Master.Read(new(0x1000), []));
        Assert.Equal(0, vtd.Iommu.Statistics.Translations);
    }

    [Fact]
    public void A_transfer_over_the_end_of_the_address_space_faults_where_the_width_ends()
    {
        using var vtd = new RawVtd();
        DmaResult result = vtd.Master.Read(new(ulong.MaxValue - 3), new byte[16]);
        Assert.Equal(new DmaResult(false, 0, VtdFaultReason.AddressBeyondMgaw.ToCode(), new Iova(ulong.MaxValue - 3)), result);
    }

    [Fact]
    public void Writes_to_the_interrupt_range_reach_no_memory_and_reads_there_are_blocked()
    {
        using var vtd = new RawVtd();
        // Even where the tables map it.
        vtd.Write(Table3 + 3 * 8, Table2 | ReadWrite);
        vtd.Write(Table2 + 0x1F7 * 8, Table1 | ReadWrite);
        vtd.SetPage(0, FrameA | ReadWrite);
        Assert.True(vtd.Master.Write(new(0xFEE00000), [0x55]).Ok);
        Assert.Equal(0xAAu, vtd.Memory.Read32(new(FrameA)));
        Assert.Equal(VtdFaultReason.Read, vtd.Master.Read(new(0xFEE00000), new byte[1]).Reason);
    }

    [Fact]
    public void A_requester_id_has_16_bits()
    {
        using var vtd = new RawVtd();
        Assert.Throws<ArgumentOutOfRangeException>(() => new BusMaster<Ram, Hook>(vtd.Iommu, vtd.Memory, new(0x10000)));
    }
}
