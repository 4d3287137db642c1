using Explorer.Faults;
using Explorer.Machines;
using Explorer.Scheduling;
using Platform;
using Vcmm;

namespace Explorer.Scenarios;

/// <summary>
/// The smallest in which an unback must be waited for: one thread takes a page away and puts another there, and a device accesses it. So small that every schedule
/// with one interruption can be run.
/// </summary>
internal static class UnbackAccess
{
    public static ConcurrentScenario Scenario { get; } = new(
        "unback-access", "a page is unbacked and backed anew while a device accesses it",
        [States.StaleHit, States.Moved, States.Blocked, States.Drained, States.DiscardedFill], Prepare);

    private static Prepared Prepare(Attempt attempt, PlantedFault fault, int variant)
    {
        var machine = new Machine(attempt, Setup.SmallCaches, fault);
        Software software = machine.Software;
        Vcm vcm = machine.CreateVcm(0, 16 * Setup.Page);
        DeviceUnderTest device = machine.AddDevice(Setup.FirstDevice, vcm);
        Association association = vcm.Associate(device.Device);
        Reservation buffer = vcm.Reserve(Setup.Page);
        Reservation neighbour = vcm.Reserve(Setup.Page);
        PhysicalAllocation first = software.Allocate(Setup.Page);
        PhysicalAllocation second = software.Allocate(Setup.Page);
        PhysicalAllocation third = software.Allocate(Setup.Page);
        Iova start = buffer.Range.First;
        software.Activate(association);
        software.Back(buffer, first);
        // Keeps the table in use, so that the unback is about the leaf alone.
        software.Back(neighbour, third);

        machine.AddThread("cpu", () =>
        {
            software.Unback(buffer);
            software.Back(buffer, second);
        });
        machine.AddThread("device", () =>
        {
            device.Access(start, Access.Read);
            device.Access(start, Access.Write);
        });
        return new(machine, () => Setup.TearDown(machine, [vcm], [association], [first, second, third]));
    }
}
