using Explorer.Faults;
using Explorer.Machines;
using Explorer.Scheduling;
using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Tables;

namespace Explorer.Scenarios;

/// <summary>
/// A device goes through a guest's table, which lies in the region and leads each address to the same of the region, while one thread takes pages of the
/// region away and another tells of changes of the guest's and has the device come and go.
/// </summary>
internal static class GuestUnback
{
    private const int Accesses = 2;

    // Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3A, formats of paging-structure entries: P, R/W, U/S, A, D; PS.
    private const ulong Grants = 1 | 1 << 1 | 1 << 2 | 1 << 5 | 1 << 6, LargeLeaf = 1 << 7;

    private static readonly VtdOptions Unit = VtdOptions.Scalable with
    {
        IotlbSets = 4, IotlbWays = 2, WalkCacheEntriesPerLevel = 2, ContextCacheEntries = 2, PasidCacheEntries = 2, Nesting = true,
    };

    public static ConcurrentScenario Scenario { get; } = new(
        "guest-unback", "back and unback against a device that goes through a guest's table, and comes and goes",
        [States.StaleHit, States.Moved, States.Blocked, States.Drained], Prepare);

    private static Prepared Prepare(Attempt attempt, PlantedFault fault, int variant)
    {
        var machine = new Machine(attempt, Unit, fault);
        Software software = machine.Software;
        Vcm vcm = machine.CreateVcm(0, 16 * Setup.Page);
        DeviceUnderTest device = machine.AddDevice(Setup.FirstDevice, vcm);
        // Two pages of tables: the second has a leaf of 1 GiB. They are no data, and no device comes there.
        Reservation tables = vcm.ReserveAt(new(8 * Setup.Page), 2 * Setup.Page);
        PhysicalAllocation behindTables = machine.Manager.Allocate(2 * Setup.Page);
        software.Back(tables, behindTables);
        machine.Write(behindTables.AddressAt(0), (tables.Range.First.Value + Setup.Page) | Grants);
        machine.Write(behindTables.AddressAt(Setup.Page), LargeLeaf | Grants);
        TableFormat format = machine.Port.Formats.First(nested => machine.Port.CanNest(machine.Port.Formats[0], nested));
        Association association = vcm.Associate(device.Device, new() { NestedTable = new(format, tables.Range.First) });
        Reservation buffer = vcm.Reserve(2 * Setup.Page);
        PhysicalAllocation first = software.Allocate(2 * Setup.Page);
        PhysicalAllocation second = software.Allocate(2 * Setup.Page);
        Iova start = buffer.Range.First;
        software.Activate(association);
        software.Back(buffer, first);
        // The caches know the way: a walk through both stages takes two dozen steps.
        device.Access(start, Access.Write);

        machine.AddThread("cpu 0", () =>
        {
            software.Unback(buffer);
            software.Back(buffer, second);
        });
        machine.AddThread("guest", () =>
        {
            association.Invalidate(IovaRange.FromLength(start, Setup.Page));
            software.Deactivate(association);
            software.Activate(association);
        });
        machine.AddThread("device", () =>
        {
            for (int i = 0; i < Accesses; i++)
            {
                int choice = Controlled.Choose(4);
                device.Access(start + (ulong)(choice / 2) * Setup.Page, choice % 2 == 0 ? Access.Read : Access.Write);
            }
        });
        return new(machine, () => Setup.TearDown(machine, [vcm], [association], [first, second, behindTables]));
    }
}
