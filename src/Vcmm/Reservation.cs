using Platform;

namespace Vcmm;

/// <summary>
/// A contiguous range of a VCM, as a handle: it can be copied and kept, and after the reservation's end every use of it is
/// <see cref="VcmmError.Invalid"/>.
/// </summary>
/// <remarks><b>Threads.</b> Any number at once.</remarks>
public readonly record struct Reservation
{
    private readonly ReservationState? _state;
    private readonly uint _generation;

    internal Reservation(ReservationState state, uint generation)
    {
        _state = state;
        _generation = generation;
    }

    /// <summary>Whether the reservation has not been ended.</summary>
    public bool IsAlive
    {
        get
        {
            if (_state is null) return false;
            lock (_state.Gate) return IsCurrent(_state);
        }
    }

    /// <summary>Whether look-ups of its region find it at an address of its own. Takes no lock.</summary>
    internal bool IsKnown(Iova address) => _state is not null && _state.Vcm.Knows(_state, _generation, address);

    /// <summary>The VCM that it is part of.</summary>
    /// <exception cref="VcmmException"><see cref="VcmmError.Invalid"/> after its end.</exception>
    public Vcm Vcm => Get(static state => state.Vcm);

    /// <summary>The bound that it was taken from; null: the VCM itself.</summary>
    /// <exception cref="VcmmException"><see cref="VcmmError.Invalid"/> after its end.</exception>
    public Bound? Bound => Get(static state => state.Bound);

    /// <summary>The device addresses.</summary>
    /// <exception cref="VcmmException"><see cref="VcmmError.Invalid"/> after its end.</exception>
    public IovaRange Range => Get(static state => state.Range);

    /// <summary>What the mapping grants, and how it uses caches.</summary>
    /// <exception cref="VcmmException"><see cref="VcmmError.Invalid"/> after its end.</exception>
    public MappingAttributes Attributes => Get(static state => state.Attributes);

    /// <summary>What devices may do.</summary>
    /// <exception cref="VcmmException"><see cref="VcmmError.Invalid"/> after its end.</exception>
    public Access Access => Attributes.Access;

    /// <summary>The memory behind its first backed part, or null.</summary>
    /// <exception cref="VcmmException"><see cref="VcmmError.Invalid"/> after its end.</exception>
    public PhysicalAllocation? Memory => Get(static state => state.Backings.Count == 0 ? null : state.Backings[0].Memory);

    /// <summary>Its backed parts, in the order of their addresses.</summary>
    /// <exception cref="VcmmException"><see cref="VcmmError.Invalid"/> after its end.</exception>
    public IReadOnlyList<BackedPart> BackedParts => Get(static state =>
    {
        var parts = new List<BackedPart>();
        foreach (Backing backing in state.Backings) parts.Add(new(backing.Offset, backing.ByteCount, backing.Memory, backing.MemoryOffset));
        return parts;
    });

    /// <summary>Whether memory backs any of it.</summary>
    /// <exception cref="VcmmException"><see cref="VcmmError.Invalid"/> after its end.</exception>
    public bool IsBacked => Memory is not null;

    internal ReservationState? State => _state;

    /// <summary>Maps all of the reservation to all of <paramref name="memory"/>, for every association of the VCM.</summary>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> if the lengths differ, the memory was freed or another manager's, the reservation
    /// has ended, a one-to-one region's address is not the memory's, or the memory lies beyond what an association's tables reach; <see cref="VcmmError.Busy"/> if any of it is backed;
    /// <see cref="VcmmError.NoMemory"/> if there is no frame for a table page; <see cref="VcmmError.HardwareFailure"/>. Then
    /// nothing has changed.
    /// </returns>
    public VcmmError TryBack(PhysicalAllocation memory)
    {
        ArgumentNullException.ThrowIfNull(memory);
        if (_state is null) return VcmmError.Invalid;
        lock (_state.Gate)
        {
            if (!IsCurrent(_state) || memory.ByteCount != _state.Range.ByteCount) return VcmmError.Invalid;
            return _state.Vcm.Back(_state, 0, memory, 0, memory.ByteCount);
        }
    }

    /// <summary>Maps all of the reservation to all of <paramref name="memory"/>, for every association of the VCM.</summary>
    /// <exception cref="VcmmException">As <see cref="TryBack(PhysicalAllocation)"/>.</exception>
    public void Back(PhysicalAllocation memory) => VcmmException.ThrowIf(TryBack(memory), nameof(Back));

    /// <summary>Maps a part of the reservation to a part of <paramref name="memory"/>, for every association of the VCM.</summary>
    /// <param name="offset">From the start of the reservation, in bytes, a multiple of 4 KiB.</param>
    /// <param name="memory">The memory.</param>
    /// <param name="memoryOffset">From the start of the memory, in bytes, a multiple of 4 KiB.</param>
    /// <param name="byteCount">Whole 4 KiB pages, not 0.</param>
    /// <returns>
    /// As <see cref="TryBack(PhysicalAllocation)"/>; <see cref="VcmmError.Invalid"/> too if a part is not wholly inside;
    /// <see cref="VcmmError.Busy"/> if any of the part is backed.
    /// </returns>
    public VcmmError TryBack(ulong offset, PhysicalAllocation memory, ulong memoryOffset, ulong byteCount)
    {
        ArgumentNullException.ThrowIfNull(memory);
        if (_state is null) return VcmmError.Invalid;
        lock (_state.Gate) return IsCurrent(_state) ? _state.Vcm.Back(_state, offset, memory, memoryOffset, byteCount) : VcmmError.Invalid;
    }

    /// <summary>Maps a part of the reservation to a part of <paramref name="memory"/>, for every association of the VCM.</summary>
    /// <exception cref="VcmmException">As <see cref="TryBack(ulong, PhysicalAllocation, ulong, ulong)"/>.</exception>
    public void Back(ulong offset, PhysicalAllocation memory, ulong memoryOffset, ulong byteCount) =>
        VcmmException.ThrowIf(TryBack(offset, memory, memoryOffset, byteCount), nameof(Back));

    /// <summary>
    /// Ends every mapping of the reservation. When this returns no device reaches memory through it; in a region with a
    /// <see cref="VcmOptions.FlushQueue"/>, when the queue has flushed, and until then the memory and the addresses stay in quarantine.
    /// </summary>
    /// <returns>
    /// <see cref="VcmmError.NotFound"/> if none of it is backed, <see cref="VcmmError.Invalid"/> after its end,
    /// <see cref="VcmmError.HardwareFailure"/>. Then nothing has changed, and the memory stays in use.
    /// </returns>
    public VcmmError TryUnback()
    {
        if (_state is null) return VcmmError.Invalid;
        lock (_state.Gate) return IsCurrent(_state) ? _state.Vcm.UnbackAll(_state) : VcmmError.Invalid;
    }

    /// <summary>Ends every mapping of the reservation. When this returns no device reaches memory through it.</summary>
    /// <exception cref="VcmmException">As <see cref="TryUnback()"/>.</exception>
    public void Unback() => VcmmException.ThrowIf(TryUnback(), nameof(Unback));

    /// <summary>Ends the mapping of a part. When this returns no device reaches the memory through the part.</summary>
    /// <param name="offset">From the start of the reservation, in bytes, a multiple of 4 KiB.</param>
    /// <param name="byteCount">Whole 4 KiB pages, not 0.</param>
    /// <returns>
    /// As <see cref="TryUnback()"/>; <see cref="VcmmError.NotFound"/> if some of the part is not backed;
    /// <see cref="VcmmError.Invalid"/> if the part is not inside; <see cref="VcmmError.NoMemory"/> if a large leaf is to be cut and
    /// there is no frame for the table in its place.
    /// </returns>
    public VcmmError TryUnback(ulong offset, ulong byteCount)
    {
        if (_state is null) return VcmmError.Invalid;
        lock (_state.Gate) return IsCurrent(_state) ? _state.Vcm.Unback(_state, offset, byteCount) : VcmmError.Invalid;
    }

    /// <summary>Ends the mapping of a part. When this returns no device reaches the memory through the part.</summary>
    /// <exception cref="VcmmException">As <see cref="TryUnback(ulong, ulong)"/>.</exception>
    public void Unback(ulong offset, ulong byteCount) => VcmmException.ThrowIf(TryUnback(offset, byteCount), nameof(Unback));

    /// <summary>Gives the reservation other attributes. When this returns what they do not grant is out of reach.</summary>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> if they grant nothing or an association's tables cannot protect as they say, or after the
    /// reservation's end; <see cref="VcmmError.HardwareFailure"/>. Then nothing has changed.
    /// </returns>
    public VcmmError TrySetAttributes(MappingAttributes attributes)
    {
        if (_state is null) return VcmmError.Invalid;
        lock (_state.Gate) return IsCurrent(_state) ? _state.Vcm.SetAttributes(_state, attributes) : VcmmError.Invalid;
    }

    /// <summary>Gives the reservation other attributes. When this returns what they do not grant is out of reach.</summary>
    /// <exception cref="VcmmException">As <see cref="TrySetAttributes"/>.</exception>
    public void SetAttributes(MappingAttributes attributes) => VcmmException.ThrowIf(TrySetAttributes(attributes), nameof(SetAttributes));

    /// <summary>Finds the addresses of a part that devices wrote to since they were last cleared, or since they were backed.</summary>
    /// <param name="offset">From the start of the reservation, in bytes, a multiple of 4 KiB.</param>
    /// <param name="byteCount">Whole 4 KiB pages, not 0.</param>
    /// <param name="clear">
    /// Whether they count as clean from now on. When this returns every write that was not noted is in memory, so that who copies what
    /// is dirty does so afterwards.
    /// </param>
    /// <param name="dirty">
    /// The ranges are added to it, ascending, those that touch as one. A leaf is dirty as a whole; with <paramref name="clear"/> the leaves
    /// at both ends count as a whole, too, and so does what was found when a clear failed, so that a range may reach beyond the part.
    /// </param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> if the part is not inside, the reservation has ended, or the region is associated with a device
    /// whose IOMMU notes no writes (<see cref="IIommu.TracksUse"/>); <see cref="VcmmError.HardwareFailure"/> with <paramref name="clear"/>:
    /// nothing was added, and the next call finds it again.
    /// </returns>
    /// <remarks>
    /// <para>All formats of the region count: what is dirty in any of its tables is dirty, and stays so when the last association of the format
    /// ends. An unback forgets it: take the right to write away (<see cref="TrySetAttributes"/>), look, then unback. One that fails
    /// may have lost what was noted: then all of it counts as dirty, and as used.</para>
    /// <para><b>Source.</b> VT-d specification, "Accessed and Dirty Flags" of first-stage and of second-stage translation, "Guidance to
    /// Software for Invalidations": a flag that is clear in memory may be set in a cache, so a clear takes an invalidation. Linux
    /// documents the same of IOMMU_HWPT_GET_DIRTY_BITMAP, which clears unless it is told not to.</para>
    /// </remarks>
    public VcmmError TryCollectDirty(ulong offset, ulong byteCount, bool clear, ICollection<IovaRange> dirty)
    {
        ArgumentNullException.ThrowIfNull(dirty);
        return CollectUsed(offset, byteCount, isDirty: true, clear, dirty);
    }

    /// <summary>Finds the addresses of a part that devices used since they were last cleared, or since they were backed.</summary>
    /// <param name="offset">From the start of the reservation, in bytes, a multiple of 4 KiB.</param>
    /// <param name="byteCount">Whole 4 KiB pages, not 0.</param>
    /// <param name="clear">Whether they count as unused from now on.</param>
    /// <param name="accessed">As for <see cref="TryCollectDirty"/>.</param>
    /// <returns>As <see cref="TryCollectDirty"/>.</returns>
    /// <remarks>Hardware may note a use that it only prepared for.</remarks>
    public VcmmError TryCollectAccessed(ulong offset, ulong byteCount, bool clear, ICollection<IovaRange> accessed)
    {
        ArgumentNullException.ThrowIfNull(accessed);
        return CollectUsed(offset, byteCount, isDirty: false, clear, accessed);
    }

    /// <summary>Adds an owner. Whoever made the reservation is the first.</summary>
    /// <returns><see cref="VcmmError.Invalid"/> after its end, or if there are 2^31-1.</returns>
    public VcmmError TryAcquire()
    {
        if (_state is null) return VcmmError.Invalid;
        lock (_state.Gate)
        {
            if (!IsCurrent(_state) || _state.OwnerCount == int.MaxValue) return VcmmError.Invalid;
            _state.OwnerCount++;
            return VcmmError.None;
        }
    }

    /// <summary>Adds an owner. Whoever made the reservation is the first.</summary>
    /// <exception cref="VcmmException">As <see cref="TryAcquire"/>.</exception>
    public void Acquire() => VcmmException.ThrowIf(TryAcquire(), nameof(Acquire));

    /// <summary>Lets one owner go; with the last one the reservation ends.</summary>
    /// <returns><see cref="VcmmError.Busy"/> if it is the last and any of it is backed, <see cref="VcmmError.Invalid"/> after its end.</returns>
    public VcmmError TryRelease() => _state is null ? VcmmError.Invalid : _state.Vcm.LetGo(_state, _generation, mustBeLast: false);

    /// <summary>Lets one owner go; with the last one the reservation ends.</summary>
    /// <exception cref="VcmmException">As <see cref="TryRelease"/>.</exception>
    public void Release() => VcmmException.ThrowIf(TryRelease(), nameof(Release));

    /// <summary>Ends the reservation; its addresses can be reserved again.</summary>
    /// <returns>
    /// <see cref="VcmmError.Busy"/> while any of it is backed or others own it, <see cref="VcmmError.Invalid"/> after its end.
    /// </returns>
    public VcmmError TryUnreserve() => _state is null ? VcmmError.Invalid : _state.Vcm.LetGo(_state, _generation, mustBeLast: true);

    /// <summary>Ends the reservation; its addresses can be reserved again.</summary>
    /// <exception cref="VcmmException">As <see cref="TryUnreserve"/>.</exception>
    public void Unreserve() => VcmmException.ThrowIf(TryUnreserve(), nameof(Unreserve));

    /// <summary>Ends every mapping and the reservation.</summary>
    /// <returns>
    /// <see cref="VcmmError.Busy"/> while others own it, <see cref="VcmmError.Invalid"/> after its end,
    /// <see cref="VcmmError.HardwareFailure"/>. Then nothing has changed.
    /// </returns>
    public VcmmError TryUnmap() => _state is null ? VcmmError.Invalid : _state.Vcm.Unmap(_state, _generation);

    /// <summary>Ends every mapping and the reservation.</summary>
    /// <exception cref="VcmmException">As <see cref="TryUnmap"/>.</exception>
    public void Unmap() => VcmmException.ThrowIf(TryUnmap(), nameof(Unmap));

    /// <summary>The range, or that the reservation has ended.</summary>
    public override string ToString()
    {
        if (_state is null) return "no reservation";
        lock (_state.Gate) return IsCurrent(_state) ? $"{_state.Range} {_state.Attributes}" : "ended reservation";
    }

    /// <summary>Under the reservation's gate.</summary>
    internal bool IsCurrent(ReservationState state) => state.Generation == _generation;

    internal bool IsOf(Vcm vcm) => _state is not null && _state.Vcm == vcm;

    private VcmmError CollectUsed(ulong offset, ulong byteCount, bool isDirty, bool clear, ICollection<IovaRange> used)
    {
        if (_state is null) return VcmmError.Invalid;
        List<IovaRange> found = [];
        VcmmError error;
        lock (_state.Gate) error = IsCurrent(_state) ? _state.Vcm.CollectUsed(_state, offset, byteCount, isDirty, clear, found) : VcmmError.Invalid;
        if (error != VcmmError.None) return error;
        foreach (IovaRange range in found) used.Add(range);
        return VcmmError.None;
    }

    private T Get<T>(Func<ReservationState, T> read)
    {
        if (_state is not null)
        {
            lock (_state.Gate)
            {
                if (IsCurrent(_state)) return read(_state);
            }
        }

        throw new VcmmException(VcmmError.Invalid, "the reservation has ended");
    }
}

/// <summary>A part of a reservation and what backs it.</summary>
/// <param name="Offset">From the start of the reservation, in bytes.</param>
/// <param name="ByteCount">In bytes.</param>
/// <param name="Memory">The memory.</param>
/// <param name="MemoryOffset">Where in the memory the part begins, in bytes.</param>
public readonly record struct BackedPart(ulong Offset, ulong ByteCount, PhysicalAllocation Memory, ulong MemoryOffset);
