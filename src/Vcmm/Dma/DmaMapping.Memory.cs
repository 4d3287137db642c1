using System.Numerics;
using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm.Dma;

// Coherent memory, who sees what when, and addresses.
public sealed partial class DmaMapping<TMemory>
{
    private static readonly byte[] Zeros = new byte[PageBytes];

    /// <summary>Allocates memory for CPU and device both, all zero, and maps it for reading and writing.</summary>
    /// <param name="byteCount">1 … 1 GiB. It takes the power of two of frames that holds it, physically contiguous.</param>
    /// <param name="memory">Where the CPU finds it.</param>
    /// <param name="address">Where the device does.</param>
    /// <returns><see cref="VcmmError.Invalid"/> for another length; otherwise as <see cref="TryMapScatterGather"/>.</returns>
    public VcmmError TryAllocateCoherent(ulong byteCount, out PhysAddr memory, out Iova address)
    {
        memory = default;
        address = default;
        if (byteCount == 0 || byteCount > FrameAllocator.LargestBlockBytes) return VcmmError.Invalid;
        ulong blockBytes = Math.Max(PageBytes, BitOperations.RoundUpToPowerOf2(byteCount));
        VcmmError error = _frames.TryAllocate(blockBytes, out PhysAddr block);
        if (error == VcmmError.NoMemory && TryFlushDeferred()) error = _frames.TryAllocate(blockBytes, out block);
        if (error != VcmmError.None) return error;
        PhysRange pages = PhysRange.FromLength(block, (byteCount + PageMask) & ~PageMask);
        error = VcmmError.HardwareFailure;
        try
        {
            for (ulong done = 0; done < pages.ByteCount; done += PageBytes) _memory.Write(block + done, Zeros);
            error = MapPages(new ReadOnlySpan<PhysRange>(in pages), offset: 0, DmaDirection.Bidirectional, block, out address);
        }
        finally
        {
            // Also where a port throws.
            if (error != VcmmError.None) _frames.Free(block);
        }

        if (error == VcmmError.None) memory = block;
        return error;
    }

    /// <summary>Allocates memory for CPU and device both, all zero.</summary>
    /// <exception cref="VcmmException">As <see cref="TryAllocateCoherent"/>.</exception>
    public (PhysAddr Memory, Iova Address) AllocateCoherent(ulong byteCount)
    {
        VcmmException.ThrowIf(TryAllocateCoherent(byteCount, out PhysAddr memory, out Iova address), nameof(AllocateCoherent));
        return (memory, address);
    }

    /// <summary>Ends a coherent allocation. Its frames are free when no device reaches them: deferred, after the flush.</summary>
    /// <param name="address">As it was given.</param>
    /// <param name="byteCount">As it was asked for.</param>
    /// <returns>As <see cref="TryUnmap"/>.</returns>
    public VcmmError TryFreeCoherent(Iova address, ulong byteCount) => Unmap(address, byteCount, isCoherent: true, null);

    /// <summary>Ends a coherent allocation.</summary>
    /// <exception cref="VcmmException">As <see cref="TryFreeCoherent"/>.</exception>
    public void FreeCoherent(Iova address, ulong byteCount) => VcmmException.ThrowIf(TryFreeCoherent(address, byteCount), nameof(FreeCoherent));

    /// <summary>Makes what the CPU wrote to a mapped buffer visible to the device.</summary>
    /// <param name="address">Any in a mapping.</param>
    /// <param name="byteCount">How many bytes from there on, not 0.</param>
    /// <returns><see cref="VcmmError.Invalid"/>, or <see cref="VcmmError.Fault"/> if part of it is not mapped.</returns>
    public VcmmError TrySyncForDevice(Iova address, ulong byteCount)
    {
        VcmmError error = ForEachPiece(address, byteCount, clean: !_options.IsCoherent);
        if (error == VcmmError.None) _memory.Fence();
        return error;
    }

