using Explorer.Faults;
using Explorer.Machines;
using Explorer.Scheduling;
using Platform;
using Vcmm;

namespace Explorer.Scenarios;

/// <summary>
/// One thread changes what a reservation is backed with, another does the same to its neighbour in the same table page, and a
/// device goes on reading and writing.
/// </summary>
internal static class BackUnback
{
    private const int Accesses = 4;

    public static ConcurrentScenario Scenario { get; } = new(
        "back-unback", "back and unback against device access on the same VCM",
        [States.StaleHit, States.Moved, States.Blocked, States.Drained, States.DiscardedFill], Prepare);

    /// <summary>The same on memory in which writes lag: for all hardware, and for walkers that do not snoop.</summary>
    public static ConcurrentScenario OnWeakMemory { get; } = new(
        "back-unback-weak", "back-unback while stores wait in buffers and lines in caches",
        [.. Scenario.Sometimes, WeakMemory.ReadBehindBuffer, WeakMemory.ReadUnclean],
        static (attempt, fault, variant) => Prepare(attempt, fault, Setup.WeakModels[variant])) { Variants = Setup.WeakModels.Count };

    private static Prepared Prepare(Attempt attempt, PlantedFault fault, int variant) => Prepare(attempt, fault, MemoryModel.Sequential);

    private static Prepared Prepare(Attempt attempt, PlantedFault fault, MemoryModel model)
    {
        var machine = new Machine(attempt, Setup.SmallCaches, fault, model);
        Software software = machine.Software;
        Vcm vcm = machine.CreateVcm(0, 16 * Setup.Page);
        DeviceUnderTest device = machine.AddDevice(Setup.FirstDevice, vcm);
        Association association = vcm.Associate(device.Device);
        Reservation buffer = vcm.Reserve(2 * Setup.Page);
        Reservation neighbour = vcm.Reserve(Setup.Page, Access.Read);
        PhysicalAllocation first = software.Allocate(2 * Setup.Page);
        PhysicalAllocation second = software.Allocate(2 * Setup.Page);
        PhysicalAllocation third = software.Allocate(Setup.Page);
        Iova start = buffer.Range.First;
        software.Activate(association);
        software.Back(buffer, first);

        machine.AddThread("cpu 0", () =>
        {
            software.Unback(buffer);
            software.Back(buffer, second);
            software.Unback(buffer);
        });
        machine.AddThread("cpu 1", () =>
        {
            software.Back(neighbour, third);
            software.Unback(neighbour);
        });
        machine.AddThread("device", () =>
        {
            for (int i = 0; i < Accesses; i++)
            {
                int choice = Controlled.Choose(6);
                device.Access(start + (ulong)(choice / 2) * Setup.Page, choice % 2 == 0 ? Access.Read : Access.Write);
            }
        });
        return new(machine, () => Setup.TearDown(machine, [vcm], [association], [first, second, third]));
    }
}
