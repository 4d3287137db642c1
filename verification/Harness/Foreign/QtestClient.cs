using System.Buffers.Text;
using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Harness.Foreign;

/// <summary>
/// Speaks QEMU's qtest protocol: one line of text a command, answered by one line. Stands for the processor: what it
/// reads and writes is physical memory, registers, and ports.
/// </summary>
/// <remarks>
/// <para>Writes are posted: their answers are collected when something is read next, or when many are outstanding. QEMU
/// takes commands in the order in which they were sent, so no reader can tell.</para>
/// <para><b>Errors.</b> <see cref="QemuException"/> when QEMU refuses a command, goes away or does not answer in time.</para>
/// <para><b>Threads.</b> Any number; each call is one exchange under <see cref="Gate"/>.</para>
/// </remarks>
internal sealed class QtestClient
{
    // Answers wait in QEMU's end of the socket until they are collected: few enough that it never blocks on them.
    private const int MostOutstanding = 512;
    private const int AnswerLimitMilliseconds = 20_000;

    private readonly QemuProcess _process;
    private readonly Socket _socket;
    private byte[] _out = new byte[16 * 1024];
    private int _outCount;
    private byte[] _in = new byte[16 * 1024];
    private int _inFirst, _inEnd;
    private int _outstanding;

    public QtestClient(QemuProcess process)
    {
        _process = process;
        _socket = process.Qtest;
        _socket.ReceiveTimeout = AnswerLimitMilliseconds;
        _socket.SendTimeout = AnswerLimitMilliseconds;
    }

    /// <summary>Held during an exchange; hold it to make several exchanges one.</summary>
    public object Gate { get; } = new();

    /// <summary>How many commands were sent.</summary>
    public long Commands { get; private set; }

    public ulong Read(ulong address, int byteCount)
    {
        lock (Gate)
        {
            Begin(byteCount switch { 8 => "readq"u8, 4 => "readl"u8, _ => throw new ArgumentOutOfRangeException(nameof(byteCount)) });
            Operand(address);
            return Number(Answer());
        }
    }

    /// <summary>The same for several places, in one exchange.</summary>
    public ulong[] Read(ReadOnlySpan<ulong> addresses, int byteCount)
    {
        ulong[] values = new ulong[addresses.Length];
        if (values.Length == 0) return values;
        ArgumentOutOfRangeException.ThrowIfGreaterThan(values.Length, MostOutstanding, nameof(addresses));
        lock (Gate)
        {
            if (_outstanding + values.Length > MostOutstanding) Collect();
            foreach (ulong address in addresses)
            {
                Begin(byteCount switch { 8 => "readq"u8, 4 => "readl"u8, _ => throw new ArgumentOutOfRangeException(nameof(byteCount)) });
                Operand(address);
                Put("\n"u8);
                _outstanding++;
            }

            Collect(values);
        }

        return values;
    }

    public void Write(ulong address, ulong value, int byteCount)
    {
        lock (Gate)
        {
            Begin(byteCount switch { 8 => "writeq"u8, 4 => "writel"u8, _ => throw new ArgumentOutOfRangeException(nameof(byteCount)) });
            Operand(address);
            Operand(value);
            Post();
        }
    }

    public void ReadBytes(ulong address, Span<byte> destination)
    {
        if (destination.IsEmpty) return;
        lock (Gate)
        {
            Begin("b64read"u8);
            Operand(address);
            Operand((ulong)destination.Length);
            ReadOnlySpan<byte> answer = Answer();
            if (Base64.DecodeFromUtf8(answer, destination, out _, out int written) != System.Buffers.OperationStatus.Done
                || written != destination.Length)
                throw Unexpected(answer);
        }
    }

    public void WriteBytes(ulong address, ReadOnlySpan<byte> source)
    {
        if (source.IsEmpty) return;
        lock (Gate)
        {
            Begin("b64write"u8);
            Operand(address);
            Operand((ulong)source.Length);
            Put(" "u8);
            Reserve(Base64.GetMaxEncodedToUtf8Length(source.Length));
            Base64.EncodeToUtf8(source, _out.AsSpan(_outCount), out _, out int written);
            _outCount += written;
            Post();
        }
    }

