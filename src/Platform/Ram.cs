using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Platform;

/// <summary>A block of zeroed memory outside the garbage-collected heap that stands for physical memory.</summary>
/// <remarks><b>Threads.</b> <see cref="Dispose"/> must not overlap any access through <see cref="Port"/>.</remarks>
public sealed unsafe class RamBlock : IDisposable
{
    private const ulong FrameBytes = 4096;

    // The block begins at the first frame boundary of what was allocated.
    private void* _allocated;
    private byte* _bytes;

    /// <summary>Allocates memory for <paramref name="range"/>, all zero.</summary>
    /// <param name="range">Starts and ends on 4 KiB boundaries.</param>
    /// <exception cref="ArgumentException">The range is not made of whole 4 KiB frames.</exception>
    /// <exception cref="OutOfMemoryException">The host has not that much.</exception>
    public RamBlock(PhysRange range)
    {
        if (!range.First.IsAligned(FrameBytes) || range.ByteCount % FrameBytes != 0)
            throw new ArgumentException($"{range} is not made of whole 4 KiB frames", nameof(range));
        Range = range;
        // Zeroed by who allocates: what is fresh from the operating system is zero already, and a frame that nobody touches is never made.
        _allocated = NativeMemory.AllocZeroed(checked((nuint)(range.ByteCount + FrameBytes)));
        _bytes = (byte*)((nuint)_allocated + (nuint)FrameBytes - 1 & ~((nuint)FrameBytes - 1));
    }

    /// <summary>The physical addresses at which the block answers.</summary>
    public PhysRange Range { get; }

    /// <summary>The port through which the block is read and written.</summary>
    /// <exception cref="ObjectDisposedException">The block was disposed.</exception>
    public Ram Port
    {
        get
        {
            ObjectDisposedException.ThrowIf(_bytes == null, this);
            return new Ram(_bytes, Range.First.Value, Range.ByteCount);
        }
    }

    /// <summary>Gives the memory back. A port taken from the block must not be used after this.</summary>
    public void Dispose()
    {
        NativeMemory.Free(_allocated);
        _allocated = null;
        _bytes = null;
    }
}

/// <summary>A bounds-checked physical-memory port over a <see cref="RamBlock"/>; every walker sees it coherently.</summary>
public readonly unsafe struct Ram : IPhysicalMemory
{
    private readonly byte* _bytes;
    private readonly ulong _first;
    private readonly ulong _byteCount;

    internal Ram(byte* bytes, ulong first, ulong byteCount)
    {
        _bytes = bytes;
        _first = first;
        _byteCount = byteCount;
    }

    /// <inheritdoc/>
    public bool Contains(PhysRange range)
    {
        ulong offset = unchecked(range.First.Value - _first);
        return offset < _byteCount && range.Last.Value - range.First.Value < _byteCount - offset;
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryRead64(PhysAddr address, out ulong value)
    {
        if (!IsWord(address))
        {
            value = 0;
            return false;
        }

        value = Volatile.Read(ref *(ulong*)At(address));
        return true;
    }

    /// <inheritdoc/>
    public ulong Read64(PhysAddr address) => Volatile.Read(ref Word64(address));

    /// <inheritdoc/>
    public uint Read32(PhysAddr address) => Volatile.Read(ref Word32(address));

    /// <inheritdoc/>
    public void Write64(PhysAddr address, ulong value) => Volatile.Write(ref Word64(address), value);

    /// <inheritdoc/>
    public void Write32(PhysAddr address, uint value) => Volatile.Write(ref Word32(address), value);

    /// <inheritdoc/>
    public ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand) =>
        Interlocked.CompareExchange(ref Word64(address), value, comparand);

    /// <inheritdoc/>
    public uint CompareExchange32(PhysAddr address, uint value, uint comparand) =>
        Interlocked.CompareExchange(ref Word32(address), value, comparand);

    /// <inheritdoc/>
    public void Read(PhysAddr address, Span<byte> destination) => Bytes(address, destination.Length).CopyTo(destination);

    /// <inheritdoc/>
    public void Write(PhysAddr address, ReadOnlySpan<byte> source) => source.CopyTo(Bytes(address, source.Length));

    /// <inheritdoc/>
    public bool TryGetWords(PhysAddr first, int count, out Span<ulong> words)
    {
        ulong offset = unchecked(first.Value - _first);
        ulong wordCount = unchecked((uint)count);
        if (offset >= _byteCount || (offset & 7) != 0 || wordCount > (_byteCount - offset) / sizeof(ulong))
        {
            words = default;
            return false;
        }

        words = new(_bytes + offset, count);
        return true;
    }

    /// <inheritdoc/>
    public void Clean(PhysRange range)
    {
    }

    /// <inheritdoc/>
    public void Fence() => Interlocked.MemoryBarrier();

    private Span<byte> Bytes(PhysAddr address, int byteCount)
    {
        ulong offset = unchecked(address.Value - _first);
        if (offset > _byteCount || (ulong)byteCount > _byteCount - offset) ThrowBusError(address, byteCount);
        return new(_bytes + offset, byteCount);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ref ulong Word64(PhysAddr address)
    {
        if (!IsWord(address)) Refuse(address, sizeof(ulong));
        return ref *(ulong*)At(address);
    }

    /// <summary>
    /// Whether 64 bits of the block lie there. One comparison: rotated, the bits that make an address misaligned become the highest.
    /// The block is made of whole frames, so a word that starts inside it ends inside it.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool IsWord(PhysAddr address) => BitOperations.RotateRight(unchecked(address.Value - _first), 3) < _byteCount / sizeof(ulong);

    /// <summary>Where an address of the block is. The difference of the two bases is the same for all: a walk need not wait for it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* At(PhysAddr address) => (byte*)unchecked((ulong)_bytes - _first + address.Value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ref uint Word32(PhysAddr address)
    {
        ulong offset = unchecked(address.Value - _first);
        if (offset >= _byteCount || (offset & 3) != 0) Refuse(address, sizeof(uint));
        return ref *(uint*)unchecked(_bytes + offset);
    }

    private static void Refuse(PhysAddr address, int byteCount)
    {
        if (!address.IsAligned((ulong)byteCount))
            throw new ArgumentException($"{address} is not a multiple of {byteCount}", nameof(address));
        ThrowBusError(address, byteCount);
    }

    private static void ThrowBusError(PhysAddr address, int byteCount) => throw new BusErrorException(address, (ulong)byteCount);
}
