using Platform;

namespace Vcmm.Allocation;

/// <summary>Several banks of physical memory as one source, each with an allocator of its own.</summary>
/// <remarks>
/// <para><b>Errors.</b> A double free and the free of an address that was never handed out, in a bank or not, are refused.</para>
/// <para><b>Threads.</b> Any number at once; in different banks they do not wait for each other.</para>
/// </remarks>
public sealed class BankedFrames : IBankedFrameSource
{
    private readonly MemoryBank[] _banks;
    private readonly FrameAllocator[] _frames;

    /// <summary>The first byte of each bank, ascending, and which bank it is.</summary>
    private readonly PhysAddr[] _firsts;
    private readonly int[] _byAddress;

    /// <summary>Takes banks under management, all of them free.</summary>
    /// <param name="banks">At least one; each starts and ends on 4 KiB boundaries; no two overlap. They are asked in this order.</param>
    /// <exception cref="ArgumentException">There is none, one cuts a frame, or two overlap.</exception>
    public BankedFrames(IReadOnlyList<MemoryBank> banks)
    {
        ArgumentNullException.ThrowIfNull(banks);
        if (banks.Count == 0) throw new ArgumentException("there is no bank", nameof(banks));
        _banks = [.. banks];
        _firsts = Array.ConvertAll(_banks, static bank => bank.Range.First);
        _byAddress = new int[_banks.Length];
        for (int i = 0; i < _byAddress.Length; i++) _byAddress[i] = i;
        Array.Sort(_firsts, _byAddress);
        for (int i = 1; i < _byAddress.Length; i++)
        {
            PhysRange below = _banks[_byAddress[i - 1]].Range;
            PhysRange above = _banks[_byAddress[i]].Range;
            if (below.Overlaps(above)) throw new ArgumentException($"the banks {below} and {above} overlap", nameof(banks));
            TotalBytes += below.ByteCount;
        }

        TotalBytes += _banks[_byAddress[^1]].Range.ByteCount;
        // Last: nine bytes a frame are not worth having if two overlap.
        _frames = Array.ConvertAll(_banks, static bank => new FrameAllocator(bank.Range));
    }

    /// <inheritdoc/>
    public IReadOnlyList<MemoryBank> Banks => _banks;

    /// <inheritdoc/>
    public ulong TotalBytes { get; }

    /// <inheritdoc/>
    /// <remarks>The sum over the banks, read one after the other: exact while nobody allocates or frees.</remarks>
    public ulong FreeBytes
    {
        get
        {
            ulong sum = 0;
            foreach (FrameAllocator frames in _frames) sum += frames.FreeBytes;
            return sum;
        }
    }

    /// <inheritdoc/>
    public ulong FreeBytesOf(MemoryBank bank)
    {
        ArgumentNullException.ThrowIfNull(bank);
        int i = Array.IndexOf(_banks, bank);
        return i >= 0 ? _frames[i].FreeBytes : throw new ArgumentException($"{bank} is not a bank of this source", nameof(bank));
    }

    /// <inheritdoc/>
    public VcmmError TryAllocate(ulong byteCount, out PhysAddr block) => TryAllocate(byteCount, default, out block);

    /// <inheritdoc/>
    public VcmmError TryAllocate(ulong byteCount, MemoryRequest request, out PhysAddr block)
    {
        block = default;
        VcmmError error = VcmmError.NotFound;
        for (int i = 0; i < _banks.Length; i++)
        {
            if (!request.Admits(_banks[i])) continue;
            error = _frames[i].TryAllocate(byteCount, out block);
            if (error != VcmmError.NoMemory) return error;
        }

        return error;
    }

    /// <inheritdoc/>
    public VcmmError TryAllocateContiguous(ulong byteCount, ulong alignment, out PhysAddr block) =>
        TryAllocateContiguous(byteCount, alignment, default, out block);

    /// <inheritdoc/>
    public VcmmError TryAllocateContiguous(ulong byteCount, ulong alignment, MemoryRequest request, out PhysAddr block)
    {
        block = default;
        VcmmError error = VcmmError.NotFound;
        for (int i = 0; i < _banks.Length; i++)
        {
            if (!request.Admits(_banks[i])) continue;
            error = _frames[i].TryAllocateContiguous(byteCount, alignment, out block);
            if (error != VcmmError.NoMemory) return error;
        }

        return error;
    }

    /// <inheritdoc/>
    public VcmmError TryAllocateWithin(ulong byteCount, ulong alignment, PhysRange within, out PhysAddr block) =>
        TryAllocateWithin(byteCount, alignment, default, within, out block);

    /// <inheritdoc/>
    public VcmmError TryAllocateWithin(ulong byteCount, ulong alignment, MemoryRequest request, PhysRange within, out PhysAddr block)
    {
        block = default;
        VcmmError error = VcmmError.NotFound;
        for (int i = 0; i < _banks.Length; i++)
        {
            if (!request.Admits(_banks[i])) continue;
            error = _frames[i].TryAllocateWithin(byteCount, alignment, within, out block);
            if (error != VcmmError.NoMemory) return error;
        }

        return error;
    }

    /// <inheritdoc/>
    /// <remarks>The lowest of the first bank, in the order in which they are asked, that has any there.</remarks>
    public VcmmError TryFindWithin(ulong byteCount, ulong alignment, PhysRange within, out PhysAddr block)
    {
        block = default;
        VcmmError error = VcmmError.NoMemory;
        foreach (FrameAllocator frames in _frames)
        {
            error = frames.TryFindWithin(byteCount, alignment, within, out block);
            if (error != VcmmError.NoMemory) return error;
        }

        return error;
    }

    /// <inheritdoc/>
    public VcmmError TryAllocateAt(PhysRange range) =>
        TryFind(range.First, out int bank) ? _frames[bank].TryAllocateAt(range) : VcmmError.Invalid;

    /// <inheritdoc/>
    public VcmmError TryFree(PhysAddr block) => TryFind(block, out int bank) ? _frames[bank].TryFree(block) : VcmmError.Invalid;

    /// <inheritdoc/>
    public bool TryFindBank(PhysAddr address, out MemoryBank? bank)
    {
        bool isFound = TryFind(address, out int i);
        bank = isFound ? _banks[i] : null;
        return isFound;
    }

    private bool TryFind(PhysAddr address, out int bank)
    {
        int i = Array.BinarySearch(_firsts, address);
        if (i < 0) i = ~i - 1;
        bank = i >= 0 ? _byAddress[i] : 0;
        return i >= 0 && _banks[bank].Range.Contains(address);
    }
}
