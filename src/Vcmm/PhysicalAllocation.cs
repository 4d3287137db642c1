using System.Runtime.InteropServices;
using Platform;
using Vcmm.Allocation;

namespace Vcmm;

/// <summary>Physical memory that can back reservations, any number of them at once, all of it or parts.</summary>
/// <remarks><b>Threads.</b> Any number at once.</remarks>
public sealed class PhysicalAllocation
{
    [LockRank(LockRank.Memory)]
    private readonly object _gate = new();
    private readonly IFrameSource? _frames;
    private readonly PhysRange[] _segments;
    private readonly ulong[] _offsets;

    /// <summary>Of the list of backings and of what they stand for: look-ups take no lock.</summary>
    private SequenceCount _sequence;
    private Backing? _first;
    private int _backingCount;

    /// <summary>How many of the backings are of calls that may still come to nothing.</summary>
    private int _undecidedCount;

    /// <summary>Whether, since the last of those was decided, a thread began to wait for one, or for <see cref="_isEnding"/>.</summary>
    private bool _isAwaited;
    private int _pinCount;
    private bool _isEnding;
    private bool _freed;

    /// <param name="manager">Whose.</param>
    /// <param name="frames">Where the segments go back to; null: they are not the manager's.</param>
    /// <param name="segments">Each a block of <paramref name="frames"/>.</param>
    internal PhysicalAllocation(VcmManager manager, IFrameSource? frames, PhysRange[] segments)
    {
        Manager = manager;
        _frames = frames;
        _segments = segments;
        _offsets = new ulong[segments.Length];
        for (int i = 0; i < segments.Length; i++)
        {
            _offsets[i] = ByteCount;
            ByteCount += segments[i].ByteCount;
            // Survives as `… >= LastAddress.Value`: equivalent, what is as high is the same address
            if (segments[i].Last.Value > LastAddress.Value) LastAddress = segments[i].Last;
        }
    }

    /// <summary>The length in bytes, whole 4 KiB frames.</summary>
    public ulong ByteCount { get; }

    /// <summary>The chunks, in the order in which they back a reservation.</summary>
    public IReadOnlyList<PhysRange> Segments => _segments;

    /// <summary>Whether the memory is a given range that was wrapped: it goes back to nobody.</summary>
    public bool IsWrapped => _frames is null;

    internal VcmManager Manager { get; }

    /// <summary>The highest physical address.</summary>
    internal PhysAddr LastAddress { get; }

    /// <summary>Gives the memory back.</summary>
    /// <returns><see cref="VcmmError.Busy"/> while it backs a reservation, <see cref="VcmmError.Invalid"/> if it was freed.</returns>
    /// <remarks>Beside a back that may still be refused it waits for what comes of that.</remarks>
    public VcmmError TryFree()
    {
        lock (_gate)
        {
            AwaitDecision(null);
            if (_freed) return VcmmError.Invalid;
            if (_backingCount != 0) return VcmmError.Busy;
            _freed = true;
            if (_pinCount != 0) return VcmmError.None;
        }

        GiveBack();
        return VcmmError.None;
    }

    /// <summary>Gives the memory back.</summary>
    /// <exception cref="VcmmException">As <see cref="TryFree"/>.</exception>
    public void Free() => VcmmException.ThrowIf(TryFree(), nameof(Free));