    /// <summary>Writes a 32-bit I/O port.</summary>
    public void Out32(ushort port, uint value)
    {
        lock (Gate)
        {
            Begin("outl"u8);
            Operand(port);
            Operand(value);
            Post();
        }
    }

    private void Begin(ReadOnlySpan<byte> command)
    {
        Commands++;
        Put(command);
    }

    private void Operand(ulong value)
    {
        Reserve(24);
        " 0x"u8.CopyTo(_out.AsSpan(_outCount));
        Utf8Formatter.TryFormat(value, _out.AsSpan(_outCount + 3), out int written, new('x'));
        _outCount += 3 + written;
    }

    private void Put(ReadOnlySpan<byte> text)
    {
        Reserve(text.Length);
        text.CopyTo(_out.AsSpan(_outCount));
        _outCount += text.Length;
    }

    private void Reserve(int byteCount)
    {
        if (_out.Length - _outCount < byteCount) Array.Resize(ref _out, Math.Max(_out.Length * 2, _outCount + byteCount));
    }

    private void Post()
    {
        Put("\n"u8);
        _outstanding++;
        if (_outstanding >= MostOutstanding || _outCount > 12 * 1024) Collect();
    }

    // What follows "OK " in the answer to the command just begun.
    private ReadOnlySpan<byte> Answer()
    {
        Put("\n"u8);
        _outstanding++;
        return Collect();
    }

    // Of all answers the last one, and the numbers in the last ones.
    private ReadOnlySpan<byte> Collect(Span<ulong> numbers = default)
    {
        Send();
        ReadOnlySpan<byte> last = default;
        for (; _outstanding > 0; _outstanding--)
        {
            ReadOnlySpan<byte> line = Line();
            if (!line.StartsWith("OK"u8)) throw Unexpected(line);
            last = line.Length > 3 ? line[3..] : default;
            if (_outstanding <= numbers.Length) numbers[^_outstanding] = Number(last);
        }

        return last;
    }

    private void Send()
    {
        ReadOnlySpan<byte> rest = _out.AsSpan(0, _outCount);
        _outCount = 0;
        try
        {
            while (!rest.IsEmpty) rest = rest[_socket.Send(rest)..];
        }
        catch (SocketException e)
        {
            throw Gone(e);
        }
    }

    // The next line that is an answer; "IRQ …" lines tell of interrupts and may come between.
    private ReadOnlySpan<byte> Line()
    {
        while (true)
        {
            int length = _in.AsSpan(_inFirst, _inEnd - _inFirst).IndexOf((byte)'\n');
            if (length < 0)
            {
                Receive();
                continue;
            }

            ReadOnlySpan<byte> line = _in.AsSpan(_inFirst, length);
            _inFirst += length + 1;
            if (!line.StartsWith("IRQ"u8)) return line;
        }
    }

    private void Receive()
    {
        if (_inFirst > 0)
        {
            Buffer.BlockCopy(_in, _inFirst, _in, 0, _inEnd - _inFirst);
            _inEnd -= _inFirst;
            _inFirst = 0;
        }

        if (_inEnd == _in.Length) Array.Resize(ref _in, _in.Length * 2);
        int count;
        try
        {
            count = _socket.Receive(_in.AsSpan(_inEnd));
        }
        catch (SocketException e)
        {
            throw Gone(e);
        }

        if (count == 0) throw Gone(null);
        _inEnd += count;
    }

    private QemuException Gone(SocketException? cause)
    {
        string reason = cause?.SocketErrorCode is SocketError.TimedOut or SocketError.WouldBlock
            ? $"QEMU did not answer within {AnswerLimitMilliseconds / 1000} s"
            : $"QEMU went away: {_process.LastWords()}";
        return cause is null ? new(reason) : new(reason, cause);
    }

    private static QemuException Unexpected(ReadOnlySpan<byte> line) =>
        new($"QEMU answered \"{Encoding.ASCII.GetString(line)}\"");

    private static ulong Number(ReadOnlySpan<byte> answer)
    {
        ReadOnlySpan<byte> digits = answer.StartsWith("0x"u8) ? answer[2..] : answer;
        return ulong.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong value)
            ? value
            : throw Unexpected(answer);
    }
}
