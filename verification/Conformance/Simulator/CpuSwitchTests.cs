using IommuSim;
using IommuSim.Cpu;
using Platform;
using static Conformance.Simulator.RawCores;
using static Conformance.Simulator.RawCpu;

namespace Conformance.Simulator;

/// <summary>
/// Intel SDM, volume 3A, "Propagation of Paging-Structure Changes to Multiple Processors": a core that cannot use a translation may forget it
/// later, when it enters the address space again.
/// </summary>
public sealed class CpuSwitchTests
{
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
}
