using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Dma;

namespace Properties.Library;

/// <summary>The locks that cost a store to let go: who waits longer than it spins sleeps, and is woken.</summary>
public sealed class LongHolds : IDisposable
{
    private const ulong Page = 4096;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 64 * Page));

    public void Dispose() => _ram.Dispose();

    /// <summary>The holder lets go only when all others sleep: each of them depends on being woken.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Who_waits_for_a_range_that_waits_for_the_hardware_sleeps_and_is_woken(int waiterCount)
    {
        var iommu = new RecordingIommu(_ram.Port);
        IommuDomain domain = IommuDomain.Create(iommu, new FrameAllocator(_ram.Range));
        domain.Attach(new(1));
        var memory = PhysRange.FromLength(new(0), Page);
        for (int round = 0; round < 20; round++)
        {
            domain.Map(new(0), memory, Access.Read);
            var errors = new VcmmError[waiterCount];
            // In the same stripe of addresses, each a page of its own.
            Thread[] waiters = [.. Enumerable.Range(0, waiterCount).Select(i => new Thread(() => errors[i] = domain.TryMap(new((ulong)(i + 1) * Page), memory, Access.Read)) { IsBackground = true })];
            iommu.OnCall = _ =>
            {
                iommu.OnCall = static _ => VcmmError.None;
                foreach (Thread waiter in waiters) waiter.Start();
                var spin = new SpinWait();
                while (waiters.Any(waiter => (waiter.ThreadState & ThreadState.WaitSleepJoin) == 0)) spin.SpinOnce(sleep1Threshold: -1);
                return VcmmError.None;
            };
            domain.Unmap(IovaRange.FromLength(new(0), Page));
            foreach (Thread waiter in waiters) Assert.True(waiter.Join(TimeSpan.FromMinutes(1)), "nobody woke it");
            Assert.All(errors, error => Assert.Equal(VcmmError.None, error));
            domain.Unmap(IovaRange.FromLength(new(Page), (ulong)waiterCount * Page));
        }
    }

    [Fact]
    public void Who_was_woken_holds_the_lock_as_who_never_waited()
    {
        WatchedRanges ranges = null!;
        var options = new VcmManagerOptions { StripeCount = 1, RangeAllocator = space => ranges = new(space) };
        Vcm region = new VcmManager(new FrameAllocator(_ram.Range), options).CreateVcm(IovaRange.FromLength(new(0), 64 * Page));
        SecondCall second = new(() => region.TryReserve(Page, Access.Read, Page, out _)), third = new(() => region.TryReserve(Page, Access.Read, Page, out _));
        ranges.OnTake = () =>
        {
            ranges.OnTake = () =>
            {
                ranges.OnTake = static () => VcmmError.None;
                third.Begin();
                return VcmmError.None;
            };
            second.Begin();
            return VcmmError.None;
        };
        region.Reserve(Page);
        Assert.Equal((VcmmError.None, true), (second.End(), second.HasWaited));
        Assert.Equal((VcmmError.None, true), (third.End(), third.HasWaited));
    }

    /// <summary>Each has one of 64 locks of the region, by its number: of eight threads that were numbered one after the other, one does not meet the first.</summary>
    [Fact]
    public void Threads_that_come_one_after_the_other_do_not_all_wait_for_one_of_them()
    {
        WatchedRanges ranges = null!;
        var options = new VcmManagerOptions { StripeCount = 64, RangeAllocator = space => ranges = new(space) };
        Vcm region = new VcmManager(new FrameAllocator(_ram.Range), options).CreateVcm(IovaRange.FromLength(new(0), 64 * Page));
        var calls = new List<SecondCall>();
        ranges.OnTake = () =>
        {
            ranges.OnTake = static () => VcmmError.None;
            do
            {
                calls.Add(new(() => region.TryReserve(Page, Access.Read, Page, out _)));
                calls[^1].Begin();
            }
            while (calls[^1].HasWaited && calls.Count != 8);
            return VcmmError.None;
        };
        region.Reserve(Page);
        Assert.False(calls[^1].HasWaited, "all waited");
        Assert.All(calls, static call => Assert.Equal(VcmmError.None, call.End()));
    }
}
