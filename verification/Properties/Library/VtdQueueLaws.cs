using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>
/// Many who wait for one invalidation queue. A wait polls without a lock, so that a poll of one can be where all the others
/// act: what threads would do now and then happens here every time.
/// </summary>
public sealed class VtdQueueLaws
{
    private const ulong Page = VtdSystem.Page;
    private const ulong EntryBytes = 16;

    /// <summary>A command and its wait take two of 256 entries, of which one stays empty.</summary>
    private const int CommandsThatFit = 127;

    private static readonly DomainId Domain = new(5);

    [Fact]
    public void A_full_queue_is_waited_for_and_no_command_is_lost()
    {
        using var system = new VtdSystem();
        var outcomes = new List<VcmmError>();
        ulong heldTail = 0;
        system.Registers.BeforeWrite64 = (offset, value) =>
        {
            if (offset == HookedRegisters.QueueTail) heldTail = value;
            return offset != HookedRegisters.QueueTail;
        };
        int submitted = 0;
        ulong fullAt = 0;
        system.Policy.OnPoll = () =>
        {
            if (submitted <= CommandsThatFit)
            {
                Submit();
            }
            else
            {
                fullAt = heldTail;
                system.Registers.BeforeWrite64 = static (_, _) => true;
                system.Policy.OnPoll = static () => { };
                system.Simulator.Write64(HookedRegisters.QueueTail, heldTail);
            }
        };
        VtdStatistics before = system.Simulator.Statistics;
        ulong start = system.Simulator.Read64(HookedRegisters.QueueTail);
        Submit();
        Assert.Equal(CommandsThatFit + 1, outcomes.Count);
        Assert.All(outcomes, outcome => Assert.Equal(VcmmError.None, outcome));
        // The queue was full, and not over-full: the entry before the head stayed empty.
        Assert.Equal((start + CommandsThatFit * 2 * EntryBytes) % 4096, fullAt);
        Assert.Equal(before.IotlbPageInvalidations + CommandsThatFit + 1, system.Simulator.Statistics.IotlbPageInvalidations);
        Assert.Equal(before.Waits + CommandsThatFit + 1, system.Simulator.Statistics.Waits);

        void Submit()
        {
            ulong page = (ulong)submitted++ * Page;
            outcomes.Add(system.Driver.Invalidate(Domain, IovaRange.FromLength(new(page), Page), leavesOnly: true));
        }
    }

    [Fact]
    public void Who_finds_a_dead_queue_fails_and_the_new_start_does_what_the_others_wait_for()
    {
        using var system = new VtdSystem();
        var outcomes = new List<(int Depth, VcmmError Error)>();
        system.Registers.BeforeWrite64 = (offset, tail) => offset != HookedRegisters.QueueTail || tail is 0 or 4 * EntryBytes;
        int depth = 0;
        system.Policy.OnPoll = () =>
        {
            if (depth < 4) Submit();
        };
        VtdStatistics before = system.Simulator.Statistics;
        Submit();
        Assert.Equal([(4, VcmmError.HardwareFailure), (3, VcmmError.None), (2, VcmmError.None), (1, VcmmError.None)], outcomes);
        // One new start, and in it everything was invalidated, with a fence and a wait.
        Assert.Equal(before.IotlbGlobalInvalidations + 1, system.Simulator.Statistics.IotlbGlobalInvalidations);
        Assert.Equal(before.ContextInvalidations + 1, system.Simulator.Statistics.ContextInvalidations);
        Assert.Equal(before.Waits + 2, system.Simulator.Statistics.Waits);

        system.Registers.BeforeWrite64 = static (_, _) => true;
        Assert.Equal(VcmmError.None, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));

