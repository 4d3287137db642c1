using System.Buffers.Binary;
using Platform;

namespace Harness.Running;

/// <summary>
/// Memory as it is now, for one look at the tables: each page is fetched once, whole. Over a socket that is what makes a look
/// at a table affordable.
/// </summary>
public readonly struct Snapshot : IPhysicalMemory
{
    private const int PageBytes = 4096;
    private readonly IPhysicalMemory _memory;
    private readonly Dictionary<ulong, byte[]> _pages;

    /// <summary>A look at <paramref name="memory"/>; nothing is fetched yet.</summary>
    public Snapshot(IPhysicalMemory memory)
    {
        _memory = memory;
        _pages = [];
    }

    /// <inheritdoc/>
    public bool Contains(PhysRange range) => _memory.Contains(range);

    /// <inheritdoc/>
    public bool TryRead64(PhysAddr address, out ulong value)
    {
        ulong page = address.Value & ~(PageBytes - 1UL);
        if (!_pages.TryGetValue(page, out byte[]? bytes))
        {
            if (!_memory.Contains(PhysRange.FromLength(new(page), PageBytes))) return _memory.TryRead64(address, out value);
            bytes = new byte[PageBytes];
            _memory.Read(new(page), bytes);
            _pages.Add(page, bytes);
        }

        value = BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan((int)(address.Value - page)));
        return true;
    }

    /// <inheritdoc/>
    public ulong Read64(PhysAddr address) => TryRead64(address, out ulong value) ? value : throw new BusErrorException(address, sizeof(ulong));

    /// <inheritdoc/>
    public uint Read32(PhysAddr address) => (uint)(Read64(new(address.Value & ~7UL)) >> (int)((address.Value & 4) * 8));

    /// <inheritdoc/>
    public void Read(PhysAddr address, Span<byte> destination) => _memory.Read(address, destination);

    /// <inheritdoc/>
    public void Write64(PhysAddr address, ulong value) => throw Only();

    /// <inheritdoc/>
    public void Write32(PhysAddr address, uint value) => throw Only();

    /// <inheritdoc/>
    public ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand) => throw Only();

    /// <inheritdoc/>
    public uint CompareExchange32(PhysAddr address, uint value, uint comparand) => throw Only();

    /// <inheritdoc/>
    public void Write(PhysAddr address, ReadOnlySpan<byte> source) => throw Only();

    /// <inheritdoc/>
    public void Clean(PhysRange range)
    {
    }

    /// <inheritdoc/>
    public void Fence()
    {
    }

    private static NotSupportedException Only() => new("a snapshot is read only");
}
