using IommuSim;
using IommuSim.Cpu;
using Platform;
using static Conformance.Simulator.RawCpu;

namespace Conformance.Simulator;

/// <summary>
/// Intel SDM, volume 3A, "Propagation of Paging-Structure Changes to Multiple Processors": a shootdown is complete when no core uses what was
/// taken away, and interrupts no core that cannot.
/// </summary>
public sealed class CpuShootdownTests
{
    private const ulong Other = 0x50000;
    private static readonly Pcid Tag = new(7);

    private static RawCpu Started(CpuOptions? options = null, Action<SimStep, ulong>? hook = null)
    {
        var cpu = new RawCpu(options ?? CpuOptions.Default with { CoreCount = 3 }, hook);
        cpu.SetPage(0, FrameA | All);
        cpu.SetPage(1, FrameB | All);
        cpu.Cluster.Load(0, new(cpu.Root), Tag);
        return cpu;
    }

    private static TlbFlush Page(ulong page = 0) => new(Tag, IovaRange.FromLength(new(page << 12), 4096), LeavesOnly: true);

    private static bool Reads(RawCpu cpu, int core, ulong page = 0) => cpu.Cluster.Cores[core].Read(new(page << 12), new byte[8]).Ok;

    private static void EnterAll(RawCpu cpu)
    {
        foreach (CpuCore<Ram, Hook> core in cpu.Cluster.Cores)
        {
            Assert.True(cpu.Cluster.Enter(core.Number, 0));
            Assert.True(Reads(cpu, core.Number));
        }
    }

    /// <summary>All cores know the pages; then the last is idle there, or elsewhere.</summary>
    private static void Leave(RawCpu cpu, bool isIdle)
    {
        cpu.Cluster.Load(1, new(Other), new(8));
        EnterAll(cpu);
        if (isIdle) cpu.Cluster.GoIdle(2);
        else cpu.Cluster.Enter(2, 1);
    }

    [Theory]
    [InlineData(ShootdownMethod.Interrupt, true)]
    [InlineData(ShootdownMethod.Interrupt, false)]
    [InlineData(ShootdownMethod.Broadcast, true)]
    [InlineData(ShootdownMethod.Broadcast, false)]
    public void When_a_shootdown_is_complete_no_core_has_the_page(ShootdownMethod method, bool hasTags)
    {
        using RawCpu cpu = Started(CpuOptions.Default with { CoreCount = 3, Shootdown = method, ProcessContextIds = hasTags });
        EnterAll(cpu);
        cpu.SetPage(0, 0);
        Assert.All(cpu.Cluster.Cores, core => Assert.True(Reads(cpu, core.Number)));
        Assert.True(cpu.Cluster.Send([Page()]).IsComplete);
        Assert.All(cpu.Cluster.Cores, core => Assert.False(Reads(cpu, core.Number)));
        CpuStatistics counts = cpu.Cluster.Statistics;
        Assert.Equal(method == ShootdownMethod.Interrupt ? (3L, 3L, 0L) : (0L, 0L, 3L), (counts.Interrupts, counts.Acknowledgements, counts.Broadcasts));
        Assert.Equal((1L, 1L, 3L), (counts.Shootdowns, counts.Flushes, counts.PageInvalidations));
    }

    [Fact]
    public void However_many_flushes_are_one_interrupt_for_each_core()
    {
        using RawCpu cpu = Started();
        EnterAll(cpu);
        cpu.SetPage(0, 0);
        cpu.SetPage(1, 0);
        Assert.True(cpu.Cluster.Send([Page(0), Page(1), Page(5)]).IsComplete);
        Assert.Equal((3, 9, 3), (cpu.Cluster.Statistics.Interrupts, cpu.Cluster.Statistics.PageInvalidations, cpu.Cluster.Statistics.Flushes));
        Assert.False(Reads(cpu, 0, 0) || Reads(cpu, 1, 1));
        Assert.True(cpu.Cluster.Send([Page(2), new(Tag, IovaRange.FromLength(new(0x3000), 4 * 4096), LeavesOnly: true)]).IsComplete);
        Assert.Equal((6, 9 + 3 * 5, 5), (cpu.Cluster.Statistics.Interrupts, cpu.Cluster.Statistics.PageInvalidations, cpu.Cluster.Statistics.Flushes));
    }

