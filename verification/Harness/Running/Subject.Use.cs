using Platform;
using Vcmm;
using Vcmm.Spec;

namespace Harness.Running;

// What devices used and wrote to.
public sealed partial class Subject
{
    private Observation Do(CollectUse collect)
    {
        Reservation reservation = Of(_reservations, collect.Reservation);
        var found = new List<IovaRange>();
        VcmmError error = collect.Use == Use.Written
            ? reservation.TryCollectDirty(collect.Offset, collect.ByteCount, collect.Clears, found)
            : reservation.TryCollectAccessed(collect.Offset, collect.ByteCount, collect.Clears, found);
        return new((Outcome)error) { Ranges = [.. found.Select(Range)] };
    }
}
