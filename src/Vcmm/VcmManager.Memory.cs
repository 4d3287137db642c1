using System.Collections.Concurrent;
using System.Numerics;
using Platform;
using Vcmm.Allocation;

namespace Vcmm;

// Physical memory: chunks, given ranges, and what maps them.
public sealed partial class VcmManager
{
    private const int BlockLog2 = 24;

    [LockRank(LockRank.Memories)]
    private readonly object _memoryGate = new();

    /// <summary>The allocations that have memory in a block of 16 MiB, so that they are found by physical address.</summary>
    private readonly ConcurrentDictionary<ulong, MemoryList> _memories = new();

    /// <summary>The wrapped ranges: there are few, and one may span everything.</summary>
    private readonly MemoryList _wrapped = new();

    /// <summary>Allocates physical memory in chunks, the largest that fit first.</summary>
    /// <param name="byteCount">Whole 4 KiB frames, not 0.</param>
    /// <param name="options">Of which chunks, from which banks.</param>
    /// <param name="memory">The memory. Its content is what was there before.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> if the length is not made of the chunk sizes allowed; <see cref="VcmmError.NotFound"/> if no
    /// bank is such as is asked for; <see cref="VcmmError.NoMemory"/> if there is not enough. Then nothing is taken.
    /// </returns>
    public VcmmError TryAllocate(ulong byteCount, MemoryOptions options, out PhysicalAllocation? memory)
    {
        ArgumentNullException.ThrowIfNull(options);
        memory = null;
        ChunkSizes sizes = options.Sizes & ChunkSizes.All;
        if (byteCount == 0 || sizes == ChunkSizes.None) return VcmmError.Invalid;
        // Every size is a multiple of the smaller ones, so the smallest decides.
        if (byteCount % (1UL << BitOperations.TrailingZeroCount((uint)sizes)) != 0) return VcmmError.Invalid;

        var segments = new List<PhysRange>();
        VcmmError error = TryTakeChunks(byteCount, (uint)sizes, options.From, segments);
        if (error != VcmmError.None)
        {
            foreach (PhysRange segment in segments) Frames.Free(segment.First);
            return error;
        }

        // Largest first keeps every chunk aligned to its size within a reservation.
        segments.Sort((a, b) => (b.ByteCount.CompareTo(a.ByteCount), a.First.CompareTo(b.First)) switch
        {
            (0, var byAddress) => options.Scattered ? -byAddress : byAddress,
            var (bySize, _) => bySize,
        });
        memory = Remember(new(this, Frames, [.. segments]));
        return VcmmError.None;
    }

    /// <summary>Allocates physical memory in chunks, the largest that fit first, from any bank.</summary>
    /// <param name="byteCount">Whole 4 KiB frames, not 0.</param>
    /// <param name="sizes">As <see cref="MemoryOptions.Sizes"/>.</param>
    /// <param name="scattered">As <see cref="MemoryOptions.Scattered"/>.</param>
    /// <param name="memory">The memory. Its content is what was there before.</param>
    /// <returns>As with options.</returns>
    public VcmmError TryAllocate(ulong byteCount, ChunkSizes sizes, bool scattered, out PhysicalAllocation? memory) =>
        TryAllocate(byteCount, new MemoryOptions { Sizes = sizes, Scattered = scattered }, out memory);

    /// <summary>Allocates physical memory in chunks, the largest that fit first.</summary>
    /// <exception cref="VcmmException">As <see cref="TryAllocate(ulong, MemoryOptions, out PhysicalAllocation?)"/>.</exception>
    public PhysicalAllocation Allocate(ulong byteCount, ChunkSizes sizes = ChunkSizes.All, bool scattered = false) =>
        Allocate(byteCount, new MemoryOptions { Sizes = sizes, Scattered = scattered });

    /// <summary>Allocates physical memory in chunks, the largest that fit first.</summary>
    /// <exception cref="VcmmException">As <see cref="TryAllocate(ulong, MemoryOptions, out PhysicalAllocation?)"/>.</exception>
    public PhysicalAllocation Allocate(ulong byteCount, MemoryOptions options)
    {
        VcmmException.ThrowIf(TryAllocate(byteCount, options, out PhysicalAllocation? memory), nameof(Allocate));
        return memory!;
    }

    /// <summary>Allocates physical memory of one piece.</summary>
    /// <param name="byteCount">Whole 4 KiB frames, not 0.</param>
    /// <param name="alignment">A power of two from 4 KiB to 1 GiB; the physical address is a multiple of it.</param>
    /// <param name="from">From which banks.</param>
    /// <param name="memory">The memory, of one segment. Its content is what was there before.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/>; <see cref="VcmmError.NotFound"/> if no bank is such as is asked for;
    /// <see cref="VcmmError.NoMemory"/> if there is no such piece. Then nothing is taken.
    /// </returns>
    /// <remarks>A source that is not an <see cref="IContiguousFrameSource"/> has pieces of a power of two only, up to 1 GiB.</remarks>
    public VcmmError TryAllocateContiguous(ulong byteCount, ulong alignment, MemoryRequest from, out PhysicalAllocation? memory)
    {
        memory = null;
        if (byteCount == 0 || byteCount % PageBytes != 0) return VcmmError.Invalid;
        if (!BitOperations.IsPow2(alignment) || alignment is < PageBytes or > 1UL << 30) return VcmmError.Invalid;
        VcmmError error = TryTakePiece(byteCount, alignment, from, out PhysAddr first);
        if (error == VcmmError.None) memory = Remember(new(this, Frames, [PhysRange.FromLength(first, byteCount)]));
        return error;
    }

