using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using IommuSim.Machinery;
using Platform;

namespace IommuSim;

/// <summary>
/// Memory behind the caches of processors, before a walker that does not snoop them: what software writes is seen by the walker
/// only after <see cref="IPhysicalMemory.Clean"/>, or when a cache writes it back of its own accord. Each side gets a port:
/// software <see cref="Processor"/>, devices <see cref="Device"/>, and the IOMMU <see cref="Walker"/>.
/// </summary>
/// <remarks>
/// <para>Data is coherent, as it is on the bus of a PC: what devices move is what processors have, at once. What the walker itself
/// writes, such as the status of a wait or the flags of an entry, both sides see at once.</para>
/// <para>Each page that software writes to is copied once, and the copy is kept: the walker then reads that.</para>
/// <para><b>Source.</b> Intel VT-d specification, Extended Capability Register, field C (Page-walk Coherency).</para>
/// <para><b>Threads.</b> Any number at once, for every member and every port. As on hardware, a flag that a walker sets while
/// software cleans its line may be lost to the walker's view.</para>
/// </remarks>
/// <typeparam name="TMemory">The memory itself.</typeparam>
public sealed class NonCoherentMemory<TMemory>
    where TMemory : struct, IPhysicalMemory
{
    private const int PageBytes = 4096, MostLineBytes = PageBytes;
    private readonly ConcurrentDictionary<ulong, ulong[]> _seen = new();
    private readonly TMemory _memory;
    private readonly ulong _lineBytes;

    // Looked at by every read of the walker: where all is coherent there is nothing to look up.
    private volatile bool _lags;

    /// <summary>Memory of which the walker sees everything that is there now.</summary>
    /// <param name="memory">The memory itself: whole 4 KiB pages.</param>
    /// <param name="lineBytes">
    /// How long a cache line is: a power of two, 8 … 4096. Cleaning reaches to the ends of lines, so short ones hide less.
    /// </param>
    /// <exception cref="ArgumentOutOfRangeException">The length of a line is none of these.</exception>
    public NonCoherentMemory(TMemory memory, int lineBytes = 64)
    {
        if (lineBytes is < sizeof(ulong) or > MostLineBytes || (lineBytes & (lineBytes - 1)) != 0)
            throw new ArgumentOutOfRangeException(nameof(lineBytes), lineBytes, $"expected a power of two, {sizeof(ulong)} to {MostLineBytes}");
        _memory = memory;
        _lineBytes = (ulong)lineBytes;
    }

    /// <summary>The port of software.</summary>
    public NonCoherentPort<TMemory> Processor => new(this, MemoryAgent.Processor);

    /// <summary>The port of devices, whose accesses are snooped.</summary>
    public NonCoherentPort<TMemory> Device => new(this, MemoryAgent.Device);

    /// <summary>The port of an IOMMU whose reads are not snooped.</summary>
    public NonCoherentPort<TMemory> Walker => new(this, MemoryAgent.Walker);

    internal TMemory Memory => _memory;

    /// <summary>Whether the walker may see something else than software somewhere.</summary>
    internal bool Lags => _lags;

    /// <summary>Whether the walker sees a range as software does: a test asks it where everything should have been cleaned.</summary>
    /// <param name="range">Any range of memory.</param>
    /// <exception cref="BusErrorException">Part of it is no memory.</exception>
    public bool IsClean(PhysRange range)
    {
        Span<byte> one = stackalloc byte[PageBytes], other = stackalloc byte[PageBytes];
        for (ulong done = 0; done < range.ByteCount;)
        {
            PhysAddr at = range.First + done;
            int length = (int)Math.Min(PageBytes - (at.Value & (PageBytes - 1)), range.ByteCount - done);
            Walker.Read(at, one[..length]);
            _memory.Read(at, other[..length]);
            if (!one[..length].SequenceEqual(other[..length])) return false;
            done += (ulong)length;
        }

        return true;
    }

    /// <summary>
    /// Writes about half of the lines that software has written to back, as caches do at any time, to make room or for no reason.
    /// What was written first need not be seen first.
    /// </summary>
    /// <param name="seed">Decides which half.</param>
    public void WriteBack(ulong seed)
    {
        var random = new Xorshift(seed);
        Span<byte> now = stackalloc byte[PageBytes];
        foreach ((ulong page, ulong[] seen) in _seen.OrderBy(static pair => pair.Key))
        {
            // Most pages have been cleaned. Their lines are drawn, too: what a seed means for a page does not depend on the others.
            _memory.Read(new(page), now);
            bool lags = !MemoryMarshal.AsBytes(seen.AsSpan()).SequenceEqual(now);
            for (ulong offset = 0; offset < PageBytes; offset += _lineBytes)
            {
                // Survives as `random.Next(2) != 0` and as `!(random.Next(2) == 0 && lags)`: equivalent, it is the other side of the coin, and what does
                // not lag is no other by being cleaned
                if (random.Next(2) == 0 && lags) Clean(PhysRange.FromLength(new(page + offset), _lineBytes));
            }
        }
    }

    /// <summary>Before software writes: keeps what the walker sees.</summary>
    internal void Keep(PhysAddr address, ulong byteCount)
    {
        if (byteCount == 0) return;
        ulong last = unchecked(address.Value + (byteCount - 1)) & ~(PageBytes - 1UL);
        for (ulong page = address.Value & ~(PageBytes - 1UL); page <= last; page += PageBytes)
        {
            // Where there is none, the write itself is refused.
            if (!_seen.ContainsKey(page) && _memory.Contains(PhysRange.FromLength(new(page), PageBytes))) _seen.GetOrAdd(page, Copy);
            if (page == last) break;
        }

        _lags = true;
    }

    internal bool TryReadSeen(PhysAddr address, out ulong value)
    {
        if ((address.Value & 7) != 0 || Seen(address) is not { } page) return _memory.TryRead64(address, out value);
        value = Volatile.Read(ref page[WordOf(address)]);
        return true;
    }

    internal void ReadSeen(PhysAddr address, Span<byte> destination)
    {
        while (destination.Length != 0)
        {
            int offset = (int)(address.Value & (PageBytes - 1)), length = Math.Min(PageBytes - offset, destination.Length);
            if (Seen(address) is { } page) MemoryMarshal.AsBytes(page.AsSpan()).Slice(offset, length).CopyTo(destination);
            else _memory.Read(address, destination[..length]);
            destination = destination[length..];
            // Behind the last address of all nothing is left.
            address = new(unchecked(address.Value + (ulong)length));
        }
    }

    /// <summary>After a device or the walker wrote bytes: both sides see them.</summary>
    internal void Publish(PhysAddr address, ReadOnlySpan<byte> source)
    {
        if (!_lags) return;
        while (source.Length != 0)
        {
            int offset = (int)(address.Value & (PageBytes - 1)), length = Math.Min(PageBytes - offset, source.Length);
            if (Seen(address) is { } page) source[..length].CopyTo(MemoryMarshal.AsBytes(page.AsSpan()).Slice(offset, length));
            source = source[length..];
            // Behind the last address of all nothing is left.
            address = new(unchecked(address.Value + (ulong)length));
        }
    }

    internal void Publish64(PhysAddr address, ulong value)
    {
        if (_lags && Seen(address) is { } page) Volatile.Write(ref page[WordOf(address)], value);
    }

    internal void Publish32(PhysAddr address, uint value)
    {
        if (_lags && Seen(address) is { } page)
            Volatile.Write(ref MemoryMarshal.Cast<ulong, uint>(page.AsSpan())[(int)(address.Value & (PageBytes - 1)) / sizeof(uint)], value);
    }

    internal void Clean(PhysRange range)
    {
        if (_lags)
        {
            ulong last = range.Last.Value | (_lineBytes - 1);
            for (ulong at = range.First.Value & ~(_lineBytes - 1);;)
            {
                ulong end = Math.Min(last, at | (PageBytes - 1));
                if (Seen(new(at)) is { } page)
                {
                    ulong first = at & ~(PageBytes - 1UL);
                    for (int word = WordOf(new(at)); word <= WordOf(new(end)); word++)
                        Volatile.Write(ref page[word], _memory.Read64(new(first + (ulong)word * sizeof(ulong))));
                }

                if (end == last) break;
                at = end + 1;
            }
        }

        _memory.Clean(range);
    }

    private static int WordOf(PhysAddr address) => (int)(address.Value & (PageBytes - 1)) / sizeof(ulong);

    private ulong[]? Seen(PhysAddr address) => _seen.GetValueOrDefault(address.Value & ~(PageBytes - 1UL));

    // Nobody writes to the page before it is kept: what is kept first was copied before that.
    private ulong[] Copy(ulong page)
    {
        ulong[] words = new ulong[PageBytes / sizeof(ulong)];
        for (int i = 0; i < words.Length; i++) words[i] = _memory.Read64(new(page + (ulong)i * sizeof(ulong)));
        return words;
    }
}

