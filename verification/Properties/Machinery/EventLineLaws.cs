using CsCheck;
using Harness.Generating;
using IommuSim;
using IommuSim.Machinery;

namespace Properties.Machinery;

/// <summary>Which messages software gets of conditions that come up and are served, masked or not, in the form of each interface.</summary>
public sealed class EventLineLaws
{
    private static readonly InterruptMessage First = new(new(0xFEE0_1000), 0x41), Second = new(new(0xFEE0_2000), 0x42);
    private readonly MessageOutbox _outbox = new();

    [Fact]
    public void Software_gets_a_message_of_whatever_comes_up_while_it_has_nothing_left_to_serve()
    {
        int sent = 0, held = 0, dropped = 0;
        Gen.Select(Gen.Enum<MessageRule>(), Gen.Enum<MaskRule>(), Gen.Int[0, 99].Array[1, 60]).ForAll(2000, (rule, maskRule, acts) =>
        {
            var outbox = new MessageOutbox();
            var line = new EventLine(outbox, rule, maskRule) { Message = First };
            var up = new HashSet<int>();
            bool isMasked = true, isPending = false;
            foreach (int act in acts)
            {
                int condition = act % 3, expected = 0;
                if (act < 50)
                {
                    bool isTold = !up.Contains(condition) && (rule == MessageRule.Each || up.Count == 0);
                    up.Add(condition);
                    line.Raise(1u << condition);
                    if (isTold && !isMasked) expected = 1;
                    else if (isTold && maskRule == MaskRule.KeepsPending) isPending = true;
                    else if (isTold) dropped++;
                }
                else if (act < 80)
                {
                    up.Remove(condition);
                    if (up.Count == 0) isPending = false;
                    line.Serve(1u << condition);
                }
                else
                {
                    isMasked = act < 92;
                    if (isPending && !isMasked)
                    {
                        expected = 1;
                        held++;
                        isPending = false;
                    }

                    line.IsMasked = isMasked;
                }

                sent += expected;
                Assert.Equal(expected == 1, outbox.IsFilled);
                Assert.Equal(expected, outbox.TakeAll().Length);
                Assert.Equal(isPending, line.IsPending);
                Assert.Equal(up.Aggregate(0u, static (bits, each) => bits | 1u << each), line.Conditions);
            }
        });
        Assert.True(sent > 1000, "sent");
        Assert.True(held > 300, "held back and sent when the mask went");
        Assert.True(dropped > 1000, "dropped under the mask");
    }

    /// <summary>VT-d: masked after reset; IP is set while a message is held back, and it goes out as the registers then say when IM goes.</summary>
    [Fact]
    public void A_message_that_was_held_back_goes_out_as_it_is_programmed_when_the_mask_goes()
    {
        var line = new EventLine(_outbox, MessageRule.First, MaskRule.KeepsPending) { Message = First };
        Assert.True(line.IsMasked);
        line.Raise(2);
        line.Raise(1);
        Assert.True(line.IsPending);
        Assert.Empty(_outbox.TakeAll());
        line.Message = Second;
        line.IsMasked = true;
        Assert.Empty(_outbox.TakeAll());
        line.IsMasked = false;
        Assert.Equal([Second], _outbox.TakeAll());
        line.IsMasked = false;
        Assert.Empty(_outbox.TakeAll());
        Assert.Equal(3u, line.Conditions);
    }

    [Fact]
    public void What_software_has_served_under_the_mask_sends_nothing_later()
    {
        var line = new EventLine(_outbox, MessageRule.First, MaskRule.KeepsPending) { Message = First };
        line.Raise(3);
        line.Serve(1);
        Assert.True(line.IsPending);
        line.Serve(2);
        Assert.False(line.IsPending);
        line.IsMasked = false;
        Assert.Empty(_outbox.TakeAll());
        line.Raise(1);
        Assert.Equal([First], _outbox.TakeAll());
    }

    /// <summary>RISC-V: while <c>ipsr.fip</c> is set no other interrupt of the fault queue is signaled; what is still so when it is cleared sets it again.</summary>
    [Fact]
    public void A_pending_bit_that_is_cleared_while_its_cause_stands_sends_anew()
    {
        const uint Fip = 1 << 1;
        var line = new EventLine(_outbox, MessageRule.First, MaskRule.KeepsPending) { Message = First, IsMasked = false };
        line.Raise(Fip);
        line.Raise(Fip);
        Assert.Equal([First], _outbox.TakeAll());
        line.Serve(Fip);
        line.Raise(Fip);
        Assert.Equal([First], _outbox.TakeAll());
    }

    /// <summary>SMMUv3: each global error that is activated interrupts, and software acknowledges by making GERRORN equal.</summary>
    [Fact]
    public void Each_global_error_interrupts_and_one_that_comes_while_the_source_is_off_never_does()
    {
        const uint CmdqErr = 1 << 0, EventqAbtErr = 1 << 2;
        uint gerror = 0, acknowledged = 0;
        var line = new EventLine(_outbox, MessageRule.Each, MaskRule.Drops) { Message = First };
        Activate(CmdqErr);
        line.IsMasked = false;
        Assert.Empty(_outbox.TakeAll());
        Activate(CmdqErr | EventqAbtErr);
        Assert.Equal([First], _outbox.TakeAll());
        Assert.Equal(gerror ^ acknowledged, line.Conditions);
        Acknowledge(CmdqErr);
        Assert.Equal(EventqAbtErr, line.Conditions);
        Activate(CmdqErr);
        Assert.Equal([First], _outbox.TakeAll());
        Acknowledge(gerror);

        void Activate(uint errors)
        {
            gerror ^= errors & ~(gerror ^ acknowledged);
            line.Raise(errors);
        }

        void Acknowledge(uint flags)
        {
            acknowledged = (acknowledged & ~flags) | (gerror & flags);
            line.Serve(flags & ~(gerror ^ acknowledged));
            Assert.Equal(gerror ^ acknowledged, line.Conditions);
        }
    }

    /// <summary>SMMUv3: the interrupt of the event queue is for its way from empty to not empty, which software makes by moving CONS.</summary>
    [Fact]
    public void An_event_queue_interrupts_when_it_is_no_longer_empty()
    {
        const uint NotEmpty = 1;
        using var memory = new Platform.RamBlock(Platform.PhysRange.FromLength(new(0x3000), 0x1000));
        var ring = new RecordRing(new(new(0x3000), 1, 5, RingPositions.IndexAndWrap), OverflowRule.GoesOn);
        var line = new EventLine(_outbox, MessageRule.Each, MaskRule.Drops) { Message = First, IsMasked = false };
        bool isOverflowed = false;
        Assert.Equal([1, 0, 0], new[] { Report(), Report(), Report() });
        Assert.True(isOverflowed);
        Take(1);
        Assert.Equal(0, Report());
        Take(3);
        Assert.Equal([1, 0], new[] { Report(), Report() });

        int Report()
        {
            RecordOutcome outcome = ring.Add(memory.Port, [1, 2, 3, 4], isOverflowed);
            isOverflowed |= outcome == RecordOutcome.Overflowed;
            if (outcome == RecordOutcome.Kept) line.Raise(NotEmpty);
            return _outbox.TakeAll().Length;
        }

        void Take(ulong consumer)
        {
            ring.Consumer = consumer;
            if (ring.IsEmpty) line.Serve(NotEmpty);
        }
    }
}
