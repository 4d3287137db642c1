using Platform;
using Vcmm.Allocation;

namespace Vcmm;

/// <summary>Physical memory that can back reservations, any number of them at once.</summary>
/// <remarks><b>Threads.</b> Any number at once.</remarks>
public sealed class PhysicalAllocation
{
    private const int Freed = -1;

    private readonly IFrameSource _frames;
    private readonly PhysRange[] _segments;
    private int _users;

    internal PhysicalAllocation(VcmManager manager, IFrameSource frames, PhysRange[] segments, ulong byteCount)
    {
        Manager = manager;
        _frames = frames;
        _segments = segments;
        ByteCount = byteCount;
    }

    /// <summary>The length in bytes, whole 4 KiB frames.</summary>
    public ulong ByteCount { get; }

    /// <summary>The chunks, in the order in which they back a reservation.</summary>
    public IReadOnlyList<PhysRange> Segments => _segments;

    internal VcmManager Manager { get; }

    internal ReadOnlySpan<PhysRange> SegmentSpan => _segments;

    /// <summary>Gives the memory back.</summary>
    /// <returns><see cref="VcmmError.Busy"/> while it backs a reservation, <see cref="VcmmError.Invalid"/> if it was freed.</returns>
    public VcmmError TryFree()
    {
        int users = Interlocked.CompareExchange(ref _users, Freed, 0);
        if (users == Freed) return VcmmError.Invalid;
        if (users > 0) return VcmmError.Busy;
        foreach (PhysRange segment in _segments) _frames.Free(segment.First);
        return VcmmError.None;
    }

    /// <summary>Gives the memory back.</summary>
    /// <exception cref="VcmmException">As <see cref="TryFree"/>.</exception>
    public void Free() => VcmmException.ThrowIf(TryFree(), nameof(Free));

    /// <summary>Counts one more reservation that the memory backs; false once it is freed.</summary>
    internal bool TryAcquire()
    {
        while (true)
        {
            int users = Volatile.Read(ref _users);
            if (users == Freed) return false;
            if (Interlocked.CompareExchange(ref _users, users + 1, users) == users) return true;
        }
    }

    internal void Release() => Interlocked.Decrement(ref _users);
}
