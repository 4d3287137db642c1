using IommuSim;
using Platform;
using Xunit.Abstractions;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>Real threads: devices, software and the queue at once.</summary>
[Trait("Category", "Threads")]
public sealed class VtdThreadTests(ITestOutputHelper output)
{
    private const ulong Dead = 0xDEAD_DEAD_DEAD_DEAD;
    private const int DeviceCount = 2;

    /// <summary>
    /// Software moves a page between two frames; once its wait has completed, the frame left behind is given another
    /// content for a while. No device may ever see that, and none may write to it.
    /// </summary>
    [Theory]
    [InlineData(64, 8, 16, 2000)]
    [InlineData(1, 1, 1, 2000)]
    [InlineData(0, 0, 0, 200)]
    public void Nothing_reaches_a_frame_after_the_wait_that_follows_its_invalidation(int sets, int walkEntries, int contexts, int rounds)
    {
        using var vtd = new RawVtd(VtdOptions.Default with
        {
            IotlbSets = sets, IotlbWays = 1, WalkCacheEntriesPerLevel = walkEntries, ContextCacheEntries = contexts,
        });
        vtd.SetPage(1, FrameA | ReadWrite);
        bool stop = false;
        Task<int>[] devices = [.. Enumerable.Range(0, DeviceCount).Select(index => Task.Factory.StartNew(
            () => Access(vtd, index, ref stop), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
        bool allCompleted = true;
        bool isFrameUntouched = true;
        for (int round = 0; round < rounds && allCompleted && isFrameUntouched; round++)
        {
            (ulong old, ulong next) = round % 2 == 0 ? (FrameA, FrameB) : (FrameB, FrameA);
            long walks = vtd.Iommu.Statistics.Walks;
            vtd.Memory.Write64(new(next), 1);
            vtd.SetPage(1, next | ReadWrite);
            vtd.InvalidatePages(DomainId, 0x1000, leafOnly: true);
            allCompleted = vtd.Wait() || Completes(vtd);
            vtd.Memory.Write64(new(old), Dead);
            // On one processor the devices might not run at all between two rounds: let one of them walk the new entry.
            do
            {
                isFrameUntouched = vtd.Memory.Read64(new(old)) == Dead;
                if (!isFrameUntouched || devices.Any(device => device.IsCompleted)) break;
                Thread.Yield();
            }
            while (vtd.Iommu.Statistics.Walks == walks);
            for (int look = 0; look < 50; look++) isFrameUntouched &= vtd.Memory.Read64(new(old)) == Dead;
        }

        Volatile.Write(ref stop, true);
        int[] accesses = [.. devices.Select(device => device.Result)];
        output.WriteLine($"accesses {string.Join(' ', accesses)}; {vtd.Iommu.Statistics}");
        Assert.True(allCompleted);
        Assert.True(isFrameUntouched);
        Assert.DoesNotContain(-1, accesses);
        Assert.InRange(vtd.Iommu.Statistics.Walks, rounds, long.MaxValue);
        Assert.All(accesses, count => Assert.NotEqual(0, count));
    }

    private static bool Completes(RawVtd vtd)
    {
        for (int look = 0; look < 10_000_000 && !vtd.IsWaitDone; look++) Thread.Yield();
        return vtd.IsWaitDone;
    }

    /// <summary>How many accesses were made; -1 if one saw what it must not.</summary>
    private static int Access(RawVtd vtd, int index, ref bool stop)
    {
        var device = new BusMaster<Ram, Hook>(vtd.Iommu, vtd.Memory, Device);
        byte[] bytes = new byte[8];
        int count = 0;
        do
        {
            bool ok = index == 0
                ? device.Write(new(0x1000), [1, 0, 0, 0, 0, 0, 0, 0]).Ok
                : device.Read(new(0x1000), bytes).Ok;
            if (!ok || BitConverter.ToUInt64(bytes) == Dead) return -1;
            count++;
        }
        while (!Volatile.Read(ref stop));
        return count;
    }
}
