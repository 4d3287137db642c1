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
        // Held until the end: nobody finds a reservation that may yet be taken back.
        lock (_reservationGate)
        {
            if (!CanReserve(null, attributes)) return VcmmError.Invalid;
            VcmmError error = TryTakeRangeFor(memory, alignment, out IovaRange range);
            if (error != VcmmError.None) return error;
            ReservationState state = AddReservation(range, attributes, null);
            lock (state.Gate)
            {
                error = Back(state, 0, memory, 0, memory.ByteCount);
                if (error == VcmmError.None) reservation = state.Handle;
                else End(state);
                return error;
            }
        }
    }

    /// <summary>Reserves a range and maps it to given memory.</summary>
    /// <exception cref="VcmmException">As <see cref="TryMap"/>.</exception>
    public Reservation Map(PhysicalAllocation memory, MappingAttributes? attributes = null, ulong alignment = VcmManager.PageBytes)
    {
        VcmmException.ThrowIf(TryMap(memory, attributes ?? Access.ReadWrite, alignment, out Reservation reservation), nameof(Map));
        return reservation;
    }

    internal VcmmError Unmap(ReservationState state, uint generation)
    {
        lock (_reservationGate)
        {
            lock (state.Gate)
            {
                if (state.Generation != generation) return VcmmError.Invalid;
                if (state.OwnerCount > 1) return VcmmError.Busy;
                VcmmError error = state.Backings.Count == 0 ? VcmmError.None : UnbackAll(state);
                if (error == VcmmError.None) End(state);
                return error;
            }
        }
    }

    private VcmmError TryTakeRangeFor(PhysicalAllocation memory, ulong alignment, out IovaRange range)
    {
        if (Kind != VcmKind.OneToOne) return _ranges.TryAllocate(memory.ByteCount, alignment, out range);
        Iova first = new(memory.Segments[0].First.Value);
        bool isRange = TryMakeRange(first, memory.ByteCount, out range);
        return isRange && first.IsAligned(alignment) ? _ranges.TryAllocateAt(range) : VcmmError.Invalid;
    }
}