    /// <summary>A kernel may leave out whom it knows to have nothing: no step is of a core that is left out, or that is not concerned.</summary>
    [Fact]
    public void No_interrupt_is_sent_to_a_core_that_is_left_out_or_elsewhere()
    {
        var sent = new List<ulong>();
        using RawCpu cpu = Started(CpuOptions.Default with { CoreCount = 3, DeliversAtOnce = false }, (step, detail) =>
        {
            if (step == SimStep.InterruptSend) sent.Add(detail);
        });
        Leave(cpu, isIdle: false);
        cpu.Cluster.Send([Page()]);
        Assert.Equal([0UL, 1UL], sent);
        sent.Clear();
        // Both have that one pending still.
        cpu.Cluster.Send([Page(1)], cpu.Cluster.AllCores.Without(0));
        Assert.Equal([1UL], sent);
        Assert.Equal([1, 2, 0], cpu.Cluster.Cores.Select(static core => core.PendingInterrupts));
    }

    [Fact]
    public void A_broadcast_reaches_each_core_in_a_step_of_its_own_and_interrupts_none()
    {
        var seen = new List<(SimStep, ulong)>();
        using RawCpu cpu = Started(CpuOptions.Default with { CoreCount = 3, Shootdown = ShootdownMethod.Broadcast }, (step, detail) => seen.Add((step, detail)));
        EnterAll(cpu);
        seen.Clear();
        Assert.True(cpu.Cluster.Send([Page()], CoreSet.First(1)).IsComplete);
        Assert.Equal([(SimStep.BroadcastReceive, 0UL), (SimStep.BroadcastReceive, 1UL), (SimStep.BroadcastReceive, 2UL)], seen);
    }

    /// <summary>AMD64 APM, volume 3, "INVLPGB": what it names it takes from every core, under whatever tag the core runs; nothing is left to do at its next switch.</summary>
    [Fact]
    public void A_broadcast_takes_from_a_core_the_pages_of_an_address_space_that_it_has_left_and_no_others()
    {
        using RawCpu cpu = Started(CpuOptions.Default with { CoreCount = 3, Shootdown = ShootdownMethod.Broadcast });
        Leave(cpu, isIdle: false);
        Assert.True(cpu.Cluster.Enter(2, 0));
        Assert.True(Reads(cpu, 2, 1));
        Assert.True(cpu.Cluster.Enter(2, 1));
        CpuCore<Ram, Hook> core = cpu.Cluster.Cores[2];
        Assert.Equal(2, core.Tlb.Count);
        Assert.True(cpu.Cluster.Send([Page()]).IsComplete);
        Assert.Equal((Tag, new Iova(0x1000)), (Assert.Single(core.Tlb).Pcid, core.Tlb[0].Range.First));
        Assert.False(cpu.Cluster.OwesFlush(2, Tag));
        cpu.SetPage(0, 0);
        cpu.SetPage(1, 0);
        Assert.True(cpu.Cluster.Enter(2, 0));
        Assert.Equal([false, true], [Reads(cpu, 2, 0), Reads(cpu, 2, 1)]);
        Assert.Equal(0, cpu.Cluster.Statistics.SwitchFlushes);
    }

    /// <summary>In its own address space a core forgets by INVLPG, which takes the page from every tag: a global translation, too.</summary>
    [Theory]
    [InlineData(ShootdownMethod.Interrupt)]
    [InlineData(ShootdownMethod.Broadcast)]
    public void A_shootdown_takes_a_global_page_from_the_cores_in_the_address_space(ShootdownMethod method)
    {
        using RawCpu cpu = Started(CpuOptions.Default with { Shootdown = method });
        cpu.SetPage(0, FrameA | All | G);
        EnterAll(cpu);
        Assert.All(cpu.Cluster.Cores, static core => Assert.True(Assert.Single(core.Tlb).Global));
        cpu.SetPage(0, 0);
        Assert.True(cpu.Cluster.Send([Page()]).IsComplete);
        Assert.All(cpu.Cluster.Cores, core => Assert.False(Reads(cpu, core.Number)));
    }

