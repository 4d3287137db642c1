using System.Buffers.Binary;
using System.Buffers.Text;
using Microsoft.Win32.SafeHandles;

namespace Harness.Foreign;

/// <summary>QEMU's log of the messages that devices write to the interrupt address range: a window out of a device.</summary>
/// <remarks><b>Threads.</b> Callers lock the object around the writes and <see cref="Take"/>.</remarks>
internal sealed class InterruptLog : IDisposable
{
    /// <summary>QEMU's option that makes it write the log.</summary>
    public const string TraceEvent = "vtd_ir_remap_msi";

    /// <summary>Where to write: the messages name local APIC 0x55, which no processor of the machine has, so nothing comes of them.</summary>
    public const ulong Address = 0xFEE55000;

    // Read and done with: the log is emptied now and then, and QEMU goes on where it was.
    private const long MostKept = 1 << 20;

    private readonly byte[] _text = new byte[256 * 1024];
    private readonly SafeFileHandle _file;
    private long _position, _emptied;

    public InterruptLog(string path)
    {
        _file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
    }

    /// <summary>What was written since the last call.</summary>
    /// <param name="destination">A whole number of 32-bit words, as many as were written.</param>
    /// <exception cref="QemuException">The log does not tell of these writes.</exception>
    public void Take(Span<byte> destination)
    {
        int byteCount = RandomAccess.Read(_file, _text, _position);
        _position += byteCount;
        ReadOnlySpan<byte> text = _text.AsSpan(0, byteCount);
        int done = 0;
        for (int end; (end = text.IndexOf((byte)'\n')) >= 0; text = text[(end + 1)..])
        {
            if (!TryParse(text[..end], out ulong address, out uint data) || address >> 12 != Address >> 12) continue;
            if (done == destination.Length || address != Address + (ulong)done)
                throw new QemuException($"QEMU logged a write to 0x{address:x} where {done} of {destination.Length} bytes were awaited");
            BinaryPrimitives.WriteUInt32LittleEndian(destination[done..], data);
            done += sizeof(uint);
        }

        if (done != destination.Length || !text.IsEmpty)
            throw new QemuException($"QEMU logged {done} of {destination.Length} bytes that a device wrote");
        if (_position - _emptied <= MostKept) return;
        RandomAccess.SetLength(_file, 0);
        _emptied = _position;
    }

    public void Dispose() => _file.Dispose();

    // vtd_ir_remap_msi (addr 0xfee55000, data 0x33221100) -> (addr 0xfee55000, data 0x33221100)
    private static bool TryParse(ReadOnlySpan<byte> line, out ulong address, out uint data)
    {
        ReadOnlySpan<byte> opening = "vtd_ir_remap_msi (addr 0x"u8, middle = ", data 0x"u8;
        address = data = 0;
        if (!line.StartsWith(opening)) return false;
        line = line[opening.Length..];
        if (!Utf8Parser.TryParse(line, out address, out int digits, 'x')) return false;
        line = line[digits..];
        return line.StartsWith(middle) && Utf8Parser.TryParse(line[middle.Length..], out data, out _, 'x');
    }
}
