using Platform;

namespace Vcmm.Allocation;

/// <summary>Hands out ranges of device addresses that never overlap.</summary>
/// <remarks><b>Threads.</b> Any number at once.</remarks>
public interface IRangeAllocator
{
    /// <summary>Takes a range anywhere.</summary>
    /// <param name="byteCount">Not 0.</param>
    /// <param name="alignment">A power of two; the range's first address is a multiple of it.</param>
    /// <param name="range">What was taken.</param>
    /// <returns><see cref="VcmmError.Invalid"/>, or <see cref="VcmmError.NoSpace"/> if no free range is large enough.</returns>
    VcmmError TryAllocate(ulong byteCount, ulong alignment, out IovaRange range);

    /// <summary>Takes this very range.</summary>
    /// <returns><see cref="VcmmError.Invalid"/> if it lies outside, <see cref="VcmmError.NoSpace"/> if part of it is taken.</returns>
    VcmmError TryAllocateAt(IovaRange range);

    /// <summary>Gives a range back, exactly as it was taken.</summary>
    /// <returns><see cref="VcmmError.Invalid"/> if part of it is free already or lies outside.</returns>
    VcmmError TryFree(IovaRange range);
}