    /// <summary>Who has such a tag in CR3 the cluster cannot know, since MOV to CR3 can load any.</summary>
    [Theory]
    [InlineData(ShootdownMethod.Interrupt)]
    [InlineData(ShootdownMethod.Broadcast)]
    public void A_flush_of_a_tag_that_no_address_space_has_reaches_every_core(ShootdownMethod method)
    {
        using RawCpu cpu = Started(CpuOptions.Default with { CoreCount = 3, Shootdown = method });
        var other = new Pcid(9);
        foreach (CpuCore<Ram, Hook> core in cpu.Cluster.Cores)
        {
            core.LoadCr3(new(Table4), other);
            Assert.True(Reads(cpu, core.Number, 0) && Reads(cpu, core.Number, 1));
        }

        Assert.True(cpu.Cluster.Send([Page()]).IsComplete);
        Assert.All(cpu.Cluster.Cores, static core => Assert.Equal(2, core.Tlb.Count));
        Assert.True(cpu.Cluster.Send([Page() with { Tag = other }]).IsComplete);
        Assert.All(cpu.Cluster.Cores, static core => Assert.Equal(new Iova(0x1000), Assert.Single(core.Tlb).Range.First));
        Assert.True(cpu.Cluster.Send([new(other, null)]).IsComplete);
        Assert.All(cpu.Cluster.Cores, static core => Assert.Empty(core.Tlb));
    }

    [Fact]
    public void Whoever_enters_or_goes_idle_takes_its_interrupts_first()
    {
        using RawCpu cpu = Started(CpuOptions.Default with { CoreCount = 3, DeliversAtOnce = false });
        EnterAll(cpu);
        CpuShootdown sent = cpu.Cluster.Send([Page()]);
        Assert.Equal([1, 1, 1], cpu.Cluster.Cores.Select(static core => core.PendingInterrupts));
        cpu.Cluster.GoIdle(0);
        Assert.True(cpu.Cluster.Enter(1, 0));
        Assert.Equal([0, 0, 1], cpu.Cluster.Cores.Select(static core => core.PendingInterrupts));
        Assert.Equal(0, cpu.Cluster.Statistics.SwitchFlushes);
        cpu.Cluster.Cores[2].TakeInterrupts();
        Assert.True(sent.IsComplete);
    }

    /// <summary>What a core has read since it came back is good: an interrupt from before tells it nothing new.</summary>
    [Fact]
    public void A_core_that_has_forgotten_by_entering_does_not_forget_again_when_it_takes_the_interrupt()
    {
        using RawCpu cpu = Started();
        EnterAll(cpu);
        CpuCore<Ram, Hook> core = cpu.Cluster.Cores[1];
        core.InterruptsEnabled = false;
        cpu.SetPage(0, FrameC | All);
        CpuShootdown sent = cpu.Cluster.Send([Page()]);
        Assert.True(cpu.Cluster.Enter(1, 0));
        Assert.True(Reads(cpu, 1));
        TlbEntry read = Assert.Single(core.Tlb);
        Assert.Equal(new PhysAddr(FrameC), read.Address);
        Assert.False(sent.IsComplete);
        core.InterruptsEnabled = true;
        Assert.True(sent.IsComplete);
        Assert.Equal(read, Assert.Single(core.Tlb));
    }

