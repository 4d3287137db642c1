using Explorer.Faults;
using Explorer.Machines;
using Explorer.Scheduling;
using Platform;
using Vcmm;

namespace Explorer.Scenarios;

/// <summary>
/// Two threads back and unback in one table page, and one of them frees the memory and takes it again. No device is at work
/// meanwhile: what is cached is what the hardware fetches of its own accord. When an unback has returned, the device looks.
/// </summary>
internal static class EagerUnback
{
    private const int Fetches = 5;

    public static ConcurrentScenario Scenario { get; } = new(
        "eager-unback", "back, unback and reuse of the frames against hardware that fetches ahead",
        [States.Moved, States.Blocked, States.Drained, States.DiscardedFill, EagerHardware.Fetched], Prepare) { Variants = 2 };

    private static Prepared Prepare(Attempt attempt, PlantedFault fault, int variant)
    {
        var machine = new Machine(attempt, Setup.SmallCaches with { CachingMode = variant == 1 }, fault);
        Software software = machine.Software;
        Vcm vcm = machine.CreateVcm(0, 16 * Setup.Page);
        DeviceUnderTest device = machine.AddDevice(Setup.FirstDevice, vcm);
        Association association = vcm.Associate(device.Device);
        Reservation buffer = vcm.Reserve(2 * Setup.Page);
        Reservation neighbour = vcm.Reserve(Setup.Page);
        Reservation stays = vcm.Reserve(Setup.Page);
        PhysicalAllocation first = software.Allocate(2 * Setup.Page);
        PhysicalAllocation second = software.Allocate(Setup.Page);
        PhysicalAllocation third = software.Allocate(Setup.Page);
        PhysicalAllocation? reused = null;
        Iova start = buffer.Range.First;
        software.Activate(association);
        software.Back(buffer, first);
        // Keeps the table in use, so that an unback is about the leaves alone.
        software.Back(stays, third);
        var eager = new EagerHardware(attempt, machine.Iommu, Setup.FirstDevice, start, start + Setup.Page, neighbour.Range.First);

        machine.AddThread("cpu 0", () =>
        {
            software.Unback(buffer);
            device.Access(start, Access.Read);
            device.Access(start + Setup.Page, Access.Write);
            software.Free(first);
            reused = software.Allocate(2 * Setup.Page);
            software.Back(buffer, reused);
            device.Access(start, Access.Write);
        });
        machine.AddThread("cpu 1", () =>
        {
            software.Back(neighbour, second);
            software.Unback(neighbour);
        });
        machine.AddThread(EagerHardware.Agent, () => eager.Run(Fetches));
        return new(machine, () => Setup.TearDown(machine, [vcm], [association], [reused!, second, third]));
    }
}
