using IommuSim.Machinery;
using Platform;

namespace IommuSim.Cpu;

/// <summary>How other cores are made to forget translations.</summary>
public enum ShootdownMethod
{
    /// <summary>The initiator interrupts the cores concerned; each forgets by instructions of its own and acknowledges.</summary>
    Interrupt,

    /// <summary>One instruction of the initiator reaches the caches of every core, and another waits for them; no core is interrupted.</summary>
    Broadcast,
}

/// <summary>What simulated x86-64 cores can do and how large their caches are.</summary>
/// <remarks>
/// <b>Source.</b> Intel SDM, volume 3A, "Paging", and "Control Registers". Not modelled: 32-bit paging, protection keys, linear-address
/// masking, shadow stacks, hypervisor-managed linear-address translation.
/// </remarks>
public sealed record CpuOptions
{
    /// <summary>Two cores with every feature but SMAP, and medium caches.</summary>
    public static CpuOptions Default { get; } = new();

    /// <summary>Cores: 1 … 64.</summary>
    public int CoreCount { get; init; } = 2;

    /// <summary>Levels of the tables: 4, or 5 (CR4.LA57).</summary>
    public int Levels { get; init; } = 4;

    /// <summary>Sets of each core's TLB: a power of two to 65,536, or 0 for no TLB.</summary>
    public int TlbSets { get; init; } = 16;

    /// <summary>Ways of each set: 1 … 64, or 0 for no TLB.</summary>
    public int TlbWays { get; init; } = 4;

    /// <summary>Entries of the paging-structure cache of each level (page directory and up), fully associative: 0 … 4,096; 0 for none.</summary>
    public int PagingStructureEntriesPerLevel { get; init; } = 8;

    /// <summary>MAXPHYADDR, 32 … 52 bits: the physical address bits at and above it are reserved in every entry.</summary>
    public int PhysicalAddressWidth { get; init; } = 48;

    /// <summary>Whether a page-directory-pointer entry may map a 1 GiB page (CPUID Page1GB).</summary>
    public bool Pages1G { get; init; } = true;

    /// <summary>IA32_EFER.NXE: whether bit 63 of an entry forbids fetches. Otherwise it is reserved.</summary>
    public bool ExecuteDisable { get; init; } = true;

    /// <summary>CR0.WP: whether supervisor writes need the right to write.</summary>
    public bool WriteProtect { get; init; } = true;

    /// <summary>CR4.SMEP: whether a supervisor may not fetch from user pages.</summary>
    public bool SupervisorExecutionPrevention { get; init; } = true;

    /// <summary>CR4.SMAP: whether a supervisor may read and write user pages only with EFLAGS.AC set.</summary>
    public bool SupervisorAccessPrevention { get; init; }

    /// <summary>CR4.PGE: whether a leaf with the G bit outlives a change of address space.</summary>
    public bool GlobalPages { get; init; } = true;

    /// <summary>CR4.PCIDE: whether cached translations are tagged by a PCID of 12 bits. Otherwise a change of address space forgets all but global ones.</summary>
    public bool ProcessContextIds { get; init; } = true;

    /// <summary>How other cores are made to forget.</summary>
    public ShootdownMethod Shootdown { get; init; }

    /// <summary>
    /// Whether an interrupt to a core that executes nothing is taken on the thread that sent it, before the call returns. Otherwise a core
    /// takes it only before and after what it executes, and when told to.
    /// </summary>
    public bool DeliversAtOnce { get; init; } = true;

    /// <summary>Whether CR3 can point at a table there.</summary>
    internal bool IsTable(PhysAddr root) => root.IsAligned(4096) && (root.Value & PageLevels.BitsFrom(PhysicalAddressWidth)) == 0;

    internal void Validate()
    {
        Require(CoreCount is >= 1 and <= CoreSet.Most, nameof(CoreCount), "1 to 64");
        Require(Levels is 4 or 5, nameof(Levels), "4 or 5");
        Require(TlbSets is >= 0 and <= 1 << 16 && (TlbSets & (TlbSets - 1)) == 0, nameof(TlbSets), "0 or a power of two to 65536");
        Require(TlbWays is >= 0 and <= 64, nameof(TlbWays), "0 to 64");
        Require(PagingStructureEntriesPerLevel is >= 0 and <= 4096, nameof(PagingStructureEntriesPerLevel), "0 to 4096");
        Require(PhysicalAddressWidth is >= 32 and <= 52, nameof(PhysicalAddressWidth), "32 to 52");
        Require(Enum.IsDefined(Shootdown), nameof(Shootdown), "a method");
    }

    private static void Require(bool holds, string option, string expected)
    {
        if (!holds) throw new ArgumentException($"{option} is outside its range: {expected}");
    }
}
