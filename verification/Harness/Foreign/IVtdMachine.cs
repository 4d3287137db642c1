using Platform;

namespace Harness.Foreign;

/// <summary>A machine with one VT-d remapping unit and devices below it, whoever made it. Software and devices start with it untouched.</summary>
public interface IVtdMachine : IDisposable
{
    /// <summary>Which machine: as shown in reports.</summary>
    string Name { get; }

    /// <summary>Memory that is free for use.</summary>
    PhysRange Window { get; }

    /// <summary>The machine's memory; more of it may exist than <see cref="Window"/>.</summary>
    IPhysicalMemory Memory { get; }

    /// <summary>The register page of the remapping unit.</summary>
    IMmio Registers { get; }

    /// <summary>The devices, each with a requester id of its own.</summary>
    IReadOnlyList<IDmaDevice> Devices { get; }
}

/// <summary>A device that does DMA on command.</summary>
/// <remarks>It does not tell whether the IOMMU let an access pass, as few devices do: memory and fault records tell.</remarks>
public interface IDmaDevice
{
    /// <summary>The requester id of its accesses.</summary>
    StreamId Id { get; }

    /// <summary>The device reads. What is in <paramref name="destination"/> after a blocked access is undefined.</summary>
    /// <param name="address">Translated by the IOMMU.</param>
    /// <param name="destination">At most 2048 bytes.</param>
    void Read(Iova address, Span<byte> destination);

    /// <summary>The device writes. It stops when an access is blocked.</summary>
    /// <param name="address">Translated by the IOMMU.</param>
    /// <param name="source">What to write.</param>
    void Write(Iova address, ReadOnlySpan<byte> source);
}
