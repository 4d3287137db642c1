using System.Numerics;
using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm;

/// <summary>A virtual region that any number of devices can be associated with.</summary>
/// <remarks>
/// <para>All associations whose IOMMUs walk the same format share one table. A table exists as long as an association of its
/// format does; what is backed without any association is written when one is made.</para>
/// <para><b>Threads.</b> Any number at once. Operations on different reservations run in parallel; look-ups take no lock.</para>
/// </remarks>
public sealed partial class Vcm
{
    /// <summary>Outermost: associations, tables, active domains.</summary>
    private readonly object _associationGate = new();

    /// <summary>Inside it: which reservations there are. A reservation's own gate comes inside this one.</summary>
    private readonly object _reservationGate = new();

    private readonly IRangeAllocator _ranges;
    private readonly List<ReservationState> _reservations = [];
    private readonly Stack<ReservationState> _idleStates = new();
    private readonly List<Association> _associations = [];

    /// <summary>What IOMMUs of the associations do not translate. Under the association gate.</summary>
    private readonly List<IovaRange> _excluded = [];

    /// <summary>Replaced, never changed; written under both gates.</summary>
    private IPageTable[] _tables = [];

    /// <summary>Replaced, never changed; written under the association gate.</summary>
    private ActiveDomain[] _activeDomains = [];

    private bool _freed;

    internal Vcm(VcmManager manager, IovaRange range)
    {
        Manager = manager;
        Range = range;
        _ranges = manager.Options.RangeAllocator(range);
    }

    /// <summary>The device addresses of the region.</summary>
    public IovaRange Range { get; }

    /// <summary>The reservations at this moment, in the order of their addresses.</summary>
    public IReadOnlyList<Reservation> Reservations
    {
        get
        {
            lock (_reservationGate) return _reservations.ConvertAll(static state => new Reservation(state, state.Generation));
        }
    }

    internal VcmManager Manager { get; }

    /// <summary>Takes a range anywhere in the region.</summary>
    /// <param name="byteCount">Whole 4 KiB pages, not 0.</param>
    /// <param name="attributes">What it grants; some access at least.</param>
    /// <param name="alignment">A power of two from 4 KiB to 1 GiB; the first address is a multiple of it.</param>
    /// <param name="reservation">The reservation, not backed.</param>
    /// <returns><see cref="VcmmError.Invalid"/>; <see cref="VcmmError.NoSpace"/> if no free range is large enough.</returns>
    public VcmmError TryReserve(ulong byteCount, MappingAttributes attributes, ulong alignment, out Reservation reservation)
    {
        reservation = default;
        if (byteCount == 0 || byteCount % VcmManager.PageBytes != 0 || !attributes.AreValid) return VcmmError.Invalid;
        if (!BitOperations.IsPow2(alignment) || alignment < VcmManager.PageBytes || alignment > 1UL << 30) return VcmmError.Invalid;
        lock (_reservationGate)
        {
            if (_freed) return VcmmError.Invalid;
            VcmmError error = _ranges.TryAllocate(byteCount, alignment, out IovaRange range);
            if (error == VcmmError.None) reservation = AddReservation(range, attributes);
            return error;
        }
    }

    /// <summary>Takes a range anywhere in the region.</summary>
    /// <exception cref="VcmmException">As <see cref="TryReserve"/>.</exception>
    public Reservation Reserve(ulong byteCount, MappingAttributes? attributes = null, ulong alignment = VcmManager.PageBytes)
    {
        VcmmException.ThrowIf(TryReserve(byteCount, attributes ?? Access.ReadWrite, alignment, out Reservation reservation), nameof(Reserve));
        return reservation;
    }

    /// <summary>Takes the range that starts at <paramref name="first"/>.</summary>
    /// <param name="first">A multiple of 4 KiB.</param>
    /// <param name="byteCount">Whole 4 KiB pages, not 0.</param>
    /// <param name="attributes">What it grants; some access at least.</param>
    /// <param name="reservation">The reservation, not backed.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/>, also if the range is not wholly in the region;
    /// <see cref="VcmmError.NoSpace"/> if part of it is reserved.
    /// </returns>
    public VcmmError TryReserveAt(Iova first, ulong byteCount, MappingAttributes attributes, out Reservation reservation)
    {
        reservation = default;
        if (byteCount == 0 || byteCount % VcmManager.PageBytes != 0 || !attributes.AreValid) return VcmmError.Invalid;
        if (!first.IsAligned(VcmManager.PageBytes) || byteCount - 1 > ulong.MaxValue - first.Value) return VcmmError.Invalid;
        IovaRange range = IovaRange.FromLength(first, byteCount);
        lock (_reservationGate)
        {
            if (_freed) return VcmmError.Invalid;
            VcmmError error = _ranges.TryAllocateAt(range);
            if (error == VcmmError.None) reservation = AddReservation(range, attributes);
            return error;
        }
    }

