using System.Numerics;
using Platform;
using Vcmm.Allocation;

namespace Vcmm;

// Physical memory: chunks, given ranges, and what maps them.
public sealed partial class VcmManager
{
    private const int BlockLog2 = 24;

    private readonly object _memoryGate = new();

    /// <summary>The allocations that have memory in a block of 16 MiB, so that they are found by physical address.</summary>
    private readonly Dictionary<ulong, List<PhysicalAllocation>> _memories = [];

    /// <summary>The wrapped ranges: there are few, and one may span everything.</summary>
    private readonly List<PhysicalAllocation> _wrapped = [];

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
        memory = Remember(new(this, Frames, [.. segments]));
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

    /// <summary>Makes a given range of physical memory available, such as a device's own; nobody gets it back in the end.</summary>
    /// <param name="range">Starts and ends on 4 KiB boundaries.</param>
    /// <param name="memory">The memory, of one segment.</param>
    /// <returns><see cref="VcmmError.Invalid"/> if the range is not made of whole pages.</returns>
    public VcmmError TryWrap(PhysRange range, out PhysicalAllocation? memory)
    {
        memory = null;
        if (!range.First.IsAligned(PageBytes) || (range.Last.Value & (PageBytes - 1)) != PageBytes - 1) return VcmmError.Invalid;
        if (range.Last.Value - range.First.Value == ulong.MaxValue) return VcmmError.Invalid;
        memory = new(this, null, [range]);
        lock (_memoryGate) _wrapped.Add(memory);
        return VcmmError.None;
    }

    /// <summary>Makes a given range of physical memory available.</summary>
    /// <exception cref="VcmmException">As <see cref="TryWrap"/>.</exception>
    public PhysicalAllocation Wrap(PhysRange range)
    {
        VcmmException.ThrowIf(TryWrap(range, out PhysicalAllocation? memory), nameof(Wrap));
        return memory!;
    }

    /// <summary>Every place where a byte of physical memory is mapped by a region of this manager.</summary>
    /// <param name="address">The physical address.</param>
    /// <param name="mappings">The places are added to it, in no order.</param>
    /// <returns><see cref="VcmmError.NotFound"/> if there is none.</returns>
    public VcmmError TryFindMappings(PhysAddr address, ICollection<Mapping> mappings)
    {
        ArgumentNullException.ThrowIfNull(mappings);
        PhysicalAllocation[] candidates;
        lock (_memoryGate)
        {
            candidates = _memories.TryGetValue(address.Value >> BlockLog2, out List<PhysicalAllocation>? found) ? [.. found, .. _wrapped] : [.. _wrapped];
        }

        int before = mappings.Count;
        foreach (PhysicalAllocation candidate in candidates) candidate.FindMappings(address, mappings);
        return mappings.Count == before ? VcmmError.NotFound : VcmmError.None;
    }

    /// <summary>The memory has gone back, or is about to.</summary>
    internal void Forget(PhysicalAllocation memory)
    {
        lock (_memoryGate)
        {
            if (memory.IsWrapped)
            {
                _wrapped.Remove(memory);
                return;
            }

            foreach (ulong block in BlocksOf(memory))
            {
                if (!_memories.TryGetValue(block, out List<PhysicalAllocation>? memories)) continue;
                memories.Remove(memory);
                if (memories.Count == 0) _memories.Remove(block);
            }
        }
    }

    private PhysicalAllocation Remember(PhysicalAllocation memory)
    {
        lock (_memoryGate)
        {
            foreach (ulong block in BlocksOf(memory))
            {
                if (!_memories.TryGetValue(block, out List<PhysicalAllocation>? memories)) _memories[block] = memories = [];
                if (memories.Count == 0 || memories[^1] != memory) memories.Add(memory);
            }
        }

        return memory;
    }

    private static IEnumerable<ulong> BlocksOf(PhysicalAllocation memory)
    {
        foreach (PhysRange segment in memory.Segments)
        {
            for (ulong block = segment.First.Value >> BlockLog2; block <= segment.Last.Value >> BlockLog2; block++) yield return block;
        }
    }
}
