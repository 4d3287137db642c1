using System.Collections.Immutable;
using CsCheck;
using Harness.Operations;
using Harness.Scenarios;

namespace Harness.Generating;

/// <summary>How scenarios are to look.</summary>
public sealed record ScenarioShape
{
    /// <summary>What the simulator is generated: any machine.</summary>
    public static ScenarioShape Any { get; } = new();

    /// <summary>The same, with a CPU.</summary>
    public static ScenarioShape WithCpu { get; } = Any with { HasCpu = true };

    /// <summary>The most steps that a scenario has.</summary>
    public int MaxSteps { get; init; } = 60;

    /// <summary>Of 1,000 steps that something can go wrong in, how many have a mishap.</summary>
    public int MishapsPerMille { get; init; } = 60;

    /// <summary>Whether the hardware is made to fail, too.</summary>
    public bool HardwareFails { get; init; } = true;

    /// <summary>The machine, if it must be this one.</summary>
    public Topology? Topology { get; init; }

    /// <summary>Whether every machine has a CPU. The others have the scenarios that they have without this.</summary>
    public bool HasCpu { get; init; }

    /// <summary>Whether some machines are eager, or walk without coherence. The others have the scenarios that they have without this.</summary>
    public bool VariesEagerness { get; init; }

    /// <summary>Whether, though the machine must be that one, the library is set up in different ways on it.</summary>
    public bool VariesSetup { get; init; }

    /// <summary>Whether chunks of 2 MiB are used: filling them takes time on a machine that is reached through a socket.</summary>
    public bool LargeChunks { get; init; } = true;
}

/// <summary>Scenarios of one thread: small worlds, in which everything meets everything.</summary>
/// <param name="shape">How they are to look.</param>
public sealed class ScenarioGen(ScenarioShape shape) : Gen<Scenario>
{
    private const ulong ModeStream = 0x5CA1_AB1E, DeviceStream = 0xDE_71CE, CpuStream = 0xC0_4E5, EagerStream = 0xEA_6E12, QueueStream = 0x90_E0E5, PassStream = 0x9A55_ED, NestStream = 0x9E57_ED, EventStream = 0xE4_E274;

    /// <inheritdoc/>
    public override Scenario Generate(PCG pcg, Size? min, out Size size)
    {
        Scenario scenario = Generate(pcg);
        size = new((ulong)scenario.Steps.Length);
        return scenario;
    }

    /// <summary>The scenario that a seed stands for.</summary>
    /// <param name="seed">Of the run.</param>
    /// <param name="index">Which scenario of the run: 0 ….</param>
    public Scenario Generate(ulong seed, uint index) => Generate(new PCG(index, seed));

    private Scenario Generate(PCG pcg)
    {
        // From a stream of its own, so that the scenarios in legacy mode are the same whatever others there are.
        var modes = new PCG(pcg.Stream, pcg.Seed ^ ModeStream);
        RemappingMode mode = modes.Next(3) == 0 ? RemappingMode.Scalable : RemappingMode.Legacy;
        bool tracksUse = mode == RemappingMode.Scalable && modes.Next(3) != 0;
        // Some units have less.
        bool lacksFirstStage = mode == RemappingMode.Scalable && modes.Next(10) == 0, lacksPasids = mode == RemappingMode.Scalable && modes.Next(10) == 0;
        Topology topology = shape.Topology ?? WithKinds(new PCG(pcg.Stream, pcg.Seed ^ DeviceStream), Machine(pcg) with { Mode = mode, TracksUse = tracksUse, FirstStage = !lacksFirstStage, Pasids = !lacksPasids });
        if (shape.Topology is null) topology = WithQueue(new(pcg.Stream, pcg.Seed ^ QueueStream), topology);
        // Some units let nothing through.
        if (shape.Topology is null) topology = topology with { PassThrough = new PCG(pcg.Stream, pcg.Seed ^ PassStream).Next(8) != 0 };
        // Others do not nest.
        if (shape.Topology is null) topology = topology with { Nesting = topology is { IsScalable: true, FirstStage: true, Levels: 4 } && new PCG(pcg.Stream, pcg.Seed ^ NestStream).Next(4) != 0 };
        if (shape.HasCpu && shape.Topology is null) topology = AddCpu(new(pcg.Stream, pcg.Seed ^ CpuStream), topology);
        if (shape.VariesEagerness && shape.Topology is null) topology = WithEagerness(new(pcg.Stream, pcg.Seed ^ EagerStream), topology);
        if (shape.Topology is null) topology = topology with { Events = EventsFor(new(pcg.Stream, pcg.Seed ^ EventStream)) };
        if (shape.Topology is null || shape.VariesSetup) topology = SetUp(pcg, topology);
        var writer = new OperationWriter(pcg, topology, shape);
        int count = 4 + (int)pcg.Next((uint)shape.MaxSteps - 3);
        ImmutableArray<Step>.Builder steps = ImmutableArray.CreateBuilder<Step>();
        steps.AddRange(writer.Begin());
        steps.AddRange(writer.BeginCpu());
        while (steps.Count < count)
        {
            steps.Add(writer.Next());
            if (writer.Between() is { } between && steps.Count < count) steps.Add(between);
            // None of the others has to make room.
            foreach (Step? beside in (Step?[])[writer.Beside(steps), writer.Across(), writer.Wildly(steps), writer.Changing(), writer.Passing(), .. writer.Nesting()])
            {
                if (beside is null) continue;
                steps.Add(beside);
                count++;
            }
        }

        return new(topology, steps.ToImmutable());
    }