/// <summary>Memory as one side of a <see cref="NonCoherentMemory{TMemory}"/> has it.</summary>
/// <typeparam name="TMemory">The memory itself.</typeparam>
public readonly struct NonCoherentPort<TMemory> : IPhysicalMemory
    where TMemory : struct, IPhysicalMemory
{
    private readonly NonCoherentMemory<TMemory> _owner;
    private readonly MemoryAgent _agent;

    internal NonCoherentPort(NonCoherentMemory<TMemory> owner, MemoryAgent agent) => (_owner, _agent) = (owner, agent);

    private bool Lags => _agent == MemoryAgent.Walker && _owner.Lags;

    /// <inheritdoc/>
    public bool Contains(PhysRange range) => _owner.Memory.Contains(range);

    /// <inheritdoc/>
    public bool TryRead64(PhysAddr address, out ulong value) =>
        Lags ? _owner.TryReadSeen(address, out value) : _owner.Memory.TryRead64(address, out value);

    /// <inheritdoc/>
    public ulong Read64(PhysAddr address) => Lags && _owner.TryReadSeen(address, out ulong value) ? value : _owner.Memory.Read64(address);

    /// <inheritdoc/>
    public uint Read32(PhysAddr address)
    {
        uint now = _owner.Memory.Read32(address);
        return Lags && _owner.TryReadSeen(new(address.Value & ~7UL), out ulong word) ? unchecked((uint)(word >> (int)(address.Value & 4) * 8)) : now;
    }

    /// <inheritdoc/>
    public void Write64(PhysAddr address, ulong value)
    {
        BeforeWrite(address, sizeof(ulong));
        _owner.Memory.Write64(address, value);
        if (_agent != MemoryAgent.Processor) _owner.Publish64(address, value);
    }

    /// <inheritdoc/>
    public void Write32(PhysAddr address, uint value)
    {
        BeforeWrite(address, sizeof(uint));
        _owner.Memory.Write32(address, value);
        if (_agent != MemoryAgent.Processor) _owner.Publish32(address, value);
    }

    /// <inheritdoc/>
    /// <remarks>What is compared is what software has: an atomic operation is always snooped.</remarks>
    public ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand)
    {
        BeforeWrite(address, sizeof(ulong));
        ulong found = _owner.Memory.CompareExchange64(address, value, comparand);
        if (_agent != MemoryAgent.Processor && found == comparand) _owner.Publish64(address, value);
        return found;
    }

    /// <inheritdoc/>
    /// <remarks>What is compared is what software has: an atomic operation is always snooped.</remarks>
    public uint CompareExchange32(PhysAddr address, uint value, uint comparand)
    {
        BeforeWrite(address, sizeof(uint));
        uint found = _owner.Memory.CompareExchange32(address, value, comparand);
        if (_agent != MemoryAgent.Processor && found == comparand) _owner.Publish32(address, value);
        return found;
    }

    /// <inheritdoc/>
    public void Read(PhysAddr address, Span<byte> destination)
    {
        if (Lags) _owner.ReadSeen(address, destination);
        else _owner.Memory.Read(address, destination);
    }

    /// <inheritdoc/>
    public void Write(PhysAddr address, ReadOnlySpan<byte> source)
    {
        BeforeWrite(address, (ulong)source.Length);
        _owner.Memory.Write(address, source);
        if (_agent != MemoryAgent.Processor) _owner.Publish(address, source);
    }

    /// <inheritdoc/>
    /// <remarks>Only to software, if the memory itself gives words.</remarks>
    public bool TryGetWords(PhysAddr first, int count, out Span<ulong> words)
    {
        words = default;
        if (_agent != MemoryAgent.Processor || !_owner.Memory.TryGetWords(first, count, out words)) return false;
        // They may be written to at any time from here on.
        _owner.Keep(first, (ulong)count * sizeof(ulong));
        return true;
    }

    /// <inheritdoc/>
    public void Clean(PhysRange range) => _owner.Clean(range);

    /// <inheritdoc/>
    public void Fence() => _owner.Memory.Fence();

    private void BeforeWrite(PhysAddr address, ulong byteCount)
    {
        if (_agent == MemoryAgent.Processor) _owner.Keep(address, byteCount);
    }
}
