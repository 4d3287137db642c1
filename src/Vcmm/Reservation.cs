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

    /// <summary>The VCM that it is part of.</summary>
    /// <exception cref="VcmmException"><see cref="VcmmError.Invalid"/> after its end.</exception>
    public Vcm Vcm => Get(static state => state.Vcm);

    /// <summary>The device addresses.</summary>
    /// <exception cref="VcmmException"><see cref="VcmmError.Invalid"/> after its end.</exception>
    public IovaRange Range => Get(static state => state.Range);

    /// <summary>What the mapping grants, and how it uses caches.</summary>
    /// <exception cref="VcmmException"><see cref="VcmmError.Invalid"/> after its end.</exception>
    public MappingAttributes Attributes => Get(static state => state.Attributes);

    /// <summary>What devices may do.</summary>
    /// <exception cref="VcmmException"><see cref="VcmmError.Invalid"/> after its end.</exception>
    public Access Access => Attributes.Access;

    /// <summary>The memory that backs it, or null.</summary>
    /// <exception cref="VcmmException"><see cref="VcmmError.Invalid"/> after its end.</exception>
    public PhysicalAllocation? Memory => Get(static state => state.Memory);

    /// <summary>Whether memory backs it.</summary>
    /// <exception cref="VcmmException"><see cref="VcmmError.Invalid"/> after its end.</exception>
    public bool IsBacked => Memory is not null;

    /// <summary>Maps all of the reservation to <paramref name="memory"/>, for every association of the VCM.</summary>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> if the lengths differ, the memory was freed or another manager's, or the reservation
    /// has ended; <see cref="VcmmError.Busy"/> if it is backed; <see cref="VcmmError.NoMemory"/> if there is no frame for a
    /// table page; <see cref="VcmmError.HardwareFailure"/>. Then nothing has changed.
    /// </returns>
    public VcmmError TryBack(PhysicalAllocation memory)
    {
        ArgumentNullException.ThrowIfNull(memory);
        if (_state is null) return VcmmError.Invalid;
        lock (_state.Gate) return IsCurrent(_state) ? _state.Vcm.Back(_state, memory) : VcmmError.Invalid;
    }

    /// <summary>Maps all of the reservation to <paramref name="memory"/>, for every association of the VCM.</summary>
    /// <exception cref="VcmmException">As <see cref="TryBack"/>.</exception>
    public void Back(PhysicalAllocation memory) => VcmmException.ThrowIf(TryBack(memory), nameof(Back));

    /// <summary>Ends the mapping. When this returns no device reaches the memory through the reservation.</summary>
    /// <returns>
    /// <see cref="VcmmError.NotFound"/> if it is not backed, <see cref="VcmmError.Invalid"/> after its end,
    /// <see cref="VcmmError.HardwareFailure"/>. Then nothing has changed, and the memory stays in use.
    /// </returns>
    public VcmmError TryUnback()
    {
        if (_state is null) return VcmmError.Invalid;
        lock (_state.Gate) return IsCurrent(_state) ? _state.Vcm.Unback(_state) : VcmmError.Invalid;
    }

    /// <summary>Ends the mapping. When this returns no device reaches the memory through the reservation.</summary>
    /// <exception cref="VcmmException">As <see cref="TryUnback"/>.</exception>
    public void Unback() => VcmmException.ThrowIf(TryUnback(), nameof(Unback));

    /// <summary>Ends the reservation; its addresses can be reserved again.</summary>
    /// <returns><see cref="VcmmError.Busy"/> while it is backed, <see cref="VcmmError.Invalid"/> after its end.</returns>
    public VcmmError TryUnreserve() => _state is null ? VcmmError.Invalid : _state.Vcm.Unreserve(_state, _generation);

    /// <summary>Ends the reservation; its addresses can be reserved again.</summary>
    /// <exception cref="VcmmException">As <see cref="TryUnreserve"/>.</exception>
    public void Unreserve() => VcmmException.ThrowIf(TryUnreserve(), nameof(Unreserve));

    /// <summary>The range, or that the reservation has ended.</summary>
    public override string ToString()
    {
        if (_state is null) return "no reservation";
        lock (_state.Gate) return IsCurrent(_state) ? $"{_state.Range} {_state.Attributes}" : "ended reservation";
    }

    private bool IsCurrent(ReservationState state) => state.Generation == _generation;

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
