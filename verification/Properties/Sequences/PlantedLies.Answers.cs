using System.Collections.Immutable;
using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>Answers that are none, and look-ups that look past.</summary>
internal static class AnswerLies
{
    public static IReadOnlyList<PlantedLie> All { get; } =
    [
        new("refused though nothing speaks against it", Invariant.Linearizable, "nothing speaks against it", static told => told.IsDone && MayRefuse(told) ? new(Outcome.Busy) : null),
        new("refused with another code", Invariant.Linearizable, "it was refused with NoDevice; ", static told => !told.IsDone && MayRefuse(told) ? new(Outcome.NoDevice) : null),
        // A single page: what is free may lie in pieces too small for more.
        new("out of memory beside plenty of it", Invariant.Linearizable, "it was refused with NoMemory",
            static told => told.IsDone && told.Operation is AllocateMemory { ChunkSizes: World.PageBytes } or Associate && told.IsDone && !told.Surroundings.MemoryFails && told.Surroundings.FreeBytes > 1 << 21 ? new(Outcome.NoMemory) : null),
        new("a failure of hardware that did not fail", Invariant.Progress, "it was refused with HardwareFailure",
            static told => told.IsDone && told.Operation is Activate or Deactivate or Back or Unback or Unmap or SetAttributes && told.IsDone && !told.Surroundings.HardwareFails ? new(Outcome.HardwareFailure) : null),
        new("a look-up that is a page off", Invariant.TablesAreTruth, "was said to mean",
            static told => told is { Operation: Translate, Seen.Translation: { } meaning } ? told.Seen with { Translation = meaning with { Target = meaning.Target ^ World.PageBytes } } : null),
        new("a look-up that finds what is not mapped", Invariant.TablesAreTruth, "was said to mean",
            static told => told is { Operation: Translate, Seen.Outcome: Outcome.Fault } ? new(Outcome.None) { Translation = new(World.PageBytes) } : null),
        new("a translation into another region that finds nothing", Invariant.TablesAreTruth, "was said to be",
            static told => told is { Operation: TranslateTo, IsDone: true } ? new(Outcome.NotFound) : null),
        new("a reverse look-up that finds nothing", Invariant.TablesAreTruth, "it is mapped at",
            static told => told is { Operation: FindMappings, IsDone: true } ? new(Outcome.NotFound) : null),
        new("a list of uses that is in no order", Invariant.TablesAreTruth, "ranges ascend and do not touch",
            static told => told is { Operation: CollectUse, Seen.Ranges: [var first, ..] } ? told.Seen with { Ranges = told.Seen.Ranges.Insert(0, first) } : null),
        new("a write that nobody is told of", Invariant.TablesAreTruth, " was written",
            static told => told.IsDone && told.Operation is CollectUse { Use: Use.Written } collect && told.World.Reservations[collect.Reservation].Written.Certain.Within(PartOf(told.World, collect)).Ranges.Any()
                ? told.Seen with { Ranges = [] } : null),
        new("an access that nobody is told of", Invariant.TablesAreTruth, " was accessed",
            static told => told.IsDone && told.Operation is CollectUse { Use: Use.Accessed } collect && told.World.Reservations[collect.Reservation].Accessed.Certain.Within(PartOf(told.World, collect)).Ranges.Any()
                ? told.Seen with { Ranges = [] } : null),
        new("a use that nobody made", Invariant.TablesAreTruth, " was not ",
            static told => told.IsDone && told.Operation is CollectUse collect && !told.World.Iommu.Devices.Any(static device => device.HasTlb)
                && told.World.Reservations[collect.Reservation].UseOf(collect.Use).Possible.Within(PartOf(told.World, collect)).Ranges.SequenceEqual(ImmutableArray<AddressRange>.Empty)
                    ? told.Seen with { Ranges = [PartOf(told.World, collect)] } : null),
        new("a use that lies beside what was asked for", Invariant.TablesAreTruth, "nothing was to be cleared",
            static told => told.IsDone && told.Operation is CollectUse { Clears: false } collect && BesideUsed(told.World, collect) is { } beside
                ? told.Seen with { Ranges = [.. RangeSet.Of(told.Seen.Ranges).With(beside).Ranges] } : null),
    ];

    private static bool MayRefuse(Told told) => told.Operation is not (DeviceAccess or CoreAccess or Translate or TranslateTo or FindMappings or FindReservation or ListReservations or DispatchFaults);

    private static AddressRange PartOf(World world, CollectUse collect)
    {
        ulong first = world.Reservations[collect.Reservation].Range.First + collect.Offset;
        return new(first, first + (collect.ByteCount - 1));
    }

    /// <summary>A range that was used and lies beside the part.</summary>
    private static AddressRange? BesideUsed(World world, CollectUse collect) =>
        world.Reservations[collect.Reservation].UseOf(collect.Use).Possible.Without(PartOf(world, collect)).Ranges.Select(static range => (AddressRange?)range).FirstOrDefault();
}
