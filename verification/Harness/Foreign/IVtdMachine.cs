using IommuSim;
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

    /// <summary>Has the interrupts of the remapping unit itself told.</summary>
    /// <param name="listener">Told of each, on the thread that brought it up.</param>
    /// <returns>False if nobody can listen to them.</returns>
    bool TryListen(Action<InterruptMessage> listener) => false;

    /// <summary>What the TLB of a device holds; nothing where it has none, or cannot be looked into.</summary>
    IReadOnlyList<DeviceTlbEntry> TlbOf(int device) => [];
}

/// <summary>A device that can use a requester id that no device has.</summary>
public interface IStrayDevice : IDmaDevice
{
    /// <summary>The device under that id.</summary>
    IDmaDevice Stray { get; }
}

/// <summary>A device whose requests with a PASID can ask for supervisor privilege.</summary>
public interface IPrivilegedDevice : IDmaDevice
{
    /// <summary>The device with requests that do.</summary>
    IDmaDevice Privileged { get; }
}

/// <summary>A device whose accesses may wait for a page.</summary>
public interface IPagingDevice : IDmaDevice
{
    /// <summary>The device begins to read.</summary>
    /// <param name="address">Translated by the IOMMU.</param>
    /// <param name="byteCount">At most 2048.</param>
    /// <param name="pasid">The PASID of its requests; null: they have none.</param>
    /// <returns>What is over or has stalled.</returns>
    DmaTransfer BeginRead(Iova address, int byteCount, Pasid? pasid);

    /// <summary>The device begins to write.</summary>
    /// <param name="address">Translated by the IOMMU.</param>
    /// <param name="source">What to write.</param>
    /// <param name="pasid">The PASID of its requests; null: they have none.</param>
    /// <returns>What is over or has stalled.</returns>
    DmaTransfer BeginWrite(Iova address, ReadOnlySpan<byte> source, Pasid? pasid);
}

/// <summary>A device that does DMA on command.</summary>
public interface IDmaDevice
{
    /// <summary>The requester id of its accesses.</summary>
    StreamId Id { get; }

    /// <summary>The device reads.</summary>
    /// <param name="address">Translated by the IOMMU.</param>
    /// <param name="destination">At most 2048 bytes; undefined after a refusal.</param>
    /// <param name="pasid">The PASID of its requests; null: they have none.</param>
    /// <returns>False if the access or a part of it was refused.</returns>
    /// <exception cref="BadInputException">There is a PASID, and the device cannot send one.</exception>
    bool Read(Iova address, Span<byte> destination, Pasid? pasid = null);

    /// <summary>The device writes, up to the first page where it is refused.</summary>
    /// <param name="address">Translated by the IOMMU.</param>
    /// <param name="source">What to write.</param>
    /// <param name="pasid">The PASID of its requests; null: they have none.</param>
    /// <returns>False if the access or a part of it was refused.</returns>
    /// <exception cref="BadInputException">There is a PASID, and the device cannot send one.</exception>
    bool Write(Iova address, ReadOnlySpan<byte> source, Pasid? pasid = null);
}
