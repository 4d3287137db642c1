namespace IommuSim;

/// <summary>Register offsets and fields. A register of 32 bits is half of the 64-bit granule that holds it.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, Register Descriptions.</remarks>
internal static class VtdRegisters
{
    public const uint PageBytes = 0x1000;

    /// <summary>VER_REG: architecture version 1.0.</summary>
    public const uint Version = 0x00;

    public const uint Capability = 0x08;
    public const uint ExtendedCapability = 0x10;

    /// <summary>GCMD_REG in the low half, GSTS_REG (0x1C) in the high half.</summary>
    public const uint GlobalCommand = 0x18;

    public const uint RootTableAddress = 0x20;
    public const uint ContextCommand = 0x28;

    /// <summary>FSTS_REG (0x34) in the high half.</summary>
    public const uint FaultStatus = 0x30;

    /// <summary>FECTL_REG in the low half, FEDATA_REG (0x3C) in the high half.</summary>
    public const uint FaultEventControl = 0x38;

    /// <summary>FEADDR_REG in the low half, FEUADDR_REG (0x44) in the high half.</summary>
    public const uint FaultEventAddress = 0x40;

    public const uint QueueHead = 0x80;
    public const uint QueueTail = 0x88;
    public const uint QueueAddress = 0x90;

    /// <summary>ICS_REG (0x9C) in the high half.</summary>
    public const uint CompletionStatus = 0x98;

    /// <summary>IECTL_REG in the low half, IEDATA_REG (0xA4) in the high half.</summary>
    public const uint CompletionEventControl = 0xA0;

    /// <summary>IEADDR_REG in the low half, IEUADDR_REG (0xAC) in the high half.</summary>
    public const uint CompletionEventAddress = 0xA8;

    /// <summary>IQERCD_REG.</summary>
    public const uint QueueErrorRecord = 0xB0;

    public const uint PageRequestHead = 0xC0;
    public const uint PageRequestTail = 0xC8;
    public const uint PageRequestAddress = 0xD0;

    /// <summary>PRS_REG (0xDC) in the high half.</summary>
    public const uint PageRequestStatus = 0xD8;

    /// <summary>PECTL_REG in the low half, PEDATA_REG (0xE4) in the high half.</summary>
    public const uint PageRequestEventControl = 0xE0;

    /// <summary>PEADDR_REG in the low half, PEUADDR_REG (0xEC) in the high half.</summary>
    public const uint PageRequestEventAddress = 0xE8;

    /// <summary>IVA_REG, at ECAP.IRO.</summary>
    public const uint InvalidateAddress = 0xF0;

    /// <summary>IOTLB_REG, 8 bytes on.</summary>
    public const uint InvalidateCommand = 0xF8;

    /// <summary>The first FRCD_REG, at CAP.FRO.</summary>
    public const uint FaultRecords = 0x220;

    // GCMD_REG and GSTS_REG.
    public const uint TranslationEnable = 1u << 31;
    public const uint SetRootTablePointer = 1u << 30;
    public const uint QueuedInvalidationEnable = 1u << 26;

    // FSTS_REG.
    public const uint PrimaryFaultOverflow = 1u << 0;
    public const uint PrimaryPendingFault = 1u << 1;
    public const uint InvalidationQueueError = 1u << 4;
    public const uint InvalidationCompletionError = 1u << 5;
    public const uint InvalidationTimeoutError = 1u << 6;

    /// <summary>ICS_REG.IWC.</summary>
    public const uint WaitCompleted = 1u << 0;

    // PRS_REG.
    public const uint PendingPageRequest = 1u << 0;
    public const uint PageRequestOverflow = 1u << 1;

    /// <summary>CCMD_REG.ICC and IOTLB_REG.IVT: the command bit, clear when the command is done; FRCD_REG.F likewise.</summary>
    public const ulong Bit63 = 1UL << 63;
}
