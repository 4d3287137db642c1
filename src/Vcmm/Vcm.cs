using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm;

/// <summary>A virtual region that any number of devices can be associated with.</summary>
/// <remarks>
/// <para>All associations whose IOMMUs walk the same format share one table. A table exists as long as an association of its
/// format does; what is backed without any association is written when one is made.</para>
/// <para><b>Threads.</b> Any number at once. Operations on different reservations run in parallel; look-ups of an address take no lock.</para>
/// </remarks>
public sealed partial class Vcm
{
    /// <summary>Outermost: associations, tables, active domains.</summary>
    [LockRank(LockRank.Associations)]
    private readonly object _associationGate = new();

    private readonly IRangeAllocator _ranges;
    private readonly ReservationIndex _reservations;
    private readonly List<Bound> _bounds = [];
    private bool _freed;

    /// <summary>Whether it is a clone that holds only a part yet.</summary>
    private bool _isBeingMade;

    internal Vcm(VcmManager manager, IovaRange range, VcmOptions options)
    {
        Manager = manager;
        Range = range;
        Options = options;
        Kind = options.Kind;
        _ranges = manager.Options.RangeAllocator(range);
        _reservations = new(range);
        _stripes = MakeStripes(manager.Options.StripeCount);
    }

    internal Vcm(VcmManager manager, IovaRange range, TableFormat format, PhysAddr root)
        : this(manager, range, VcmOptions.Default)
    {
        Kind = VcmKind.Prebuilt;
        _prebuilt = new(format, root);
    }

    /// <summary>The device addresses of the region.</summary>
    public IovaRange Range { get; }

    /// <summary>What the region is.</summary>
    public VcmKind Kind { get; }

    /// <summary>The reservations at this moment, in the order of their addresses.</summary>
    public IReadOnlyList<Reservation> Reservations
    {
        get
        {
            List<Reservation> all = [];
            Exclusively(() =>
            {
                foreach (ReservationState state in _reservations.All) all.Add(state.Handle);
                return VcmmError.None;
            });
            return all;
        }
    }

    /// <summary>The bounds at this moment, in the order of their addresses.</summary>
    public IReadOnlyList<Bound> Bounds
    {
        get
        {
            List<Bound> all = [];
            Exclusively(() =>
            {
                all.AddRange(_bounds);
                return VcmmError.None;
            });
            all.Sort(static (a, b) => a.Range.First.CompareTo(b.Range.First));
            return all;
        }
    }

    internal VcmManager Manager { get; }

    internal VcmOptions Options { get; }

    /// <summary>The reservation that <paramref name="address"/> lies in. Takes no lock.</summary>
    /// <returns>False if there is none.</returns>
    public bool TryFindReservation(Iova address, out Reservation reservation)
    {
        ReservationState? state = _reservations.Find(address, out uint generation);
        reservation = state is null ? default : new(state, generation);
        return state is not null;
    }

    /// <summary>Whether look-ups find this reservation at an address of its own. Takes no lock.</summary>
    internal bool Knows(ReservationState state, uint generation, Iova address) =>
        !Volatile.Read(ref _isBeingMade) && _reservations.Find(address, out uint found) == state && found == generation;

    /// <summary>What a device address means, read from a table of the region. Takes no lock.</summary>
    /// <returns><see cref="VcmmError.Fault"/> if it is not mapped; without any association nothing is.</returns>
    public VcmmError TryTranslate(Iova address, out Translation translation)
    {
        IPageTable[] tables = Volatile.Read(ref _tables);
        if (tables.Length != 0 && tables[0].TryWalk(address, out translation)) return VcmmError.None;
        translation = default;
        return VcmmError.Fault;
    }

    /// <summary>The address at which another region maps the memory that an address of this one means.</summary>
    /// <param name="address">An address of this region.</param>
    /// <param name="other">A region of the same manager, or this one.</param>
    /// <param name="translated">
    /// The lowest such address. Where other threads change backings meanwhile, one that was right at some moment of the call.
    /// </param>
    /// <returns>
    /// <see cref="VcmmError.Fault"/> if the address is not backed; <see cref="VcmmError.NotFound"/> if the other region does not
    /// map the memory; <see cref="VcmmError.Invalid"/> if it is another manager's.
    /// </returns>
    /// <remarks>Waits for an operation of the reservation at <paramref name="address"/> that is under way, as it asks what that is backed with and no table.</remarks>
    public VcmmError TryTranslate(Iova address, Vcm other, out Iova translated)
    {
        ArgumentNullException.ThrowIfNull(other);
        translated = default;
        if (other.Manager != Manager) return VcmmError.Invalid;
        if (!TryFindTarget(address, out PhysAddr target)) return VcmmError.Fault;
        var mappings = new List<Mapping>();
        Manager.TryFindMappings(target, mappings);
        Iova? lowest = null;
        foreach (Mapping mapping in mappings)
        {
            if (mapping.Reservation.IsOf(other) && (lowest is null || mapping.Address.Value < lowest.Value.Value)) lowest = mapping.Address;
        }

        translated = lowest ?? default;
        return lowest is null ? VcmmError.NotFound : VcmmError.None;
    }

    /// <summary>The table that IOMMUs of <paramref name="format"/> walk for this region.</summary>
    /// <returns>False if no association has that format.</returns>
    public bool TryGetTable(TableFormat format, out IPageTable? table)
    {
        table = Array.Find(Volatile.Read(ref _tables), candidate => candidate.Format == format);
        return table is not null;
    }

    /// <summary>Ends the region.</summary>
    /// <returns>
    /// <see cref="VcmmError.Busy"/> while it has reservations, bounds or associations, <see cref="VcmmError.Invalid"/> once freed.
    /// </returns>
    public VcmmError TryFree()
    {
        lock (_associationGate)
        {
            return Exclusively(() =>
            {
                if (_freed) return VcmmError.Invalid;
                if (!_reservations.IsEmpty || _bounds.Count != 0 || _associations.Count != 0) return VcmmError.Busy;
                _freed = true;
                return VcmmError.None;
            });
        }
    }

    /// <summary>Ends the region.</summary>
    /// <exception cref="VcmmException">As <see cref="TryFree"/>.</exception>
    public void Free() => VcmmException.ThrowIf(TryFree(), nameof(Free));

    /// <summary>Where in physical memory an address leads.</summary>
    private bool TryFindTarget(Iova address, out PhysAddr target)
    {
        target = default;
        if (Kind == VcmKind.Prebuilt)
        {
            bool isMapped = TryTranslate(address, out Translation translation) == VcmmError.None;
            target = translation.Address;
            return isMapped;
        }

        if (_reservations.Find(address, out uint generation) is not { } state) return false;
        lock (state.Gate)
        {
            if (state.Generation != generation) return false;
            ulong offset = address.Value - state.Range.First.Value;
            int index = state.Backings.FirstEndingAfter(offset);
            if (index == state.Backings.Count || state.Backings[index].Offset > offset) return false;
            Backing backing = state.Backings[index];
            target = backing.Memory.AddressAt(backing.MemoryOffset + (offset - backing.Offset));
            return true;
        }
    }

    /// <summary>The region's range.</summary>
    public override string ToString() => $"vcm {Range}";
}
