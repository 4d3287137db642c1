using System.Globalization;
using System.Text;
using System.Text.Unicode;

namespace Conformance.Traces;

/// <summary>
/// A trace of any length made while it is read: map, unmap, decision, descriptor, on pages that come round and by ever new tasks.
/// </summary>
internal sealed class EndlessTrace(long events, long lookEvery, Action look) : Stream
{
    private const string Boot = "            init-1       [001] .....     1.773540: cache_tag_assign: dmar0/dmar0 type iotlb did 5 pasid 0 ref 1\n";
    private const int PagesInUse = 1000;
    private static readonly CultureInfo Culture = CultureInfo.InvariantCulture;
    private readonly byte[] _block = new byte[1024];
    private int _length;
    private int _given;
    private long _made;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override int Read(Span<byte> buffer)
    {
        int copied = 0;
        while (copied < buffer.Length)
        {
            if (_given == _length && !Make()) break;
            int count = Math.Min(buffer.Length - copied, _length - _given);
            _block.AsSpan(_given, count).CopyTo(buffer[copied..]);
            _given += count;
            copied += count;
        }

        return copied;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    private Span<byte> Rest => _block.AsSpan(_length);

    private bool Make()
    {
        if (_made + 4 > events) return false;
        _given = 0;
        if (_made == 0)
        {
            _length = Encoding.ASCII.GetBytes($"# entries-in-buffer/entries-written: {events}/{events}   #P:2\n{Boot}", _block);
            _made = 1;
            return true;
        }

        long round = _made / 4;
        ulong iova = 0xf000_0000 + (ulong)(round % PagesInUse) * 4096;
        ulong end = iova + 4096;
        long pid = 2 + round % 4_000_000;
        int count;
        _length = 0;
        PutHead("              dd", pid, "[000] .....", round);
        Put(Utf8.TryWrite(Rest, Culture, $"map: IOMMU: iova=0x{iova:x16} - 0x{end:x16} paddr=0x{iova ^ 0x1000_0000:x16} size=4096\n", out count), count);
        PutHead("          <idle>", 0, "[001] d.h1.", round);
        Put(Utf8.TryWrite(Rest, Culture, $"unmap: IOMMU: iova=0x{iova:x16} - 0x{end:x16} size=4096 unmapped_size=4096\n", out count), count);
        PutHead("          <idle>", 0, "[001] d.h2.", round);
        Put(Utf8.TryWrite(Rest, Culture, $"cache_tag_flush_range: dmar0 dmar0[0] type iotlb did 5 [0x{iova:x}-0x{iova | 0xfff:x}] ", out count), count);
        Put(Utf8.TryWrite(Rest, Culture, $"addr 0x{iova:x} pages 0x1 mask 0x0\n", out count), count);
        PutHead("          <idle>", 0, "[001] d.h3.", round);
        Put(Utf8.TryWrite(Rest, Culture, $"qi_submit: iotlb_inv dmar0: 0x500f2 0x{iova | 0x40:x} 0x0 0x0\n", out count), count);
        if (_made / lookEvery != (_made + 4) / lookEvery) look();
        _made += 4;
        return true;
    }

    private void PutHead(string task, long pid, string place, long microseconds)
    {
        bool fits = Utf8.TryWrite(Rest, Culture, $"{task}-{pid,-7} {place}  {2 + microseconds / 1_000_000,4}.{microseconds % 1_000_000:d6}: ", out int count);
        Put(fits, count);
    }

    private void Put(bool fits, int count) => _length += fits ? count : throw new InvalidOperationException("the block is too small");
}
