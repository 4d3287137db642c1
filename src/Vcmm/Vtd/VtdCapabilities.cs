namespace Vcmm.Vtd;

/// <summary>The parts of CAP and ECAP that the driver acts on.</summary>
/// <remarks><b>Source.</b> VT-d specification, "Capability Register" and "Extended Capability Register".</remarks>
internal readonly record struct VtdCapabilities(ulong Cap, ulong Ecap)
{
    public uint DomainCount => 1u << (4 + 2 * (int)(Cap & 0x7));

    public bool NeedsWriteBufferFlush => Bit(Cap, 4);

    public bool CachingMode => Bit(Cap, 7);

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

    public bool FirstStageOneGigabyteLeaves => Bit(Cap, 56);

    public bool FirstStageFiveLevels => Bit(Cap, 60);

    public bool QueuedInvalidation => Bit(Ecap, 1);

    /// <summary>Whether the messages of interrupts have addresses of 64 bits.</summary>
    public bool ExtendedInterruptMode => Bit(Ecap, 4);

    /// <summary>Where IVA and behind it IOTLB are.</summary>
    public uint InvalidationRegisterOffset => (uint)(Ecap >> 8 & 0x3FF) * 16;

    public bool DeviceTlbs => Bit(Ecap, 2);

    /// <summary>Whether an entry may let requests go untranslated.</summary>
    public bool PassThrough => Bit(Ecap, 6);

    /// <summary>The widest address of those that entries can name, in levels of tables: SAGAW.</summary>
    public int MostSecondStageLevels => SecondStageLevels(5) ? 5 : SecondStageLevels(4) ? 4 : 3;

    /// <summary>Whether first-stage tables may be translated by second-stage ones.</summary>
    public bool Nesting => Bit(Ecap, 26);

    /// <summary>Page requests, and that a wait can drain those on their way.</summary>
    public bool PageRequests => DeviceTlbs && Bit(Ecap, 29) && Bit(Ecap, 42);

    /// <summary>Requests that ask for execute permission.</summary>
    public bool ExecuteRequests => Bit(Ecap, 30);

    /// <summary>Requests with supervisor privilege.</summary>
    public bool SupervisorRequests => Bit(Ecap, 31);

    /// <summary>How many address spaces a PASID can name; 0 where requests with a PASID are blocked.</summary>
    public uint PasidCount => Bit(Ecap, 40) ? 1u << ((int)(Ecap >> 35 & 0x1F) + 1) : 0;

    public bool ScalableMode => Bit(Ecap, 43);

    /// <summary>Accessed and Dirty bits in second-stage tables.</summary>
    public bool SecondStageAccessedDirty => Bit(Ecap, 45);

    public bool SecondStage => Bit(Ecap, 46);

    public bool FirstStage => Bit(Ecap, 47);

    /// <summary>Whether walks of the tables that a PASID entry points at can snoop the processor's caches.</summary>
    public bool PageWalkSnoop => Bit(Ecap, 48);

    /// <summary>Whether second-stage tables may have so many levels: SAGAW.</summary>
    /// <param name="levelCount">3, 4 or 5.</param>
    public bool SecondStageLevels(int levelCount) => Bit(Cap, 8 + levelCount - 2);

    private static bool Bit(ulong register, int bit) => (register >> bit & 1) != 0;
}
