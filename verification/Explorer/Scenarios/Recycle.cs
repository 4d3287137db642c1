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

    private static Prepared Prepare(Attempt attempt, PlantedFault fault, int variant)
    {
        var machine = new Machine(attempt, Setup.SmallCaches with { CachingMode = variant == 1 }, fault);
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