    /// <summary>Makes what the CPU wrote to a mapped buffer visible to the device.</summary>
    /// <exception cref="VcmmException">As <see cref="TrySyncForDevice"/>.</exception>
    public void SyncForDevice(Iova address, ulong byteCount) => VcmmException.ThrowIf(TrySyncForDevice(address, byteCount), nameof(SyncForDevice));

    /// <summary>
    /// Orders what the CPU reads from now on behind what the device has written. A host whose devices do not snoop has to drop
    /// its cached lines of the buffer besides, which the memory port has no call for.
    /// </summary>
    /// <param name="address">Any in a mapping.</param>
    /// <param name="byteCount">How many bytes from there on, not 0.</param>
    /// <returns>As <see cref="TrySyncForDevice"/>.</returns>
    public VcmmError TrySyncForCpu(Iova address, ulong byteCount)
    {
        VcmmError error = ForEachPiece(address, byteCount, clean: false);
        if (error == VcmmError.None) _memory.Fence();
        return error;
    }

    /// <summary>Orders what the CPU reads from now on behind what the device has written.</summary>
    /// <exception cref="VcmmException">As <see cref="TrySyncForCpu"/>.</exception>
    public void SyncForCpu(Iova address, ulong byteCount) => VcmmException.ThrowIf(TrySyncForCpu(address, byteCount), nameof(SyncForCpu));

    private VcmmError ForEachPiece(Iova address, ulong byteCount, bool clean)
    {
        if (byteCount == 0 || byteCount - 1 > ulong.MaxValue - address.Value) return VcmmError.Invalid;
        ulong at = address.Value;
        ulong last = at + (byteCount - 1);
        while (true)
        {
            if (_domain.TryTranslate(new(at), out Translation leaf) != VcmmError.None) return VcmmError.Fault;
            ulong end = Math.Min(at | (leaf.LeafBytes - 1), last);
            if (clean) _memory.Clean(PhysRange.FromLength(leaf.Address, end - at + 1));
            if (end == last) return VcmmError.None;
            at = end + 1;
        }
    }

    private VcmmError TryTakeAddresses(ulong byteCount, out IovaRange range)
    {
        VcmmError error = TryTakeFree(byteCount, out range);
        // What waits for a flush is as good as free.
        return error == VcmmError.NoSpace && TryFlushDeferred() ? TryTakeFree(byteCount, out range) : error;
    }

    private VcmmError TryTakeFree(ulong byteCount, out IovaRange range)
    {
        // Aligned as the largest leaf that it could hold, if there is room for that.
        ulong alignment = byteCount >= 1UL << 30 ? 1UL << 30 : byteCount >= 2UL << 20 ? 2UL << 20 : PageBytes;
        var reach = new IovaRange(new(0), _options.LastAddress);
        while (true)
        {
            VcmmError error = _addresses.TryAllocate(byteCount, alignment, Placement.BottomUp, reach, out range);
            if (error == VcmmError.NoSpace && alignment != PageBytes)
            {
                alignment = PageBytes;
                continue;
            }

            if (error != VcmmError.None) return error;
            if (!TryExclude(range)) return VcmmError.None;
        }
    }

    /// <summary>
    /// Whether the IOMMU does not translate a part of the range. That part is taken for good, and the rest given back.
    /// </summary>
    private bool TryExclude(IovaRange range)
    {
        foreach (IovaRange reserved in _domain.ReservedRegions)
        {
            if (!reserved.Overlaps(range)) continue;
            var part = new IovaRange(
                new(Math.Max(reserved.First.Value, range.First.Value)), new(Math.Min(reserved.Last.Value, range.Last.Value)));
            GiveBack(range);
            // Taken by another thread meanwhile: that one excludes it.
            _addresses.TryAllocateAt(part);
            return true;
        }

        return false;
    }

    private bool TryFlushDeferred() => _options.Deferred is { Count: > 0 } queue && queue.TryFlush() == VcmmError.None;

    private void GiveBack(IovaRange range)
    {
        if (_addresses.TryFree(range) != VcmmError.None) throw new InvalidOperationException($"{range} was taken and yet is free");
    }
}
