using System.Buffers.Binary;
using System.Buffers.Text;
using Microsoft.Win32.SafeHandles;

namespace Harness.Foreign;

/// <summary>
/// QEMU's log of what its VT-d did for devices: what they wrote to the interrupt address range, and which of their accesses
/// it refused.
/// </summary>
/// <remarks><b>Threads.</b> Callers lock the object around a transfer and the call that asks what came of it.</remarks>
internal sealed class QemuLog : IDisposable
{
    /// <summary>
    /// Where a device writes what shall be logged: interrupt messages to local APIC 0x55, which no processor of the machine
    /// has, so nothing comes of them.
    /// </summary>
    public const ulong MessageAddress = 0xFEE55000;

    // Read and done with: the log is emptied now and then, and QEMU goes on where it was.
    private const long MostKept = 1 << 20;

    private readonly byte[] _text = new byte[256 * 1024];
    private readonly SafeFileHandle _file;
    private long _position, _emptied;
    private int _next, _end;

    public QemuLog(string path)
    {
        _file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        Refill();
    }

    /// <summary>QEMU's options that make it write the log.</summary>
    public static IEnumerable<string> Options => 
    [
        "-trace", "vtd_ir_remap_msi", "-trace", "vtd_dmar_fault", "-trace", "vtd_fault_disabled", "-trace", "vtd_iotlb_page_hit",
    ];

    /// <summary>Whether the transfer that a device has just made was refused.</summary>
    /// <remarks>
    /// A refusal is logged as a fault, whether it finds a free fault record or not. Only where QEMU refuses because of a
    /// translation that it has cached it logs none (nor records one, see the conformance rows): then the cached entry itself
    /// tells, where the levels above it grant everything, as those of the library do.
    /// </remarks>
    public bool TakeRefused(bool isWrite)
    {
        ulong needed = isWrite ? 2u : 1u;
        bool refused = false;
        Refill();
        while (TryNext(out QemuEvent entry))
        {
            refused |= entry.Kind is QemuEventKind.Fault or QemuEventKind.SilentFault || (entry.Kind == QemuEventKind.Hit && (entry.Value & needed) == 0);
        }

        return refused;
    }

    /// <summary>What a device has just written to <see cref="MessageAddress"/>.</summary>
    /// <param name="destination">A whole number of 32-bit words, as many as were written.</param>
    /// <exception cref="QemuException">The log does not tell of these writes.</exception>
    public void TakeMessage(Span<byte> destination)
    {
        int done = 0;
        Refill();
        while (TryNext(out QemuEvent entry))
        {
            if (entry.Kind != QemuEventKind.Message || entry.Address >> 12 != MessageAddress >> 12) continue;
            if (done == destination.Length || entry.Address != MessageAddress + (ulong)done)
                throw new QemuException($"QEMU logged a write to 0x{entry.Address:x} where {done} of {destination.Length} bytes were awaited");
            BinaryPrimitives.WriteUInt32LittleEndian(destination[done..], (uint)entry.Value);
            done += sizeof(uint);
        }

        if (done != destination.Length) throw new QemuException($"QEMU logged {done} of {destination.Length} bytes that a device wrote");
    }

    /// <summary>Everything that was logged since the last question, in its order.</summary>
    public List<QemuEvent> TakeAll()
    {
        var all = new List<QemuEvent>();
        Refill();
        while (TryNext(out QemuEvent entry)) all.Add(entry);
        return all;
    }

    public void Dispose() => _file.Dispose();

    // QEMU writes whole lines, and none while nothing moves.
    private void Refill()
    {
        _next = 0;
        _end = RandomAccess.Read(_file, _text, _position);
        if (_end == _text.Length) throw new QemuException($"QEMU logged more than {_text.Length} bytes for one transfer");
        _position += _end;
        if (_position - _emptied <= MostKept) return;
        RandomAccess.SetLength(_file, 0);
        _emptied = _position;
    }

    private bool TryNext(out QemuEvent entry)
    {
        while (_next < _end)
        {
            ReadOnlySpan<byte> rest = _text.AsSpan(_next, _end - _next);
            int length = rest.IndexOf((byte)'\n');
            if (length < 0) throw new QemuException("QEMU logged half a line");
            _next += length + 1;
            if (TryParse(rest[..length], out entry)) return true;
        }

        entry = default;
        return false;
    }

    private static bool TryParse(ReadOnlySpan<byte> line, out QemuEvent entry)
    {
        // vtd_dmar_fault sid 0x20 fault 6 addr 0x2000 write 0
        if (line.StartsWith("vtd_dmar_fault "u8)
            && TryNumber(line, " addr 0x"u8, out ulong address) && TryNumber(line, " fault "u8, out ulong reason, 'D')
            && TryNumber(line, " sid 0x"u8, out ulong source) && TryNumber(line, " write "u8, out ulong write))
        {
            entry = new(QemuEventKind.Fault, address, reason, (uint)source, write != 0);
            return true;
        }

        // vtd_fault_disabled Fault processing disabled for context entry
        if (line.StartsWith("vtd_fault_disabled "u8))
        {
            entry = new(QemuEventKind.SilentFault, 0, 0, 0, false);
            return true;
        }

        // vtd_iotlb_page_hit IOTLB page hit sid 0x20 iova 0x1000 slpte 0x1200003 domain 0x1
        if (line.StartsWith("vtd_iotlb_page_hit "u8)
            && TryNumber(line, " iova 0x"u8, out address) && TryNumber(line, "pte 0x"u8, out ulong leaf)
            && TryNumber(line, " sid 0x"u8, out source))
        {
            entry = new(QemuEventKind.Hit, address, leaf, (uint)source, false);
            return true;
        }

        // vtd_ir_remap_msi (addr 0xfee55000, data 0x33221100) -> (addr 0xfee55000, data 0x33221100)
        if (line.StartsWith("vtd_ir_remap_msi "u8)
            && TryNumber(line, "(addr 0x"u8, out address) && TryNumber(line, ", data 0x"u8, out ulong data))
        {
            entry = new(QemuEventKind.Message, address, data, 0, true);
            return true;
        }

        entry = default;
        return false;
    }

    private static bool TryNumber(ReadOnlySpan<byte> line, ReadOnlySpan<byte> name, out ulong value, char format = 'x')
    {
        int at = line.IndexOf(name);
        value = 0;
        return at >= 0 && Utf8Parser.TryParse(line[(at + name.Length)..], out value, out _, format);
    }
}

/// <summary>What a line of QEMU's log tells of.</summary>
internal enum QemuEventKind
{
    /// <summary>A device wrote to the interrupt address range.</summary>
    Message,

    /// <summary>An access was blocked; the value is the reason.</summary>
    Fault,

    /// <summary>An access was blocked where fault processing is disabled; nothing else is said.</summary>
    SilentFault,

    /// <summary>A translation was found in the IOTLB; the value is its leaf.</summary>
    Hit,
}

/// <summary>A line of QEMU's log.</summary>
internal readonly record struct QemuEvent(QemuEventKind Kind, ulong Address, ulong Value, uint Source, bool IsWrite);
