using System.Reflection;
using IommuSim;
using IommuSim.Cpu;
using Platform;
using static Conformance.Simulator.RawCpu;

namespace Conformance.Simulator;

/// <summary>What cores count, event by event.</summary>
public sealed class CpuStatisticsTests
{
    private static readonly Pcid Tag = new(7);

    /// <summary>The counts of accesses.</summary>
    private static (long Translations, long TlbHits, long Walks, long PagingStructureHits, long PageFaults, long FlagUpdates) Accesses(RawCpu cpu)
    {
        CpuStatistics counts = cpu.Core.Statistics;
        return (counts.Translations, counts.TlbHits, counts.Walks, counts.PagingStructureHits, counts.PageFaults, counts.FlagUpdates);
    }

    [Fact]
    public void Each_page_that_is_touched_is_a_translation_and_each_entry_whose_flags_are_set_an_update()
    {
        using RawCpu cpu = new RawCpu().Loaded();
        cpu.SetPage(0, FrameA | All);
        cpu.SetPage(1, FrameB | P | U);
        Assert.True(cpu.Core.Read(new(0xFF8), new byte[16]).Ok);
        // The second page begins below the entry that led to the first, and only its own flag is clear.
        Assert.Equal((2, 0, 2, 1, 0, 4 + 1), Accesses(cpu));
        Assert.True(cpu.Core.Read(new(0xFF8), new byte[16]).Ok);
        Assert.Equal((4, 2, 2, 1, 0, 5), Accesses(cpu));
        // The first page is written, the second is known to forbid that.
        Assert.False(cpu.Core.Write(new(0xFF8), new byte[16]).Ok);
        Assert.Equal((6, 3, 3, 2, 1, 6), Accesses(cpu));
        Assert.False(cpu.Core.Read(new(0x2000), new byte[1]).Ok);
        Assert.Equal((7, 3, 4, 2, 2, 6), Accesses(cpu));
    }

    [Fact]
    public void Each_load_of_CR3_is_a_switch_and_each_instruction_an_invalidation_of_its_kind()
    {
        using RawCpu cpu = new RawCpu().Loaded();
        Assert.Equal((1, 0, 0), Invalidations());
        cpu.Core.LoadCr3(new(Table4), new(1), keep: true);
        Assert.Equal((2, 0, 0), Invalidations());
        cpu.Core.Invlpg(new(0x1000));
        cpu.Core.InvpcidAddress(Tag, new(0x1000));
        Assert.Equal((2, 2, 0), Invalidations());
        cpu.Core.InvpcidContext(Tag);
        Assert.Equal((2, 2, 1), Invalidations());
        cpu.Core.InvpcidAll(globals: false);
        cpu.Core.InvpcidAll(globals: true);
        Assert.Equal((2, 2, 3), Invalidations());

        (long, long, long) Invalidations() => (cpu.Core.Statistics.Switches, cpu.Core.Statistics.PageInvalidations, cpu.Core.Statistics.ContextInvalidations);
    }

    [Fact]
    public void An_unload_is_a_shootdown_of_one_address_space_by_every_core()
    {
        using var cpu = new RawCpu(CpuOptions.Default with { CoreCount = 3 });
        cpu.Cluster.Load(0, new(Table4), Tag);
        cpu.Cluster.Enter(1, 0);
        Assert.True(cpu.Cluster.Unload(0).IsComplete);
        CpuStatistics counts = cpu.Cluster.Statistics;
        Assert.Equal((1, 1, 3, 3, 0), (counts.Shootdowns, counts.Flushes, counts.Interrupts, counts.Acknowledgements, counts.Deferrals));
    }

    [Fact]
    public void What_the_cluster_counts_is_the_sum_over_its_cores()
    {
        var met = new HashSet<string>();
        foreach (ShootdownMethod method in Enum.GetValues<ShootdownMethod>()) met.UnionWith(CompareSums(method));
        // Sometimes: each is counted by some core; shootdowns are nobody's but the cluster's.
        Assert.Equal(Counts.Select(static count => count.Name).Except([nameof(CpuStatistics.Shootdowns), nameof(CpuStatistics.Flushes)]).Order(), met.Order());
    }

    private static PropertyInfo[] Counts => typeof(CpuStatistics).GetProperties();

    /// <summary>Whatever can happen to three cores, and which counts it was counted in.</summary>
    private static IEnumerable<string> CompareSums(ShootdownMethod method)
    {
        RawCpu? cpu = null;
        bool isTaken = false, isChanged = false;
        using RawCpu made = cpu = new(CpuOptions.Default with { CoreCount = 3, Shootdown = method }, (step, detail) =>
        {
            if (step == SimStep.FlagUpdate && detail == Table1 + 8 && !isChanged)
            {
                isChanged = true;
                cpu!.SetPage(1, FrameC | All);
            }

            if (step == SimStep.TlbFill && !isTaken)
            {
                isTaken = true;
                cpu!.Cluster.Send([new(Tag, IovaRange.FromLength(new(0), 4096), LeavesOnly: true)]);
            }
        });
        cpu.SetPage(0, FrameA | All);
        cpu.SetPage(1, FrameB | All);
        cpu.Cluster.Load(0, new(Table4), Tag);
        cpu.Cluster.Load(1, new(Table5), new(8));
        foreach (CpuCore<Ram, Hook> core in cpu.Cluster.Cores)
        {
            Assert.True(cpu.Cluster.Enter(core.Number, 0));
            for (int i = 0; i < 2; i++) core.Read(new(0xFF8), new byte[0x1010]);
        }

        cpu.Cluster.Enter(2, 1);
        cpu.Cluster.Send([new(Tag, IovaRange.FromLength(new(0), 4096))]);
        cpu.Cluster.Enter(2, 0);
        cpu.Cluster.Send([new(Tag, null)]);
        CpuStatistics[] cores = [.. cpu.Cluster.Cores.Select(static core => core.Statistics)];
        CpuStatistics sum = cpu.Cluster.Statistics;
        Assert.Equal((3, 3), (sum.Shootdowns, sum.Flushes));
        foreach (PropertyInfo count in Counts)
        {
            long ofCores = cores.Sum(each => Read(count, each));
            if (ofCores == 0) continue;
            Assert.Equal(ofCores, Read(count, sum));
            yield return count.Name;
        }
    }

    private static long Read(PropertyInfo count, CpuStatistics of) => (long)count.GetValue(of)!;
}