    /// <summary>Also where MOV to CR3 would forget: there is none where the table is in CR3 already and nothing was missed.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_core_switches_when_it_enters_another_address_space_and_not_where_it_is_already(bool hasTags)
    {
        using RawCpu cpu = Started(CpuOptions.Default with { ProcessContextIds = hasTags });
        cpu.Cluster.Load(1, new(Other), new(8));
        CpuCore<Ram, Hook> core = cpu.Core;
        for (int i = 0; i < 3; i++)
        {
            Assert.True(cpu.Cluster.Enter(0, 0));
            // Without tags what an address space is called is no PCID.
            Assert.Equal((new PhysAddr(Table4), hasTags ? Tag : default), core.Cr3);
            Assert.True(Reads(cpu, 0));
            long walks = core.Statistics.Walks;
            Assert.True(cpu.Cluster.Enter(0, 0));
            Assert.True(Reads(cpu, 0));
            Assert.Equal((walks, 2L * i + 1), (core.Statistics.Walks, core.Statistics.Switches));
            Assert.True(cpu.Cluster.Enter(0, 1));
            Assert.Equal((new PhysAddr(Other), hasTags ? new Pcid(8) : default), core.Cr3);
        }

        Assert.Equal(hasTags ? 1 : 3, core.Statistics.Walks);
        Assert.Equal(0, core.Statistics.SwitchFlushes);
    }

    [Fact]
    public void A_core_that_is_elsewhere_is_not_interrupted_and_forgets_when_it_comes_back()
    {
        using RawCpu cpu = Started();
        cpu.Cluster.Load(1, new(Other), new(8));
        EnterAll(cpu);
        cpu.Cluster.Enter(1, 1);
        cpu.SetPage(0, 0);
        Assert.True(cpu.Cluster.Send([Page()]).IsComplete);
        Assert.Equal((2, 1), (cpu.Cluster.Statistics.Interrupts, cpu.Cluster.Statistics.Deferrals));
        Assert.True(cpu.Cluster.OwesFlush(1, Tag));
        Assert.Contains(cpu.Cluster.Cores[1].Tlb, entry => entry.Pcid == Tag);
        cpu.Cluster.Enter(1, 0);
        Assert.False(cpu.Cluster.OwesFlush(1, Tag));
        Assert.False(Reads(cpu, 1));
        Assert.Equal(1, cpu.Cluster.Statistics.SwitchFlushes);

        // Nothing was taken away meanwhile: what it had is kept.
        Assert.True(Reads(cpu, 1, 1));
        long walks = cpu.Cluster.Cores[1].Statistics.Walks;
        cpu.Cluster.Enter(1, 1);
        cpu.Cluster.Enter(1, 0);
        Assert.True(Reads(cpu, 1, 1));
        Assert.Equal(walks, cpu.Cluster.Cores[1].Statistics.Walks);
    }

    [Fact]
    public void An_idle_core_is_interrupted_only_if_a_table_ends()
    {
        using RawCpu cpu = Started();
        EnterAll(cpu);
        cpu.Cluster.GoIdle(2);
        cpu.SetPage(0, 0);
        Assert.True(cpu.Cluster.Send([Page()]).IsComplete);
        Assert.Equal(2, cpu.Cluster.Statistics.Interrupts);
        Assert.True(cpu.Cluster.OwesFlush(2, Tag));
        Assert.NotEmpty(cpu.Cluster.Cores[2].Tlb);

        cpu.Write(Table2, 0);
        Assert.True(cpu.Cluster.Send([Page(1) with { LeavesOnly = false }]).IsComplete);
        Assert.Equal(5, cpu.Cluster.Statistics.Interrupts);
        // It was behind, so that it forgot all.
        Assert.Empty(cpu.Cluster.Cores[2].Tlb);
        Assert.Empty(cpu.Cluster.Cores[2].PagingStructures);
        Assert.False(cpu.Cluster.OwesFlush(2, Tag));

        cpu.Cluster.Enter(2, 0);
        Assert.False(Reads(cpu, 2));
    }

    [Fact]
    public void An_idle_core_that_missed_a_shootdown_forgets_when_it_enters_again()
    {
        using RawCpu cpu = Started();
        EnterAll(cpu);
        cpu.Cluster.GoIdle(2);
        cpu.SetPage(0, 0);
        cpu.Cluster.Send([Page()]);
        cpu.Cluster.Enter(2, 0);
        Assert.False(Reads(cpu, 2));
        Assert.Equal(1, cpu.Cluster.Statistics.SwitchFlushes);
    }

