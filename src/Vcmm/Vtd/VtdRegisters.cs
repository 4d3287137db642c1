namespace Vcmm.Vtd;

/// <summary>Register offsets and bits, by their architectural names.</summary>
/// <remarks><b>Source.</b> Intel Virtualization Technology for Directed I/O, "Register Descriptions".</remarks>
internal static class VtdRegisters
{
    public const uint Version = 0x00;
    public const uint Capability = 0x08;
    public const uint ExtendedCapability = 0x10;
    public const uint GlobalCommand = 0x18;
    public const uint GlobalStatus = 0x1C;
    public const uint RootTableAddress = 0x20;
    public const uint ContextCommand = 0x28;
    public const uint FaultStatus = 0x34;
    public const uint FaultEventControl = 0x38;
    public const uint InvalidationQueueHead = 0x80;
    public const uint InvalidationQueueTail = 0x88;
    public const uint InvalidationQueueAddress = 0x90;
    public const uint CompletionStatus = 0x9C;
    public const uint CompletionEventControl = 0xA0;

    public const uint PageRequestQueueHead = 0xC0;
    public const uint PageRequestQueueTail = 0xC8;
    public const uint PageRequestQueueAddress = 0xD0;
    public const uint PageRequestStatus = 0xDC;
    public const uint PageRequestEventControl = 0xE0;

    /// <summary>GCMD and GSTS have the same bits; the ones that last are kept when another is written.</summary>
    public const uint TranslationEnable = 1u << 31;
    public const uint SetRootTablePointer = 1u << 30;
    public const uint QueuedInvalidationEnable = 1u << 26;
    public const uint LastingCommands = 0x96FF_FFFF;

    public const uint PrimaryFaultOverflow = 1u << 0;
    public const uint PrimaryPendingFault = 1u << 1;
    public const uint InvalidationQueueError = 1u << 4;
    public const uint InvalidationCompletionError = 1u << 5;
    public const uint InvalidationTimeOutError = 1u << 6;
    public const uint InvalidationErrors = InvalidationQueueError | InvalidationCompletionError | InvalidationTimeOutError;

    /// <summary>What in FSTS a fault event is about.</summary>
    public const uint FaultEvents = PrimaryFaultOverflow | PrimaryPendingFault | InvalidationErrors;

    /// <summary>ICS.IWC.</summary>
    public const uint WaitCompleted = 1u << 0;

    public const uint FaultRecordBytes = 16;

    public const uint PendingPageRequest = 1u << 0;
    public const uint PageRequestOverflow = 1u << 1;

    /// <summary>RTADDR.TTM 01b: scalable mode. The field is 00b in legacy mode.</summary>
    public const ulong ScalableTranslation = 1UL << 10;
    public const ulong TranslationTableMode = 3UL << 10;

    /// <summary>IQA.DW: descriptors of 256 bits.</summary>
    public const ulong WideDescriptors = 1UL << 11;
}
