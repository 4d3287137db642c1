using Platform;

namespace Vcmm.Allocation;

/// <summary>A source of frames from several banks.</summary>
/// <remarks><b>Threads.</b> Any number at once.</remarks>
public interface IBankedFrameSource : IContiguousFrameSource
{
    /// <summary>The banks, in the order in which they are asked.</summary>
    IReadOnlyList<MemoryBank> Banks { get; }

    /// <summary>Bytes of a bank that are not handed out.</summary>
    /// <param name="bank">One of <see cref="Banks"/>.</param>
    /// <exception cref="ArgumentException">It is none.</exception>
    ulong FreeBytesOf(MemoryBank bank);

    /// <summary>Hands out a block from the first bank that the request admits and that has one.</summary>
    /// <param name="byteCount">A power of two from 4 KiB to 1 GiB.</param>
    /// <param name="request">Which banks.</param>
    /// <param name="block">Its first byte, a multiple of <paramref name="byteCount"/>. The content is what was there before.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> for another size; <see cref="VcmmError.NotFound"/> if the request admits no bank;
    /// <see cref="VcmmError.NoMemory"/> if none of those that it admits has one.
    /// </returns>
    VcmmError TryAllocate(ulong byteCount, MemoryRequest request, out PhysAddr block);

    /// <summary>Hands out contiguous memory from the first bank that the request admits and that has it.</summary>
    /// <param name="byteCount">Whole 4 KiB frames, not 0.</param>
    /// <param name="alignment">A power of two up to 1 GiB.</param>
    /// <param name="request">Which banks.</param>
    /// <param name="block">Its first byte, a multiple of <paramref name="alignment"/>.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/>; <see cref="VcmmError.NotFound"/> if the request admits no bank;
    /// <see cref="VcmmError.NoMemory"/> if none of those that it admits has it.
    /// </returns>
    VcmmError TryAllocateContiguous(ulong byteCount, ulong alignment, MemoryRequest request, out PhysAddr block);

    /// <summary>Hands out contiguous memory within bounds from the first bank that the request admits and that has it.</summary>
    /// <param name="byteCount">Whole 4 KiB frames, not 0.</param>
    /// <param name="alignment">A power of two up to 1 GiB.</param>
    /// <param name="request">Which banks.</param>
    /// <param name="within">All of it lies in here; it may reach beyond the banks.</param>
    /// <param name="block">Its first byte, a multiple of <paramref name="alignment"/>.</param>
    /// <returns>As without bounds.</returns>
    VcmmError TryAllocateWithin(ulong byteCount, ulong alignment, MemoryRequest request, PhysRange within, out PhysAddr block);

    /// <summary>The bank that an address lies in.</summary>
    /// <returns>False if there is none.</returns>
    bool TryFindBank(PhysAddr address, out MemoryBank? bank);
}
