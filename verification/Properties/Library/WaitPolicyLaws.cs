using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>The default wait, over a clock that a test moves.</summary>
public sealed class WaitPolicyLaws
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(1);

    [Theory]
    [InlineData(1)]
    [InlineData(63)]
    public void A_wait_polls_some_times_whatever_the_clock_says(int attempt)
    {
        var clock = new HandClock();
        var policy = new SpinUntilDeadline(clock, Limit);
        long begun = policy.Begin();
        clock.Now += 2 * Limit;
        Assert.True(policy.KeepWaiting(begun, attempt));
        Assert.False(policy.KeepWaiting(begun, 64));
    }

    [Fact]
    public void A_wait_ends_at_the_limit_counted_from_its_own_beginning()
    {
        var clock = new HandClock { Now = TimeSpan.FromDays(1) };
        var policy = new SpinUntilDeadline(clock, Limit);
        long first = policy.Begin();
        clock.Now += Limit / 2;
        long second = policy.Begin();
        clock.Now += Limit / 2 - TimeSpan.FromTicks(1);
        Assert.True(policy.KeepWaiting(first, 1000));
        clock.Now += TimeSpan.FromTicks(1);
        Assert.False(policy.KeepWaiting(first, 1000));
        Assert.True(policy.KeepWaiting(second, 1000));
    }

    [Fact]
    public void A_driver_gives_up_when_the_time_is_over_and_not_before()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 64 * 4096));
        var clock = new HandClock();
        var registers = new HookedRegisters(new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default));
        VtdDriver<Ram> driver = VtdDriver<Ram>.Start(
            ram.Port, registers, new FrameAllocator(ram.Range), new() { WaitPolicy = new SpinUntilDeadline(clock, Limit) });
        int reads = 0;
        ulong held = 0;
        registers.BeforeWrite64 = (offset, tail) =>
        {
            if (offset == HookedRegisters.QueueTail) held = tail;
            return offset != HookedRegisters.QueueTail;
        };
        // A poll takes a hundredth of the limit, and the hardware wakes up just before the end.
        registers.AfterRead32 = (offset, value) =>
        {
            if (offset != 0x34) return value;
            if (++reads > 64) clock.Now += Limit / 100;
            if (reads == 64 + 98)
            {
                registers.BeforeWrite64 = static (_, _) => true;
                registers.Write64(HookedRegisters.QueueTail, held);
            }

            return value;
        };
        Assert.Equal(VcmmError.None, driver.Invalidate(new(1), IovaRange.FromLength(new(0), 4096), leavesOnly: true));
        Assert.Equal(64 + 98, reads);
    }

    private sealed class HandClock : TimeProvider
    {
        public TimeSpan Now { get; set; }

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Now.Ticks;
    }
}
