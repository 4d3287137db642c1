using IommuSim.Cpu;
using Platform;
using Xunit.Abstractions;
using static Conformance.Simulator.RawCpu;

namespace Conformance.Simulator;

/// <summary>Whatever is in memory, in whatever order cores switch and are interrupted: an access is done or faults.</summary>
public sealed class CpuHostileTests(ITestOutputHelper output)
{
    private const int AccessCount = 100_000;

    [Theory]
    [InlineData(1, 4, ShootdownMethod.Interrupt)]
    [InlineData(2, 5, ShootdownMethod.Interrupt)]
    [InlineData(3, 4, ShootdownMethod.Broadcast)]
    public void Hostile_tables_and_instructions_cause_faults_and_nothing_else(int seed, int levels, ShootdownMethod method)
    {
        output.WriteLine($"seed {seed}");
        (CpuStatistics first, ulong hash, Dictionary<CpuOutcome, int> outcomes, PageFaultCode codes) = Run(seed, levels, method);
        output.WriteLine($"{first}");
        output.WriteLine(string.Join(' ', outcomes.OrderBy(pair => pair.Key).Select(pair => $"{pair.Key}={pair.Value}")));
        // Sometimes: everything that can happen did.
        Assert.Equal(Enum.GetValues<CpuOutcome>().Order(), outcomes.Keys.Order());
        Assert.Equal(PageFaultCode.Present | PageFaultCode.Write | PageFaultCode.User | PageFaultCode.Reserved | PageFaultCode.Fetch, codes);
        Assert.InRange(outcomes[CpuOutcome.Done], AccessCount / 10, AccessCount * 3 / 4);
        foreach (long count in (long[])[first.TlbHits, first.PagingStructureHits, first.FlagUpdates, first.PageInvalidations, first.ContextInvalidations])
            Assert.NotEqual(0, count);
        // A broadcast reaches whoever is elsewhere, too.
        Assert.Equal(method == ShootdownMethod.Interrupt, first.Deferrals != 0 && first.SwitchFlushes != 0 && first.Broadcasts == 0);

        // The same seed gives the same run.
        (CpuStatistics second, ulong again, _, _) = Run(seed, levels, method);
        Assert.Equal(first, second);
        Assert.Equal(hash, again);
    }

    private static (CpuStatistics Counts, ulong Hash, Dictionary<CpuOutcome, int> Outcomes, PageFaultCode Codes) Run(int seed, int levels, ShootdownMethod method)
    {
        var random = new Random(seed);
        using var cpu = new RawCpu(new() { CoreCount = 3, Levels = levels, TlbSets = 2, TlbWays = 2, PagingStructureEntriesPerLevel = 2, Shootdown = method, SupervisorAccessPrevention = true });
        var outcomes = new Dictionary<CpuOutcome, int>();
        PageFaultCode codes = 0;
        ulong hash = 14695981039346656037;
        byte[] buffer = new byte[64];
        for (uint space = 0; space < 2; space++) cpu.Cluster.Load(space, new(cpu.Root), new((ushort)(space + 1)));
        for (int i = 0; i < AccessCount; i++)
        {
            if (i % 100 == 0) Reset(cpu);
            if (random.Next(4) == 0) cpu.Write(Victim(random), Word(random));
            if (random.Next(8) == 0) Instruct(cpu, random);
            CpuCore<Ram, Hook> core = cpu.Cluster.Cores[random.Next(3)];
            core.AlignmentCheck = random.Next(2) == 0;
            var privilege = (CpuPrivilege)random.Next(2);
            Span<byte> span = buffer.AsSpan(0, random.Next(65));
            CpuResult result = random.Next(3) switch
            {
                0 => core.Read(Address(random), span, privilege),
                1 => core.Write(Address(random), span, privilege),
                _ => core.Fetch(Address(random), span, privilege),
            };
            outcomes[result.Outcome] = outcomes.GetValueOrDefault(result.Outcome) + 1;
            codes |= result.Code;
            hash = unchecked((hash ^ result.BytesDone ^ (ulong)result.Outcome << 32 ^ (ulong)result.Code << 40) * 1099511628211);
        }

        return (cpu.Cluster.Statistics, hash, outcomes, codes);
    }

    private static void Instruct(RawCpu cpu, Random random)
    {
        int number = random.Next(3);
        CpuCore<Ram, Hook> core = cpu.Cluster.Cores[number];
        var tag = new Pcid((ushort)random.Next(3));
        switch (random.Next(8))
        {
            case 0:
                core.Invlpg(Address(random));
                break;
            case 1:
                core.InvpcidContext(tag);
                break;
            case 2:
                core.InvpcidAddress(tag, new((ulong)random.NextInt64(0x4000)));
                break;
            case 3:
                core.LoadCr3(new((ulong)random.NextInt64(1L << 36) << 12), tag, random.Next(2) == 0);
                break;
            case 4:
                cpu.Cluster.GoIdle(number);
                break;
            case 5:
                Assert.True(cpu.Cluster.Send([new(tag, random.Next(4) == 0 ? null : IovaRange.FromLength(new((ulong)random.NextInt64(4) << 12), 4096), random.Next(2) == 0)]).IsComplete);
                break;
            default:
                Assert.True(cpu.Cluster.Enter(number, (uint)random.Next(2)));
                break;
        }
    }

    private static void Reset(RawCpu cpu)
    {
        for (int core = 0; core < 3; core++) cpu.Cluster.Enter(core, (uint)core % 2);
        for (ulong i = 0; i < 16; i++)
        {
            cpu.Write(Table5 + i * 8, Table4 | All);
            cpu.Write(Table4 + i * 8, Table3 | All);
            cpu.Write(Table3 + i * 8, Table2 | All);
            cpu.Write(Table2 + i * 8, Table1 | All);
            cpu.Write(Table1 + i * 8, FrameA | All);
        }
    }

    private static ulong Victim(Random random)
    {
        ulong index = (ulong)random.NextInt64(4) * 8;
        return random.Next(16) switch
        {
            0 => Table5 + index,
            1 => Table4 + index,
            2 => Table3 + index,
            < 6 => Table2 + index,
            _ => Table1 + index,
        };
    }

    private static ulong Word(Random random)
    {
        ulong pointer = Table5 + (ulong)random.NextInt64(8) * 4096;
        return random.Next(9) switch
        {
            0 => unchecked((ulong)random.NextInt64(long.MinValue, long.MaxValue)),
            1 => 0,
            2 => ulong.MaxValue,
            3 => pointer | (ulong)random.NextInt64(4096),
            4 => pointer | All | 1UL << random.Next(64),
            5 => MemoryBytes - 4096 + (ulong)random.NextInt64(3) * 4096 | All,
            6 => pointer | P,
            7 => pointer | P | U | Xd,
            _ => pointer | All,
        };
    }

    private static Iova Address(Random random) => new(random.Next(8) switch
    {
        0 => unchecked((ulong)random.NextInt64(long.MinValue, long.MaxValue)),
        1 => ulong.MaxValue - (ulong)random.NextInt64(128),
        2 => (1UL << 47) - (ulong)random.NextInt64(128),
        _ => (ulong)random.NextInt64(2) << 39 | (ulong)random.NextInt64(2) << 30 | (ulong)random.NextInt64(2) << 21 | (ulong)random.NextInt64(0x4000),
    });
}
