namespace Platform;

/// <summary>A block of memory-mapped registers.</summary>
/// <remarks>
/// <para><b>Ordering.</b> Register accesses of one thread stay in order among themselves and against its memory accesses,
/// as uncached accesses do.</para>
/// <para><b>Errors.</b> An offset outside the block, or one that is not a multiple of the width, throws
/// <see cref="ArgumentOutOfRangeException"/>.</para>
/// <para><b>Threads.</b> Any number at once; read-modify-write of a register needs a lock of the caller's.</para>
/// </remarks>
public interface IMmio
{
    /// <summary>Reads a 32-bit register.</summary>
    /// <param name="offset">From the start of the block, in bytes; a multiple of 4.</param>
    uint Read32(uint offset);

    /// <summary>Writes a 32-bit register.</summary>
    /// <param name="offset">From the start of the block, in bytes; a multiple of 4.</param>
    /// <param name="value">What to write.</param>
    void Write32(uint offset, uint value);

    /// <summary>Reads a 64-bit register.</summary>
    /// <param name="offset">From the start of the block, in bytes; a multiple of 8.</param>
    ulong Read64(uint offset);

    /// <summary>Writes a 64-bit register.</summary>
    /// <param name="offset">From the start of the block, in bytes; a multiple of 8.</param>
    /// <param name="value">What to write.</param>
    void Write64(uint offset, ulong value);
}