        void Submit()
        {
            int own = ++depth;
            outcomes.Add((own, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true)));
        }
    }

    [Fact]
    public void Where_the_new_start_fails_too_all_who_wait_fail()
    {
        using var system = new VtdSystem();
        var outcomes = new List<VcmmError>();
        system.Registers.BeforeWrite64 = static (offset, _) => offset != HookedRegisters.QueueTail;
        int depth = 0;
        system.Policy.OnPoll = () =>
        {
            if (depth < 3) Submit();
        };
        Submit();
        Assert.Equal([VcmmError.HardwareFailure, VcmmError.HardwareFailure, VcmmError.HardwareFailure], outcomes);
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
        system.Registers.BeforeWrite64 = static (_, _) => true;
        Assert.Equal(VcmmError.None, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));

        void Submit()
        {
            depth++;
            outcomes.Add(system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
        }
    }

    [Fact]
    public void A_place_is_used_again_only_after_its_waiter_has_looked()
    {
        using var system = new VtdSystem();
        int submitted = 0;
        VcmmError last = VcmmError.None;
        int restarts = 0;
        system.Registers.BeforeWrite32 = (offset, _) => restarts += offset == 0x18 ? 1 : 0;
        ulong heldTail = 0;
        system.Registers.BeforeWrite64 = (offset, value) =>
        {
            if (offset != HookedRegisters.QueueTail || submitted != 0) return true;
            heldTail = value;
            return false;
        };
        system.Policy.OnPoll = () =>
        {
            if (submitted++ != 0) return;
            // The first waiter has looked once, in vain. Its command completes, and the others go once around the queue.
            system.Simulator.Write64(HookedRegisters.QueueTail, heldTail);
            for (int i = 0; i < CommandsThatFit; i++)
            {
                Assert.Equal(0, restarts);
                Assert.Equal(VcmmError.None, Submit());
            }

            last = Submit();
        };
        Assert.Equal(VcmmError.None, Submit());
        // On one thread the first waiter cannot look, so the last one gives up in the end.
        Assert.Equal(VcmmError.HardwareFailure, last);
        Assert.Equal(2, restarts);

        VcmmError Submit() => system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true);
    }

    [Fact]
    public void Who_waits_is_told_of_each_place_that_is_given_back()
    {
        using var system = new VtdSystem();
        int before = system.Policy.GivenBackCount;
        for (int i = 1; i <= 3; i++)
        {
            Assert.Equal(VcmmError.None, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
            Assert.Equal(before + i, system.Policy.GivenBackCount);
        }
    }

    [Fact]
    public void Who_waits_is_told_of_a_new_start_which_gives_back_all_places()
    {
        using var system = new VtdSystem();
        system.Registers.BeforeWrite64 = static (offset, tail) => offset != HookedRegisters.QueueTail || tail is 0 or 4 * EntryBytes;
        int before = system.Policy.GivenBackCount;
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
        Assert.Equal(before + 1, system.Policy.GivenBackCount);
    }

    [Fact]
    public void A_queue_is_switched_off_only_when_it_is_empty_or_when_waiting_for_that_is_pointless()
    {
        using var system = new VtdSystem();
        ulong heldTail = 0;
        bool isEmptied = false;
        int polls = 0;
        system.Registers.BeforeWrite64 = (offset, value) =>
        {
            if (offset != HookedRegisters.QueueTail || isEmptied) return true;
            heldTail = value;
            return false;
        };
        system.Policy.OnPoll = () =>
        {
            // The wait for the command times out; the one for the queue to empty ends as soon as the hardware wakes up.
            if (++polls != system.Policy.Limit + 3) return;
            isEmptied = true;
            system.Simulator.Write64(HookedRegisters.QueueTail, heldTail);
        };
        system.Registers.BeforeWrite32 = (offset, value) =>
        {
            if (offset == 0x18 && (value & 0x0400_0000) == 0) Assert.True(isEmptied);
        };
        VtdStatistics before = system.Simulator.Statistics;
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
        Assert.True(isEmptied);
        Assert.Equal(system.Policy.Limit + 3, polls);
        Assert.Equal(before.IotlbPageInvalidations + 1, system.Simulator.Statistics.IotlbPageInvalidations);
    }

    [Fact]
    public void A_queue_that_cannot_be_switched_off_is_not_touched_and_fails_until_it_can()
    {
        using var system = new VtdSystem();
        bool isStuck = true;
        var written = new List<uint>();
        system.Registers.BeforeWrite64 = (offset, _) =>
        {
            written.Add(offset);
            return !isStuck;
        };
        system.Registers.AfterRead32 = (offset, value) => offset == 0x1C && isStuck ? value | 0x0400_0000 : value;
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
        Assert.Equal([HookedRegisters.QueueTail], written);
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
        Assert.Equal([HookedRegisters.QueueTail], written);
        isStuck = false;
        Assert.Equal(VcmmError.None, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
    }

    /// <summary>Hardware that has lost its power: there is nothing that could still come of what was in the queue.</summary>
    [Fact]
    public void A_queue_that_is_off_is_not_waited_for_before_it_is_started_anew()
    {
        using var system = new VtdSystem();
        int polls = 0;
        system.Policy.OnPoll = () => polls++;
        bool isLost = false;
        system.Registers.BeforeWrite64 = (offset, _) =>
        {
            if (offset != HookedRegisters.QueueTail || isLost) return true;
            isLost = true;
            system.Simulator.Write32(0x18, 0x8000_0000);
            return true;
        };
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
        Assert.True(isLost);
        // For the command alone.
        Assert.Equal(system.Policy.Limit, polls);
        Assert.Equal(VcmmError.None, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
    }

    /// <summary>The command has never been in the queue; but with everything what it asked for was invalidated.</summary>
    [Fact]
    public void Who_waits_for_room_to_the_end_is_done_where_another_has_started_the_queue_anew_meanwhile()
    {
        using var system = new VtdSystem();
        bool isFull = true, hasError = false;
        int polls = 0;
        // The entry before the head stays empty.
        system.Registers.AfterRead64 = (offset, value) => offset == 0x80 && isFull ? (system.Simulator.Read64(HookedRegisters.QueueTail) + EntryBytes) % 4096 : value;
        system.Registers.AfterRead32 = (offset, value) => offset == 0x34 && hasError ? value | 0x10 : value;
        system.Registers.BeforeWrite32 = (offset, _) => hasError &= offset != 0x34;
        system.Policy.OnPoll = () =>
        {
            if (++polls != system.Policy.Limit) return;
            isFull = false;
            hasError = true;
            Assert.True(system.Driver.HandleFaultEvent([]).HasQueueError);
        };
        VtdStatistics before = system.Simulator.Statistics;
        Assert.Equal(VcmmError.None, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
        Assert.Equal(system.Policy.Limit, polls);
        Assert.Equal(before.IotlbGlobalInvalidations + 1, system.Simulator.Statistics.IotlbGlobalInvalidations);
        Assert.Equal(before.IotlbPageInvalidations, system.Simulator.Statistics.IotlbPageInvalidations);
    }

    [Fact]
    public void Translation_stays_on_while_the_queue_is_started_anew_and_the_root_is_not_set_again()
    {
        using var system = new VtdSystem();
        var commands = new List<uint>();
        system.Registers.BeforeWrite32 = (offset, value) =>
        {
            if (offset == 0x18) commands.Add(value);
        };
        int swallowed = 0;
        system.Registers.BeforeWrite64 = (offset, _) => offset != HookedRegisters.QueueTail || swallowed++ != 0;
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
        Assert.Equal([0x8000_0000u, 0x8400_0000u], commands);
    }

    [Theory]
    [InlineData(1u << 4)]    // FSTS.IQE
    [InlineData(1u << 5)]    // FSTS.ICE
    [InlineData(1u << 6)]    // FSTS.ITE
    public void Each_error_of_the_queue_is_seen_at_once_and_cleared(uint error)
    {
        using var system = new VtdSystem();
        bool isDown = false;
        system.Registers.BeforeWrite64 = (offset, tail) =>
        {
            if (offset != HookedRegisters.QueueTail || tail == 0) return true;
            isDown = !isDown;
            return !isDown;
        };
        system.Registers.AfterRead32 = (offset, value) => offset == 0x34 && isDown ? value | error : value;
        uint cleared = 0;
        system.Registers.BeforeWrite32 = (offset, value) =>
        {
            if (offset == 0x34) cleared |= value;
        };
        int polls = 0;
        system.Policy.OnPoll = () => polls++;
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
        Assert.Equal(0x70u, cleared);
        // Only the emptying of the queue was waited for.
        Assert.InRange(polls, 1, system.Policy.Limit);
    }

    [Fact]
    public void Each_command_waits_for_a_status_of_its_own()
    {
        using var system = new VtdSystem();
        var seen = new HashSet<(ulong Address, uint Data)>();
        system.Registers.BeforeWrite64 = (offset, tail) =>
        {
            if (offset != HookedRegisters.QueueTail) return true;
            PhysAddr wait = new((system.Simulator.Read64(0x90) & ~0xFFFUL) + ((tail + 4096 - EntryBytes) % 4096));
            ulong low = system.Memory.Read64(wait);
            Assert.Equal(0x25u, (uint)(low & 0xFFFF_FFFF));
            var status = new PhysAddr(system.Memory.Read64(wait + 8));
            Assert.Equal((wait.Value & 0xFFF) / EntryBytes * sizeof(uint), status.Value & 0xFFF);
            // Before the hardware writes it, the status is not what it will be.
            Assert.NotEqual((uint)(low >> 32), system.Memory.Read32(status));
            Assert.True(seen.Add((status.Value, (uint)(low >> 32))));
            return true;
        };
        for (int i = 0; i < 300; i++)
            Assert.Equal(VcmmError.None, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
        // 256 entries hold 128 waits, each with a word of its own.
        Assert.Equal(128, seen.Select(status => status.Address).Distinct().Count());
        Assert.Equal(300, seen.Select(status => status.Data).Distinct().Count());
    }

    [Fact]
    public void What_stood_in_a_status_before_is_not_taken_for_the_completion()
    {
        using var system = new VtdSystem();
        PhysAddr status = default;
        uint data = 0;
        system.Registers.BeforeWrite64 = (offset, tail) =>
        {
            if (offset != HookedRegisters.QueueTail) return true;
            PhysAddr wait = new((system.Simulator.Read64(0x90) & ~0xFFFUL) + (tail - EntryBytes));
            data = (uint)(system.Memory.Read64(wait) >> 32);
            status = new(system.Memory.Read64(wait + 8));
            return true;
        };
        Assert.Equal(VcmmError.None, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
        // The next wait is two places on and one number up; its status holds that number already, from 2^32 commands ago.
        system.Memory.Write32(status + 2 * sizeof(uint), data + 1);
        int swallowed = 0;
        system.Registers.BeforeWrite64 = (offset, _) => offset != HookedRegisters.QueueTail || swallowed++ != 0;
        Assert.Equal(VcmmError.HardwareFailure, system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true));
    }

    [Fact]
    public void A_command_starts_a_broken_queue_anew_once()
    {
        using var system = new VtdSystem();
        system.Registers.BeforeWrite64 = static (offset, _) => offset != HookedRegisters.QueueTail;
        Assert.Equal(VcmmError.HardwareFailure, Invalidate());
        int starts = 0;
        system.Registers.BeforeWrite32 = (offset, value) => starts += offset == 0x18 && (value & 0x0400_0000) != 0 ? 1 : 0;
        Assert.Equal(VcmmError.HardwareFailure, Invalidate());
        Assert.Equal(1, starts);
        system.Registers.BeforeWrite64 = static (_, _) => true;
        system.Policy.OnPoll = static () => Assert.Fail("hardware that answers at once is not polled");
        Assert.Equal(VcmmError.None, Invalidate());
        Assert.Equal(2, starts);
        Assert.Equal(VcmmError.None, Invalidate());
        Assert.Equal(2, starts);

        VcmmError Invalidate() => system.Driver.Invalidate(Domain, IovaRange.FromLength(new(0), Page), leavesOnly: true);
    }

    [Theory]
    [InlineData(0x4000_0000u)]    // GSTS.RTPS
    [InlineData(0x0400_0000u)]    // GSTS.QIES
    [InlineData(0x8000_0000u)]    // GSTS.TES
    [InlineData(0u)]              // the queue itself
    public void A_slow_start_is_waited_for(uint slow)
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 16 * Page));
        var simulator = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default with { Commands = CommandMode.Manual });
        int polls = 0;
        var policy = new CountedPolicy
        {
            OnPoll = () =>
            {
                if (++polls % 7 == 0) simulator.ProcessCommands();
            },
        };
        var registers = new HookedRegisters(simulator)
        {
            AfterRead32 = (offset, value) => offset == 0x1C && polls < 3 ? value & ~slow : value,
        };
        Assert.Equal(
            VcmmError.None,
            VtdDriver<Ram>.TryStart(ram.Port, registers, new Vcmm.Allocation.FrameAllocator(ram.Range), new() { WaitPolicy = policy }, out _));
        Assert.Equal(7, polls);
    }
}
