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

    /// <summary>A page that was read; empty if it was not, or is no memory.</summary>
    public byte[] Page(PhysAddr page) => _pages.GetValueOrDefault(page.Value, []);

    /// <summary>A page; empty if it is no memory.</summary>
    public ReadOnlySpan<byte> Fetch(PhysAddr page)
    {
        if (_pages.TryGetValue(page.Value, out byte[]? bytes)) return bytes;
        if (!_memory.Contains(PhysRange.FromLength(page, PageBytes))) return [];
        bytes = new byte[PageBytes];
        _memory.Read(page, bytes);
        _pages.Add(page.Value, bytes);
        return bytes;
    }

    /// <inheritdoc/>
    public bool Contains(PhysRange range) => _memory.Contains(range);

    /// <inheritdoc/>
    public bool TryRead64(PhysAddr address, out ulong value)
    {
        ulong page = address.Value & ~(PageBytes - 1UL);
        ReadOnlySpan<byte> bytes = Fetch(new(page));
        if (bytes.IsEmpty) return _memory.TryRead64(address, out value);
        value = BinaryPrimitives.ReadUInt64LittleEndian(bytes[(int)(address.Value - page)..]);
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
