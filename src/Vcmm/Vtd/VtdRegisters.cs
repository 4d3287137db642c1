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
    public const uint FaultStatus = 0x34;
    public const uint InvalidationQueueHead = 0x80;
    public const uint InvalidationQueueTail = 0x88;
    public const uint InvalidationQueueAddress = 0x90;

    /// <summary>GCMD and GSTS have the same bits; the ones that last are kept when another is written.</summary>
    public const uint TranslationEnable = 1u << 31;
    public const uint SetRootTablePointer = 1u << 30;
    public const uint QueuedInvalidationEnable = 1u << 26;
    public const uint LastingCommands = 0x96FF_FFFF;

    public const uint PrimaryFaultOverflow = 1u << 0;
    public const uint InvalidationQueueError = 1u << 4;
    public const uint InvalidationCompletionError = 1u << 5;
    public const uint InvalidationTimeOutError = 1u << 6;
    public const uint InvalidationErrors = InvalidationQueueError | InvalidationCompletionError | InvalidationTimeOutError;

    public const uint FaultRecordBytes = 16;
}

/// <summary>The parts of CAP and ECAP that the driver acts on.</summary>
/// <remarks><b>Source.</b> VT-d specification, "Capability Register" and "Extended Capability Register".</remarks>
internal readonly record struct VtdCapabilities(ulong Cap, ulong Ecap)
{
    public uint DomainCount => 1u << (4 + 2 * (int)(Cap & 0x7));

    public bool NeedsWriteBufferFlush => Bit(Cap, 4);

    public bool CachingMode => Bit(Cap, 7);

    public bool ThreeLevels => Bit(Cap, 9);

    public bool FourLevels => Bit(Cap, 10);

    /// <summary>The width of a guest address in bits.</summary>
    public int AddressBits => (int)(Cap >> 16 & 0x3F) + 1;

    public uint FaultRecordOffset => (uint)(Cap >> 24 & 0x3FF) * 16;

    public bool TwoMegabyteLeaves => Bit(Cap, 34);

    public bool OneGigabyteLeaves => Bit(Cap, 35);

    public bool PageSelectiveInvalidation => Bit(Cap, 39);

    public uint FaultRecordCount => (uint)(Cap >> 40 & 0xFF) + 1;

    public int MaximumAddressMask => (int)(Cap >> 48 & 0x3F);

    public bool WriteDraining => Bit(Cap, 54);

    public bool ReadDraining => Bit(Cap, 55);

    public bool QueuedInvalidation => Bit(Ecap, 1);

    private static bool Bit(ulong register, int bit) => (register >> bit & 1) != 0;
}
