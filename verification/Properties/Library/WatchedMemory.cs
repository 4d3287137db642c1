using System.Buffers.Binary;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library;

/// <summary>What a watched memory has seen: which words a walker may not see yet, and in which order they came about.</summary>
internal sealed class MemoryWatch
{
    /// <summary>Words of 64 bits that were written and not cleaned since.</summary>
    public HashSet<ulong> Unclean { get; } = [];

    /// <summary>Words of 64 bits that were written and not followed by a fence since.</summary>
    public HashSet<ulong> Unfenced { get; } = [];

    /// <summary>Called before each 64-bit write or successful exchange, with the address and the new value.</summary>
    public Action<PhysAddr, ulong> BeforeWrite { get; set; } = static (_, _) => { };

    /// <summary>Called before each 64-bit exchange.</summary>
    public Action<PhysAddr> BeforeExchange { get; set; } = static _ => { };

    /// <summary>Called before each 64-bit read that may fail: the reads of a walk without a lock.</summary>
    public Action<PhysAddr> BeforeTryRead { get; set; } = static _ => { };

    /// <summary>The frames that may be written.</summary>
    public HashSet<ulong> Taken { get; } = [];

    /// <summary>How many words were written, and how many fences there were: that a check looked at something.</summary>
    public int WriteCount { get; private set; }

    public int FenceCount { get; private set; }

    /// <summary>How many words were read.</summary>
    public int ReadCount { get; set; }

    /// <summary>A walker that does not snoop the CPU's caches would see everything, in the order in which it was written.</summary>
    public void AssertVisible(string when)
    {
        Assert.True(Unclean.Count == 0, $"{when}: {Unclean.Count} words are not cleaned, one at 0x{Unclean.FirstOrDefault():x}");
        Assert.True(Unfenced.Count == 0, $"{when}: {Unfenced.Count} words are not fenced, one at 0x{Unfenced.FirstOrDefault():x}");
    }

    public void Written(PhysAddr address)
    {
        Assert.True(Taken.Contains(address.Value & ~0xFFFUL), $"{address} is written and in no frame that was taken");
        WriteCount++;
        Unclean.Add(address.Value);
        Unfenced.Add(address.Value);
    }

    public void Cleaned(PhysRange range) => Unclean.RemoveWhere(address => range.Contains(new PhysAddr(address)));

    public void Fenced()
    {
        FenceCount++;
        Unfenced.Clear();
    }
}

/// <summary>Memory whose writes, cleans and fences a test can follow.</summary>
internal readonly struct WatchedMemory(Ram ram, MemoryWatch watch) : IPhysicalMemory
{
    public bool Contains(PhysRange range) => ram.Contains(range);

    public bool TryRead64(PhysAddr address, out ulong value)
    {
        watch.BeforeTryRead(address);
        watch.ReadCount++;
        return ram.TryRead64(address, out value);
    }

    public ulong Read64(PhysAddr address)
    {
        watch.ReadCount++;
        return ram.Read64(address);
    }

    public uint Read32(PhysAddr address) => ram.Read32(address);

    public void Write64(PhysAddr address, ulong value)
    {
        watch.BeforeWrite(address, value);
        ram.Write64(address, value);
        watch.Written(address);
    }

    public void Write32(PhysAddr address, uint value) => ram.Write32(address, value);

    public ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand)
    {
        watch.BeforeExchange(address);
        if (ram.Read64(address) == comparand) watch.BeforeWrite(address, value);
        ulong found = ram.CompareExchange64(address, value, comparand);
        watch.Fenced();
        if (found == comparand) watch.Written(address);
        return found;
    }

    public uint CompareExchange32(PhysAddr address, uint value, uint comparand) => ram.CompareExchange32(address, value, comparand);

    public void Read(PhysAddr address, Span<byte> destination) => ram.Read(address, destination);

    /// <summary>Whole words, followed one by one.</summary>
    public void Write(PhysAddr address, ReadOnlySpan<byte> source)
    {
        for (int at = 0; at < source.Length; at += sizeof(ulong))
            Write64(address + (ulong)at, BinaryPrimitives.ReadUInt64LittleEndian(source[at..]));
    }

    public void Clean(PhysRange range)
    {
        ram.Clean(range);
        watch.Cleaned(range);
    }

    public void Fence()
    {
        ram.Fence();
        watch.Fenced();
    }
}

/// <summary>Frames of 4 KiB that are noted as taken and given back.</summary>
internal sealed class WatchedFrames(IFrameSource frames, MemoryWatch watch) : IFrameSource
{
    public ulong TotalBytes => frames.TotalBytes;

    public ulong FreeBytes => frames.FreeBytes;

    public VcmmError TryAllocate(ulong byteCount, out PhysAddr block)
    {
        VcmmError error = frames.TryAllocate(byteCount, out block);
        if (error == VcmmError.None && byteCount == FrameAllocator.FrameBytes) watch.Taken.Add(block.Value);
        return error;
    }

    public VcmmError TryFree(PhysAddr block)
    {
        watch.Taken.Remove(block.Value);
        return frames.TryFree(block);
    }
}
