using Platform;

namespace IommuSim.Machinery;

/// <summary>How the registers of a ring say where in it something stands; with that, how many of its entries can be used.</summary>
internal enum RingPositions : byte
{
    /// <summary>The offset of an entry in bytes. One entry stays free, or full would look like empty.</summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Invalidation Queue Tail Register, Page Request Queue Tail Register; AMD I/O
    /// Virtualization Technology specification (48882), Command Buffer and Event Log Head and Tail Pointer Registers.</remarks>
    ByteOffset,

    /// <summary>The number of an entry. One entry stays free.</summary>
    /// <remarks><b>Source.</b> RISC-V IOMMU specification 1.0, In-memory queue interface; <c>cqh</c>, <c>cqt</c>, <c>fqof</c>: full is
    /// <c>fqt == fqh - 1</c>.</remarks>
    Index,

    /// <summary>The number of an entry, and above it a bit that toggles with each round. All entries can be used.</summary>
    /// <remarks><b>Source.</b> Arm SMMUv3 architecture specification (IHI 0070), 3.5.1 SMMU circular queues: equal is empty, and equal but for
    /// the wrap bit is full.</remarks>
    IndexAndWrap,
}

/// <summary>
/// A ring in memory that two sides share: the producer writes entries, the consumer takes them, and each tells the other in a register how
/// far it is. Positions here are what those registers hold.
/// </summary>
internal readonly struct RingLayout
{
    private readonly ulong _first;
    private readonly ulong _step;
    private readonly ulong _places;
    private readonly ulong _rounds;
    private readonly int _placeBytesLog2;

    /// <param name="first">Where the first entry is. The ring may begin at any multiple of an entry.</param>
    /// <param name="entryCountLog2">log2 of the number of entries; 0 and up.</param>
    /// <param name="entryBytesLog2">log2 of the bytes of an entry; 3 and up.</param>
    /// <param name="positions">What the registers hold.</param>
    public RingLayout(PhysAddr first, int entryCountLog2, int entryBytesLog2, RingPositions positions)
    {
        bool isInBytes = positions == RingPositions.ByteOffset;
        _first = first.Value;
        _step = isInBytes ? 1UL << entryBytesLog2 : 1;
        _places = (_step << entryCountLog2) - 1;
        _rounds = positions == RingPositions.IndexAndWrap ? _places << 1 | 1 : _places;
        _placeBytesLog2 = isInBytes ? 0 : entryBytesLog2;
    }

    private bool HasWrapBit => _rounds != _places;

    /// <summary>Whether a position lies in the ring, be it between two entries.</summary>
    public bool IsWithin(ulong position) => (position & ~_rounds) == 0;

    /// <summary>Whether a position is that of an entry.</summary>
    public bool IsEntry(ulong position) => IsWithin(position) && (position & (_step - 1)) == 0;

    /// <summary>The position behind an entry's; behind the last comes the first.</summary>
    public ulong Next(ulong position) => (position + _step) & _rounds;

    public PhysAddr AddressOf(ulong position) => new(_first + ((position & _places) << _placeBytesLog2));

    /// <summary>Whether the producer has no entry left to write to.</summary>
    public bool IsFull(ulong producer, ulong consumer) =>
        HasWrapBit ? (producer ^ consumer) == _places + 1 : Next(producer) == consumer;
}
