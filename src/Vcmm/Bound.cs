using Platform;
using Vcmm.Allocation;

namespace Vcmm;

/// <summary>A part of a region that reservations can be confined to. What is reserved elsewhere in the region stays out of it.</summary>
/// <remarks><b>Threads.</b> Any number at once.</remarks>
public sealed class Bound
{
    private int _reservationCount;

    internal Bound(Vcm vcm, IovaRange range, IRangeAllocator ranges, RangeHold hold)
    {
        Vcm = vcm;
        Range = range;
        Ranges = ranges;
        Hold = hold;
    }

    /// <summary>The region.</summary>
    public Vcm Vcm { get; }

    /// <summary>The device addresses of the bound.</summary>
    public IovaRange Range { get; }

    internal IRangeAllocator Ranges { get; }

    /// <summary>Holds the addresses in the region, also for what is in quarantine when the bound is freed.</summary>
    internal RangeHold Hold { get; }

    /// <summary>Whether reservations lie in it. Under all stripes of the region.</summary>
    internal bool HasReservations => Volatile.Read(ref _reservationCount) != 0;

    /// <summary>Written under all stripes of the region.</summary>
    internal bool IsFreed { get; set; }

    /// <summary>Takes a range anywhere in the bound.</summary>
    /// <param name="byteCount">Whole 4 KiB pages, not 0.</param>
    /// <param name="attributes">What it grants; some access at least.</param>
    /// <param name="alignment">A power of two from 4 KiB to 1 GiB; the first address is a multiple of it.</param>
    /// <param name="reservation">The reservation, not backed.</param>
    /// <returns>As <see cref="Vcm.TryReserve"/>; <see cref="VcmmError.Invalid"/> once the bound is freed.</returns>
    public VcmmError TryReserve(ulong byteCount, MappingAttributes attributes, ulong alignment, out Reservation reservation) =>
        Vcm.Reserve(Ranges, this, byteCount, attributes, alignment, out reservation);

    /// <summary>Takes a range anywhere in the bound.</summary>
    /// <exception cref="VcmmException">As <see cref="TryReserve"/>.</exception>
    public Reservation Reserve(ulong byteCount, MappingAttributes? attributes = null, ulong alignment = VcmManager.PageBytes)
    {
        VcmmException.ThrowIf(TryReserve(byteCount, attributes ?? Access.ReadWrite, alignment, out Reservation reservation), nameof(Reserve));
        return reservation;
    }

    /// <summary>Takes the range of the bound that starts at <paramref name="first"/>.</summary>
    /// <returns>As <see cref="Vcm.TryReserveAt"/>, the bound in the region's place; <see cref="VcmmError.Invalid"/> once it is freed.</returns>
    public VcmmError TryReserveAt(Iova first, ulong byteCount, MappingAttributes attributes, out Reservation reservation)
    {
        reservation = default;
        return Vcm.TryMakeRange(first, byteCount, out IovaRange range)
            ? Vcm.ReserveAt(Ranges, this, range, attributes, out reservation)
            : VcmmError.Invalid;
    }

    /// <summary>
    /// Ends the bound; its addresses can be reserved by anybody again, where some are in quarantine after the flush.
    /// </summary>
    /// <returns><see cref="VcmmError.Busy"/> while it has reservations, <see cref="VcmmError.Invalid"/> once freed.</returns>
    public VcmmError TryFree() => Vcm.Free(this);

    /// <summary>Ends the bound; its addresses can be reserved by anybody again.</summary>
    /// <exception cref="VcmmException">As <see cref="TryFree"/>.</exception>
    public void Free() => VcmmException.ThrowIf(TryFree(), nameof(Free));

    internal void CountReservation() => Interlocked.Increment(ref _reservationCount);

    internal void UncountReservation() => Interlocked.Decrement(ref _reservationCount);

    /// <summary>The bound's range.</summary>
    public override string ToString() => $"bound {Range}";
}
