using Harness.Running;
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
            List<AddressRange> found = [.. look.Subject.Region(id).Reservations.Select(reservation => reservation.Range)
                .Select(range => new AddressRange(range.First.Value, range.Last.Value))];
            List<AddressRange> expected = [.. look.World.ReservationsOf(id).Select(reservation => reservation.Range)];
            if (!found.SequenceEqual(expected))
                return new(Invariant.NoOverlap, $"{id} has the reservations [{string.Join(", ", found)}]", $"[{string.Join(", ", expected)}]");
        }

        return null;
    }
}
