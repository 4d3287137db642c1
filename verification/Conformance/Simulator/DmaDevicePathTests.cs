using IommuSim;
using Platform;

namespace Conformance.Simulator;

/// <summary>Where the transfers of devices go: which address space, which addresses, which way.</summary>
public sealed class DmaDevicePathTests
{
    private static readonly PasidPrefix First = new(RawScalable.FirstPasid);

    [Fact]
    public void A_queues_transfer_is_made_in_the_address_space_that_its_prefix_names()
    {
        using var vtd = new RawScalable();
        vtd.SetFirst(1, RawScalable.FrameB | RawScalable.Pwu);
        var queue = new DmaQueue<Ram, Hook>(new(vtd.Iommu, vtd.Memory, RawScalable.Device));
        byte[] plain = new byte[1], prefixed = new byte[1];
        queue.TryPost(new(new(0x1000), DeviceAccess.Write, new byte[] { 0x11 }));
        queue.TryPost(new(new(0x1000), DeviceAccess.Write, new byte[] { 0x22 }, First));
        queue.TryPost(new(new(0x1000), DeviceAccess.Read, plain));
        queue.TryPost(new(new(0x1000), DeviceAccess.Read, prefixed, First));
        Assert.Equal(4, queue.RunAll());
        Assert.Equal((0x11, 0x22), (plain[0], prefixed[0]));
        Assert.Equal((0x11UL, 0x22UL), (vtd.Read(RawScalable.FrameA), vtd.Read(RawScalable.FrameB)));
    }

    [Fact]
    public void A_list_is_moved_in_the_address_space_that_its_prefix_names()
    {
        using var vtd = new RawScalable();
        vtd.SetFirst(1, RawScalable.FrameB | RawScalable.Pwu);
        var engine = new ScatterGatherEngine<Ram, Hook>(new(vtd.Iommu, vtd.Memory, RawScalable.Device));
        DmaElement[] list = [new(new(0x1000), 1)];
        Assert.True(engine.Scatter(list, [0x22], First).Ok);
        Assert.Equal((0UL, 0x22UL), (vtd.Read(RawScalable.FrameA), vtd.Read(RawScalable.FrameB)));
        byte[] back = new byte[1];
        Assert.True(engine.Gather(list, back, First).Ok);
        Assert.Equal(0x22, back[0]);
    }

