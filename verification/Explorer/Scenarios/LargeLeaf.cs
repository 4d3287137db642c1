using Explorer.Faults;
using Explorer.Machines;
using Explorer.Scheduling;
using Platform;
using Vcmm;

namespace Explorer.Scenarios;

/// <summary>
/// A 2 MiB leaf takes the place of a table that is empty but known to the walk caches. The table page is freed and handed out
/// again while a device walks there.
/// </summary>
internal static class LargeLeaf
{
    private const int Accesses = 3;
    private const ulong LeafBytes = 2UL << 20;
    private const string TableReused = "the freed table became somebody's data";

    public static ConcurrentScenario Scenario { get; } = new(
        "large-leaf", "a large leaf in place of a cached table, against device access and reuse of the table's page",
        [States.Moved, States.Blocked, TableReused], Prepare);

    private static Prepared Prepare(Attempt attempt, PlantedFault fault, int variant)
    {
        var machine = new Machine(attempt, Setup.SmallCaches, fault);
        Software software = machine.Software;
        Vcm vcm = machine.CreateVcm(0, 2 * LeafBytes);
        DeviceUnderTest device = machine.AddDevice(Setup.FirstDevice, vcm);
        Association association = vcm.Associate(device.Device);
        software.Activate(association);
        PhysicalAllocation large = software.Allocate(LeafBytes);
        PhysicalAllocation small = software.Allocate(Setup.Page);
        Reservation page = vcm.ReserveAt(new(0), Setup.Page);
        software.Back(page, small);
        device.Access(new(0), Access.Read);
        software.Unback(page);
        page.Unreserve();
        PhysAddr table = machine.TableBelow(vcm);
        PhysicalAllocation? data = null;
        Reservation whole = vcm.ReserveAt(new(0), LeafBytes);

        machine.AddThread("cpu 0", () => software.Back(whole, large));
        machine.AddThread("cpu 1", () =>
        {
            data = software.Allocate(Setup.Page);
            if (data.Segments[0].First == table) attempt.Reach(TableReused);
        });
        machine.AddThread("device", () =>
        {
            for (int i = 0; i < Accesses; i++) device.Access(new((ulong)i * Setup.Page), Access.Read);
        });
        return new(machine, () => Setup.TearDown(machine, [vcm], [association], [large, small, data!]));
    }
}
