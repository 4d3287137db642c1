using Platform;

namespace Harness.Foreign;

/// <summary>QEMU's <c>edu</c> device: a PCI function whose DMA engine copies between memory and a buffer inside it.</summary>
/// <remarks>
/// <para>The processor cannot look into the buffer; only the device's own DMA can. Were that DMA translated, then looking at
/// what was read, and preparing what to write, would need pages of the tables under test. So both go where no table reaches:
/// what was read is written to the interrupt address range, whose writes are messages and are not translated (Intel VT-d,
/// Handling Requests to Interrupt Address Range), and QEMU logs them; what is to be written is put together from bytes
/// loaded while translation was still off.</para>
/// <para>Register layout: QEMU, docs/specs/edu.</para>
/// <para><b>Threads.</b> One DMA at a time; callers queue.</para>
/// </remarks>
public sealed class EduDevice : IDmaDevice
{
    /// <summary>The longest message that <see cref="Load"/> keeps, in bytes.</summary>
    public const int MessageBytes = BufferBytes - Messages;

    private const uint Source = 0x80, Destination = 0x88, Count = 0x90, Command = 0x98;
    private const ulong BufferAddress = 0x40000;

    // Of the 4096 that the device has: QEMU 7.2 takes a transfer that ends with the last one for one beyond the end.
    private const int BufferBytes = 4092;

    // The buffer's parts: what a read brings in; one of each byte; messages in one piece.
    private const int StagingBytes = 2048, Bytes = StagingBytes, Messages = Bytes + 256;

    private const ulong ToBuffer = 1, ToMemory = 3, Running = 1;

    private const ushort ConfigurationAddress = 0xCF8, ConfigurationData = 0xCFC;
    private const uint Bar0 = 0x10, PciCommand = 0x04, MemoryAndBusMaster = 6;

    // DMA takes 100 ms of virtual time; QEMU's clock leaps there, but in a thread of its own.
    private const int MostPolls = 1_000_000;

    private readonly object _gate = new();
    private readonly QtestClient _client;
    private readonly QemuLog _log;
    private readonly ulong _registers;
    private readonly byte[] _buffer = new byte[BufferBytes];

    internal EduDevice(QtestClient client, QemuLog log, int slot, ulong registers)
    {
        _client = client;
        _log = log;
        _registers = registers;
        Id = StreamId.Pci(0, slot, 0);
        Configure(Bar0, checked((uint)registers));
        Configure(PciCommand, MemoryAndBusMaster);
    }

    /// <summary>The requester id of its accesses.</summary>
    public StreamId Id { get; }

    /// <summary>How many transfers it was told to make, those of looking and preparing included.</summary>
    public long Transfers { get; private set; }

    /// <summary>Prepares the buffer, so that each byte, and <paramref name="message"/> in one piece, can be written later.</summary>
    /// <param name="scratch">4 KiB of memory that may be overwritten.</param>
    /// <param name="message">At most <see cref="MessageBytes"/>.</param>
    /// <remarks>Translation must be off.</remarks>
    internal void Load(PhysAddr scratch, ReadOnlySpan<byte> message)
    {
        lock (_gate)
        {
            Array.Clear(_buffer);
            for (int value = 0; value < 256; value++) _buffer[Bytes + value] = (byte)value;
            message.CopyTo(_buffer.AsSpan(Messages));
            _client.WriteBytes(scratch.Value, _buffer);
            Transfer(scratch.Value, BufferAddress, BufferBytes, ToBuffer);
        }
    }

    /// <summary>The device reads memory at <paramref name="address"/>.</summary>
    /// <param name="address">Translated by the IOMMU.</param>
    /// <param name="destination">At most 2048 bytes. Where the IOMMU refuses the access QEMU's device reads zeros.</param>
    /// <param name="pasid">Null: the device sends none.</param>
    /// <returns>False if the IOMMU refused the access or a part of it.</returns>
    /// <exception cref="BadInputException">There is a PASID.</exception>
    public bool Read(Iova address, Span<byte> destination, Pasid? pasid = null)
    {
        RefusePasid(pasid);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(destination.Length, StagingBytes);
        if (destination.IsEmpty) return true;
        lock (_gate)
        lock (_log)
        {
            Transfer(address.Value, BufferAddress, destination.Length, ToBuffer);
            bool refused = _log.TakeRefused(isWrite: false);
            int whole = (destination.Length + 3) & ~3;
            Transfer(BufferAddress, QemuLog.MessageAddress, whole, ToMemory);
            _log.TakeMessage(_buffer.AsSpan(0, whole));
            _buffer.AsSpan(0, destination.Length).CopyTo(destination);
            return !refused;
        }
    }

