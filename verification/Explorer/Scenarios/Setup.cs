using Explorer.Machines;
using IommuSim;
using Platform;
using Vcmm;

namespace Explorer.Scenarios;

/// <summary>What most scenarios begin and end with.</summary>
internal static class Setup
{
    /// <summary>Small caches: entries meet, and looking through them costs little.</summary>
    public static VtdOptions SmallCaches { get; } =
        VtdOptions.Default with { IotlbSets = 4, IotlbWays = 2, WalkCacheEntriesPerLevel = 2, ContextCacheEntries = 2 };

    /// <summary>The variants of a scenario on weak memory.</summary>
    public static IReadOnlyList<MemoryModel> WeakModels { get; } = [MemoryModel.StoreBuffers, MemoryModel.NonCoherentWalks];

    public static StreamId FirstDevice { get; } = StreamId.Pci(0, 1, 0);

    public const ulong Page = VcmManager.PageBytes;

    /// <summary>Takes everything down and checks that nothing is left.</summary>
    public static void TearDown(
        Machine machine, IEnumerable<Vcm> regions, IEnumerable<Association> associations, IEnumerable<PhysicalAllocation> memories)
    {
        machine.CheckTables();
        foreach (Association association in associations)
        {
            if (association.IsActive) association.Deactivate();
            association.Deassociate();
        }

        foreach (Vcm region in regions)
        {
            foreach (Reservation reservation in region.Reservations)
            {
                if (reservation.IsBacked) reservation.Unback();
                reservation.Unreserve();
            }

            region.Free();
        }

        foreach (PhysicalAllocation memory in memories) memory.Free();
        machine.CheckFrames();
    }
}
