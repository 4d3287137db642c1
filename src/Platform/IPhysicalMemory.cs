namespace Platform;

/// <summary>
/// The port through which software and IOMMUs see physical memory. Implement it as a struct and pass it as a type
/// parameter: the JIT then compiles the code over it without indirection.
/// </summary>
/// <remarks>
/// <para><b>Atomicity.</b> 64- and 32-bit accesses are naturally aligned and single-copy atomic. Byte copies are not atomic.</para>
/// <para><b>Ordering.</b> Reads acquire and writes release; <see cref="CompareExchange64"/>, <see cref="CompareExchange32"/>
/// and <see cref="Fence"/> order everything before them against everything after them.</para>
/// <para><b>Errors.</b> An access outside memory throws <see cref="BusErrorException"/>; a misaligned one
/// <see cref="ArgumentException"/>. Code that follows addresses it does not trust asks <see cref="Contains"/> or uses <see cref="TryRead64"/>.</para>
/// <para><b>Threads.</b> Any number at once.</para>
/// </remarks>
public interface IPhysicalMemory
{
    /// <summary>Whether every byte of <paramref name="range"/> is memory.</summary>
    bool Contains(PhysRange range);

    /// <summary>Reads 64 bits, if they are memory.</summary>
    /// <param name="address">A multiple of 8.</param>
    /// <param name="value">What was read; 0 where nothing was.</param>
    /// <returns>False if the address is outside memory or misaligned.</returns>
    bool TryRead64(PhysAddr address, out ulong value);

    /// <summary>Reads 64 bits.</summary>
    /// <param name="address">A multiple of 8.</param>
    ulong Read64(PhysAddr address);

    /// <summary>Reads 32 bits.</summary>
    /// <param name="address">A multiple of 4.</param>
    uint Read32(PhysAddr address);

    /// <summary>Writes 64 bits.</summary>
    /// <param name="address">A multiple of 8.</param>
    /// <param name="value">What to write.</param>
    void Write64(PhysAddr address, ulong value);

    /// <summary>Writes 32 bits.</summary>
    /// <param name="address">A multiple of 4.</param>
    /// <param name="value">What to write.</param>
    void Write32(PhysAddr address, uint value);

    /// <summary>Writes <paramref name="value"/> if <paramref name="comparand"/> is there; returns what was there.</summary>
    /// <param name="address">A multiple of 8.</param>
    /// <param name="value">What to write.</param>
    /// <param name="comparand">What must be there for the write to happen.</param>
    ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand);

    /// <summary>Writes <paramref name="value"/> if <paramref name="comparand"/> is there; returns what was there.</summary>
    /// <param name="address">A multiple of 4.</param>
    /// <param name="value">What to write.</param>
    /// <param name="comparand">What must be there for the write to happen.</param>
    uint CompareExchange32(PhysAddr address, uint value, uint comparand);

    /// <summary>Copies bytes out of memory.</summary>
    void Read(PhysAddr address, Span<byte> destination);

    /// <summary>Copies bytes into memory.</summary>
    void Write(PhysAddr address, ReadOnlySpan<byte> source);

    /// <summary>
    /// The words themselves, if the memory is the host's own: loops over many of them then need no call for each.
    /// </summary>
    /// <param name="first">A multiple of 8.</param>
    /// <param name="count">How many words of 64 bits; 1 and up.</param>
    /// <param name="words">The words, until the memory is gone; empty where nothing is given.</param>
    /// <returns>
    /// False if the memory gives no words out, as by default, or they are not all memory, or are misaligned: use the calls for
    /// single words, which say what is wrong.
    /// </returns>
    /// <remarks>
    /// A word that others may see meanwhile is read and written as a whole, by loads and stores of 64 bits: aligned, they are
    /// single-copy atomic on every host that .NET runs on in 64 bits. The order is the caller's: a plain store to a span
    /// releases nothing.
    /// </remarks>
    bool TryGetWords(PhysAddr first, int count, out Span<ulong> words)
    {
        words = default;
        return false;
    }

    /// <summary>
    /// Makes earlier writes to <paramref name="range"/> visible to walkers that do not snoop the CPU's caches. Nothing to
    /// do where every walker is coherent.
    /// </summary>
    void Clean(PhysRange range);

    /// <summary>Orders every earlier access of the calling thread before every later one.</summary>
    void Fence();
}

/// <summary>An access reached a physical address where there is no memory.</summary>
public sealed class BusErrorException : Exception
{
    /// <summary>An access of <paramref name="byteCount"/> bytes at <paramref name="address"/>.</summary>
    public BusErrorException(PhysAddr address, ulong byteCount)
        : base($"no memory at {address} for an access of {byteCount} bytes")
    {
        Address = address;
    }

    /// <summary>Where the access was.</summary>
    public PhysAddr Address { get; }
}
