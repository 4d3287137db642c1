using Explorer.Faults;
using Explorer.Machines;
using Explorer.Scheduling;
using Platform;
using Vcmm;

namespace Explorer.Scenarios;

/// <summary>
/// Memory goes from one owner to the next: unbacked, freed, allocated again and backed in a region that the device has no part
/// in, while the device goes on using its old address.
/// </summary>
internal static class Recycle
{
    private const int Accesses = 3;
    private const string SameFrame = "the next owner got the same frame";

    public static ConcurrentScenario Scenario { get; } = new(
        "recycle", "unback, free and reuse of the frames against device access",
        [States.StaleHit, States.Blocked, SameFrame], Prepare) { Variants = 2 };

    /// <summary>The same on memory in which writes lag: for all hardware, and for walkers that do not snoop.</summary>
    public static ConcurrentScenario OnWeakMemory { get; } = new(
        "recycle-weak", "recycle while stores wait in buffers and lines in caches",
        [.. Scenario.Sometimes, WeakMemory.ReadBehindBuffer, WeakMemory.ReadUnclean],
        static (attempt, fault, variant) => Prepare(attempt, fault, cachingMode: false, Setup.WeakModels[variant]))
        {
            Variants = Setup.WeakModels.Count,
        };

    private static Prepared Prepare(Attempt attempt, PlantedFault fault, int variant) =>
        Prepare(attempt, fault, variant == 1, MemoryModel.Sequential);

    private static Prepared Prepare(Attempt attempt, PlantedFault fault, bool cachingMode, MemoryModel model)
    {
        var machine = new Machine(attempt, Setup.SmallCaches with { CachingMode = cachingMode }, fault, model);
        Software software = machine.Software;
        Vcm mine = machine.CreateVcm(0, 16 * Setup.Page);
        Vcm theirs = machine.CreateVcm(0, 16 * Setup.Page);
        DeviceUnderTest device = machine.AddDevice(Setup.FirstDevice, mine);
        DeviceUnderTest other = machine.AddDevice(StreamId.Pci(0, 2, 0), theirs);
        Association association = mine.Associate(device.Device);
        Association otherAssociation = theirs.Associate(other.Device);
        Reservation buffer = mine.Reserve(Setup.Page);
        Reservation next = theirs.Reserve(Setup.Page);
        PhysicalAllocation memory = software.Allocate(Setup.Page);
        PhysAddr frame = memory.Segments[0].First;
        PhysicalAllocation? reused = null;
        Iova start = buffer.Range.First;
        Iova nextStart = next.Range.First;
        software.Back(buffer, memory);
        software.Activate(association);

        machine.AddThread("cpu 0", () =>
        {
            software.Unback(buffer);
            software.Free(memory);
            reused = software.Allocate(Setup.Page);
            if (reused.Segments[0].First == frame) attempt.Reach(SameFrame);
            software.Back(next, reused);
        });
        machine.AddThread("cpu 1", () => software.Activate(otherAssociation));
        machine.AddThread("device", () =>
        {
            for (int i = 0; i < Accesses; i++) device.Access(start, Access.Write);
        });
        machine.AddThread("other device", () =>
        {
            for (int i = 0; i < Accesses; i++) other.Access(nextStart, Access.Read);
        });
        return new(machine, () => Setup.TearDown(machine, [mine, theirs], [association, otherAssociation], [reused!]));
    }
}