    /// <summary>The device writes. Bytes that its buffer does not hold in one piece take several transfers; none follows one that was refused.</summary>
    /// <param name="address">Translated by the IOMMU; it wraps at 2^64.</param>
    /// <param name="source">What to write.</param>
    /// <param name="pasid">Null: the device sends none.</param>
    /// <returns>False if the IOMMU refused the access or a part of it.</returns>
    /// <exception cref="BadInputException">There is a PASID.</exception>
    public bool Write(Iova address, ReadOnlySpan<byte> source, Pasid? pasid = null)
    {
        RefusePasid(pasid);
        lock (_gate)
        lock (_log)
        {
            for (int done = 0; done < source.Length;)
            {
                (int first, int length) = Longest(source[done..]);
                Transfer(BufferAddress + (ulong)first, unchecked(address.Value + (ulong)done), length, ToMemory);
                if (_log.TakeRefused(isWrite: true)) return false;
                done += length;
            }

            return true;
        }
    }

    private static void RefusePasid(Pasid? pasid)
    {
        if (pasid is not null) throw new BadInputException("devices of QEMU send no PASID");
    }

    // Where in the buffer the longest part of the source is, from its first byte; each byte alone is there.
    private (int First, int Length) Longest(ReadOnlySpan<byte> source)
    {
        int first = 0, longest = 0;
        for (int at = 0; at < BufferBytes && longest < source.Length; at++)
        {
            int length = source.CommonPrefixLength(_buffer.AsSpan(at));
            if (length > longest) (first, longest) = (at, length);
        }

        return (first, longest);
    }

    /// <summary>Words of 32 bits that <see cref="BeginRead"/> can put apart.</summary>
    internal const int StagingWords = StagingBytes / sizeof(uint);

    /// <summary>Starts to read one word into a place of the buffer; <see cref="End"/> waits for it.</summary>
    internal void BeginRead(Iova address, int place) => Start(address.Value, BufferAddress + (ulong)place * sizeof(uint), sizeof(uint), ToBuffer);

    /// <summary>Starts to write one word of the message that was loaded.</summary>
    internal void BeginWrite(Iova address, int messageWord) =>
        Start(BufferAddress + Messages + (ulong)messageWord * sizeof(uint), address.Value, sizeof(uint), ToMemory);

    /// <summary>Starts to tell the first words that were read, as messages from <paramref name="offset"/> of their page on.</summary>
    internal void BeginMessages(int wordCount, int offset) =>
        Start(BufferAddress, QemuLog.MessageAddress + (ulong)offset, wordCount * sizeof(uint), ToMemory);

    private void Transfer(ulong source, ulong destination, int byteCount, ulong command)
    {
        Start(source, destination, byteCount, command);
        End();
    }

    private void Start(ulong source, ulong destination, int byteCount, ulong command)
    {
        Transfers++;
        _client.Write(_registers + Source, source, sizeof(ulong));
        _client.Write(_registers + Destination, destination, sizeof(ulong));
        _client.Write(_registers + Count, (ulong)byteCount, sizeof(ulong));
        _client.Write(_registers + Command, command, sizeof(ulong));
    }

    /// <summary>Waits for the end of what was started.</summary>
    internal void End() => End([this]);

    /// <summary>Waits for the end of what several devices of one machine were told to do, in few exchanges.</summary>
    internal static void End(EduDevice[] devices)
    {
        ulong[] commands = [.. devices.Select(device => device._registers + Command)];
        for (int polls = 0; polls < MostPolls; polls++)
        {
            if (Array.TrueForAll(devices[0]._client.Read(commands, sizeof(ulong)), static command => (command & Running) == 0)) return;
        }

        throw new QemuException($"edu {devices[0].Id} and others did not finish a transfer each");
    }

    private void Configure(uint register, uint value)
    {
        const uint enable = 1u << 31;
        lock (_client.Gate)
        {
            _client.Out32(ConfigurationAddress, enable | Id.Value << 8 | register);
            _client.Out32(ConfigurationData, value);
        }
    }
}
