using IommuSim.Machinery;
using Platform;

namespace IommuSim.ScalableMode;

/// <summary>What RTADDR_REG said when the root table pointer was last set.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, Root Table Address Register.</remarks>
internal readonly record struct RootPointer(ulong Bits)
{
    private const ulong Reserved = 0x3FF;

    /// <summary>TTM: 0 legacy, 1 scalable, 2 reserved, 3 abort-dma.</summary>
    public int Mode => (int)(Bits >> 10 & 3);

    public bool IsScalable => Mode == 1;

    public PhysAddr Table => new(Bits & PageLevels.FrameMask);

    /// <summary>Whether the unit has the mode.</summary>
    public bool IsModeValid(VtdOptions options) => Mode switch { 0 => true, 1 => options.ScalableMode, 3 => options.AbortDma, _ => false };

    /// <summary>Whether every request is blocked, whatever the tables say.</summary>
    public bool IsAbort => Mode == 3;

    /// <summary>The fault that every request of its kind gets; None if the root table can be used.</summary>
    public VtdFaultReason Check(VtdOptions options, bool hasPasid)
    {
        if (!IsModeValid(options) || (Bits & Reserved) != 0) return VtdFaultReason.RootTableAddressMisprogrammed;    // RTA.1
        if (IsAbort) return VtdFaultReason.AbortDma;                                                                 // RTA.4
        return hasPasid && !IsScalable ? VtdFaultReason.PasidInLegacyMode : VtdFaultReason.None;                     // RTA.2
    }
}

/// <summary>Reads the structures of the scalable mode: root, context, PASID directory, PASID table.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, Scalable Mode Address Translation; fault conditions by their names.</remarks>
internal static class ScalableStructures
{
    private const uint LowerHalfDevices = 128;

    public static CachedContext ReadContext<TMemory, TSteps>(
        TMemory memory, TSteps steps, VtdOptions options, StreamId source, PhysAddr root)
        where TMemory : struct, IPhysicalMemory
        where TSteps : struct, ISteps
    {
        // 1. The bus number selects the root entry, bit 7 of device and function number its half.
        var rootAt = new PhysAddr(root.Value | (source.Value >> 8) * ScalableRootHalf.EntryBytes);
        uint function = source.Value & 0xFF;
        bool isUpper = function >= LowerHalfDevices;
        steps.At(SimStep.ContextFetch, rootAt.Value);
        if (!WideEntries.TryRead128(memory, rootAt, out ulong low, out ulong high))
            return Failed(VtdFaultReason.ScalableRootEntryUnreachable);                                  // SRT.1
        var half = new ScalableRootHalf(isUpper ? high : low);
        if (!half.IsPresent) return Failed(VtdFaultReason.ScalableRootEntryNotPresent);                  // SRT.2
        if (half.HasReserved(options.HostAddressWidth)) return Failed(VtdFaultReason.ScalableRootEntryReserved);    // SRT.3

        // 2. The other bits of device and function number select the context entry.
        var contextAt = new PhysAddr(half.ContextTable.Value | function % LowerHalfDevices * ScalableContextEntry.Bytes);
        Span<ulong> words = stackalloc ulong[ScalableContextEntry.Words];
        steps.At(SimStep.ContextFetch, contextAt.Value);
        if (!WideEntries.TryReadWords(memory, contextAt, words)) return Failed(VtdFaultReason.ScalableContextEntryUnreachable);    // SCT.1
        var entry = new ScalableContextEntry(words[0], words[1], words[2] | words[3]);
        return new(default, entry, IsScalable: true, entry.Check(options));                              // SCT.2 to SCT.4
    }

    public static CachedPasid ReadPasid<TMemory, TSteps>(
        TMemory memory, TSteps steps, VtdOptions options, PhysAddr directory, Pasid pasid)
        where TMemory : struct, IPhysicalMemory
        where TSteps : struct, ISteps
    {
        // 1. Bits 19:6 of the PASID select the directory entry.
        PhysAddr directoryAt = PasidDirectoryEntry.EntryAddress(directory, pasid);
        steps.At(SimStep.PasidFetch, directoryAt.Value);
        if (!memory.TryRead64(directoryAt, out ulong bits))
            // Survives as `true`: equivalent, it is a fault that FPD does not silence
            return new(default, VtdFaultReason.PasidDirectoryEntryUnreachable, false);                   // SPD.1
        var pointer = new PasidDirectoryEntry(bits);
        bool isSilent = pointer.FaultProcessingDisabled;
        if (!pointer.IsPresent) return new(default, VtdFaultReason.PasidDirectoryEntryNotPresent, isSilent);    // SPD.2
        if (pointer.HasReserved(options.HostAddressWidth))
            return new(default, VtdFaultReason.PasidDirectoryEntryReserved, isSilent);                   // SPD.3

        // 2. Bits 5:0 select the table entry.
        PhysAddr entryAt = PasidTableEntry.EntryAddress(pointer.Table, pasid);
        Span<ulong> words = stackalloc ulong[PasidTableEntry.Words];
        steps.At(SimStep.PasidFetch, entryAt.Value);
        if (!WideEntries.TryReadWords(memory, entryAt, words))
            return new(default, VtdFaultReason.PasidEntryUnreachable, isSilent);                         // SPT.1
        var entry = new PasidTableEntry(words[0], words[1], words[2], words[3] | words[4] | words[5] | words[6] | words[7]);
        return new(entry, entry.Check(options), isSilent || entry.FaultProcessingDisabled);              // SPT.2 to SPT.4
    }

    private static CachedContext Failed(VtdFaultReason reason) => new(default, default, IsScalable: true, reason);
}
