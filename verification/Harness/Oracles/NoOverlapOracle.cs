using Harness.Running;
using Platform;
using Vcmm;
using Vcmm.Spec;

namespace Harness.Oracles;

/// <summary>I1: the library's reservations and bounds are the model's, which do not overlap and lie in their region or bound.</summary>
public sealed class NoOverlapOracle : IOracle
{
    /// <inheritdoc/>
    public IEnumerable<Violation> Check(Look look)
    {
        foreach ((ObjectId id, VcmState state) in look.World.Vcms)
        {
            if (state.IsFreed) continue;
            look.Counts.Check(Invariant.NoOverlap);
            Vcm region = look.Subject.Region(id);
            Violation? wrong =
                Differ(id, "reservations", region.Reservations.Select(Lies), look.World.ReservationsOf(id).Select(reservation => Lies(look.World, reservation)))
                ?? Differ(id, "bounds", region.Bounds.Select(bound => Range(bound.Range)), look.World.BoundsOf(id).Select(bound => bound.Range));
            if (wrong is not null) yield return wrong;
        }
    }

    private static Violation? Differ<T>(ObjectId vcm, string what, IEnumerable<T> found, IEnumerable<T> expected)
    {
        List<T> seen = [.. found], right = [.. expected];
        return seen.SequenceEqual(right)
            ? null
            : new(Invariant.NoOverlap, $"{vcm} has the {what} [{string.Join(", ", seen)}]", $"[{string.Join(", ", right)}]");
    }

    private static Place Lies(Reservation reservation) =>
        new(Range(reservation.Range), reservation.Bound is { } bound ? Range(bound.Range) : null);

    private static Place Lies(World world, ReservationState reservation) =>
        new(reservation.Range, reservation.Bound is { } bound ? world.Bounds[bound].Range : null);

    private static AddressRange Range(IovaRange range) => new(range.First.Value, range.Last.Value);

    private readonly record struct Place(AddressRange Range, AddressRange? Bound)
    {
        public override string ToString() => Bound is { } bound ? $"{Range} of {bound}" : $"{Range}";
    }
}
