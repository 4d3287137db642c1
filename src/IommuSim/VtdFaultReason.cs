namespace IommuSim;

/// <summary>Why a request was blocked, by the numbers of the fault reason field.</summary>
/// <remarks>
/// <b>Source.</b> Intel VT-d specification, Non-Recoverable Address Translation Faults and the appendix Fault Reason
/// Encodings; the fault conditions of legacy mode stand in brackets.
/// </remarks>
public enum VtdFaultReason : byte
{
    /// <summary>No fault was found by the IOMMU.</summary>
    None = 0x0,

    /// <summary>The root entry is not present (LRT.2).</summary>
    RootEntryNotPresent = 0x1,

    /// <summary>The context entry is not present (LCT.2).</summary>
    ContextEntryNotPresent = 0x2,

    /// <summary>
    /// The context entry is programmed wrongly: an unsupported address width (LCT.4.1) or translation type (LCT.4.2), or a
    /// table pointer where the first paging entry cannot be fetched (LCT.4.3).
    /// </summary>
    ContextEntryInvalid = 0x3,

    /// <summary>The address is wider than the unit (MGAW) or the device's tables (AGAW) allow (LGN.1).</summary>
    AddressBeyondMgaw = 0x4,

    /// <summary>A write without permission, or through an entry that is not present (LGN.2).</summary>
    Write = 0x5,

    /// <summary>A read without permission, or through an entry that is not present (LGN.3).</summary>
    Read = 0x6,

    /// <summary>A paging entry below the first level of the walk cannot be fetched (LSL.1).</summary>
    NextTablePointerInvalid = 0x7,

    /// <summary>The root entry cannot be fetched (LRT.1), or the root table address register has reserved bits set.</summary>
    RootTableAddressInvalid = 0x8,

    /// <summary>The context entry cannot be fetched (LCT.1).</summary>
    ContextTableAddressInvalid = 0x9,

    /// <summary>A present root entry has reserved bits set (LRT.3).</summary>
    RootEntryReserved = 0xA,

    /// <summary>A present context entry has reserved bits set (LCT.3).</summary>
    ContextEntryReserved = 0xB,

    /// <summary>A present paging entry has reserved bits set (LSL.2): a misaligned or unsupported large page among others.</summary>
    PagingEntryReserved = 0xC,

    /// <summary>The translated address lies in the interrupt address range 0xFEEx_xxxx (LGN.4).</summary>
    InterruptAddressOutput = 0xE,
}

internal static class VtdFaultReasons
{
    /// <summary>
    /// Whether the fault-processing-disable bit of the context entry silences the fault: those found before a context
    /// entry was in hand are always reported.
    /// </summary>
    public static bool IsQualified(this VtdFaultReason reason) => reason is not (
        VtdFaultReason.RootEntryNotPresent or VtdFaultReason.RootTableAddressInvalid
        or VtdFaultReason.ContextTableAddressInvalid or VtdFaultReason.RootEntryReserved);

    /// <summary>The reason given to <paramref name="access"/> for a cached fault: an absent entry is told by the kind of access.</summary>
    public static VtdFaultReason For(this VtdFaultReason reason, DeviceAccess access) =>
        reason is VtdFaultReason.Read or VtdFaultReason.Write ? Denied(access) : reason;

    public static VtdFaultReason Denied(DeviceAccess access) =>
        access == DeviceAccess.Write ? VtdFaultReason.Write : VtdFaultReason.Read;
}
