using Platform;

namespace Vcmm.Allocation;

/// <summary>Where physical memory comes from: blocks of a power of two bytes, aligned to their size.</summary>
/// <remarks><b>Threads.</b> Any number at once.</remarks>
public interface IFrameSource
{
    /// <summary>Bytes under management.</summary>
    ulong TotalBytes { get; }

    /// <summary>Bytes not handed out.</summary>
    ulong FreeBytes { get; }

    /// <summary>Hands out a block.</summary>
    /// <param name="byteCount">A power of two from 4 KiB to 1 GiB.</param>
    /// <param name="block">Its first byte, a multiple of <paramref name="byteCount"/>. The content is what was there before.</param>
    /// <returns><see cref="VcmmError.Invalid"/> for another size, <see cref="VcmmError.NoMemory"/> if none is free.</returns>
    VcmmError TryAllocate(ulong byteCount, out PhysAddr block);

    /// <summary>Takes a block back.</summary>
    /// <returns><see cref="VcmmError.Invalid"/> if no block that is handed out starts there.</returns>
    VcmmError TryFree(PhysAddr block);

    /// <summary>Takes a block back.</summary>
    /// <exception cref="InvalidOperationException">No block that is handed out starts there: a double or a foreign free.</exception>
    void Free(PhysAddr block)
    {
        if (TryFree(block) != VcmmError.None)
            throw new InvalidOperationException($"{block} is not the start of a block that is handed out");
    }
}
