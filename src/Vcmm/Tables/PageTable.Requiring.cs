using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using Platform;

namespace Vcmm.Tables;

// What a caller must not ask for is refused before anything has changed: an entry of another address would be met else.
public sealed partial class PageTable<TFormat, TMemory>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void RequireRange(IovaRange range)
    {
        if (((range.First.Value | ~range.Last.Value) & (GranuleBytes - 1)) != 0 || !Covers(range)) ThrowRange(range);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void RequireSegments(Iova first, ReadOnlySpan<PhysRange> segments)
    {
        ulong byteCount = 0;
        foreach (ref readonly PhysRange segment in segments)
        {
            ulong more = unchecked(segment.Last.Value - segment.First.Value);
            bool isWhole = ((segment.First.Value | ~segment.Last.Value) & (GranuleBytes - 1)) == 0;
            if (!isWhole || segment.Last.Value > TFormat.LastPhysAddr.Value || more >= ulong.MaxValue - byteCount) ThrowSegment(segment);
            byteCount = unchecked(byteCount + more + 1);
        }

        if (byteCount == 0) return;
        ulong beyond = unchecked(byteCount - 1);
        if (beyond > unchecked(ulong.MaxValue - first.Value)) ThrowFirst(first, byteCount);
        RequireRange(new(first, new(unchecked(first.Value + beyond))));
    }

    [DoesNotReturn]
    private void ThrowRange(IovaRange range) => throw new ArgumentException($"{range} is not made of whole granules that a table of {Format} covers", nameof(range));

    [DoesNotReturn]
    private void ThrowSegment(PhysRange segment) => throw new ArgumentException($"{segment} is not made of whole granules that a table of {Format} can map to", "segments");

    [DoesNotReturn]
    private static void ThrowFirst(Iova first, ulong byteCount) => throw new ArgumentException($"0x{byteCount:x} bytes from {first} on reach beyond the last address", nameof(first));

    [DoesNotReturn]
    private void ThrowAttributes(MappingAttributes attributes) => throw new ArgumentException($"a table of {Format} cannot express {attributes}", nameof(attributes));
}
