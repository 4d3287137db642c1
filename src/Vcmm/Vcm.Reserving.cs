using System.Numerics;
using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm;

// Reservations and bounds: which addresses are taken, by whom.
public sealed partial class Vcm
{
    private const ulong LargestAlignment = 1UL << 30;

    private static readonly IovaRange Anywhere = new(new(0), new(ulong.MaxValue));

    /// <summary>Takes a range anywhere in the region that is not in a bound.</summary>
    /// <param name="byteCount">Whole 4 KiB pages, not 0.</param>
    /// <param name="attributes">What it grants; some access at least.</param>
    /// <param name="alignment">A power of two from 4 KiB to 1 GiB; the first address is a multiple of it.</param>
    /// <param name="reservation">The reservation, not backed.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/>, also if the region is prebuilt or an associated IOMMU's tables cannot protect as the
    /// attributes say; <see cref="VcmmError.NoSpace"/> if no free range is large enough.
    /// </returns>
    public VcmmError TryReserve(ulong byteCount, MappingAttributes attributes, ulong alignment, out Reservation reservation) =>
        Reserve(_ranges, null, byteCount, attributes, alignment, out reservation);

    /// <summary>Takes a range anywhere in the region that is not in a bound.</summary>
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
    /// <see cref="VcmmError.Invalid"/> as <see cref="TryReserve"/>, also if the range is not wholly in the region;
    /// <see cref="VcmmError.NoSpace"/> if part of it is reserved or in a bound.
    /// </returns>
    public VcmmError TryReserveAt(Iova first, ulong byteCount, MappingAttributes attributes, out Reservation reservation)
    {
        reservation = default;
        return TryMakeRange(first, byteCount, out IovaRange range)
            ? ReserveAt(_ranges, null, range, attributes, out reservation)
            : VcmmError.Invalid;
    }

    /// <summary>Takes the range that starts at <paramref name="first"/>.</summary>
    /// <exception cref="VcmmException">As <see cref="TryReserveAt"/>.</exception>
    public Reservation ReserveAt(Iova first, ulong byteCount, MappingAttributes? attributes = null)
    {
        VcmmException.ThrowIf(TryReserveAt(first, byteCount, attributes ?? Access.ReadWrite, out Reservation reservation), nameof(ReserveAt));
        return reservation;
    }

    /// <summary>Sets a part of the region aside: only reservations that are made from the bound lie in it.</summary>
    /// <param name="byteCount">Whole 4 KiB pages, not 0.</param>
    /// <param name="alignment">A power of two from 4 KiB to 1 GiB; the first address is a multiple of it.</param>
    /// <param name="bound">The bound, without reservations.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/>, also if the region is prebuilt; <see cref="VcmmError.NoSpace"/> if no free range is large
    /// enough.
    /// </returns>
    public VcmmError TryCreateBound(ulong byteCount, ulong alignment, out Bound? bound)
    {
        bound = null;
        if (!IsWholePages(byteCount) || !IsAlignment(alignment) || Kind == VcmKind.Prebuilt) return VcmmError.Invalid;
        lock (_reservationGate)
        {
            if (_freed) return VcmmError.Invalid;
            VcmmError error = _ranges.TryAllocate(byteCount, alignment, Options.Placement, Anywhere, out IovaRange range);
            if (error == VcmmError.None) bound = AddBound(range);
            return error;
        }
    }

    /// <summary>Sets a part of the region aside: only reservations that are made from the bound lie in it.</summary>
    /// <exception cref="VcmmException">As <see cref="TryCreateBound"/>.</exception>
    public Bound CreateBound(ulong byteCount, ulong alignment = VcmManager.PageBytes)
    {
        VcmmException.ThrowIf(TryCreateBound(byteCount, alignment, out Bound? bound), nameof(CreateBound));
        return bound!;
    }

    internal VcmmError Reserve(
        IRangeAllocator ranges, Bound? bound, ulong byteCount, MappingAttributes attributes, ulong alignment, out Reservation reservation)
    {
        reservation = default;
        if (!IsWholePages(byteCount) || !IsAlignment(alignment)) return VcmmError.Invalid;
        lock (_reservationGate)
        {
            if (!CanReserve(bound, attributes)) return VcmmError.Invalid;
            VcmmError error = ranges.TryAllocate(byteCount, alignment, Options.Placement, Anywhere, out IovaRange range);
            if (error == VcmmError.None) reservation = AddReservation(range, attributes, bound).Handle;
            return error;
        }
    }