    /// <summary>Takes the range that starts at <paramref name="first"/>.</summary>
    /// <exception cref="VcmmException">As <see cref="TryReserveAt"/>.</exception>
    public Reservation ReserveAt(Iova first, ulong byteCount, MappingAttributes? attributes = null)
    {
        VcmmException.ThrowIf(TryReserveAt(first, byteCount, attributes ?? Access.ReadWrite, out Reservation reservation), nameof(ReserveAt));
        return reservation;
    }

    /// <summary>The reservation that <paramref name="address"/> lies in.</summary>
    /// <returns>False if there is none.</returns>
    public bool TryFindReservation(Iova address, out Reservation reservation)
    {
        lock (_reservationGate)
        {
            int index = FirstStartingAfter(address) - 1;
            if (index >= 0 && _reservations[index].Range.Contains(address))
            {
                reservation = new(_reservations[index], _reservations[index].Generation);
                return true;
            }
        }

        reservation = default;
        return false;
    }

    /// <summary>What a device address means, read from a table of the region.</summary>
    /// <returns><see cref="VcmmError.Fault"/> if it is not mapped; without any association nothing is.</returns>
    public VcmmError TryTranslate(Iova address, out Translation translation)
    {
        IPageTable[] tables = Volatile.Read(ref _tables);
        if (tables.Length != 0 && tables[0].TryWalk(address, out translation)) return VcmmError.None;
        translation = default;
        return VcmmError.Fault;
    }

    /// <summary>The table that IOMMUs of <paramref name="format"/> walk for this region.</summary>
    /// <returns>False if no association has that format.</returns>
    public bool TryGetTable(TableFormat format, out IPageTable? table)
    {
        table = Array.Find(Volatile.Read(ref _tables), candidate => candidate.Format == format);
        return table is not null;
    }

    /// <summary>Ends the region.</summary>
    /// <returns><see cref="VcmmError.Busy"/> while it has reservations or associations, <see cref="VcmmError.Invalid"/> once freed.</returns>
    public VcmmError TryFree()
    {
        lock (_associationGate)
        {
            lock (_reservationGate)
            {
                if (_freed) return VcmmError.Invalid;
                if (_reservations.Count != 0 || _associations.Count != 0) return VcmmError.Busy;
                _freed = true;
                return VcmmError.None;
            }
        }
    }

    /// <summary>Ends the region.</summary>
    /// <exception cref="VcmmException">As <see cref="TryFree"/>.</exception>
    public void Free() => VcmmException.ThrowIf(TryFree(), nameof(Free));

    /// <summary>The region's range.</summary>
    public override string ToString() => $"vcm {Range}";

    internal VcmmError Unreserve(ReservationState state, uint generation)
    {
        lock (_reservationGate)
        {
            lock (state.Gate)
            {
                if (state.Generation != generation) return VcmmError.Invalid;
                if (state.Memory is not null) return VcmmError.Busy;
                // Stryker disable once arithmetic : equivalent, a generation is told from the ones before it by any change
                state.Generation = unchecked(state.Generation + 1);
                _reservations.RemoveAt(FirstStartingAfter(state.Range.First) - 1);
                _idleStates.Push(state);
                if (_ranges.TryFree(state.Range) != VcmmError.None)
                    throw new InvalidOperationException($"{state.Range} was reserved and yet free");
                return VcmmError.None;
            }
        }
    }

    private Reservation AddReservation(IovaRange range, MappingAttributes attributes)
    {
        ReservationState state = _idleStates.Count != 0 ? _idleStates.Pop() : new(this);
        lock (state.Gate)
        {
            state.Range = range;
            state.Attributes = attributes;
            state.MappedIn = [];
            _reservations.Insert(FirstStartingAfter(range.First), state);
            return new(state, state.Generation);
        }
    }

    private int FirstStartingAfter(Iova address)
    {
        int low = 0;
        int high = _reservations.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_reservations[middle].Range.First.Value <= address.Value) low = middle + 1;
            else high = middle;
        }

        return low;
    }
}
