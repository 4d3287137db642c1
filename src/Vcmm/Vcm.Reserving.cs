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
    /// <see cref="VcmmError.NoSpace"/> if part of it is reserved, in a bound, or in quarantine until a flush.
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
        Bound? added = null;
        VcmmError outcome = Exclusively(() =>
        {
            if (_freed) return VcmmError.Invalid;
            VcmmError error = _ranges.TryAllocate(byteCount, alignment, Options.Placement, Anywhere, out IovaRange range);
            if (error == VcmmError.None) added = AddBound(range);
            return error;
        });
        bound = added;
        return outcome;
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
        RegionStripe stripe = OwnStripe;
        stripe.Enter();
        try
        {
            VcmmError error = ReserveNow(stripe, ranges, bound, byteCount, attributes, alignment, out reservation);
            if (error != VcmmError.NoSpace) return error;
        }
        finally
        {
            stripe.Exit();
        }

        return ReserveExclusively(ranges, bound, byteCount, attributes, alignment, out reservation);
    }

    internal VcmmError ReserveAt(IRangeAllocator ranges, Bound? bound, IovaRange range, MappingAttributes attributes, out Reservation reservation)
    {
        reservation = default;
        RegionStripe stripe = OwnStripe;
        stripe.Enter();
        try
        {
            VcmmError error = ReserveNow(stripe, ranges, bound, range, attributes, out reservation);
            if (error != VcmmError.NoSpace) return error;
        }
        finally
        {
            stripe.Exit();
        }

        return ReserveExclusively(ranges, bound, range, attributes, out reservation);
    }

    internal VcmmError Free(Bound bound) => Exclusively(() =>
    {
        if (bound.IsFreed) return VcmmError.Invalid;
        if (bound.HasReservations) return VcmmError.Busy;
        bound.IsFreed = true;
        _bounds.Remove(bound);
        LetGo(bound.Hold);
        return VcmmError.None;
    });

    /// <summary>Lets one owner go; the last one ends the reservation.</summary>
    /// <param name="state">The reservation.</param>
    /// <param name="generation">The handle's.</param>
    /// <param name="mustBeLast">Whether other owners speak against it.</param>
    internal VcmmError LetGo(ReservationState state, uint generation, bool mustBeLast)
    {
        RegionStripe stripe = OwnStripe;
        stripe.Enter();
        try
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
                End(stripe, state);
                return VcmmError.None;
            }
        }
        finally
        {
            stripe.Exit();
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

    /// <summary>Tries again: another thread may have been half way through giving back what was missing.</summary>
    private VcmmError ReserveExclusively(
        IRangeAllocator ranges, Bound? bound, ulong byteCount, MappingAttributes attributes, ulong alignment, out Reservation reservation)
    {
        Reservation made = default;
        VcmmError error = Exclusively(() => ReserveNow(OwnStripe, ranges, bound, byteCount, attributes, alignment, out made));
        reservation = made;
        return error;
    }

    /// <summary>Tries again: another thread may have been half way through giving back what was missing.</summary>
    private VcmmError ReserveExclusively(IRangeAllocator ranges, Bound? bound, IovaRange range, MappingAttributes attributes, out Reservation reservation)
    {
        Reservation made = default;
        VcmmError error = Exclusively(() => ReserveNow(OwnStripe, ranges, bound, range, attributes, out made));
        reservation = made;
        return error;
    }

    private VcmmError ReserveNow(
        RegionStripe stripe, IRangeAllocator ranges, Bound? bound, ulong byteCount, MappingAttributes attributes, ulong alignment, out Reservation reservation)
    {
        reservation = default;
        if (!CanReserve(bound, attributes)) return VcmmError.Invalid;
        VcmmError error = ranges.TryAllocate(byteCount, alignment, Options.Placement, Anywhere, out IovaRange range);
        if (error == VcmmError.None) reservation = AddReservation(stripe, range, attributes, bound).Handle;
        return error;
    }

    private VcmmError ReserveNow(
        RegionStripe stripe, IRangeAllocator ranges, Bound? bound, IovaRange range, MappingAttributes attributes, out Reservation reservation)
    {
        reservation = default;
        if (!CanReserve(bound, attributes)) return VcmmError.Invalid;
        VcmmError error = ranges.TryAllocateAt(range);
        if (error == VcmmError.None) reservation = AddReservation(stripe, range, attributes, bound).Handle;
        return error;
    }

    /// <summary>Under a stripe: no table and no bound comes or goes.</summary>
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
        RangeHold hold = TakeIdleHold();
        hold.Begin(_ranges, range, within: null);
        var bound = new Bound(this, range, Manager.Options.RangeAllocator(range), hold);
        _bounds.Add(bound);
        return bound;
    }

    /// <summary>Makes a reservation of a range that was allocated, and lets it be found. Under the stripe.</summary>
    private ReservationState AddReservation(RegionStripe stripe, IovaRange range, MappingAttributes attributes, Bound? bound)
    {
        ReservationState state = Begin(stripe, range, attributes, bound);
        _reservations.Add(state);
        return state;
    }

    /// <summary>Makes a reservation of a range that was allocated; nobody finds it yet. Under the stripe.</summary>
    private ReservationState Begin(RegionStripe stripe, IovaRange range, MappingAttributes attributes, Bound? bound)
    {
        ReservationState state = stripe.IdleStates.Count != 0 ? stripe.IdleStates.Pop() : new(this, Manager.NextOrder());
        lock (state.Gate)
        {
            state.Range = range;
            state.Attributes = attributes;
            state.OwnerCount = 1;
            state.Bound = bound;
            Volatile.Write(ref state.Generation, unchecked(state.Generation + 1));
            bound?.CountReservation();
            return state;
        }
    }

    /// <summary>The reservation is over, its addresses are free. Under the stripe and the reservation's gate.</summary>
    private void End(RegionStripe stripe, ReservationState state)
    {
        _reservations.Remove(state);
        Retire(stripe, state);
    }

    private void Retire(RegionStripe stripe, ReservationState state)
    {
        Volatile.Write(ref state.Generation, unchecked(state.Generation + 1));
        state.Bound?.UncountReservation();
        if (state.Hold is { } hold) LetGo(hold);
        else GiveBack(state.Bound?.Ranges ?? _ranges, state.Range);
        state.Hold = null;
        stripe.IdleStates.Push(state);
    }

    private static void GiveBack(IRangeAllocator ranges, IovaRange range)
    {
        if (ranges.TryFree(range) != VcmmError.None) throw new InvalidOperationException($"{range} was taken and yet free");
    }
}
