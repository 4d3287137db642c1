using Harness.Passing;
using Harness.Running;
using Harness.Scenarios;
using IommuSim.Cpu;
using Platform;
using Vcmm;
using Vcmm.Cpu;
using Vcmm.Spec;
using Vcmm.Tables;

namespace Properties.Sequences;

/// <summary>What can be wrong between a region and the cores, and between the devices of a region and a CPU that it does not have.</summary>
internal static class PlantedCpuFaults
{
    private static readonly Topology TwoCores = new() { Cores = 2, Processes = 1 };

    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        new("a shootdown that misses one core", Invariant.NoStaleAccess, 7,
            new() { Cpus = static (memory, options) => new MissesCore(memory, options) })
        {
            Topology = TwoCores,
            // Where the call ends the memory, or a table, too.
            OrElse = Invariant.FrameSafety,
        },
        new("an idle core that never forgets", Invariant.NoStaleAccess, 10,
            new() { Cpus = static (memory, options) => new KeepsWhenIdle(memory, options) })
        {
            Topology = TwoCores,
            OrElse = Invariant.FrameSafety,
        },
        new("a process that keeps its table", Invariant.Isolation, 4,
            new() { Cpus = static (memory, options) => new StaysLoaded(memory, options) }) { Topology = TwoCores },
        new("a shootdown of the first page only", Invariant.NoStaleAccess, 8,
            new() { CpuIommu = static iommu => new FirstPages(iommu) })
        {
            Topology = TwoCores,
            OrElse = Invariant.FrameSafety,
        },
        new("a back for devices that writes the table of the CPU", Invariant.OneSided, 8, TouchesCpu(writesTable: true)) { Topology = TwoCores with { Devices = 2 } },
        new("an unback for devices that makes cores forget", Invariant.OneSided, 11, TouchesCpu(writesTable: false)) { Topology = TwoCores with { Devices = 2 } },
    ];

    private static SubjectParts TouchesCpu(bool writesTable)
    {
        var cpu = new Reached();
        return new()
        {
            Cpus = cpu.Start,
            Iommu = iommu => writesTable ? new OtherTables(iommu, table => new WritesCpuTable(table, cpu)) : new MakesCoresForget(iommu, cpu),
        };
    }

    private sealed class MissesCore(Ram memory, CpuOptions options) : SimulatedCpus(memory, options)
    {
        public override VcmmError Shootdown(ReadOnlySpan<CpuFlush> flushes) => Shootdown(flushes, Cluster.AllCores.Without(CoreCount - 1));
    }

    /// <summary>The core goes on with what it has, whatever was to be forgotten meanwhile.</summary>
    private sealed class KeepsWhenIdle(Ram memory, CpuOptions options) : SimulatedCpus(memory, options)
    {
        private readonly HashSet<int> _idle = [];

        public override void GoIdle(int core)
        {
            _idle.Add(core);
            base.GoIdle(core);
        }

        public override bool Enter(int core, uint process)
        {
            if (!_idle.Remove(core) || !Loaded.TryGetValue(process, out (Pcid Tag, PhysAddr Root) table)) return base.Enter(core, process);
            if (Cluster.Cores[core].Cr3 != (table.Root, table.Tag)) return base.Enter(core, process);
            Cluster.Cores[core].LoadCr3(table.Root, table.Tag, keep: true);
            return true;
        }
    }

    private sealed class StaysLoaded(Ram memory, CpuOptions options) : SimulatedCpus(memory, options)
    {
        public override VcmmError UnloadRoot(StreamId addressSpace, DomainId tag) => VcmmError.None;
    }

    private sealed class FirstPages(IIommu inner) : PassingIommu(inner)
    {
        public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands) =>
            Inner.Invalidate([.. commands.ToArray().Select(static command => command with { Range = IovaRange.FromLength(command.Range.First, World.PageBytes) })]);
    }

    /// <summary>The CPU, for those that have no business with it.</summary>
    private sealed class Reached
    {
        public Ram Memory { get; private set; }

        public SimulatedCpus? Cpus { get; private set; }

        public SimulatedCpus Start(Ram memory, CpuOptions options)
        {
            Memory = memory;
            return Cpus = new(memory, options);
        }
    }

    private sealed class WritesCpuTable(IPageTable inner, Reached cpu) : PassingTable(inner)
    {
        public override void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, TablePagePool pages)
        {
            Inner.Map(first, segments, attributes, pages);
            // The last entry of the top table is absent: what else it holds is nobody's.
            foreach ((_, PhysAddr root) in cpu.Cpus?.Loaded.Values ?? []) cpu.Memory.Write64(root + 0xFF8, cpu.Memory.Read64(root + 0xFF8) ^ 2);
        }
    }

    private sealed class MakesCoresForget(IIommu inner, Reached cpu) : PassingIommu(inner)
    {
        public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
        {
            foreach ((Pcid tag, _) in cpu.Cpus?.Loaded.Values ?? []) cpu.Cpus!.Cluster.Send([new(tag, null)]);
            return Inner.Invalidate(commands);
        }
    }
}
