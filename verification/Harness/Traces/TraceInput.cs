using System.IO.Compression;

namespace Harness.Traces;

/// <summary>The lines of a file that is plain or gzip, one at a time, in constant memory.</summary>
internal sealed class TraceInput : IDisposable
{
    /// <summary>No line of a kernel trace comes near: the kernel's own limit for one is a page.</summary>
    private const int BufferBytes = 1 << 16;

    private readonly PeekedStream _file;
    private readonly Stream _stream;
    private readonly byte[] _buffer = new byte[BufferBytes];
    private readonly bool _isGzip;
    private int _start;
    private int _end;
    private bool _isAtEnd;
    private uint _textBytes;

    /// <summary>Reads <paramref name="stream"/>, which stays open; gzip is known by its first two bytes.</summary>
    public TraceInput(Stream stream)
    {
        _file = new PeekedStream(stream);
        _isGzip = _file.StartsWith(0x1f, 0x8b);
        _stream = _isGzip ? new GZipStream(_file, CompressionMode.Decompress) : _file;
    }

    /// <summary>How many lines have been read: the number of the last one.</summary>
    public long Number { get; private set; }

    /// <summary>The next line without its end; valid until the next call.</summary>
    /// <returns>False at the end of the file.</returns>
    /// <exception cref="BadInputException">The file is damaged, or no text.</exception>
    public bool TryRead(out ReadOnlySpan<byte> line)
    {
        for (int searched = 0; ;)
        {
            int found = _buffer.AsSpan(_start + searched, _end - _start - searched).IndexOf((byte)'\n');
            if (found >= 0) return Take(searched + found, 1, out line);
            searched = _end - _start;
            if (_isAtEnd) return Take(searched, 0, out line);
            Fill();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_isGzip) _stream.Dispose();
    }

    private bool Take(int length, int lineEnd, out ReadOnlySpan<byte> line)
    {
        line = _buffer.AsSpan(_start, length);
        _start += length + lineEnd;
        if (length + lineEnd == 0) return false;
        Number++;
        return true;
    }

    private void Fill()
    {
        int held = _end - _start;
        if (held == BufferBytes) throw new BadInputException($"line {Number + 1} is longer than {BufferBytes} bytes; expected the text of a kernel trace");
        _buffer.AsSpan(_start, held).CopyTo(_buffer);
        (_start, _end) = (0, held);
        try
        {
            int got = _stream.Read(_buffer, held, BufferBytes - held);
            _end += got;
            _textBytes = unchecked(_textBytes + (uint)got);
            _isAtEnd = got == 0;
        }
        catch (Exception e) when (e is InvalidDataException or IOException)
        {
            string what = _isGzip ? "the gzip data are cut short or damaged" : "the file cannot be read on";
            throw new BadInputException($"{what} after line {Number}: {e.Message.ReplaceLineEndings(" ")}");
        }

        // The runtime takes the end of the file for the end of the data. The last field of a gzip file is the length of its text.
        if (_isAtEnd && _isGzip && _file.Tail != _textBytes)
            throw new BadInputException($"the gzip data are cut short or damaged after line {Number}; expected one complete gzip member");
    }

    /// <summary>A stream of which the first bytes were looked at, and the last four are remembered.</summary>
    private sealed class PeekedStream : Stream
    {
        private readonly Stream _inner;
        private readonly byte[] _head = new byte[2];
        private readonly int _headCount;
        private int _given;

        public PeekedStream(Stream inner)
        {
            _inner = inner;
            _headCount = inner.ReadAtLeast(_head, _head.Length, throwOnEndOfStream: false);
        }

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        /// <summary>The last four bytes that were read, little-endian.</summary>
        public uint Tail { get; private set; }

        public bool StartsWith(byte first, byte second) => _headCount == 2 && _head[0] == first && _head[1] == second;

        public override int Read(Span<byte> buffer)
        {
            int count = _given < _headCount ? Math.Min(buffer.Length, _headCount - _given) : _inner.Read(buffer);
            if (_given < _headCount) _head.AsSpan(_given, count).CopyTo(buffer);
            _given = Math.Min(_headCount, _given + count);
            foreach (byte last in buffer[Math.Max(0, count - 4)..count]) Tail = Tail >> 8 | (uint)last << 24;
            return count;
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
