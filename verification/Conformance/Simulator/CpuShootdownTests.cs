using IommuSim;
using IommuSim.Cpu;
using Platform;
using static Conformance.Simulator.RawCores;
using static Conformance.Simulator.RawCpu;

namespace Conformance.Simulator;

/// <summary>
/// Intel SDM, volume 3A, "Propagation of Paging-Structure Changes to Multiple Processors": a shootdown is complete when no core uses what was
/// taken away, and interrupts no core that cannot.
/// </summary>
public sealed class CpuShootdownTests
{
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
