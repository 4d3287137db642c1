using Harness.Running;
using Vcmm;
using Vcmm.Spec;

namespace Harness.Oracles;

/// <summary>I1: the library's reservations are the model's, which do not overlap and lie in their region.</summary>
public sealed class NoOverlapOracle : IOracle
{
    /// <inheritdoc/>
    public Violation? Check(Look look)
    {
        foreach ((ObjectId id, VcmState state) in look.World.Vcms)
        {
            if (state.IsFreed) continue;
            look.Counts.Check(Invariant.NoOverlap);
            string found = string.Join(", ", look.Subject.Region(id).Reservations.Select(Text));
            string expected = string.Join(", ", look.World.ReservationsOf(id).Select(reservation => $"{reservation.Range}"));
            if (found != expected) return new(Invariant.NoOverlap, $"{id} has the reservations [{found}]", $"[{expected}]");
        }

        return null;
    }

    private static string Text(Reservation reservation) => $"0x{reservation.Range.First.Value:x}-0x{reservation.Range.Last.Value:x}";
}
