using IommuSim.Machinery;
using Platform;

namespace Properties.Machinery;

/// <summary>
/// A ring as one of four interfaces has it, and where software that counts entries finds things in it. Written from the documents, and not
/// with what it tests.
/// </summary>
/// <remarks>
/// <b>Source.</b> Intel VT-d specification, Queued Invalidation Interface, Page Request Queue. Arm SMMUv3 architecture specification (IHI 0070),
/// 3.5.1 SMMU circular queues; entries of 16 bytes in CMDQ and PRIQ, 32 in EVENTQ. RISC-V IOMMU specification 1.0, In-memory queue interface;
/// 16 bytes in the command and page-request queues, 32 in the fault queue. AMD I/O Virtualization Technology specification (48882), Command
/// Buffer, Event Log, Peripheral Page Request Log: 16 bytes.
/// </remarks>
internal sealed record InterfaceRing(string Name, RingPositions Positions, int EntryBytesLog2)
{
    public static readonly InterfaceRing[] Commands =
    [
        new("VT-d invalidation queue, 128 bits", RingPositions.ByteOffset, 4),
        new("VT-d invalidation queue, 256 bits", RingPositions.ByteOffset, 5),
        new("SMMUv3 command queue", RingPositions.IndexAndWrap, 4),
        new("RISC-V command queue", RingPositions.Index, 4),
        new("AMD-Vi command buffer", RingPositions.ByteOffset, 4),
    ];

    public static readonly InterfaceRing[] Records =
    [
        new("VT-d page request queue", RingPositions.ByteOffset, 5),
        new("SMMUv3 event queue", RingPositions.IndexAndWrap, 5),
        new("SMMUv3 PRI queue", RingPositions.IndexAndWrap, 4),
        new("RISC-V fault queue", RingPositions.Index, 5),
        new("RISC-V page-request queue", RingPositions.Index, 4),
        new("AMD-Vi event log", RingPositions.ByteOffset, 4),
    ];

    public RingLayout Layout(ulong first, int entryCountLog2) => new(new(first), entryCountLog2, EntryBytesLog2, Positions);

    /// <summary>What the register holds once <paramref name="count"/> entries have gone through the ring.</summary>
    public ulong PositionOf(int count, int entryCount) => Positions switch
    {
        RingPositions.ByteOffset => (ulong)(count % entryCount << EntryBytesLog2),
        RingPositions.Index => (ulong)(count % entryCount),
        RingPositions.IndexAndWrap => (ulong)(count % entryCount | (count / entryCount % 2 == 1 ? entryCount : 0)),
        _ => throw new InvalidOperationException(Name),
    };

    public PhysAddr AddressOf(ulong first, int count, int entryCount) => new(first + (ulong)(count % entryCount << EntryBytesLog2));

    /// <summary>How many entries may be in the ring.</summary>
    public int Room(int entryCount) => Positions == RingPositions.IndexAndWrap ? entryCount : entryCount - 1;

    public override string ToString() => Name;
}
