using Microsoft.Coyote.Rewriting;
using Platform;

namespace Explorer.Machines;

/// <summary>
/// Physical memory that is used again by one machine after the other: only frames that were written are zeroed in between,
/// so that a machine of some MiB costs a schedule microseconds.
/// </summary>
[SkipRewriting("Bookkeeping must not add steps to the schedule.")]
public sealed class MemoryPool : IDisposable
{
    private const int FrameLog2 = 12;
    private readonly RamBlock _block;
    private readonly bool[] _isDirty;
    private readonly List<int> _dirty = [];

    /// <summary>Memory for <paramref name="range"/>, all zero.</summary>
    public MemoryPool(PhysRange range)
    {
        _block = new(range);
        _isDirty = new bool[range.ByteCount >> FrameLog2];
    }

    /// <summary>The physical addresses at which it answers.</summary>
    public PhysRange Range => _block.Range;

    /// <summary>The port.</summary>
    public Ram Port => _block.Port;

    /// <summary>Notes that a frame is about to be written.</summary>
    public void Touch(PhysAddr address)
    {
        int frame = (int)((address.Value - Range.First.Value) >> FrameLog2);
        if ((uint)frame >= (uint)_isDirty.Length || _isDirty[frame]) return;
        _isDirty[frame] = true;
        _dirty.Add(frame);
    }

    /// <summary>Whether these bytes are there; at most those of a frame.</summary>
    public bool Holds(PhysAddr address, ReadOnlySpan<byte> bytes)
    {
        Span<byte> present = stackalloc byte[bytes.Length];
        Port.Read(address, present);
        return present.SequenceEqual(bytes);
    }

    /// <summary>Makes everything zero again.</summary>
    public void Reset()
    {
        Span<byte> zeros = stackalloc byte[1 << FrameLog2];
        zeros.Clear();
        foreach (int frame in _dirty)
        {
            _block.Port.Write(Range.First + ((ulong)frame << FrameLog2), zeros);
            _isDirty[frame] = false;
        }

        _dirty.Clear();
    }

    /// <inheritdoc/>
    public void Dispose() => _block.Dispose();
}
