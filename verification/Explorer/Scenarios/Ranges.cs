using Platform;
using Vcmm;

namespace Explorer.Scenarios;

/// <summary>What the scenario asks of a region: a range, and to take it back.</summary>
internal interface IRanges
{
    VcmmError TryTake(ulong byteCount, out IovaRange range);

    VcmmError TryGive(IovaRange range);
}

/// <summary>The library's region.</summary>
internal sealed class VcmRanges(Vcm vcm) : IRanges
{
    public VcmmError TryTake(ulong byteCount, out IovaRange range)
    {
        VcmmError error = vcm.TryReserve(byteCount, Access.ReadWrite, VcmManager.PageBytes, out Reservation reservation);
        range = error == VcmmError.None ? reservation.Range : default;
        return error;
    }

    public VcmmError TryGive(IovaRange range) =>
        vcm.TryFindReservation(range.First, out Reservation reservation) ? reservation.TryUnreserve() : VcmmError.NotFound;
}
