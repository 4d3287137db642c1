using System.Collections.Immutable;
using Harness;
using Harness.Foreign;
using Harness.Operations;
using Harness.Scenarios;
using Platform;
using Vcmm.Spec;

namespace Explorer.Scripts;

/// <summary>What a script cannot say.</summary>
internal static class ScriptLimits
{
    /// <summary>Whether a scenario can run in controlled schedules.</summary>
    public static bool Allow(Scenario scenario)
    {
        try
        {
            Check(scenario);
            return true;
        }
        catch (BadInputException)
        {
            // Why not is told to who wrote it, and nobody wrote this one.
            return false;
        }
    }

    /// <exception cref="BadInputException">The scenario is none that can run in controlled schedules.</exception>
    public static void Check(Scenario scenario)
    {
        Topology topology = scenario.Topology;
        // Who waits for a register looks again when an access of a device has ended.
        if (!topology.QueuedInvalidation && topology.Eagerness != 0) throw new BadInputException("topology.queuedInvalidation is false; expected topology.eagerness 0 then, under a controlled schedule");
        CheckEvents(scenario);
        foreach (Step step in scenario.Steps)
        {
            Check(step);
            if (step.Mishap is not null) throw Refused(step, "nothing is made to go wrong before the threads begin");
            if (Script.IsAccess(step.Operation) && Collects(scenario)) throw Refused(step, "what was used before the threads begin, nobody knows when it is told");
        }

        foreach (Step step in scenario.Threads.SelectMany(static thread => thread))
        {
            Check(step);
            if (step.Operation is DeviceAccess { Device: { Kind: ObjectKind.Device, Number: var device } } && device < topology.Devices.Count && topology.Devices[device] == DeviceKind.Direct)
                throw Refused(step, "nobody stops a device without an IOMMU, so there is nothing to hold it to");
            if (step.Operation is Adopt adopt && !HasLastingTable(scenario, adopt)) throw Refused(step, "the table is there before the threads begin, and stays: its owner sees to that");
        }

        CheckFaults(scenario);
        CheckWaiting(scenario);
        CheckPassing(scenario);
        // A core executes on one thread.
        ObjectId[] cores = [.. scenario.Threads.SelectMany(static thread => CoresOf(thread).Distinct())];
        if (cores.Length != cores.Distinct().Count()) throw new BadInputException("script.scenario.threads has a core that several threads play; expected one for each");
    }

    /// <summary>Whether a thread has hooks told of faults.</summary>
    public static bool Dispatches(Scenario scenario) => scenario.Threads.Any(static thread => thread.Any(static step => step.Operation is DispatchFaults));

    /// <summary>Whether an access is one that may wait for a page.</summary>
    public static bool MayWait(Topology topology, Operation operation) =>
        operation is DeviceAccess { Device.Kind: ObjectKind.Device } access && access.Device.Number < topology.Devices.Count && topology.Devices[access.Device.Number] == DeviceKind.Paging;

    /// <summary>Whether a device has a TLB of its own, and asks for translations.</summary>
    public static bool HasTlb(Topology topology, int device) => device < topology.Devices.Count && topology.Devices[device] is DeviceKind.Ats or DeviceKind.Paging;

    /// <summary>Whether an access of a thread may wait for a page.</summary>
    public static bool Waits(Scenario scenario) => scenario.Threads.Any(thread => thread.Any(step => MayWait(scenario.Topology, step.Operation)));

    /// <summary>An access that waits keeps its thread; what has not been answered when all other threads have ended is refused.</summary>
    private static void CheckWaiting(Scenario scenario)
    {
        foreach (ImmutableArray<Step> thread in scenario.Threads.Where(thread => thread.Any(step => MayWait(scenario.Topology, step.Operation))))
        {
            foreach (Step step in thread)
            {
                if (!Script.IsAccess(step.Operation)) throw Refused(step, "what a thread does whose accesses may wait for pages is accesses alone");
                if (step.Operation is DeviceAccess { MayAsk: false } && MayWait(scenario.Topology, step.Operation)) throw Refused(step, "beside others a device asks for pages, or it does not");
            }
        }
    }

