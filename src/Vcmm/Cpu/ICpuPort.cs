using Platform;
using Vcmm.Tables;

namespace Vcmm.Cpu;

/// <summary>What the library needs of the CPUs: that they can be pointed at a table and told to forget.</summary>
/// <remarks>
/// <para><b>Cost.</b> <see cref="Shootdown"/>, and <see cref="UnloadRoot"/>, interrupt every core and wait for all of them.</para>
/// <para><b>Threads.</b> Any number at once, but for one address space one load or unload at a time.</para>
/// </remarks>
public interface ICpuPort
{
    /// <summary>How many cores an interrupt has to reach, 1 and up.</summary>
    int CoreCount { get; }

    /// <summary>The tables that the cores walk, such as <see cref="X86FirstStage"/> with four or five levels.</summary>
    TableFormat Format { get; }

    /// <summary>How many address spaces there are; their ids are 0 … count - 1.</summary>
    uint AddressSpaceCount { get; }

    /// <summary>How many tags the cores tell apart (PCID, ASID), tag 0 included; 0: they tag nothing.</summary>
    uint TagCount { get; }

    /// <summary>The version of the hardware, as it gives it.</summary>
    uint HardwareVersion { get; }

    /// <summary>Lets the cores walk a table wherever they run in an address space.</summary>
    /// <param name="addressSpace">Which.</param>
    /// <param name="tag">Under which they cache; a name only where <see cref="TagCount"/> is 0.</param>
    /// <param name="root">The table's root page.</param>
    /// <returns><see cref="VcmmError.HardwareFailure"/>; then nothing has changed.</returns>
    VcmmError LoadRoot(StreamId addressSpace, DomainId tag, PhysAddr root);

    /// <summary>Ends that. When this returns no core walks the table, and none has anything cached of it.</summary>
    /// <param name="addressSpace">Which.</param>
    /// <param name="tag">As it was loaded.</param>
    /// <returns><see cref="VcmmError.HardwareFailure"/>; then nothing has changed.</returns>
    VcmmError UnloadRoot(StreamId addressSpace, DomainId tag);

    /// <summary>Interrupts every core once, and returns when each has forgotten all of it.</summary>
    /// <param name="flushes">At least one.</param>
    /// <returns><see cref="VcmmError.HardwareFailure"/> if a core is not known to have forgotten.</returns>
    VcmmError Shootdown(ReadOnlySpan<CpuFlush> flushes);
}

/// <summary>What cores are to forget.</summary>
/// <param name="Tag">Of which address space.</param>
/// <param name="Range">Which addresses; the whole 64-bit space where <paramref name="IsAll"/>.</param>
/// <param name="IsAll">Everything under the tag, and cached pointers to tables.</param>
/// <param name="LeavesOnly">True if cached pointers to tables may stay.</param>
public readonly record struct CpuFlush(DomainId Tag, IovaRange Range, bool IsAll, bool LeavesOnly);
