using System.Text.Json.Serialization;
using Harness.Running;
using IommuSim;
using IommuSim.Cpu;
using Vcmm.Spec;

namespace Harness.Scenarios;

// The CPU.
public sealed partial record Topology
{
    /// <summary>Cores <c>c0</c> …: 0 … 8; 0: the machine has no CPU that regions can be associated with.</summary>
    public int Cores { get; init; }

    /// <summary>Processes <c>p0</c> …: address spaces of the CPU: 0 … 4.</summary>
    public int Processes { get; init; }

    /// <summary>Sets of each core's TLB: a power of two to 1,024, or 0.</summary>
    public int TlbSets { get; init; } = 4;

    /// <summary>Ways of each set: 0 … 16. The paging-structure caches have as many entries as the IOMMU's walk caches.</summary>
    public int TlbWays { get; init; } = 2;

    /// <summary>Whether cores tag what they cache by process.</summary>
    public bool Pcids { get; init; } = true;

    /// <summary>Whether a shootdown is a broadcast and not an interrupt.</summary>
    public bool BroadcastShootdown { get; init; }

    /// <summary>The cores' options.</summary>
    public CpuOptions ToCpuOptions() => CpuOptions.Default with
    {
        CoreCount = Cores,
        TlbSets = TlbSets,
        TlbWays = TlbWays,
        PagingStructureEntriesPerLevel = WalkCache,
        // As the IOMMU's first-stage tables: so a process and devices can have one.
        Pages1G = Pages2M,
        ProcessContextIds = Pcids,
        Shootdown = BroadcastShootdown ? ShootdownMethod.Broadcast : ShootdownMethod.Interrupt,
    };

    /// <summary>The model of the CPU.</summary>
    /// <remarks><b>Source.</b> Intel SDM, volume 3A, "4-Level Paging and 5-Level Paging": 48 bits, of which the lower half is a process's; what is present can be read.</remarks>
    public CpuModel ToCpuModel() => new(Cores, Processes, TableKinds.Describe(TableKind.FirstStage, VtdOptions.Default));

    [JsonIgnore]
    private string CpuOutline => Cores == 0 ? "" : $", {Cores} core{(Cores == 1 ? "" : "s")}{(Pcids ? "" : " without PCIDs")}, {Processes} process{(Processes == 1 ? "" : "es")}{(BroadcastShootdown ? ", shootdown by broadcast" : "")}";

    private void ValidateCpu()
    {
        Require(Cores is >= 0 and <= 8, nameof(Cores), Cores, "0 to 8");
        Require(Processes >= 0 && Processes <= (Cores == 0 ? 0 : 4), nameof(Processes), Processes, "0 to 4, and 0 without cores");
        Require(TlbSets is >= 0 and <= 1024 && (TlbSets & (TlbSets - 1)) == 0, nameof(TlbSets), TlbSets, "0 or a power of two to 1024");
        Require(TlbWays is >= 0 and <= 16, nameof(TlbWays), TlbWays, "0 to 16");
    }
}