    [Fact]
    public void Gathering_ends_at_the_first_place_that_is_refused_and_says_how_far_it_came()
    {
        using var vtd = new RawVtd();
        const ulong WriteOnly = 2;
        vtd.SetPage(1, RawVtd.FrameA | RawVtd.ReadWrite);
        vtd.SetPage(2, RawVtd.FrameB | WriteOnly);
        var engine = new ScatterGatherEngine<Ram, Hook>(vtd.Master);
        DmaElement[] list = [new(new(0x1000), 2), new(new(0x1FFE), 4), new(new(0x1000), 2)];
        byte[] destination = [9, 9, 9, 9, 9, 9, 9, 9];
        Assert.Equal(new(1, new(false, 4, VtdFaultReason.Read.ToCode(), new(0x2000))), engine.Gather(list, destination));
        Assert.Equal([0xAA, 0, 0, 0, 9, 9, 9, 9], destination);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void A_list_whose_length_is_not_that_of_the_devices_bytes_is_refused_before_anything_is_moved(int byteCount)
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, RawVtd.FrameA | RawVtd.ReadWrite);
        var engine = new ScatterGatherEngine<Ram, Hook>(vtd.Master);
        DmaElement[] list = [new(new(0x1000), 1), new(new(0x1010), 2)];
        byte[] bytes = new byte[byteCount];
        Assert.Throws<ArgumentException>(() => engine.Gather(list, bytes));
        Assert.Throws<ArgumentException>(() => engine.Scatter(list, bytes));
        Assert.Equal(0, vtd.Iommu.Statistics.Translations);
    }

    [Fact]
    public void A_list_with_an_element_of_less_than_no_bytes_is_refused_before_anything_is_moved()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, RawVtd.FrameA | RawVtd.ReadWrite);
        var engine = new ScatterGatherEngine<Ram, Hook>(vtd.Master);
        DmaElement[] list = [new(new(0x1000), 1), new(new(0x1010), -1), new(new(0x1020), 1)];
        Assert.Throws<ArgumentOutOfRangeException>(() => engine.Gather(list, new byte[1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => engine.Scatter(list, new byte[1]));
        Assert.Equal(0, vtd.Iommu.Statistics.Translations);
    }

    [Fact]
    public void A_device_behind_no_unit_and_a_transfer_that_is_none_are_refused()
    {
        using var vtd = new RawVtd();
        Assert.Throws<ArgumentNullException>(() => new BusMaster<Ram, Hook>(null!, vtd.Memory, RawVtd.Device));
        Assert.Throws<ArgumentNullException>(() => new DmaQueue<Ram, Hook>(null!));
        Assert.Throws<ArgumentNullException>(() => new ScatterGatherEngine<Ram, Hook>(null!));
        var queue = new DmaQueue<Ram, Hook>(vtd.Master);
        Assert.Throws<ArgumentNullException>(() => queue.TryPost(null!));
        Assert.Equal(0, queue.Count);
    }

    /// <summary>PCI Express, the field AT: what is marked as translated goes to the address that it names, as far as the page goes, and is an access like others.</summary>
    [Fact]
    public void A_translated_request_moves_what_it_names_within_a_page_and_is_over_with_that()
    {
        var reached = new List<ulong>();
        using var ats = new RawAts(hook: (step, detail) =>
        {
            if (step == SimStep.MemoryAccess) reached.Add(detail);
        });
        var device = new MisbehavingDevice<Ram, Hook>(ats.Iommu, ats.Vtd.Memory, RawScalable.Device);
        byte[] page = [.. Enumerable.Range(0, 4096).Select(static i => unchecked((byte)(i * 7)))], back = new byte[4096];
        Assert.Equal(new(true, 4096, default, default), device.WriteTranslated(new(RawScalable.FrameA), page));
        Assert.Equal(new(true, 4096, default, default), device.ReadTranslated(new(RawScalable.FrameA), back));
        Assert.Equal(page, back);
        Assert.Equal([RawScalable.FrameA, RawScalable.FrameA], reached);
        foreach (ulong address in (ulong[])[RawScalable.FrameA + 1, RawScalable.FrameA + 4095])
        {
            Assert.Throws<ArgumentOutOfRangeException>(() => device.WriteTranslated(new(address), page));
            Assert.Throws<ArgumentOutOfRangeException>(() => device.ReadTranslated(new(address), back));
        }

        var beyond = new DmaResult(false, 0, default, new(RawScalable.MemoryBytes));
        Assert.Equal(beyond, device.WriteTranslated(new(RawScalable.MemoryBytes), page));
        Assert.Equal(beyond, device.ReadTranslated(new(RawScalable.MemoryBytes), back));
        // None of them is under way any more, so that an invalidation waits for nobody.
        ats.InvalidateDevice(RawScalable.FrameA);
        Assert.True(ats.Vtd.Wait());
    }

    [Fact]
    public void What_is_wild_crosses_the_ends_of_pages()
    {
        using var vtd = new RawVtd();
        for (ulong page = 0; page < 512; page++) vtd.SetPage(page, RawVtd.FrameA | RawVtd.ReadWrite);
        const int Count = 4_000;
        new MisbehavingDevice<Ram, Hook>(vtd.Iommu, vtd.Memory, RawVtd.Device).RunWild(seed: 1, Count);
        // An access that ends in the page where it begins is one translation.
        Assert.InRange(vtd.Iommu.Statistics.Translations - Count, 100, Count);
        // And writes what was not there.
        byte[] written = new byte[4096];
        vtd.Memory.Read(new(RawVtd.FrameA), written);
        Assert.True(written.Distinct().Count() > 16);
    }

    [Fact]
    public void What_is_wild_tries_PASIDs_below_the_number_that_it_is_given_and_no_prefix()
    {
        var seen = new HashSet<ulong>();
        using var vtd = new RawScalable(hook: (step, detail) =>
        {
            if (step == SimStep.PasidLookup) seen.Add(detail);
        });
        var device = new MisbehavingDevice<Ram, Hook>(vtd.Iommu, vtd.Memory, RawScalable.Device);
        device.RunWild(seed: 1, 200);
        Assert.Equal([RawScalable.RidPasid.Value], seen);
        device.RunWild(seed: 1, 1_000, pasidCount: 8);
        Assert.Equal(Enumerable.Range(0, 8).Select(static pasid => (ulong)pasid), seen.Order());
    }

    [Fact]
    public void Until_it_is_stopped_it_reads_and_writes_all_over_its_range_and_nowhere_else()
    {
        var seen = new HashSet<ulong>();
        using var stop = new CancellationTokenSource();
        int lookups = 0;
        using var vtd = new RawVtd(hook: (step, detail) =>
        {
            if (step != SimStep.IotlbLookup) return;
            seen.Add(detail >> 12);
            if (++lookups == 1_000) stop.Cancel();
        });
        const ulong WriteOnly = 2;
        for (ulong page = 0; page < 16; page++) vtd.SetPage(page, RawVtd.FrameA | WriteOnly);
        var device = new MisbehavingDevice<Ram, Hook>(vtd.Iommu, vtd.Memory, RawVtd.Device);
        WildAccesses sum = device.RunUntil(seed: 1, new(new(0x4000), new(0x7000)), stop.Token);
        Assert.Equal(new ulong[] { 4, 5, 6, 7 }, seen.Order());
        Assert.True(sum is { LetThrough: > 100, Blocked: > 100 }, sum.ToString());
    }

    [Fact]
    public void Until_it_is_stopped_it_uses_its_prefix()
    {
        var seen = new HashSet<ulong>();
        using var stop = new CancellationTokenSource();
        using var vtd = new RawScalable(hook: (step, detail) =>
        {
            if (step != SimStep.PasidLookup) return;
            seen.Add(detail);
            stop.Cancel();
        });
        new MisbehavingDevice<Ram, Hook>(vtd.Iommu, vtd.Memory, RawScalable.Device).RunUntil(1, new(new(0x1000), new(0x1000)), stop.Token, First);
        Assert.Equal([(ulong)RawScalable.FirstPasid.Value], seen);
    }

    [Fact]
    public void A_device_without_an_IOMMU_wraps_at_the_end_of_the_address_space()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0xFFFF_FFFF_FFFF_F000), 4096));
        var device = new DirectDevice<Ram, NoSteps>(ram.Port);
        var first = new PhysAddr(ulong.MaxValue - 3);
        Assert.Equal(new(false, 4, default, new(0)), device.Write(first, [1, 2, 3, 4, 5, 6, 7, 8]));
        Assert.Equal(0x0403_0201u, ram.Port.Read32(first));
        byte[] back = new byte[8];
        Assert.Equal(new(false, 4, default, new(0)), device.Read(first, back));
        Assert.Equal([1, 2, 3, 4, 0, 0, 0, 0], back);
    }
}