    internal VcmmError ReserveAt(IRangeAllocator ranges, Bound? bound, IovaRange range, MappingAttributes attributes, out Reservation reservation)
    {
        reservation = default;
        lock (_reservationGate)
        {
            if (!CanReserve(bound, attributes)) return VcmmError.Invalid;
            VcmmError error = ranges.TryAllocateAt(range);
            if (error == VcmmError.None) reservation = AddReservation(range, attributes, bound).Handle;
            return error;
        }
    }

    internal VcmmError Free(Bound bound)
    {
        lock (_reservationGate)
        {
            if (bound.IsFreed) return VcmmError.Invalid;
            if (bound.ReservationCount != 0) return VcmmError.Busy;
            bound.IsFreed = true;
            _bounds.Remove(bound);
            GiveBack(_ranges, bound.Range);
            return VcmmError.None;
        }
    }

    /// <summary>Lets one owner go; the last one ends the reservation.</summary>
    /// <param name="state">The reservation.</param>
    /// <param name="generation">The handle's.</param>
    /// <param name="mustBeLast">Whether other owners speak against it.</param>
    internal VcmmError LetGo(ReservationState state, uint generation, bool mustBeLast)
    {
        lock (_reservationGate)
        {
            lock (state.Gate)
            {
                if (state.Generation != generation) return VcmmError.Invalid;
                if (state.OwnerCount > 1)
                {
                    if (mustBeLast) return VcmmError.Busy;
                    state.OwnerCount--;
                    return VcmmError.None;
                }

                if (state.Backings.Count != 0) return VcmmError.Busy;
                End(state);
                return VcmmError.None;
            }
        }
    }

    internal static bool TryMakeRange(Iova first, ulong byteCount, out IovaRange range)
    {
        range = default;
        if (!IsWholePages(byteCount) || !first.IsAligned(VcmManager.PageBytes) || byteCount - 1 > ulong.MaxValue - first.Value) return false;
        range = IovaRange.FromLength(first, byteCount);
        return true;
    }

    private static bool IsWholePages(ulong byteCount) => byteCount != 0 && byteCount % VcmManager.PageBytes == 0;

    private static bool IsAlignment(ulong alignment) =>
        BitOperations.IsPow2(alignment) && alignment is >= VcmManager.PageBytes and <= LargestAlignment;

    /// <summary>Under the reservation gate: no table comes or goes.</summary>
    private bool CanReserve(Bound? bound, MappingAttributes attributes)
    {
        if (_freed || bound is { IsFreed: true } || Kind == VcmKind.Prebuilt || !attributes.AreValid) return false;
        foreach (IPageTable table in _tables)
        {
            if (!table.CanExpress(attributes)) return false;
        }

        return true;
    }

    private Bound AddBound(IovaRange range)
    {
        var bound = new Bound(this, range, Manager.Options.RangeAllocator(range));
        _bounds.Add(bound);
        return bound;
    }

    private ReservationState AddReservation(IovaRange range, MappingAttributes attributes, Bound? bound)
    {
        ReservationState state = _idleStates.Count != 0 ? _idleStates.Pop() : new(this, Manager.NextOrder());
        lock (state.Gate)
        {
            _reservations.BeginChange();
            state.Range = range;
            state.Attributes = attributes;
            state.OwnerCount = 1;
            state.Bound = bound;
            state.MappedIn = [];
            _reservations.Add(state);
            _reservations.EndChange();
            if (bound is not null) bound.ReservationCount++;
            return state;
        }
    }

    /// <summary>Under both gates: the reservation is over, its addresses are free.</summary>
    private void End(ReservationState state)
    {
        _reservations.BeginChange();
        _reservations.Remove(state);
        // Stryker disable once arithmetic : equivalent, a generation is told from the ones before it by any change
        state.Generation = unchecked(state.Generation + 1);
        _reservations.EndChange();
        if (state.Bound is { } bound) bound.ReservationCount--;
        GiveBack(state.Bound?.Ranges ?? _ranges, state.Range);
        _idleStates.Push(state);
    }

    private static void GiveBack(IRangeAllocator ranges, IovaRange range)
    {
        if (ranges.TryFree(range) != VcmmError.None) throw new InvalidOperationException($"{range} was taken and yet free");
    }
}
