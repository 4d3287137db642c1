using Harness.Passing;
using Harness.Scenarios;
using Platform;
using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>Faults that only a walker meets which does not see at once what is written.</summary>
internal static class PlantedCleaningFaults
{
    private static readonly Topology NonCoherent = new() { CoherentWalk = false };

    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        new("a driver that does not clean the entries that it writes", Invariant.TablesAreTruth, 4,
            new() { DriverMemory = static memory => new LeavesOut(memory, static byteCount => byteCount == sizeof(ulong)) })
        {
            Topology = NonCoherent,
        },
        new("a driver that does not clean the pages that it makes", Invariant.TablesAreTruth, 8,
            new() { DriverMemory = static memory => new LeavesOut(memory, static byteCount => byteCount == World.PageBytes) })
        {
            Topology = NonCoherent,
        },
    ];

    /// <summary>Does not clean what is so long. Commands it cleans: without those the hardware would do nothing.</summary>
    private sealed class LeavesOut(IPhysicalMemory inner, Func<ulong, bool> isLeftOut) : PassingMemory(inner)
    {
        public override void Clean(PhysRange range)
        {
            if (!isLeftOut(range.ByteCount)) Inner.Clean(range);
        }
    }
}
