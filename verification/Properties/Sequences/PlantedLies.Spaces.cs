using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>Ranges that were not given.</summary>
internal static class SpaceLies
{
    public static IReadOnlyList<PlantedLie> All { get; } =
    [
        new("a range that another has", Invariant.NoOverlap, " is taken", static told => Given(told) is var (space, alignment, range) && OfAnother(told.World, space, alignment, range) is { } other ? Say(told, other) : null)
        {
            // Where it waits for a flush, too.
            OrElse = Invariant.NoStaleAccess,
        },
        new("a range beside the region or bound", Invariant.NoOverlap, " is 0x", static told => Given(told) is var (space, alignment, range) && Beside(told.World, space, alignment, range) is { } beside ? Say(told, beside) : null)
        {
            OrElse = Invariant.NoStaleAccess,
        },
        new("a range that is a page too long", Invariant.NoOverlap, " bytes were asked for", static told => Given(told) is var (_, _, range) && range.Last < ulong.MaxValue - World.PageBytes ? Say(told, new(range.First, range.Last + World.PageBytes)) : null)
        {
            OrElse = Invariant.NoStaleAccess,
        },
        new("a range off its alignment", Invariant.NoOverlap, "; the alignment is", static told => Given(told) is var (_, alignment, range) ? Say(told, new(range.First + alignment / 2, range.Last + alignment / 2)) : null)
        {
            OrElse = Invariant.NoStaleAccess,
        },
        new("no range at all", Invariant.NoOverlap, "one range was asked for", static told => Given(told) is not null && told.Operation is not Bind ? told.Seen with { Ranges = [] } : null),
        new("another range than the one asked for", Invariant.NoOverlap, " was asked for", static told => told is { IsDone: true, Operation: ReserveAt } ? told.Seen with { Ranges = [] } : null),
        new("a reservation that is not found", Invariant.NoOverlap, "; at 0x", static told => told is { IsDone: true, Operation: FindReservation } ? new(Outcome.NotFound) : null),
        new("a reservation that is found where there is none", Invariant.NoOverlap, " is no reservation",
            static told => told is { Operation: FindReservation find, Seen.Outcome: Outcome.NotFound } && find.Address < ulong.MaxValue - World.PageBytes ? new(Outcome.None) { Ranges = [new(find.Address, find.Address + (World.PageBytes - 1))] } : null),
        new("a reservation that is not listed", Invariant.NoOverlap, "; there are [", static told => told is { Operation: ListReservations, Seen.Ranges: [_, ..] } ? told.Seen with { Ranges = told.Seen.Ranges[1..] } : null),
        new("a map that lies elsewhere than its one-to-one memory", Invariant.TablesAreTruth, "the region is one-to-one", static told => told.IsDone && told.Operation is Map map && told.World.Vcms[map.Vcm].Kind == VcmKind.OneToOne ? Say(told, Next(told.Seen.Ranges[0], map.Alignment)) : null)
        {
            // Where that is taken, or beside the region.
            OrElse = Invariant.NoOverlap,
        },
        new("a binding that lies elsewhere than its one-to-one memory", Invariant.TablesAreTruth, "the region is one-to-one", static told => told.IsDone && told.Operation is Bind bind && told.World.Vcms[bind.Vcm].Kind == VcmKind.OneToOne ? Say(told, Next(told.Seen.Ranges[0], World.PageBytes)) : null)
        {
            OrElse = Invariant.NoOverlap,
        },
    ];

    /// <summary>What a call has chosen: where, how aligned, and what.</summary>
    private static (ObjectId Space, ulong Alignment, AddressRange Range)? Given(Told told)
    {
        if (!told.IsDone) return null;
        (ObjectId Space, ulong Alignment)? asked = told.Operation switch
        {
            Reserve o => (o.In, o.Alignment),
            CreateBound o => (o.Vcm, o.Alignment),
            Map o => (o.Vcm, o.Alignment),
            Bind o => (o.Vcm, World.PageBytes),
            _ => null,
        };
        return asked is var (space, alignment) ? (space, alignment, told.Seen.Ranges[0]) : null;
    }

    private static Observation Say(Told told, AddressRange range) => told.Seen with { Ranges = told.Seen.Ranges.SetItem(0, range) };

    private static AddressRange Next(AddressRange range, ulong step) => new(range.First + step, range.Last + step);

    private static AddressRange SpaceOf(World world, ObjectId space) => space.Kind == ObjectKind.Bound ? world.Bounds[space].Range : world.Vcms[space].Range;

    private static AddressRange? OfAnother(World world, ObjectId space, ulong alignment, AddressRange range)
    {
        ObjectId vcm = space.Kind == ObjectKind.Bound ? world.Bounds[space].Vcm : space;
        ulong last = range.Last - range.First;
        return world.ReservationsOf(vcm)
            .Where(other => (other.Bound ?? vcm) == space && other.Range.First % alignment == 0 && SpaceOf(world, space).Last - other.Range.First >= last)
            .Select(other => (AddressRange?)new AddressRange(other.Range.First, other.Range.First + last)).FirstOrDefault();
    }

    private static AddressRange? Beside(World world, ObjectId space, ulong alignment, AddressRange range)
    {
        ulong first = unchecked((SpaceOf(world, space).Last + alignment) & ~(alignment - 1)), last = range.Last - range.First;
        return first > SpaceOf(world, space).Last && first < ulong.MaxValue - last ? new(first, first + last) : null;
    }
}