    /// <summary>The physical address of a byte.</summary>
    /// <param name="offset">From the start, in bytes.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="offset"/> is not in the memory.</exception>
    public PhysAddr AddressAt(ulong offset)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(offset, ByteCount);
        int index = SegmentAt(offset);
        return _segments[index].First + (offset - _offsets[index]);
    }

    /// <summary>A part of the memory, in the order in which it backs a reservation.</summary>
    /// <param name="offset">From the start, in bytes.</param>
    /// <param name="byteCount">Not 0; the part lies in the memory.</param>
    /// <param name="scratch">Where the part is put together if it is not the whole.</param>
    internal ReadOnlySpan<PhysRange> Slice(ulong offset, ulong byteCount, List<PhysRange> scratch)
    {
        if (byteCount == ByteCount) return _segments;
        scratch.Clear();
        for (int index = SegmentAt(offset); byteCount != 0; index++)
        {
            ulong skipped = offset - _offsets[index];
            ulong part = Math.Min(byteCount, _segments[index].ByteCount - skipped);
            scratch.Add(PhysRange.FromLength(_segments[index].First + skipped, part));
            offset += part;
            byteCount -= part;
        }

        return CollectionsMarshal.AsSpan(scratch);
    }

    /// <summary>Counts one more backing, which <see cref="Publish"/> or <see cref="Release"/> decides about; false once the memory is freed.</summary>
    internal bool TryAcquire()
    {
        lock (_gate)
        {
            while (_isEnding) Await();
            if (_freed) return false;
            _backingCount++;
            _undecidedCount++;
            return true;
        }
    }

    /// <summary>Takes back a <see cref="TryAcquire"/> that came to nothing.</summary>
    internal void Release()
    {
        lock (_gate)
        {
            _backingCount--;
            Decide();
        }
    }

    /// <summary>Adds a backing that was counted: from here on its reservation has it, and look-ups find it, from either side.</summary>
    internal void Publish(Backing backing)
    {
        lock (_gate)
        {
            BeginChange(backing);
            Link(backing);
            backing.State.Backings.Insert(backing);
            EndChange(backing);
            Decide();
        }
    }

    /// <summary>Changes which part a backing stands for; look-ups see the one or the other.</summary>
    internal void Reshape(Backing backing, ulong offset, ulong memoryOffset, ulong byteCount)
    {
        lock (_gate)
        {
            BeginChange(backing);
            backing.Offset = offset;
            backing.MemoryOffset = memoryOffset;
            backing.ByteCount = byteCount;
            EndChange(backing);
        }
    }

    /// <summary>Makes two backings of one, what lay between them in neither; look-ups see the one or the two.</summary>
    internal void Cut(Backing backing, ulong byteCount, Backing rest, ulong restOffset, ulong restMemoryOffset, ulong restByteCount)
    {
        lock (_gate)
        {
            BeginChange(backing);
            backing.ByteCount = byteCount;
            rest.State = backing.State;
            rest.Generation = backing.Generation;
            rest.Memory = this;
            rest.Offset = restOffset;
            rest.MemoryOffset = restMemoryOffset;
            rest.ByteCount = restByteCount;
            _backingCount++;
            Link(rest);
            backing.State.Backings.Insert(rest);
            EndChange(backing);
        }
    }

    /// <summary>Takes a backing from its reservation and from the memory.</summary>
    internal void Remove(Backing backing)
    {
        lock (_gate)
        {
            BeginChange(backing);
            if (backing.Previous is null) _first = backing.Next;
            else backing.Previous.Next = backing.Next;
            if (backing.Next is not null) backing.Next.Previous = backing.Previous;
            backing.State.Backings.Remove(backing);
            EndChange(backing);
            _backingCount--;
        }
    }

    /// <summary>Keeps the frames from going back, whatever else happens: hardware may still reach them.</summary>
    internal void Pin()
    {
        lock (_gate) _pinCount++;
    }

    internal void Unpin()
    {
        lock (_gate)
        {
            _pinCount--;
            if (_pinCount != 0 || !_freed) return;
        }

        GiveBack();
    }

    /// <summary>
    /// Ends the memory together with its only backing: <paramref name="unback"/> runs while nobody else can add one.
    /// </summary>
    internal VcmmError TryFreeWith(Func<ReservationState, VcmmError> unback, ReservationState state)
    {
        lock (_gate)
        {
            AwaitDecision(state);
            if (_freed) return VcmmError.Invalid;
            if (_backingCount > 1) return VcmmError.Busy;
            _isEnding = true;
        }

        // Not under the lock: an unback waits for the hardware, and may release what others left behind.
        VcmmError error = VcmmError.HardwareFailure;
        bool goesBack;
        try
        {
            error = unback(state);
        }
        finally
        {
            // Also where a port throws: whoever waits for the decision goes on.
            lock (_gate)
            {
                _isEnding = false;
                Monitor.PulseAll(_gate);
                _freed = error == VcmmError.None;
                goesBack = _freed && _pinCount == 0;
            }
        }

        if (goesBack) GiveBack();
        return error;
    }

    /// <summary>Where a physical address of the memory is mapped at an instant of the call, one entry for each backing that it lies in. Takes no lock.</summary>
    internal void FindMappings(PhysAddr address, List<Mapping> mappings)
    {
        int count = mappings.Count;
        while (!TryFindMappings(address, mappings)) mappings.RemoveRange(count, mappings.Count - count);
    }

    /// <returns>False if a backing was changed meanwhile: then what was found may never have been.</returns>
    private bool TryFindMappings(PhysAddr address, List<Mapping> mappings)
    {
        uint sequence = _sequence.BeginRead();
        for (Backing? backing = _first; backing is not null;)
        {
            ReservationState state = backing.State;
            uint generation = backing.Generation;
            Iova first = state.Range.First;
            ulong offset = backing.Offset;
            ulong memoryOffset = backing.MemoryOffset;
            ulong byteCount = backing.ByteCount;
            backing = backing.Next;
            // A backing that was removed may be in another memory's list by now, which must not be gone along.
            if (!_sequence.IsUnchanged(sequence)) return false;
            AddMappings(address, new(state, generation), first + offset, memoryOffset, byteCount, mappings);
        }

        return true;
    }

    private void AddMappings(PhysAddr address, Reservation reservation, Iova first, ulong memoryOffset, ulong byteCount, List<Mapping> mappings)
    {
        for (int i = 0; i < _segments.Length; i++)
        {
            if (!_segments[i].Contains(address)) continue;
            ulong offset = _offsets[i] + (address.Value - _segments[i].First.Value);
            if (offset >= memoryOffset && offset - memoryOffset < byteCount) mappings.Add(new(reservation, first + (offset - memoryOffset)));
        }
    }

    private void BeginChange(Backing backing)
    {
        _sequence.BeginChange();
        backing.State.Backings.BeginChange();
    }

    private void EndChange(Backing backing)
    {
        backing.State.Backings.EndChange();
        _sequence.EndChange();
    }

    private void Link(Backing backing)
    {
        backing.Previous = null;
        backing.Next = _first;
        if (_first is not null) _first.Previous = backing;
        _first = backing;
    }

    /// <summary>
    /// Who ends the memory waits while it is being found out whether it ends otherwise, and, if nothing keeps it, whether something will. Under the lock.
    /// </summary>
    /// <param name="own">The reservation that ends with it.</param>
    private void AwaitDecision(ReservationState? own)
    {
        while (_isEnding || (_undecidedCount != 0 && !IsKept(own))) Await();
    }

    /// <summary>Whether it backs anything else than <paramref name="own"/>, or that more than once. Under the lock.</summary>
    private bool IsKept(ReservationState? own) => _backingCount - _undecidedCount > 1 || (_first is { } only && only.State != own);

    /// <summary>Of one backing it is known whether there is one. Under the lock.</summary>
    private void Decide()
    {
        _undecidedCount--;
        // Survives as `true`: performance only, then it is decided with a pulse though nobody waits
        (bool isAwaited, _isAwaited) = (_isAwaited, false);
        // Only then: a pulse that nobody waits for makes every lock of it afterwards dearer.
        if (isAwaited) Monitor.PulseAll(_gate);
    }

    private void Await()
    {
        _isAwaited = true;
        Monitor.Wait(_gate);
    }

    private int SegmentAt(ulong offset)
    {
        int index = Array.BinarySearch(_offsets, offset);
        return index >= 0 ? index : ~index - 1;
    }

    private void GiveBack()
    {
        Manager.Forget(this);
        if (_frames is null) return;
        foreach (PhysRange segment in _segments) _frames.Free(segment.First);
    }
}
