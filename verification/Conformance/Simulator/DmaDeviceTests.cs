using IommuSim;
using Platform;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>Devices that make their transfers through bus masters: queues, scatter-gather, and what none should do.</summary>
public sealed class DmaDeviceTests
{
    [Fact]
    public void A_queue_makes_its_transfers_in_order_and_goes_on_after_one_that_is_blocked()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, FrameA | ReadWrite);
        var queue = new DmaQueue<Ram, Hook>(vtd.Master, capacity: 3);
        byte[] read = new byte[4];
        DmaRequest write = new(new(0x1010), DeviceAccess.Write, new byte[] { 1, 2, 3, 4 }), blocked = new(new(0x5000), DeviceAccess.Write, new byte[8]), again = new(new(0x1010), DeviceAccess.Read, read);
        Assert.All(new[] { write, blocked, again }, request => Assert.True(queue.TryPost(request)));
        Assert.False(queue.TryPost(new(new(0), DeviceAccess.Read, new byte[1])));
        Assert.Equal(3, queue.Count);
        Assert.True(queue.TryRunNext(out DmaRequest? done));
        Assert.Same(write, done);
        Assert.Equal((true, null), (write.Result!.Value.Ok, again.Result));
        Assert.Equal(2, queue.RunAll());
        Assert.Equal((false, new Iova(0x5000)), (blocked.Result!.Value.Ok, blocked.Result!.Value.FaultAddress));
        Assert.Equal([1, 2, 3, 4], read);
        Assert.Equal(1, vtd.Iommu.Statistics.Faults);
        queue.TryPost(new(new(0x1000), DeviceAccess.Read, new byte[1]));
        queue.Reset();
        Assert.False(queue.TryRunNext(out _));
        Assert.Throws<ArgumentOutOfRangeException>(() => new DmaQueue<Ram, Hook>(vtd.Master, capacity: 0));
    }

    [Fact]
    public void A_list_is_gathered_and_scattered_in_its_order()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, FrameB | ReadWrite);
        vtd.SetPage(2, FrameA | ReadWrite);
        var engine = new ScatterGatherEngine<Ram, Hook>(vtd.Master);
        DmaElement[] list = [new(new(0x2100), 3), new(new(0x1FFE), 4), new(new(0x1100), 0), new(new(0x1200), 2)];
        Assert.Equal(new(4, new(true, 9, default, default)), engine.Scatter(list, [1, 2, 3, 4, 5, 6, 7, 8, 9]));
        byte[] there = new byte[9];
        vtd.Memory.Read(new(FrameA + 0x100), there.AsSpan(0, 3));
        vtd.Memory.Read(new(FrameB + 0xFFE), there.AsSpan(3, 2));
        vtd.Memory.Read(new(FrameA), there.AsSpan(5, 2));
        vtd.Memory.Read(new(FrameB + 0x200), there.AsSpan(7, 2));
        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8, 9], there);
        byte[] back = new byte[9];
        Assert.True(engine.Gather(list, back).Ok);
        Assert.Equal(there, back);
        Assert.Throws<ArgumentException>(() => engine.Gather(list, new byte[8]));
        Assert.Throws<ArgumentOutOfRangeException>(() => engine.Scatter([new(default, -1), new(default, 1)], []));
    }

    [Fact]
    public void A_list_ends_at_the_first_place_that_is_refused_with_one_fault()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.SetPage(2, FrameB | 1);
        var engine = new ScatterGatherEngine<Ram, Hook>(vtd.Master);
        DmaElement[] list = [new(new(0x1000), 2), new(new(0x1FFE), 4), new(new(0x1008), 2)];
        Assert.Equal(new(1, new(false, 4, VtdFaultReason.Write.ToCode(), new(0x2000))), engine.Scatter(list, [1, 2, 3, 4, 5, 6, 7, 8]));
        Assert.Equal(0u, vtd.Memory.Read32(new(FrameA + 8)));
        Assert.Equal((1L, 0x2000UL), (vtd.Iommu.Statistics.Faults, vtd.Iommu.Read64(Frcd)));
        Assert.True(engine.Gather(list, new byte[8]).Ok);
    }

    [Fact]
    public void What_is_wild_reaches_what_the_tables_give_and_every_access_that_is_blocked_is_one_fault()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, FrameA | ReadWrite);
        var device = new MisbehavingDevice<Ram, Hook>(vtd.Iommu, vtd.Memory, RawVtd.Device);
        byte[] before = Without(vtd, FrameA);
        WildAccesses wild = device.RunWild(seed: 7, count: 20_000, pasidCount: 16);
        Assert.Equal(20_000, wild.LetThrough + wild.Blocked);
        Assert.Equal(wild.Blocked, vtd.Iommu.Statistics.Faults);
        // Both do occur, and nothing but the one frame has changed.
        Assert.InRange(wild.LetThrough, 1, 5_000);
        Assert.Equal(before, Without(vtd, FrameA));
        Assert.NotEqual(0u, vtd.Iommu.Read32(Fsts) & 1);
        Assert.Equal(vtd.Iommu.Statistics.Faults - vtd.Iommu.Statistics.FaultsLost, vtd.Iommu.Options.FaultRecordCount);
        using var same = new RawVtd();
        same.SetPage(1, FrameA | ReadWrite);
        Assert.Equal(wild, new MisbehavingDevice<Ram, Hook>(same.Iommu, same.Memory, RawVtd.Device).RunWild(7, 20_000, 16));
    }

    [Fact]
    public void Under_an_id_that_nobody_has_nothing_is_reached()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, FrameA | ReadWrite);
        var device = new MisbehavingDevice<Ram, Hook>(vtd.Iommu, vtd.Memory, RawVtd.Device);
        Assert.True(device.Own.Read(new(0x1000), new byte[1]).Ok);
        DmaResult strange = device.As(new(0x4321)).Write(new(0x1000), [0x77]);
        Assert.Equal((false, 0UL), (strange.Ok, strange.BytesDone));
        Assert.Equal(0xAAu, vtd.Memory.Read32(new(FrameA)) & 0xFF);
        Assert.Equal(0x4321UL, vtd.Iommu.Read64(Frcd + 8) & 0xFFFF);
        Assert.Throws<ArgumentOutOfRangeException>(() => device.As(new(0x1_0000)));
    }

    [Fact]
    public async Task A_page_that_was_taken_away_while_the_device_went_on_is_written_no_more_once_the_wait_is_over()
    {
        using var vtd = new RawVtd();
        vtd.SetPage(1, FrameA | ReadWrite);
        var device = new MisbehavingDevice<Ram, Hook>(vtd.Iommu, vtd.Memory, RawVtd.Device);
        using var stop = new CancellationTokenSource();
        Task<WildAccesses> running = Task.Factory.StartNew(
            () => device.RunUntil(3, IovaRange.FromLength(new(0x1000), 4096 - 64), stop.Token), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        while (vtd.Iommu.Statistics.Translations < 1_000) Thread.Yield();
        vtd.SetPage(1, 0);
        vtd.InvalidateAll();
        vtd.Wait();
        while (!vtd.IsWaitDone) Thread.Yield();
        long faults = vtd.Iommu.Statistics.Faults;
        byte[] page = new byte[4096];
        page.AsSpan().Fill(0xE7);
        vtd.Memory.Write(new(FrameA), page);
        // It does go on.
        while (vtd.Iommu.Statistics.Faults < faults + 1_000) Thread.Yield();
        await stop.CancelAsync();
        WildAccesses sum = await running;
        byte[] after = new byte[4096];
        vtd.Memory.Read(new(FrameA), after);
        Assert.Equal(page, after);
        Assert.True(sum is { LetThrough: > 0, Blocked: >= 1_000 }, sum.ToString());
    }

    /// <summary>All memory but one frame.</summary>
    private static byte[] Without(RawVtd vtd, ulong frame)
    {
        byte[] all = new byte[MemoryBytes];
        vtd.Memory.Read(new(0), all);
        all.AsSpan((int)frame, 4096).Clear();
        return all;
    }
}
