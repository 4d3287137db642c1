using Platform;

namespace Vcmm.Allocation;

/// <summary>A source of frames that also hands out contiguous memory of any length, and given ranges.</summary>
/// <remarks><b>Threads.</b> Any number at once.</remarks>
public interface IContiguousFrameSource : IFrameSource
{
    /// <summary>Hands out contiguous memory, and takes no more than that. <see cref="IFrameSource.TryFree"/> takes it back as one block.</summary>
    /// <param name="byteCount">Whole 4 KiB frames, not 0.</param>
    /// <param name="alignment">A power of two up to 1 GiB; less than 4 KiB is 4 KiB.</param>
    /// <param name="block">Its first byte, a multiple of <paramref name="alignment"/>. The content is what was there before.</param>
    /// <returns><see cref="VcmmError.Invalid"/>, or <see cref="VcmmError.NoMemory"/> if no free place fits.</returns>
    VcmmError TryAllocateContiguous(ulong byteCount, ulong alignment, out PhysAddr block);

    /// <summary>Hands out contiguous memory that lies within bounds, and takes no more than that.</summary>
    /// <param name="byteCount">Whole 4 KiB frames, not 0.</param>
    /// <param name="alignment">A power of two up to 1 GiB; less than 4 KiB is 4 KiB.</param>
    /// <param name="within">All of it lies in here; it may reach beyond what is under management.</param>
    /// <param name="block">Its first byte, a multiple of <paramref name="alignment"/>. The content is what was there before.</param>
    /// <returns><see cref="VcmmError.Invalid"/>, or <see cref="VcmmError.NoMemory"/> if no free place within the bounds fits.</returns>
    VcmmError TryAllocateWithin(ulong byteCount, ulong alignment, PhysRange within, out PhysAddr block);

    /// <summary>Looks for the lowest contiguous memory within bounds that is free, and takes none: another thread may take it first.</summary>
    /// <param name="byteCount">Whole 4 KiB frames, not 0.</param>
    /// <param name="alignment">A power of two up to 1 GiB; less than 4 KiB is 4 KiB.</param>
    /// <param name="within">All of it lies in here; it may reach beyond what is under management.</param>
    /// <param name="block">Its first byte, a multiple of <paramref name="alignment"/>: what <see cref="TryAllocateAt"/> would take.</param>
    /// <returns><see cref="VcmmError.Invalid"/>, or <see cref="VcmmError.NoMemory"/> if no free place within the bounds fits.</returns>
    VcmmError TryFindWithin(ulong byteCount, ulong alignment, PhysRange within, out PhysAddr block);

    /// <summary>Takes this very range. <see cref="IFrameSource.TryFree"/> of its first byte takes it back as one block.</summary>
    /// <param name="range">Whole 4 KiB frames.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> if it is not made of whole frames or not all of it is under management as one piece,
    /// <see cref="VcmmError.NoMemory"/> if part of it is handed out.
    /// </returns>
    VcmmError TryAllocateAt(PhysRange range);
}
