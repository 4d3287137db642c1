using System.Globalization;

namespace Platform;

/// <summary>An address in physical memory, in bytes.</summary>
/// <param name="Value">0 … 2^64-1.</param>
public readonly record struct PhysAddr(ulong Value) : IComparable<PhysAddr>
{
    /// <summary>The address <paramref name="byteCount"/> bytes further on.</summary>
    /// <exception cref="OverflowException">The sum does not fit in 64 bits.</exception>
    public static PhysAddr operator +(PhysAddr address, ulong byteCount) => new(checked(address.Value + byteCount));

    /// <summary>Whether the address is a multiple of <paramref name="byteCount"/>, a power of two.</summary>
    public bool IsAligned(ulong byteCount) => (Value & unchecked(byteCount - 1)) == 0;

    /// <inheritdoc/>
    public int CompareTo(PhysAddr other) => Value.CompareTo(other.Value);

    /// <summary><c>pa:0x1000</c>.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"pa:0x{Value:x}");
}

/// <summary>An address that a device puts on the bus and its IOMMU translates, in bytes.</summary>
/// <param name="Value">0 … 2^64-1.</param>
public readonly record struct Iova(ulong Value) : IComparable<Iova>
{
    /// <summary>The address <paramref name="byteCount"/> bytes further on.</summary>
    /// <exception cref="OverflowException">The sum does not fit in 64 bits.</exception>
    public static Iova operator +(Iova address, ulong byteCount) => new(checked(address.Value + byteCount));

    /// <summary>Whether the address is a multiple of <paramref name="byteCount"/>, a power of two.</summary>
    public bool IsAligned(ulong byteCount) => (Value & unchecked(byteCount - 1)) == 0;

    /// <inheritdoc/>
    public int CompareTo(Iova other) => Value.CompareTo(other.Value);

    /// <summary><c>iova:0x1000</c>.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"iova:0x{Value:x}");
}

/// <summary>
/// The identity under which a device's accesses reach an IOMMU: the requester id (bus, device, function) of PCI Express,
/// the stream id of an Arm SMMU.
/// </summary>
/// <param name="Value">0 … 2^32-1; a PCI requester id uses the low 16 bits.</param>
public readonly record struct StreamId(uint Value) : IComparable<StreamId>
{
    /// <summary>The requester id of a PCI function.</summary>
    /// <param name="bus">0 … 255.</param>
    /// <param name="device">0 … 31.</param>
    /// <param name="function">0 … 7.</param>
    /// <exception cref="ArgumentOutOfRangeException">A part is outside its range.</exception>
    public static StreamId Pci(int bus, int device, int function)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)bus, 255u, nameof(bus));
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)device, 31u, nameof(device));
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)function, 7u, nameof(function));
        return new((uint)(bus << 8 | device << 3 | function));
    }

    /// <inheritdoc/>
    public int CompareTo(StreamId other) => Value.CompareTo(other.Value);

    /// <summary><c>sid:0x20</c>.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"sid:0x{Value:x}");
}

/// <summary>A process address space id: which of its address spaces a device's access is in.</summary>
/// <param name="Value">0 … 2^20-1.</param>
/// <remarks><b>Source.</b> PCI Express Base Specification, "PASID TLP Prefix": 20 bits.</remarks>
public readonly record struct Pasid(uint Value) : IComparable<Pasid>
{
    /// <summary>The largest value: 20 bits.</summary>
    public const uint Largest = (1 << 20) - 1;

    /// <inheritdoc/>
    public int CompareTo(Pasid other) => Value.CompareTo(other.Value);

    /// <summary><c>pasid:0x20</c>.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"pasid:0x{Value:x}");
}
