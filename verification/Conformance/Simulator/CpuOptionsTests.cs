using IommuSim;
using IommuSim.Cpu;
using Platform;
using static Conformance.Simulator.RawCpu;

namespace Conformance.Simulator;

/// <summary>What simulated cores can be asked to be, and which of them there are.</summary>
public sealed class CpuOptionsTests
{
    [Fact]
    public void The_default_is_two_cores_with_every_feature_but_SMAP()
    {
        Assert.Equal(
            new CpuOptions
            {
                CoreCount = 2,
                Levels = 4,
                PhysicalAddressWidth = 48,
                Pages1G = true,
                ExecuteDisable = true,
                WriteProtect = true,
                SupervisorExecutionPrevention = true,
                SupervisorAccessPrevention = false,
                GlobalPages = true,
                ProcessContextIds = true,
                Shootdown = ShootdownMethod.Interrupt,
                DeliversAtOnce = true,
            },
            CpuOptions.Default);
        Assert.Equal(CpuOptions.Default, new CpuOptions());
    }

    [Fact]
    public void An_option_may_be_at_either_end_of_its_range_and_not_beyond()
    {
        foreach (CpuOptions options in (CpuOptions[])
        [
            new() { CoreCount = 1 }, new() { CoreCount = 64 }, new() { Levels = 4 }, new() { Levels = 5 }, new() { TlbSets = 0 },
            new() { TlbSets = 1 << 16, TlbWays = 1 }, new() { TlbWays = 0 }, new() { TlbWays = 64 }, new() { PagingStructureEntriesPerLevel = 0 },
            new() { PagingStructureEntriesPerLevel = 4096 }, new() { PhysicalAddressWidth = 32 }, new() { PhysicalAddressWidth = 52 },
        ])
        {
            using RawCpu cpu = new RawCpu(options).Loaded();
            cpu.SetPage(0, FrameA | All);
            cpu.AssertReaches(FrameA, 0);
            Assert.Equal(options.CoreCount, cpu.Cluster.Cores.Count);
        }

        using var block = new RamBlock(PhysRange.FromLength(new(0), 4096));
        foreach ((string name, CpuOptions options) in ((string, CpuOptions)[])
        [
            (nameof(CpuOptions.CoreCount), new() { CoreCount = 0 }),
            (nameof(CpuOptions.CoreCount), new() { CoreCount = 65 }),
            (nameof(CpuOptions.Levels), new() { Levels = 3 }),
            (nameof(CpuOptions.Levels), new() { Levels = 6 }),
            (nameof(CpuOptions.TlbSets), new() { TlbSets = -1 }),
            (nameof(CpuOptions.TlbSets), new() { TlbSets = 3 }),
            (nameof(CpuOptions.TlbSets), new() { TlbSets = 1 << 17, TlbWays = 1 }),
            (nameof(CpuOptions.TlbWays), new() { TlbWays = -1 }),
            (nameof(CpuOptions.TlbWays), new() { TlbWays = 65 }),
            (nameof(CpuOptions.PagingStructureEntriesPerLevel), new() { PagingStructureEntriesPerLevel = -1 }),
            (nameof(CpuOptions.PagingStructureEntriesPerLevel), new() { PagingStructureEntriesPerLevel = 4097 }),
            (nameof(CpuOptions.PhysicalAddressWidth), new() { PhysicalAddressWidth = 31 }),
            (nameof(CpuOptions.PhysicalAddressWidth), new() { PhysicalAddressWidth = 53 }),
            (nameof(CpuOptions.Shootdown), new() { Shootdown = (ShootdownMethod)2 }),
        ])
            Assert.Contains(name, Assert.Throws<ArgumentException>(() => new CpuCluster<Ram, NoSteps>(block.Port, options)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentNullException>(() => new CpuCluster<Ram, NoSteps>(block.Port, null!));
    }

    [Theory]
    [InlineData(0, 0UL)]
    [InlineData(1, 1UL)]
    [InlineData(5, 0x1FUL)]
    [InlineData(63, ulong.MaxValue >> 1)]
    [InlineData(64, ulong.MaxValue)]
    public void The_first_cores_are_those_with_the_lowest_numbers(int count, ulong bits)
    {
        CoreSet first = CoreSet.First(count);
        Assert.Equal(new CoreSet(bits), first);
        for (int core = 0; core < CoreSet.Most; core++)
        {
            Assert.Equal(core < count, first.Contains(core));
            CoreSet others = first.Without(core);
            Assert.False(others.Contains(core));
            Assert.Equal(first, core < count ? new(others.Bits | 1UL << core) : others);
        }
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(65)]
    public void There_are_64_cores_at_most(int count) => Assert.Throws<ArgumentOutOfRangeException>(() => CoreSet.First(count));
}
