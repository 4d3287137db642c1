using Platform;

namespace Vcmm.Allocation;

/// <summary>Hands out ranges of device addresses that never overlap.</summary>
/// <remarks><b>Threads.</b> Any number at once.</remarks>
public interface IRangeAllocator
{
    /// <summary>Takes a range anywhere, the lowest addresses first.</summary>
    /// <param name="byteCount">Not 0.</param>
    /// <param name="alignment">A power of two; the range's first address is a multiple of it.</param>
    /// <param name="range">What was taken.</param>
    /// <returns><see cref="VcmmError.Invalid"/>, or <see cref="VcmmError.NoSpace"/> if no free place fits.</returns>
    VcmmError TryAllocate(ulong byteCount, ulong alignment, out IovaRange range) =>
        TryAllocate(byteCount, alignment, Placement.BottomUp, new(new(0), new(ulong.MaxValue)), out range);

    /// <summary>Takes a range within bounds.</summary>
    /// <param name="byteCount">Not 0.</param>
    /// <param name="alignment">A power of two; the range's first address is a multiple of it.</param>
    /// <param name="placement">Which end of the free space is preferred.</param>
    /// <param name="within">The range lies in here; it may reach beyond the space.</param>
    /// <param name="range">What was taken.</param>
    /// <returns><see cref="VcmmError.Invalid"/>, or <see cref="VcmmError.NoSpace"/> if no free place within the bounds fits.</returns>
    VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range);

    /// <summary>Looks for the lowest place that is free, and takes nothing: another thread may take it first.</summary>
    /// <param name="byteCount">Not 0.</param>
    /// <param name="alignment">A power of two; the range's first address is a multiple of it.</param>
    /// <param name="within">The range lies in here; it may reach beyond the space.</param>
    /// <param name="range">What <see cref="TryAllocateAt"/> would take.</param>
    /// <returns><see cref="VcmmError.Invalid"/>, or <see cref="VcmmError.NoSpace"/> if no free place within the bounds fits.</returns>
    VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range);

    /// <summary>Takes this very range.</summary>
    /// <returns><see cref="VcmmError.Invalid"/> if it lies outside, <see cref="VcmmError.NoSpace"/> if part of it is taken.</returns>
    VcmmError TryAllocateAt(IovaRange range);

    /// <summary>Gives a range back, exactly as it was taken.</summary>
    /// <returns><see cref="VcmmError.Invalid"/> if part of it is free already or lies outside.</returns>
    VcmmError TryFree(IovaRange range);
}
