using Platform;

namespace Harness.Foreign;

/// <summary>QEMU's memory as a processor of its machine sees it; every walker sees it coherently.</summary>
/// <remarks>Only accesses through one <see cref="QtestClient"/> change it, apart from DMA, which runs between two
/// commands: a compare-and-swap is therefore two commands under the client's gate.</remarks>
public readonly struct QtestMemory : IPhysicalMemory
{
    private readonly QtestClient _client;
    private readonly PhysRange _range;

    internal QtestMemory(QtestClient client, PhysRange range)
    {
        _client = client;
        _range = range;
    }

    /// <inheritdoc/>
    public bool Contains(PhysRange range) => _range.Contains(range);

    /// <inheritdoc/>
    public bool TryRead64(PhysAddr address, out ulong value)
    {
        bool readable = address.IsAligned(sizeof(ulong)) && _range.Contains(address);
        value = readable ? _client.Read(address.Value, sizeof(ulong)) : 0;
        return readable;
    }

    /// <inheritdoc/>
    public ulong Read64(PhysAddr address) => _client.Read(Word(address, sizeof(ulong)), sizeof(ulong));

    /// <inheritdoc/>
    public uint Read32(PhysAddr address) => (uint)_client.Read(Word(address, sizeof(uint)), sizeof(uint));

    /// <summary>Words of 32 bits, in one exchange.</summary>
    internal ulong[] Read32(ReadOnlySpan<ulong> addresses)
    {
        foreach (ulong address in addresses) Word(new(address), sizeof(uint));
        return _client.Read(addresses, sizeof(uint));
    }

    /// <inheritdoc/>
    public void Write64(PhysAddr address, ulong value) => _client.Write(Word(address, sizeof(ulong)), value, sizeof(ulong));

    /// <inheritdoc/>
    public void Write32(PhysAddr address, uint value) => _client.Write(Word(address, sizeof(uint)), value, sizeof(uint));

    /// <inheritdoc/>
    public ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand)
    {
        lock (_client.Gate)
        {
            ulong found = Read64(address);
            if (found == comparand) Write64(address, value);
            return found;
        }
    }

    /// <inheritdoc/>
    public uint CompareExchange32(PhysAddr address, uint value, uint comparand)
    {
        lock (_client.Gate)
        {
            uint found = Read32(address);
            if (found == comparand) Write32(address, value);
            return found;
        }
    }

    /// <inheritdoc/>
    public void Read(PhysAddr address, Span<byte> destination) => _client.ReadBytes(Bytes(address, destination.Length), destination);

    /// <inheritdoc/>
    public void Write(PhysAddr address, ReadOnlySpan<byte> source) => _client.WriteBytes(Bytes(address, source.Length), source);

    /// <inheritdoc/>
    public void Clean(PhysRange range)
    {
    }

    /// <inheritdoc/>
    public void Fence()
    {
    }

    private ulong Word(PhysAddr address, int byteCount) => address.IsAligned((ulong)byteCount)
        ? Bytes(address, byteCount)
        : throw new ArgumentException($"{address} is not a multiple of {byteCount}", nameof(address));

    private ulong Bytes(PhysAddr address, int byteCount) =>
        byteCount == 0 || (_range.Contains(address) && (ulong)(byteCount - 1) <= _range.Last.Value - address.Value)
            ? address.Value
            : throw new BusErrorException(address, (ulong)byteCount);
}

/// <summary>A block of registers of QEMU's machine.</summary>
public sealed class QtestMmio : IMmio
{
    private readonly QtestClient _client;
    private readonly PhysRange _range;

    internal QtestMmio(QtestClient client, PhysRange range)
    {
        _client = client;
        _range = range;
    }

    /// <inheritdoc/>
    public uint Read32(uint offset) => (uint)_client.Read(At(offset, sizeof(uint)), sizeof(uint));

    /// <inheritdoc/>
    public void Write32(uint offset, uint value) => _client.Write(At(offset, sizeof(uint)), value, sizeof(uint));

    /// <inheritdoc/>
    public ulong Read64(uint offset) => _client.Read(At(offset, sizeof(ulong)), sizeof(ulong));

    /// <inheritdoc/>
    public void Write64(uint offset, ulong value) => _client.Write(At(offset, sizeof(ulong)), value, sizeof(ulong));

    private ulong At(uint offset, uint byteCount)
    {
        if (offset % byteCount != 0 || offset >= _range.ByteCount)
            throw new ArgumentOutOfRangeException(nameof(offset), $"no {byteCount * 8}-bit register at offset 0x{offset:x}");
        return _range.First.Value + offset;
    }
}
