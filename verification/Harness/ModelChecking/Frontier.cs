using System.Buffers.Binary;

namespace Harness.ModelChecking;

/// <summary>The states of one depth that are still to be expanded, as bytes, in blocks that are written and read by one thread each.</summary>
internal sealed class Frontier
{
    private const int BlockBytes = 1 << 14, HeadBytes = 6;

    private readonly List<(byte[] Bytes, int Length)> _blocks = [];
    private int _next;
    private long _byteCount;

    /// <summary>Bytes that it takes.</summary>
    public long ByteCount => Interlocked.Read(ref _byteCount);

    /// <summary>Whether there is none.</summary>
    public bool IsEmpty => _blocks.Count == 0;

    /// <summary>A block that nobody has been given yet; null: there is none left. What was given is not kept.</summary>
    public (byte[] Bytes, int Length)? Take()
    {
        int index = Interlocked.Increment(ref _next) - 1;
        if (index >= _blocks.Count) return null;
        (byte[] Bytes, int Length) block = _blocks[index];
        _blocks[index] = ([], 0);
        Interlocked.Add(ref _byteCount, -block.Bytes.Length);
        return block;
    }

    /// <summary>The state at an offset of a block, and where the next one is.</summary>
    public static int Read(ReadOnlySpan<byte> block, int offset, out int number, out ReadOnlySpan<byte> form)
    {
        int length = BinaryPrimitives.ReadUInt16LittleEndian(block[offset..]);
        number = BinaryPrimitives.ReadInt32LittleEndian(block[(offset + 2)..]);
        form = block.Slice(offset + HeadBytes, length);
        return offset + HeadBytes + length;
    }

    /// <summary>One thread's end of it.</summary>
    public sealed class Writer(Frontier frontier)
    {
        private byte[] _block = [];
        private int _length;

        /// <summary>Adds a state.</summary>
        public void Add(int number, ReadOnlySpan<byte> form)
        {
            if (_block.Length - _length < HeadBytes + form.Length)
            {
                Flush();
                _block = new byte[Math.Max(BlockBytes, HeadBytes + form.Length)];
            }

            BinaryPrimitives.WriteUInt16LittleEndian(_block.AsSpan(_length), checked((ushort)form.Length));
            BinaryPrimitives.WriteInt32LittleEndian(_block.AsSpan(_length + 2), number);
            form.CopyTo(_block.AsSpan(_length + HeadBytes));
            _length += HeadBytes + form.Length;
        }

        /// <summary>Hands over what has been added.</summary>
        public void Flush()
        {
            if (_length == 0) return;
            lock (frontier._blocks) frontier._blocks.Add((_block, _length));
            Interlocked.Add(ref frontier._byteCount, _block.Length);
            (_block, _length) = ([], 0);
        }
    }
}
