using IommuSim.Devices;
using Platform;

namespace IommuSim;

/// <summary>
/// A device that reads and writes memory through an IOMMU, page by page, and caches nothing itself. One that does is an
/// <see cref="AtsDevice{TMemory,TSteps}"/>.
/// </summary>
/// <remarks>
/// <para>Each page is one access: it is in flight from the start of its translation until its bytes have been moved, so
/// that an invalidation can drain it.</para>
/// <para><b>Threads.</b> Any number at once.</para>
/// </remarks>
/// <typeparam name="TMemory">The memory behind the IOMMU.</typeparam>
/// <typeparam name="TSteps">The interleaving seam.</typeparam>
public sealed class BusMaster<TMemory, TSteps>
    where TMemory : struct, IPhysicalMemory
    where TSteps : struct, ISteps
{
    private const ulong PageBytes = 4096;
    private readonly RemappingUnit<TSteps> _iommu;
    private readonly TMemory _memory;
    private readonly TSteps _steps;

    /// <summary>A device behind <paramref name="iommu"/>.</summary>
    /// <param name="iommu">What translates its accesses.</param>
    /// <param name="memory">The memory that its accesses reach.</param>
    /// <param name="source">Its requester id, as large as the unit knows any: behind a VT-d 0 … 0xFFFF.</param>
    /// <exception cref="ArgumentOutOfRangeException">The requester id has more bits.</exception>
    public BusMaster(RemappingUnit<TSteps> iommu, TMemory memory, StreamId source)
    {
        ArgumentNullException.ThrowIfNull(iommu);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(source.Value, iommu.LargestSource, nameof(source));
        _iommu = iommu;
        _memory = memory;
        Source = source;
        _steps = iommu.Steps;
    }

    /// <summary>The device's requester id.</summary>
    public StreamId Source { get; }

    /// <summary>Reads memory at <paramref name="address"/> into <paramref name="destination"/>.</summary>
    /// <param name="address">Any address; it wraps at 2^64.</param>
    /// <param name="destination">Any length. After a failure only the first <see cref="DmaResult.BytesDone"/> bytes are from memory.</param>
    /// <returns>Whether all was read; otherwise where it stopped and why.</returns>
    public DmaResult Read(Iova address, Span<byte> destination) => Read(address, destination, null);

    /// <summary>The same with requests that carry a PASID.</summary>
    /// <param name="address">Any address; it wraps at 2^64.</param>
    /// <param name="destination">Any length. After a failure only the first <see cref="DmaResult.BytesDone"/> bytes are from memory.</param>
    /// <param name="prefix">The PASID prefix of each request; null for none.</param>
    /// <returns>Whether all was read; otherwise where it stopped and why.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The PASID has more than 20 bits.</exception>
    public DmaResult Read(Iova address, Span<byte> destination, PasidPrefix? prefix)
    {
        int done = 0;
        while (done < destination.Length)
        {
            Iova at = Next(address, done, destination.Length, out int byteCount);
            FaultCode? refusal = ReadPage(at, destination.Slice(done, byteCount), prefix);
            if (refusal is { } fault) return new(false, (ulong)done, fault, at);
            done += byteCount;
        }

        return new(true, (ulong)done, default, default);
    }

    /// <summary>Writes <paramref name="source"/> to memory at <paramref name="address"/>.</summary>
    /// <param name="address">Any address; it wraps at 2^64.</param>
    /// <param name="source">Any length. After a failure the first <see cref="DmaResult.BytesDone"/> bytes have been written, and no other.</param>
    /// <returns>Whether all was written; otherwise where it stopped and why.</returns>
    public DmaResult Write(Iova address, ReadOnlySpan<byte> source) => Write(address, source, null);

    /// <summary>The same with requests that carry a PASID.</summary>
    /// <param name="address">Any address; it wraps at 2^64.</param>
    /// <param name="source">Any length. After a failure the first <see cref="DmaResult.BytesDone"/> bytes have been written, and no other.</param>
    /// <param name="prefix">The PASID prefix of each request; null for none.</param>
    /// <returns>Whether all was written; otherwise where it stopped and why.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The PASID has more than 20 bits.</exception>
    public DmaResult Write(Iova address, ReadOnlySpan<byte> source, PasidPrefix? prefix)
    {
        int done = 0;
        while (done < source.Length)
        {
            Iova at = Next(address, done, source.Length, out int byteCount);
            FaultCode? refusal = WritePage(at, source.Slice(done, byteCount), prefix);
            if (refusal is { } fault) return new(false, (ulong)done, fault, at);
            done += byteCount;
        }

        return new(true, (ulong)done, default, default);
    }

    private static Iova Next(Iova start, int done, int total, out int byteCount)
    {
        ulong at = unchecked(start.Value + (ulong)done);
        byteCount = (int)Math.Min((ulong)(total - done), PageBytes - at % PageBytes);
        return new(at);
    }

    private FaultCode? ReadPage(Iova address, Span<byte> destination, in PasidPrefix? prefix)
    {
        if (!_iommu.TryBegin(Source, address, DeviceAccess.Read, prefix, out Passage passage)) return passage.Fault;
        try
        {
            _steps.At(SimStep.MemoryAccess, passage.Address.Value);
            if (!IsMemory(passage.Address, destination.Length)) return default(FaultCode);
            _memory.Read(passage.Address, destination);
            return null;
        }
        finally
        {
            _iommu.EndAccess(passage.Slot);
        }
    }

    private FaultCode? WritePage(Iova address, ReadOnlySpan<byte> source, in PasidPrefix? prefix)
    {
        if (!_iommu.TryBegin(Source, address, DeviceAccess.Write, prefix, out Passage passage)) return passage.Fault;
        try
        {
            _steps.At(SimStep.MemoryAccess, passage.Address.Value);
            if (passage.IsInterrupt) return null;
            if (!IsMemory(passage.Address, source.Length)) return default(FaultCode);
            _memory.Write(passage.Address, source);
            return null;
        }
        finally
        {
            _iommu.EndAccess(passage.Slot);
        }
    }

    private bool IsMemory(PhysAddr address, int byteCount) => _memory.Contains(PhysRange.FromLength(address, (ulong)byteCount));
}