    /// <summary>What the devices are: in half of the machines nothing but plain ones.</summary>
    private static Topology WithKinds(PCG pcg, Topology machine)
    {
        if (pcg.Next(2) == 0) return machine;
        return machine with { Devices = new([.. machine.Devices.Select(_ => KindFor(pcg, machine.IsScalable))]) };
    }

    /// <summary>A quarter of the machines that can do without an invalidation queue has none.</summary>
    private static Topology WithQueue(PCG pcg, Topology machine) =>
        machine with { QueuedInvalidation = machine.IsScalable || machine.Devices.HaveTlbs || pcg.Next(4) != 0 };

    /// <summary>On half of the machines software waits for interrupts.</summary>
    private static EventUse EventsFor(PCG pcg) => pcg.Next(4) switch { 0 => EventUse.Dispatched, 1 => EventUse.Handled, _ => EventUse.Polled };

    private static DeviceKind KindFor(PCG pcg, bool isScalable) => pcg.Next(9) switch
    {
        0 => DeviceKind.Plain,
        1 => DeviceKind.Direct,
        2 => DeviceKind.Ats,
        3 => isScalable ? DeviceKind.Paging : DeviceKind.Ats,
        4 => DeviceKind.Queue,
        5 => DeviceKind.ScatterGather,
        6 => DeviceKind.Wild,
        _ => isScalable ? DeviceKind.Paging : DeviceKind.Plain,
    };

    /// <summary>In a quarter of the machines the IOMMU is eager, in an eighth its walks are not coherent: both cost time.</summary>
    /// <remarks>
    /// Of 187 eager machines 66 ever fetched something, which is as many as in which a device has anything to see: 655 of 2000 sequences. At
    /// 5, 20 and 100 % a sequence took 1.7, 1.8 and 4.2 times as long, where walks are not coherent 1.9 times.
    /// </remarks>
    private static Topology WithEagerness(PCG pcg, Topology machine) => machine with
    {
        Eagerness = pcg.Next(4) == 0 ? One(pcg, 5, 20, 100) : 0,
        CoherentWalk = pcg.Next(8) != 0 || machine.Cores != 0,
    };

    private static int One(PCG pcg, params ReadOnlySpan<int> values) => values[(int)pcg.Next((uint)values.Length)];

    /// <summary>How the library is set up: what it lets wait, how it gives addresses, which memory it has.</summary>
    private static Topology SetUp(PCG pcg, Topology machine)
    {
        // At the first nothing ever waits.
        int flushAtCount = pcg.Next(6) == 0 ? 1 : 2 + (int)pcg.Next(4) / 3;
        if (pcg.Next(3) == 0) machine = machine with { Banks = Banks(pcg, machine.MemoryMiB) };
        return machine with { RangeCache = pcg.Next(3) != 0, FlushAtCount = flushAtCount, FlushCapacity = flushAtCount + (int)pcg.Next(3) };
    }

    /// <summary>A small bank first, so that it is full soon; others of the same type or of another.</summary>
    private static BankList Banks(PCG pcg, int memoryMiB)
    {
        var banks = new BankShape[1 + pcg.Next(3)];
        for (int i = 0; i < banks.Length; i++)
            banks[i] = new(i == 0 ? 1 : Math.Max(1, memoryMiB / banks.Length), (int)pcg.Next(2), pcg.Next(2) == 0);
        return new(banks);
    }

    private static Topology AddCpu(PCG pcg, Topology machine) => machine with
    {
        Cores = 1 + (int)pcg.Next(3),
        Processes = 1 + (int)pcg.Next(2),
        TlbSets = pcg.Next(8) == 0 ? 0 : 1 << (int)pcg.Next(4),
        TlbWays = 1 + (int)pcg.Next(4),
        Pcids = pcg.Next(4) != 0,
        BroadcastShootdown = pcg.Next(4) == 0,
    };

    private Topology Machine(PCG pcg) => new()
    {
        Devices = 1 + (int)pcg.Next(3),
        MemoryMiB = pcg.Next(4) == 0 ? 1 : shape.LargeChunks ? 12 : 4,
        Levels = pcg.Next(3) == 0 ? 3 : 4,
        Pages2M = pcg.Next(4) != 0,
        CachingMode = pcg.Next(4) == 0,
        IotlbSets = pcg.Next(8) == 0 ? 0 : 1 << (int)pcg.Next(5),
        IotlbWays = 1 + (int)pcg.Next(4),
        WalkCache = (int)pcg.Next(6),
        ContextCache = (int)pcg.Next(4),
        FaultRecords = pcg.Next(3) == 0 ? 1 << (int)pcg.Next(5) : 222,
    };
}