    /// <summary>A device that is let through reaches all memory, and nobody keeps it from what the library has: it is sent where the script has memory of its own, or where none is.</summary>
    private static void CheckPassing(Scenario scenario)
    {
        Step[] all = [.. scenario.Steps, .. scenario.Threads.SelectMany(static thread => thread)];
        HashSet<ObjectId> passing = [.. all.Select(static step => step.Operation).OfType<PassThrough>().Select(static pass => pass.Device)];
        if (passing.Count == 0) return;
        if (Collects(scenario)) throw new BadInputException("script.scenario.threads ask what devices used, and let one through; expected one of the two, since untranslated nothing is noted");
        AddressRange[] own = [.. scenario.Steps.Select(static step => step.Operation).OfType<Wrap>().Where(wrap => !all.Any(step => step.Operation is FreeMemory freed && freed.Memory == wrap.Memory)).Select(static wrap => wrap.Range)];
        foreach (Step step in all)
        {
            ulong[] pages = step.Operation switch
            {
                DeviceAccess access when passing.Contains(access.Device) => [access.Address],
                CrossingAccess across when passing.Contains(across.Second.Device) => [across.Boundary - World.PageBytes, across.Boundary],
                _ => [],
            };
            foreach (ulong page in pages)
            {
                bool isMemory = SimulatedVtd.MemoryRange.Contains(new PhysAddr(page));
                if (isMemory && !own.Any(range => range.Contains(page))) throw Refused(step, "a device that is let through goes where the script wraps memory that it keeps, or where no memory is");
                if (!isMemory && Dispatches(scenario)) throw Refused(step, "where faults are dispatched a device that is let through goes where memory is: of what is nowhere no fault is recorded");
            }
        }
    }

    /// <summary>What is told of faults is judged where each is one access's.</summary>
    private static void CheckFaults(Scenario scenario)
    {
        if (!Dispatches(scenario)) return;
        if (scenario.Topology.Eagerness != 0) throw new BadInputException("topology: where faults are dispatched hardware fetches nothing ahead");
        foreach (Step step in scenario.Steps.Where(static step => Script.IsAccess(step.Operation))) throw Refused(step, "what was blocked before the threads begin, nobody knows when it is told");
        foreach (Step step in scenario.Threads.SelectMany(static thread => thread).Where(static step => step.Operation is DeviceAccess { IsPrivileged: true }))
            throw Refused(step, "what is told of a fault does not say whether the request was privileged");
    }

    /// <summary>What an interrupt is for one dispatch sees to; and nothing interrupts for an answer that was not heard, and is sent again at the next look.</summary>
    private static void CheckEvents(Scenario scenario)
    {
        if (scenario.Topology.Events == EventUse.Polled) return;
        if (scenario.Threads.Count(static thread => thread.Any(static step => step.Operation is DispatchFaults)) > 1)
            throw new BadInputException("topology.events is not polled, and several threads dispatch; expected one");
        foreach (Step step in scenario.Threads.SelectMany(static thread => thread).Where(static step => step.Mishap is { Kind: MishapKind.Hardware }))
            throw Refused(step, "where software waits for interrupts the hardware hears all");
    }

    /// <summary>Whether a thread asks what devices used.</summary>
    public static bool Collects(Scenario scenario) => scenario.Threads.Any(static thread => thread.Any(static step => step.Operation is CollectUse));

    /// <summary>Whether a device walks the table from before the threads begin, and no thread takes it away.</summary>
    private static bool HasLastingTable(Scenario scenario, Adopt adopt)
    {
        Operation[] before = [.. scenario.Steps.Select(static step => step.Operation)];
        Operation[] beside = [.. scenario.Threads.SelectMany(static thread => thread).Select(static step => step.Operation)];
        if (beside.Contains(new FreeVcm(adopt.Source))) return false;
        return before.OfType<Associate>().Any(joined => joined.Vcm == adopt.Source
            && (joined.Kind ?? TableKind.SecondStage) == (adopt.Kind ?? TableKind.SecondStage)
            && before.Contains(new Activate(joined.Association))
            && !before.Concat(beside).Any(operation => operation is Deactivate or Deassociate or ChangeAssociation && operation.Uses.Contains(joined.Association)));
    }

    /// <summary>The cores that a thread plays.</summary>
    public static IEnumerable<ObjectId> CoresOf(ImmutableArray<Step> thread) =>
        thread.Select(static step => (step.Operation as CoreAccess)?.Core ?? (step.Operation as GoIdle)?.Core).OfType<ObjectId>();

    private static void Check(Step step)
    {
        if (step.Operation is CreateGuest or GuestMap or GuestUnmap or GuestInvalidate or Associate { Guest: not null } or ChangeAssociation { Guest: not null }) throw Refused(step, "the ledger knows no tables of guests");
        if (step.Operation is Deactivate { Meanwhile: not null }) throw Refused(step, "what a device does meanwhile is a thread of its own");
    }

    private static BadInputException Refused(Step step, string why) => new($"step \"{step}\": {why}");
}
