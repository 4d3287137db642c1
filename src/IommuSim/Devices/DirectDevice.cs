using IommuSim.Machinery;
using Platform;

namespace IommuSim;

/// <summary>A device with no IOMMU before it: what it names is the physical address, and nobody stops it.</summary>
/// <remarks>
/// <para>It shares memory with devices behind a unit, and no unit knows of it: no translation, no fault record, and no
/// invalidation waits for its accesses.</para>
/// <para><b>Threads.</b> Any number at once.</para>
/// </remarks>
/// <typeparam name="TMemory">The memory.</typeparam>
/// <typeparam name="TSteps">The interleaving seam: each page is a <see cref="SimStep.MemoryAccess"/>.</typeparam>
public sealed class DirectDevice<TMemory, TSteps>
    where TMemory : struct, IPhysicalMemory
    where TSteps : struct, ISteps
{
    private const ulong PageBytes = 4096;
    private readonly TMemory _memory;
    private readonly TSteps _steps;

    /// <summary>A device on the bus of a memory.</summary>
    /// <param name="memory">The memory that its accesses reach.</param>
    /// <param name="steps">The interleaving seam.</param>
    public DirectDevice(TMemory memory, TSteps steps = default)
    {
        _memory = memory;
        _steps = steps;
    }

    /// <summary>Reads memory at <paramref name="address"/> into <paramref name="destination"/>.</summary>
    /// <param name="address">Any address; it wraps at 2^64.</param>
    /// <param name="destination">Any length. After a failure only the first <see cref="DmaResult.BytesDone"/> bytes are from memory.</param>
    /// <returns>Whether all was read; otherwise where there was no memory. The fault is 0: nothing was blocked.</returns>
    public DmaResult Read(PhysAddr address, Span<byte> destination)
    {
        int done = 0;
        while (done < destination.Length)
        {
            PhysAddr at = Next(address, done, destination.Length, out int byteCount);
            if (!TryReach(at, byteCount)) return NoMemory(at, done);
            _memory.Read(at, destination.Slice(done, byteCount));
            done += byteCount;
        }

        return new(true, (ulong)done, default, default);
    }

    /// <summary>Writes <paramref name="source"/> to memory at <paramref name="address"/>.</summary>
    /// <param name="address">Any address; it wraps at 2^64.</param>
    /// <param name="source">Any length. After a failure the first <see cref="DmaResult.BytesDone"/> bytes have been written, and no other.</param>
    /// <returns>Whether all was written; otherwise where there was no memory. The fault is 0: nothing was blocked.</returns>
    public DmaResult Write(PhysAddr address, ReadOnlySpan<byte> source)
    {
        int done = 0;
        while (done < source.Length)
        {
            PhysAddr at = Next(address, done, source.Length, out int byteCount);
            if (!TryReach(at, byteCount)) return NoMemory(at, done);
            _memory.Write(at, source.Slice(done, byteCount));
            done += byteCount;
        }

        return new(true, (ulong)done, default, default);
    }

    private static PhysAddr Next(PhysAddr start, int done, int total, out int byteCount)
    {
        ulong at = unchecked(start.Value + (ulong)done);
        byteCount = (int)Math.Min((ulong)(total - done), PageBytes - at % PageBytes);
        return new(at);
    }

    private static DmaResult NoMemory(PhysAddr at, int done) => new(false, (ulong)done, default, new(at.Value));

    private bool TryReach(PhysAddr address, int byteCount)
    {
        _steps.At(SimStep.MemoryAccess, address.Value);
        return _memory.Contains(PhysRange.FromLength(address, (ulong)byteCount));
    }
}
