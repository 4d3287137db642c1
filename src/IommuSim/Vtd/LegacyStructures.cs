using IommuSim.Machinery;
using Platform;

namespace IommuSim;

/// <summary>Reads the structures of the legacy mode: root and context entry.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, Legacy Mode Address Translation; conditions by their names.</remarks>
internal static class LegacyStructures
{
    public static CachedContext ReadContext<TMemory, TSteps>(
        TMemory memory, TSteps steps, VtdOptions options, StreamId source, PhysAddr root)
        where TMemory : struct, IPhysicalMemory
        where TSteps : struct, ISteps
    {
        // 1. The bus number selects the root entry.
        var rootAt = new PhysAddr(root.Value | (source.Value >> 8) * RootEntry.Bytes);
        steps.At(SimStep.ContextFetch, rootAt.Value);
        if (!WideEntries.TryRead128(memory, rootAt, out ulong low, out ulong high))
            return Failed(VtdFaultReason.RootTableAddressInvalid);                                       // LRT.1
        var rootEntry = new RootEntry(low, high);
        if (!rootEntry.IsPresent) return Failed(VtdFaultReason.RootEntryNotPresent);                     // LRT.2
        if (rootEntry.HasReserved(options.HostAddressWidth)) return Failed(VtdFaultReason.RootEntryReserved);    // LRT.3

        // 2. Device and function number select the context entry in the table that it points at.
        var contextAt = new PhysAddr(rootEntry.ContextTable.Value | (source.Value & 0xFF) * ContextEntry.Bytes);
        steps.At(SimStep.ContextFetch, contextAt.Value);
        if (!WideEntries.TryRead128(memory, contextAt, out low, out high))
            return Failed(VtdFaultReason.ContextTableAddressInvalid);                                    // LCT.1
        var entry = new ContextEntry(low, high);
        return new(entry, default, IsScalable: false, entry.Check(options));                            // LCT.2 to LCT.4.2
    }

    private static CachedContext Failed(VtdFaultReason reason) => new(default, default, IsScalable: false, reason);
}
