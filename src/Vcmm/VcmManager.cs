using System.Numerics;
using Platform;
using Vcmm.Allocation;

namespace Vcmm;

/// <summary>The parts of a manager that can be replaced.</summary>
public sealed record VcmManagerOptions
{
    /// <summary>What hands out the addresses of a VCM; default <see cref="CachedRangeAllocator"/> before <see cref="Allocation.RangeAllocator"/>.</summary>
    public Func<IovaRange, IRangeAllocator> RangeAllocator { get; init; } = static space => new CachedRangeAllocator(new RangeAllocator(space));
}

/// <summary>The system-wide view of device mappings: devices, physical memory, and the virtual regions that join them.</summary>
/// <remarks>
/// <para><b>Locks</b>, outermost first; a thread that holds one takes only later ones: a VCM's associations, a VCM's
/// reservations, one reservation, an IOMMU driver's, an allocator's. Two locks of one rank are never held at once.</para>
/// <para><b>Threads.</b> Any number at once.</para>
/// </remarks>
public sealed class VcmManager
{
    /// <summary>The smallest page that anything is made of.</summary>
    public const ulong PageBytes = 4096;

    private readonly object _gate = new();
    private readonly HashSet<(IIommu Iommu, StreamId Id)> _devices = [];

    /// <summary>A manager that takes physical memory, for chunks and for page tables, from <paramref name="frames"/>.</summary>
    public VcmManager(IFrameSource frames, VcmManagerOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(frames);
        Frames = frames;
        Options = options ?? new();
    }

    /// <summary>Where physical memory comes from.</summary>
    public IFrameSource Frames { get; }

    internal VcmManagerOptions Options { get; }

    /// <summary>Makes a device known.</summary>
    /// <param name="iommu">The IOMMU that translates its accesses.</param>
    /// <param name="id">The identity under which its accesses reach the IOMMU.</param>
    /// <param name="device">The device.</param>
    /// <returns><see cref="VcmmError.NoDevice"/> if the IOMMU cannot tell such a device apart, <see cref="VcmmError.Busy"/> if it is known already.</returns>
    public VcmmError TryAddDevice(IIommu iommu, StreamId id, out Device? device)
    {
        ArgumentNullException.ThrowIfNull(iommu);
        device = null;
        if (!iommu.CanIdentify(id)) return VcmmError.NoDevice;
        lock (_gate)
        {
            if (!_devices.Add((iommu, id))) return VcmmError.Busy;
        }

        device = new(this, iommu, id);
        return VcmmError.None;
    }

    /// <summary>Makes a device known.</summary>
    /// <exception cref="VcmmException">As <see cref="TryAddDevice"/>.</exception>
    public Device AddDevice(IIommu iommu, StreamId id)
    {
        VcmmException.ThrowIf(TryAddDevice(iommu, id, out Device? device), nameof(AddDevice));
        return device!;
    }

    /// <summary>Makes a virtual region.</summary>
    /// <param name="range">Starts and ends on 4 KiB boundaries.</param>
    /// <param name="vcm">The region, without reservations and associations.</param>
    /// <returns><see cref="VcmmError.Invalid"/> if the range is not made of whole pages.</returns>
    public VcmmError TryCreateVcm(IovaRange range, out Vcm? vcm)
    {
        vcm = null;
        if (!range.First.IsAligned(PageBytes) || (range.Last.Value & (PageBytes - 1)) != PageBytes - 1) return VcmmError.Invalid;
        vcm = new(this, range);
        return VcmmError.None;
    }

    /// <summary>Makes a virtual region.</summary>
    /// <exception cref="VcmmException">As <see cref="TryCreateVcm"/>.</exception>
    public Vcm CreateVcm(IovaRange range)
    {
        VcmmException.ThrowIf(TryCreateVcm(range, out Vcm? vcm), nameof(CreateVcm));
        return vcm!;
    }

    /// <summary>Allocates physical memory in chunks, the largest that fit first.</summary>
    /// <param name="byteCount">Whole 4 KiB frames, not 0.</param>
    /// <param name="sizes">The chunk sizes that may be used.</param>
    /// <param name="scattered">
    /// True: chunks of one size descend in physical memory, so that none continues the one before it and whoever relies on
    /// contiguity is found out.
    /// </param>
    /// <param name="memory">The memory. Its content is what was there before.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> if the length is not made of the chunk sizes allowed; <see cref="VcmmError.NoMemory"/>
    /// if there is not enough, and then nothing is taken.
    /// </returns>
    public VcmmError TryAllocate(ulong byteCount, ChunkSizes sizes, bool scattered, out PhysicalAllocation? memory)
    {
        memory = null;
        sizes &= ChunkSizes.All;
        if (byteCount == 0 || sizes == ChunkSizes.None) return VcmmError.Invalid;
        // Every size is a multiple of the smaller ones, so the smallest decides.
        if (byteCount % (1UL << BitOperations.TrailingZeroCount((uint)sizes)) != 0) return VcmmError.Invalid;

        var segments = new List<PhysRange>();
        VcmmError error = TryTakeChunks(byteCount, (uint)sizes, segments);
        if (error != VcmmError.None)
        {
            foreach (PhysRange segment in segments) Frames.Free(segment.First);
            return error;
        }

        // Largest first keeps every chunk aligned to its size within a reservation.
        segments.Sort((a, b) => (b.ByteCount.CompareTo(a.ByteCount), a.First.CompareTo(b.First)) switch
        {
            (0, var byAddress) => scattered ? -byAddress : byAddress,
            var (bySize, _) => bySize,
        });
        memory = new(this, Frames, [.. segments], byteCount);
        return VcmmError.None;
    }

    /// <summary>Allocates physical memory in chunks, the largest that fit first.</summary>
    /// <exception cref="VcmmException">As <see cref="TryAllocate"/>.</exception>
    public PhysicalAllocation Allocate(ulong byteCount, ChunkSizes sizes = ChunkSizes.All, bool scattered = false)
    {
        VcmmException.ThrowIf(TryAllocate(byteCount, sizes, scattered, out PhysicalAllocation? memory), nameof(Allocate));
        return memory!;
    }

    private VcmmError TryTakeChunks(ulong byteCount, uint sizes, List<PhysRange> segments)
    {
        // No more than is left can be needed: a length near 2^64 is refused before it fills a list.
        if (byteCount > Frames.TotalBytes) return VcmmError.NoMemory;
        while (byteCount != 0)
        {
            uint size = 1u << BitOperations.Log2(sizes);
            if (TryTakeChunk(size, byteCount, segments))
            {
                byteCount -= size;
                continue;
            }

            sizes &= ~size;
            if (sizes == 0) return VcmmError.NoMemory;
        }

        return VcmmError.None;
    }

    private bool TryTakeChunk(uint size, ulong mostBytes, List<PhysRange> segments)
    {
        if (size > mostBytes) return false;
        if (Frames.TryAllocate(size, out PhysAddr chunk) != VcmmError.None) return false;
        segments.Add(PhysRange.FromLength(chunk, size));
        return true;
    }
}