    /// <summary>Whoever comes back is interrupted, or sees that it has missed something: there is no instant between the two.</summary>
    [Theory]
    [InlineData(true, SimStep.InterruptSend)]
    [InlineData(true, SimStep.InterruptTake)]
    [InlineData(true, SimStep.InterruptAcknowledge)]
    [InlineData(false, SimStep.InterruptSend)]
    [InlineData(false, SimStep.InterruptTake)]
    [InlineData(false, SimStep.InterruptAcknowledge)]
    public void A_core_that_comes_back_while_a_shootdown_is_sent_forgets_first(bool wasIdle, SimStep at)
    {
        RawCpu? cpu = null;
        bool isArmed = false, read = true;
        using RawCpu made = cpu = Started(null, (step, _) =>
        {
            if (step != at || !isArmed) return;
            isArmed = false;
            cpu!.Cluster.Enter(2, 0);
            read = Reads(cpu, 2);
        });
        Leave(cpu, wasIdle);
        cpu.SetPage(0, 0);
        isArmed = true;
        Assert.True(cpu.Cluster.Send([Page()]).IsComplete);
        Assert.False(isArmed || read);
        Assert.Equal((2, 1, 1), (cpu.Cluster.Statistics.Interrupts, cpu.Cluster.Statistics.Deferrals, cpu.Cluster.Statistics.SwitchFlushes));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_shootdown_while_a_core_is_coming_back_is_not_missed(bool wasIdle)
    {
        RawCpu? cpu = null;
        bool isArmed = false;
        using RawCpu made = cpu = Started(null, (step, _) =>
        {
            if (step != SimStep.RootLoad || !isArmed) return;
            isArmed = false;
            cpu!.SetPage(0, 0);
            Assert.True(cpu.Cluster.Send([Page()]).IsComplete);
        });
        Leave(cpu, wasIdle);
        isArmed = true;
        cpu.Cluster.Enter(2, 0);
        Assert.False(isArmed || cpu.Cluster.OwesFlush(2, Tag));
        Assert.False(Reads(cpu, 2));
    }

    [Fact]
    public void An_address_space_that_ends_leaves_nothing_on_any_core()
    {
        using RawCpu cpu = Started();
        cpu.Cluster.Load(1, new(Other), new(8));
        EnterAll(cpu);
        cpu.Cluster.GoIdle(1);
        cpu.Cluster.Enter(2, 1);
        Assert.True(cpu.Cluster.Unload(0).IsComplete);
        Assert.All(cpu.Cluster.Cores, core => Assert.Empty(core.Tlb));
        Assert.All(cpu.Cluster.Cores, core => Assert.Empty(core.PagingStructures));
        Assert.Null(cpu.Cluster.Cores[0].Cr3);
        Assert.Null(cpu.Cluster.Cores[1].Cr3);
        Assert.Equal((new PhysAddr(Other), new Pcid(8)), cpu.Cluster.Cores[2].Cr3);
        Assert.False(Reads(cpu, 0));
        Assert.False(cpu.Cluster.Enter(0, 0));
        Assert.Throws<InvalidOperationException>(() => cpu.Cluster.Unload(0));

        // The tag is another's now.
        cpu.Cluster.Load(2, new(Table4), Tag);
        Assert.Throws<InvalidOperationException>(() => cpu.Cluster.Load(3, new(Other), Tag));
        Assert.Throws<InvalidOperationException>(() => cpu.Cluster.Load(2, new(Table4), new(9)));
        cpu.Cluster.Enter(0, 2);
        Assert.True(Reads(cpu, 0));
    }

    [Fact]
    public void Two_address_spaces_may_have_one_table_under_one_tag()
    {
        using RawCpu cpu = Started();
        cpu.Cluster.Load(1, new(Table4), Tag);
        EnterAll(cpu);
        cpu.Cluster.Enter(1, 1);
        Assert.True(Reads(cpu, 1));
        Assert.Equal(1, cpu.Cluster.Cores[1].Statistics.Walks);
        Assert.True(cpu.Cluster.Unload(0).IsComplete);
        Assert.Equal([false, true, false], Enumerable.Range(0, 3).Select(core => Reads(cpu, core)));
        cpu.SetPage(0, 0);
        Assert.True(cpu.Cluster.Send([Page()]).IsComplete);
        Assert.False(Reads(cpu, 1));
    }

    [Fact]
    public void A_core_that_takes_no_interrupts_holds_the_shootdown_up()
    {
        using RawCpu cpu = Started();
        EnterAll(cpu);
        Assert.True(cpu.Cluster.Cores[1].InterruptsEnabled);
        cpu.Cluster.Cores[1].InterruptsEnabled = false;
        Assert.False(cpu.Cluster.Cores[1].InterruptsEnabled);
        cpu.SetPage(0, 0);
        CpuShootdown first = cpu.Cluster.Send([Page()]), second = cpu.Cluster.Send([Page(1)]);
        Assert.False(first.IsComplete || second.IsComplete);
        Assert.Equal(2, cpu.Cluster.Cores[1].PendingInterrupts);
        Assert.True(Reads(cpu, 1));
        Assert.False(Reads(cpu, 0));
        // Two of each of the others', and one of its own: it was pending still.
        Assert.Equal(5, cpu.Cluster.Statistics.Interrupts);
        cpu.Cluster.Cores[1].InterruptsEnabled = true;
        Assert.True(first.IsComplete && second.IsComplete);
        Assert.False(Reads(cpu, 1));
    }

    /// <summary>A core in the middle of an access acknowledges when that is over: whoever waited may give the page to others.</summary>
    [Theory]
    [InlineData(ShootdownMethod.Interrupt, SimStep.WalkCacheLookup)]
    [InlineData(ShootdownMethod.Interrupt, SimStep.TlbFill)]
    [InlineData(ShootdownMethod.Interrupt, SimStep.MemoryAccess)]
    [InlineData(ShootdownMethod.Broadcast, SimStep.WalkCacheLookup)]
    [InlineData(ShootdownMethod.Broadcast, SimStep.TlbFill)]
    [InlineData(ShootdownMethod.Broadcast, SimStep.MemoryAccess)]
    public void An_access_under_way_is_over_when_the_shootdown_is_complete(ShootdownMethod method, SimStep at)
    {
        RawCpu? cpu = null;
        CpuShootdown? sent = null;
        bool isArmed = false;
        using RawCpu made = cpu = Started(CpuOptions.Default with { Shootdown = method }, (step, _) =>
        {
            if (step != at || !isArmed) return;
            isArmed = false;
            cpu!.SetPage(0, 0);
            sent = cpu.Cluster.Send([Page()]);
            Assert.False(sent.IsComplete);
        });
        cpu.Cluster.Enter(0, 0);
        isArmed = true;
        Reads(cpu, 0);
        Assert.True(sent!.IsComplete);
        // What was read before is not kept.
        Assert.Empty(cpu.Cluster.Cores[0].Tlb);
        Assert.False(Reads(cpu, 0));
        // It stays so whatever else the core does.
        Assert.True(sent.IsComplete);
        Assert.Equal(method == ShootdownMethod.Broadcast && at == SimStep.TlbFill, cpu.Cluster.Statistics.DiscardedFills == 1);
    }

    [Fact]
    public void An_interrupt_is_sent_taken_and_acknowledged_in_steps()
    {
        var seen = new List<(SimStep, ulong)>();
        using RawCpu cpu = Started(CpuOptions.Default with { DeliversAtOnce = false }, (step, detail) => seen.Add((step, detail)));
        EnterAll(cpu);
        seen.Clear();
        cpu.SetPage(0, 0);
        CpuShootdown sent = cpu.Cluster.Send([Page()]);
        Assert.Equal([(SimStep.InterruptSend, 0UL), (SimStep.InterruptSend, 1UL)], seen);
        cpu.Cluster.Cores[1].TakeInterrupts();
        Assert.False(sent.IsComplete);
        seen.Clear();
        // A core takes them before it goes on.
        Assert.False(Reads(cpu, 0));
        Assert.Equal([(SimStep.InterruptTake, 0UL), (SimStep.InterruptAcknowledge, 0UL), (SimStep.TlbLookup, 0UL)], seen.Take(3));
        Assert.True(sent.IsComplete);
    }

    [Fact]
    public void A_core_that_is_left_out_goes_on_with_what_it_has()
    {
        using RawCpu cpu = Started();
        EnterAll(cpu);
        cpu.SetPage(0, 0);
        Assert.True(cpu.Cluster.Send([Page()], cpu.Cluster.AllCores.Without(1)).IsComplete);
        Assert.Equal([false, true, false], Enumerable.Range(0, 3).Select(core => Reads(cpu, core)));
        // The next one that it hears of tells it that it has missed something.
        cpu.Cluster.Send([Page(1)]);
        Assert.False(Reads(cpu, 1));
    }

    [Fact]
    public void A_core_executes_on_one_thread()
    {
        RawCpu? cpu = null;
        int refused = 0;
        using RawCpu made = cpu = Started(null, (step, _) =>
        {
            if (step != SimStep.WalkRead || refused != 0) return;
            refused = 1;
            Assert.Throws<InvalidOperationException>(() => cpu!.Cluster.Cores[0].Invlpg(new(0)));
            Assert.Throws<InvalidOperationException>(() => cpu!.Cluster.Cores[0].InvpcidAddress(Tag, new(0)));
            Assert.Throws<InvalidOperationException>(() => cpu!.Cluster.Cores[0].InvpcidContext(Tag));
            Assert.Throws<InvalidOperationException>(() => cpu!.Cluster.Cores[0].InvpcidAll(globals: false));
            Assert.Throws<InvalidOperationException>(() => cpu!.Translate(0));
            Assert.Throws<InvalidOperationException>(() => cpu!.Cluster.Cores[0].LoadCr3(new(Table4)));
            Assert.Throws<InvalidOperationException>(() => cpu!.Cluster.Enter(0, 0));
            Assert.Throws<InvalidOperationException>(() => cpu!.Cluster.GoIdle(0));
        });
        cpu.Cluster.Enter(0, 0);
        Assert.True(Reads(cpu, 0));
        Assert.Equal(1, refused);
    }

    /// <summary>A schedule is given up by an exception out of a step: it comes through, and the core is not executing for ever.</summary>
    [Theory]
    [InlineData(SimStep.TlbLookup, CpuAccess.Read)]
    [InlineData(SimStep.WalkCacheLookup, CpuAccess.Read)]
    [InlineData(SimStep.WalkRead, CpuAccess.Write)]
    [InlineData(SimStep.FlagUpdate, CpuAccess.Read)]
    [InlineData(SimStep.TlbFill, CpuAccess.Read)]
    [InlineData(SimStep.MemoryAccess, CpuAccess.Read)]
    [InlineData(SimStep.MemoryAccess, CpuAccess.Write)]
    [InlineData(SimStep.MemoryAccess, CpuAccess.Fetch)]
    public void A_step_that_throws_ends_the_access(SimStep at, CpuAccess access)
    {
        bool isArmed = true;
        using RawCpu cpu = Started(null, (step, _) =>
        {
            if (step != at || !isArmed) return;
            isArmed = false;
            throw new OperationCanceledException();
        });
        cpu.Cluster.Enter(0, 0);
        Assert.Throws<OperationCanceledException>(() => Access());
        Assert.False(isArmed);
        Assert.True(Access().Ok);

        CpuResult Access() => access switch
        {
            CpuAccess.Write => cpu.Core.Write(new(0), new byte[8]),
            CpuAccess.Fetch => cpu.Core.Fetch(new(0), new byte[8]),
            _ => cpu.Core.Read(new(0), new byte[8]),
        };
    }
}
