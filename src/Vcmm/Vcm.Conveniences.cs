using Platform;

namespace Vcmm;

// Several steps in one call, done wholly or not at all.
public sealed partial class Vcm
{
    /// <summary>Reserves a range and maps it to given memory; in a one-to-one region, the range that has the memory's addresses.</summary>
    /// <param name="memory">The memory; in a one-to-one region, without gaps.</param>
    /// <param name="attributes">What the mapping grants.</param>
    /// <param name="alignment">A power of two from 4 KiB to 1 GiB; the first address is a multiple of it.</param>
    /// <param name="reservation">The reservation, backed by all of the memory.</param>
    /// <returns>As <see cref="TryReserve"/> and <see cref="Reservation.TryBack(PhysicalAllocation)"/>. Then nothing has changed.</returns>
    public VcmmError TryMap(PhysicalAllocation memory, MappingAttributes attributes, ulong alignment, out Reservation reservation)
    {
        ArgumentNullException.ThrowIfNull(memory);
        reservation = default;
        if (memory.Manager != Manager || !IsAlignment(alignment)) return VcmmError.Invalid;
        RegionStripe stripe = OwnStripe;
        stripe.Enter();
        try
        {
            VcmmError error = MapNow(stripe, memory, attributes, alignment, out reservation);
            if (error != VcmmError.NoSpace) return error;
        }
        finally
        {
            stripe.Exit();
        }

        return MapExclusively(memory, attributes, alignment, out reservation);
    }

    /// <summary>Reserves a range and maps it to given memory.</summary>
    /// <exception cref="VcmmException">As <see cref="TryMap"/>.</exception>
    public Reservation Map(PhysicalAllocation memory, MappingAttributes? attributes = null, ulong alignment = VcmManager.PageBytes)
    {
        VcmmException.ThrowIf(TryMap(memory, attributes ?? Access.ReadWrite, alignment, out Reservation reservation), nameof(Map));
        return reservation;
    }

    /// <summary>Allocates memory, reserves a range and maps it, so that it also works one-to-one.</summary>
    /// <param name="byteCount">Whole 4 KiB pages, not 0.</param>
    /// <param name="attributes">What the mapping grants.</param>
    /// <param name="options">How the memory is allocated; in a one-to-one region it is of one piece whatever they say.</param>
    /// <param name="binding">The reservation and the memory behind it.</param>
    /// <returns>
    /// As <see cref="VcmManager.TryAllocate(ulong, MemoryOptions, out PhysicalAllocation?)"/> and <see cref="TryMap"/>. Then nothing
    /// has changed.
    /// </returns>
    /// <remarks>
    /// In a one-to-one region <see cref="VcmmError.NoSpace"/> says that there is memory, and none at addresses that are free in the region. A source of
    /// frames that is not an <see cref="Allocation.IContiguousFrameSource"/> cannot be asked for memory at an address. Of it pieces are taken one
    /// after the other, until one lies where the region has nothing; those that do not are held meanwhile, at most 1,024, and then given
    /// back. After so many <see cref="VcmmError.NoSpace"/> says only that none of these did.
    /// </remarks>
    public VcmmError TryBind(ulong byteCount, MappingAttributes attributes, MemoryOptions options, out Binding binding)
    {
        ArgumentNullException.ThrowIfNull(options);
        binding = default;
        if (!IsWholePages(byteCount)) return VcmmError.Invalid;
        if (Kind == VcmKind.OneToOne) return TryBindOneToOne(byteCount, attributes, options, out binding);
        VcmmError error = Manager.TryAllocate(byteCount, options, out PhysicalAllocation? memory);
        return error == VcmmError.None ? TryMapOrFree(memory!, attributes, out binding) : error;
    }

    /// <summary>Allocates memory, reserves a range and maps it, so that it also works one-to-one.</summary>
    /// <exception cref="VcmmException">As <see cref="TryBind"/>.</exception>
    public Binding Bind(ulong byteCount, MappingAttributes? attributes = null, MemoryOptions? options = null)
    {
        VcmmException.ThrowIf(TryBind(byteCount, attributes ?? Access.ReadWrite, options ?? MemoryOptions.Default, out Binding binding), nameof(Bind));
        return binding;
    }

