using System.Globalization;
using IommuSim.Machinery;
using Platform;

namespace IommuSim.Cpu;

/// <summary>What a core wants of memory.</summary>
public enum CpuAccess
{
    /// <summary>A data read.</summary>
    Read,

    /// <summary>A data write.</summary>
    Write,

    /// <summary>An instruction fetch.</summary>
    Fetch,
}

/// <summary>With which privilege.</summary>
/// <remarks><b>Source.</b> Intel SDM, volume 3A, "Determination of Access Rights": accesses with a CPL of 3 are user-mode accesses.</remarks>
public enum CpuPrivilege
{
    /// <summary>CPL 3.</summary>
    User,

    /// <summary>CPL below 3.</summary>
    Supervisor,
}

/// <summary>What became of an access.</summary>
public enum CpuOutcome
{
    /// <summary>It was done.</summary>
    Done,

    /// <summary>#PF, with an error code.</summary>
    PageFault,

    /// <summary>#GP: the address is not canonical.</summary>
    GeneralProtection,

    /// <summary>No memory answered: at a paging entry or at the translated address. The architecture leaves open what follows.</summary>
    NoMemory,
}

/// <summary>The error code of a page fault.</summary>
/// <remarks><b>Source.</b> Intel SDM, volume 3A, "Page-Fault Exceptions", figure "Page-Fault Error Code".</remarks>
[Flags]
public enum PageFaultCode
{
    /// <summary>A read, by a supervisor, of a page that is not present.</summary>
    None = 0,

    /// <summary>P: every entry was present; the fault is one of rights, or of a reserved bit.</summary>
    Present = 1 << 0,

    /// <summary>W/R: it was a write.</summary>
    Write = 1 << 1,

    /// <summary>U/S: it was a user-mode access.</summary>
    User = 1 << 2,

    /// <summary>RSVD: a reserved bit of a present entry was set.</summary>
    Reserved = 1 << 3,

    /// <summary>I/D: it was a fetch, where that can be told (NXE or SMEP).</summary>
    Fetch = 1 << 4,
}

/// <summary>What the translation of one address gave.</summary>
/// <param name="Outcome">Whether there is one.</param>
/// <param name="Address">Where the access goes; meaningless unless <see cref="CpuOutcome.Done"/>.</param>
/// <param name="Code">The error code of a page fault.</param>
public readonly record struct CpuTranslation(CpuOutcome Outcome, PhysAddr Address, PageFaultCode Code)
{
    /// <summary>Whether the access may go on.</summary>
    public bool Ok => Outcome == CpuOutcome.Done;

    internal static CpuTranslation At(ulong address) => new(CpuOutcome.Done, new(address), PageFaultCode.None);

    internal static CpuTranslation Fault(PageFaultCode code) => new(CpuOutcome.PageFault, default, code);
}

/// <summary>What an access came to.</summary>
/// <param name="Outcome">What became of it.</param>
/// <param name="BytesDone">How many bytes were transferred, from the first on.</param>
/// <param name="Code">The error code of a page fault.</param>
/// <param name="FaultAddress">CR2: the first address that was not transferred; meaningless if <see cref="CpuOutcome.Done"/>.</param>
public readonly record struct CpuResult(CpuOutcome Outcome, ulong BytesDone, PageFaultCode Code, Iova FaultAddress)
{
    /// <summary>Whether every byte was transferred.</summary>
    public bool Ok => Outcome == CpuOutcome.Done;
}

/// <summary>A process-context identifier: with which cached translations are tagged.</summary>
/// <param name="Value">12 bits; where cores tag nothing it is a name only, of 16 bits.</param>
public readonly record struct Pcid(ushort Value)
{
    /// <summary>The last of the architecture's.</summary>
    public const ushort Last = 0xFFF;

    /// <summary><c>pcid:0x5</c>.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"pcid:0x{Value:x}");
}

/// <summary>A translation that a core's TLB holds.</summary>
/// <param name="Pcid">The tag; 0 for a global translation, which counts under every one.</param>
/// <param name="Range">The page: 4 KiB, 2 MiB or 1 GiB.</param>
/// <param name="Address">The physical address of the page's first byte.</param>
/// <param name="Write">Whether every entry on the way grants writes.</param>
/// <param name="User">Whether every entry on the way lets user-mode accesses through.</param>
/// <param name="Execute">Whether no entry on the way forbids fetches.</param>
/// <param name="Global">Whether it outlives a change of address space.</param>
/// <param name="Dirty">Whether a write needs no look at the tables.</param>
public readonly record struct TlbEntry(Pcid Pcid, IovaRange Range, PhysAddr Address, bool Write, bool User, bool Execute, bool Global, bool Dirty);

/// <summary>An entry that a paging-structure cache holds: a pointer to a table that the core may still walk.</summary>
/// <param name="Pcid">The tag.</param>
/// <param name="Range">The addresses that the table translates.</param>
/// <param name="Table">The table.</param>
/// <param name="Level">The level of the entry: 2 is a page-directory entry, 4 a PML4 entry, 5 a PML5 entry.</param>
public readonly record struct PagingStructureEntry(Pcid Pcid, IovaRange Range, PhysAddr Table, int Level);