    /// <summary>Allocates this very piece.</summary>
    /// <returns><see cref="VcmmError.NoMemory"/> if part of it is taken. Then nothing is taken.</returns>
    internal VcmmError TryAllocateAt(IContiguousFrameSource frames, PhysRange range, out PhysicalAllocation? memory)
    {
        memory = null;
        VcmmError error = frames.TryAllocateAt(range);
        if (error == VcmmError.None) memory = Remember(new(this, Frames, [range]));
        return error;
    }

    /// <summary>Where memory such as is asked for may lie, in the order in which it is taken.</summary>
    /// <returns><see cref="VcmmError.NotFound"/> if no bank is such as is asked for.</returns>
    internal VcmmError TryListBanks(MemoryRequest from, out List<PhysRange> banks)
    {
        banks = [];
        if (Frames is IBankedFrameSource banked)
        {
            foreach (MemoryBank bank in banked.Banks)
            {
                if (from.Admits(bank)) banks.Add(bank.Range);
            }
        }
        else if (from == default)
        {
            banks.Add(new(new(0), new(ulong.MaxValue)));
        }

        return banks.Count == 0 ? VcmmError.NotFound : VcmmError.None;
    }

    /// <summary>Allocates physical memory of one piece.</summary>
    /// <exception cref="VcmmException">As <see cref="TryAllocateContiguous"/>.</exception>
    public PhysicalAllocation AllocateContiguous(ulong byteCount, ulong alignment = PageBytes, MemoryRequest from = default)
    {
        VcmmException.ThrowIf(TryAllocateContiguous(byteCount, alignment, from, out PhysicalAllocation? memory), nameof(AllocateContiguous));
        return memory!;
    }

    /// <summary>The bank that memory lies in: its base, its length, its type.</summary>
    /// <param name="memory">Memory of this manager.</param>
    /// <param name="bank">The bank of its first byte; null: the memory was wrapped, or the manager's source has no banks.</param>
    /// <returns>False if there is none.</returns>
    public bool TryFindBank(PhysicalAllocation memory, out MemoryBank? bank)
    {
        ArgumentNullException.ThrowIfNull(memory);
        bank = null;
        return !memory.IsWrapped && Frames is IBankedFrameSource banked && banked.TryFindBank(memory.Segments[0].First, out bank);
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
    /// <remarks>
    /// Where another thread makes a reservation with its mapping, ends both, or clones a region meanwhile, all look-ups see it at once. Of an unback that
    /// takes several pieces of memory at a time they see one after the other. It takes no lock.
    /// </remarks>
    public VcmmError TryFindMappings(PhysAddr address, ICollection<Mapping> mappings)
    {
        ArgumentNullException.ThrowIfNull(mappings);
        var found = new List<Mapping>();
        if (_memories.TryGetValue(address.Value >> BlockLog2, out MemoryList? inBlock)) inBlock.FindMappings(address, found);
        _wrapped.FindMappings(address, found);
        // What is being made or ended is there for every look-up or for none: from the instant at which its region knows it.
        found.RemoveAll(static mapping => !mapping.Reservation.IsKnown(mapping.Address));
        foreach (Mapping mapping in found) mappings.Add(mapping);
        return found.Count == 0 ? VcmmError.NotFound : VcmmError.None;
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
                if (!_memories.TryGetValue(block, out MemoryList? memories)) continue;
                memories.Remove(memory);
                if (memories.IsEmpty) _memories.TryRemove(block, out _);
            }
        }
    }

    private PhysicalAllocation Remember(PhysicalAllocation memory)
    {
        lock (_memoryGate)
        {
            foreach (ulong block in BlocksOf(memory))
            {
                if (!_memories.TryGetValue(block, out MemoryList? memories)) _memories[block] = memories = new();
                memories.Add(memory);
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

    private VcmmError TryTakeChunks(ulong byteCount, uint sizes, MemoryRequest from, List<PhysRange> segments)
    {
        // No more than is left can be needed: a length near 2^64 is refused before it fills a list.
        if (byteCount > Frames.TotalBytes) return VcmmError.NoMemory;
        while (byteCount != 0)
        {
            uint size = 1u << BitOperations.Log2(sizes);
            VcmmError error = VcmmError.NoMemory;
            if (size <= byteCount)
            {
                error = TryTakeBlock(size, from, out PhysAddr chunk);
                if (error == VcmmError.None)
                {
                    segments.Add(PhysRange.FromLength(chunk, size));
                    byteCount -= size;
                    continue;
                }
            }

            if (error != VcmmError.NoMemory) return error;
            sizes &= ~size;
            if (sizes == 0) return VcmmError.NoMemory;
        }

        return VcmmError.None;
    }

    private VcmmError TryTakeBlock(ulong byteCount, MemoryRequest from, out PhysAddr block)
    {
        if (Frames is IBankedFrameSource banked) return banked.TryAllocate(byteCount, from, out block);
        block = default;
        return from == default ? Frames.TryAllocate(byteCount, out block) : VcmmError.NotFound;
    }

    private VcmmError TryTakePiece(ulong byteCount, ulong alignment, MemoryRequest from, out PhysAddr first)
    {
        if (Frames is IBankedFrameSource banked) return banked.TryAllocateContiguous(byteCount, alignment, from, out first);
        first = default;
        if (from != default) return VcmmError.NotFound;
        if (Frames is IContiguousFrameSource contiguous) return contiguous.TryAllocateContiguous(byteCount, alignment, out first);
        bool isBlock = BitOperations.IsPow2(byteCount) && byteCount >= alignment && byteCount <= 1UL << 30;
        return isBlock ? Frames.TryAllocate(byteCount, out first) : VcmmError.NoMemory;
    }
}
