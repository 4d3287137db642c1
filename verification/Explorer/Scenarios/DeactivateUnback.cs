using Explorer.Faults;
using Explorer.Machines;
using Explorer.Scheduling;
using Platform;
using Vcmm;

namespace Explorer.Scenarios;

/// <summary>
/// One thread makes a device translate through a region and stops it, another unbacks and backs in the region, and the device
/// goes on all the while. An unback must reach a device that is just being activated, and need not reach one that is not.
/// </summary>
internal static class DeactivateUnback
{
    private const int Accesses = 4;

    // Activated and deactivated, deactivated, deactivated and activated: each with and without caching mode.
    private const int Lives = 3;
    private const string UnbackFirst = "unback returned before deactivate";
    private const string DeactivateFirst = "deactivate returned before unback";

    public static ConcurrentScenario Scenario { get; } = new(
        "deactivate-unback", "activate and deactivate against unback",
        [States.StaleHit, States.Moved, States.Blocked, States.Drained, UnbackFirst, DeactivateFirst], Prepare) { Variants = 2 * Lives };

    private static Prepared Prepare(Attempt attempt, PlantedFault fault, int variant)
    {
        var machine = new Machine(attempt, Setup.SmallCaches with { CachingMode = variant >= Lives }, fault);
        Software software = machine.Software;
        Vcm vcm = machine.CreateVcm(0, 16 * Setup.Page);
        DeviceUnderTest device = machine.AddDevice(Setup.FirstDevice, vcm);
        Association association = vcm.Associate(device.Device);
        Reservation buffer = vcm.Reserve(Setup.Page);
        Reservation neighbour = vcm.Reserve(Setup.Page);
        PhysicalAllocation memory = software.Allocate(Setup.Page);
        PhysicalAllocation other = software.Allocate(Setup.Page);
        Iova start = buffer.Range.First;
        software.Back(buffer, memory);
        // Keeps the table in use, so that an unback is about the leaf alone.
        software.Back(neighbour, other);
        bool startsActive = variant % Lives != 0;
        bool comesBack = variant % Lives == 2;
        if (startsActive) software.Activate(association);
        bool unbacked = false;
        bool deactivated = false;

        machine.AddThread("cpu 0", () =>
        {
            if (!startsActive) software.Activate(association);
            software.Deactivate(association);
            deactivated = true;
            if (!unbacked) attempt.Reach(DeactivateFirst);
            if (comesBack) software.Activate(association);
        });
        machine.AddThread("cpu 1", () =>
        {
            software.Unback(buffer);
            unbacked = true;
            if (!deactivated) attempt.Reach(UnbackFirst);
            software.Back(buffer, memory);
            software.Unback(buffer);
        });
        machine.AddThread("device", () =>
        {
            for (int i = 0; i < Accesses; i++) device.Access(start, i % 2 == 0 ? Access.Read : Access.Write);
        });
        return new(machine, () => Setup.TearDown(machine, [vcm], [association], [memory, other]));
    }
}