    /// <summary>Ends what <see cref="TryBind"/> made: the mapping, the reservation and the memory.</summary>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> if the reservation has ended, the memory was freed, or the one is not what backs the other;
    /// <see cref="VcmmError.Busy"/> if the memory backs others too, or the reservation has other owners;
    /// <see cref="VcmmError.HardwareFailure"/>. Then nothing has changed.
    /// </returns>
    public VcmmError TryUnbind(Binding binding)
    {
        if (binding.Reservation.State is not { } state || binding.Memory is null || state.Vcm != this) return VcmmError.Invalid;
        RegionStripe stripe = OwnStripe;
        stripe.Enter();
        try
        {
            lock (state.Gate)
            {
                if (!binding.Reservation.IsCurrent(state) || !IsBoundTo(state, binding.Memory)) return VcmmError.Invalid;
                if (state.OwnerCount > 1) return VcmmError.Busy;
                VcmmError error = binding.Memory.TryFreeWith(UnbackAndHide, state);
                if (error == VcmmError.None) End(stripe, state);
                return error;
            }
        }
        finally
        {
            stripe.Exit();
        }
    }

    /// <summary>Ends what <see cref="TryBind"/> made.</summary>
    /// <exception cref="VcmmException">As <see cref="TryUnbind"/>.</exception>
    public void Unbind(Binding binding) => VcmmException.ThrowIf(TryUnbind(binding), nameof(Unbind));

    internal VcmmError Unmap(ReservationState state, uint generation)
    {
        RegionStripe stripe = OwnStripe;
        stripe.Enter();
        try
        {
            lock (state.Gate)
            {
                if (state.Generation != generation) return VcmmError.Invalid;
                if (state.OwnerCount > 1) return VcmmError.Busy;
                VcmmError error = state.Backings.Count == 0 ? VcmmError.None : UnbackAndHide(state);
                if (error == VcmmError.None) End(stripe, state);
                return error;
            }
        }
        finally
        {
            stripe.Exit();
        }
    }

    /// <summary>Tries again: another thread may have been half way through giving back what was missing.</summary>
    private VcmmError MapExclusively(PhysicalAllocation memory, MappingAttributes attributes, ulong alignment, out Reservation reservation)
    {
        Reservation made = default;
        VcmmError error = Exclusively(() => MapNow(OwnStripe, memory, attributes, alignment, out made));
        reservation = made;
        return error;
    }

    private VcmmError MapNow(
        RegionStripe stripe, PhysicalAllocation memory, MappingAttributes attributes, ulong alignment, out Reservation reservation)
    {
        reservation = default;
        if (!CanReserve(null, attributes)) return VcmmError.Invalid;
        VcmmError error = TryTakeRangeFor(memory, alignment, out IovaRange range);
        if (error != VcmmError.None) return error;
        // It can be found when it is backed, so that nobody gets hold of a reservation that is taken back.
        ReservationState state = Begin(stripe, range, attributes, null);
        lock (state.Gate)
        {
            try
            {
                error = Back(state, 0, memory, 0, memory.ByteCount);
            }
            finally
            {
                // Also where a port throws. What is backed nevertheless is there to be found and ended.
                if (state.Backings.Count == 0) Retire(stripe, state);
                else _reservations.Add(state);
            }

            if (error == VcmmError.None) reservation = state.Handle;
            return error;
        }
    }

    private VcmmError TryTakeRangeFor(PhysicalAllocation memory, ulong alignment, out IovaRange range)
    {
        if (Kind != VcmKind.OneToOne) return _ranges.TryAllocate(memory.ByteCount, alignment, Options.Placement, Anywhere, out range);
        Iova first = new(memory.Segments[0].First.Value);
        bool isRange = TryMakeRange(first, memory.ByteCount, out range);
        return isRange && first.IsAligned(alignment) ? _ranges.TryAllocateAt(range) : VcmmError.Invalid;
    }

    private static bool IsBoundTo(ReservationState state, PhysicalAllocation memory) =>
        state.Backings.Count == 1 && state.Backings[0].Memory == memory && state.Backings[0].ByteCount == memory.ByteCount;

    private VcmmError TryMapOrFree(PhysicalAllocation memory, MappingAttributes attributes, out Binding binding)
    {
        VcmmError error = VcmmError.HardwareFailure;
        Reservation reservation = default;
        try
        {
            error = TryMap(memory, attributes, VcmManager.PageBytes, out reservation);
        }
        finally
        {
            // Also where a port throws; memory that is in a table nevertheless stays in use.
            if (error != VcmmError.None) memory.TryFree();
        }

        binding = error == VcmmError.None ? new(reservation, memory) : default;
        return error;
    }
}
