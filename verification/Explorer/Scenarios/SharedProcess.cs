using Explorer.Faults;
using Explorer.Machines;
using Explorer.Scheduling;
using IommuSim;
using IommuSim.Cpu;
using Platform;
using Vcmm;
using Vcmm.Spec;

namespace Explorer.Scenarios;

/// <summary>
/// A process runs on two cores, one of which comes back from being idle, and a device with a TLB of its own uses the process's table under a PASID,
/// while pages are taken from the process and given to others. Beside that a region for devices alone changes, which must cost no core anything.
/// </summary>
internal static class SharedProcess
{
    private const int Accesses = 2;
    private const uint Process = 0;
    private const string SameFrame = "the next owner got the same frame";

    private static readonly VtdOptions Unit = VtdOptions.Scalable with
    {
        IotlbSets = 4, IotlbWays = 2, WalkCacheEntriesPerLevel = 2, ContextCacheEntries = 2, PasidCacheEntries = 2, DeviceTlbs = true,
    };

    private static readonly CpuOptions Cores = CpuOptions.Default with { CoreCount = 2, TlbSets = 2, TlbWays = 2, PagingStructureEntriesPerLevel = 2 };

    public static ConcurrentScenario Scenario { get; } = new(
        "shared-process", "unmap of a process against two cores and a device that has its table",
        [States.StaleHit, States.Moved, States.Blocked, States.Drained, States.Interrupted, States.LeftAlone, SameFrame], Prepare) { Variants = 2 };

    private static Prepared Prepare(Attempt attempt, PlantedFault fault, int variant)
    {
        var machine = new Machine(attempt, Unit, fault);
        Software software = machine.Software;
        Vcm process = machine.CreateVcm(0x10000, 16 * Setup.Page);
        Association running = process.Associate(machine.AddCpus(Cores));
        Accessor core0 = machine.AddCore(0, process);
        Accessor core1 = machine.AddCore(1, process);
        Reservation buffer = process.Reserve(Setup.Page);
        Reservation neighbour = process.Reserve(Setup.Page);
        PhysicalAllocation memory = software.Allocate(Setup.Page);
        PhysicalAllocation other = software.Allocate(Setup.Page);
        PhysAddr frame = memory.Segments[0].First;
        PhysicalAllocation? reused = null;
        Iova start = buffer.Range.First;
        // Keeps the table in use, so that an unmap is about the leaf alone.
        software.Back(neighbour, other);
        software.Back(buffer, memory);
        running.Activate();
        machine.Cpus.Enter(0, Process);
        machine.Cpus.Enter(1, Process);

        Vcm shared = machine.Adopt(process);
        var pasid = new Pasid(1);
        DeviceUnderTest device = machine.AddSharingDevice(Setup.FirstDevice, pasid, process);
        Association sharing = shared.Associate(device.Device, new() { Format = machine.SharedFormat, Pasid = pasid });
        sharing.Activate();
        foreach (StreamId user in new[] { core0.Id, core1.Id, device.Device.Id })
        {
            machine.Ledger.BeginAssociation(user, process, active: true);
            machine.Ledger.EndAssociation(user, process, active: true, done: true);
        }

        Vcm own = machine.CreateVcm(0, 16 * Setup.Page);
        DeviceUnderTest second = machine.AddDevice(StreamId.Pci(0, 2, 0), own);
        Association alone = own.Associate(second.Device);
        Reservation packet = own.Reserve(Setup.Page);
        PhysicalAllocation packetMemory = software.Allocate(Setup.Page);
        software.Activate(alone);
        software.Back(packet, packetMemory);
        // The caches know the page: each of them must be reached.
        core0.Access(start, Access.Write);
        core1.Access(start, Access.Write);
        device.Access(start, Access.Write);
        machine.Cpus.GoIdle(1);
        long before = machine.Shootdowns;
        long unmaps = 0;

        machine.AddThread("cpu 0", () =>
        {
            software.Unback(buffer);
            unmaps++;
            if (variant == 0) return;
            software.Free(memory);
            reused = software.Allocate(Setup.Page);
            if (reused.Segments[0].First == frame) attempt.Reach(SameFrame);
            software.Back(buffer, reused);
        });
        machine.AddThread("cpu 1", () => software.Unback(packet));
        machine.AddThread("core 0", () =>
        {
            for (int i = 0; i < Accesses; i++) core0.Access(start, i % 2 == 0 ? Access.Read : Access.Write);
        });
        machine.AddThread("core 1", () =>
        {
            machine.Cpus.Enter(1, Process);
            for (int i = 0; i < Accesses; i++) core1.Access(start, Access.Read);
        });
        machine.AddThread("device", () =>
        {
            for (int i = 0; i < Accesses; i++) device.Access(start, Access.Read);
        });
        return new(machine, Finish);

        void Finish()
        {
            CpuStatistics counts = machine.Cpus.Cluster.Statistics;
            if (machine.Cpus.WaitedForAccess) attempt.Reach(States.Interrupted);
            if (counts.Deferrals != 0 && counts.SwitchFlushes != 0) attempt.Reach(States.LeftAlone);
            long spent = machine.Shootdowns - before;
            attempt.Check(
                Invariant.OneSided, spent == unmaps, () => $"{spent} shootdowns", () => $"{unmaps}: one for each unmap of the process, none for regions of devices");
            PhysicalAllocation last = variant == 0 ? memory : reused!;
            Setup.TearDown(machine, [shared, process, own], [sharing, running, alone], [last, other, packetMemory]);
        }
    }
}
