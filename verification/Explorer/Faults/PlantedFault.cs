using Explorer.Machines;
using IommuSim.Cpu;
using Platform;
using Vcmm;
using Vcmm.Spec;

namespace Explorer.Faults;

/// <summary>Something that is wrong on purpose, so that it can be seen that the exploration finds it.</summary>
/// <param name="Name">As on the command line.</param>
/// <param name="Summary">What is wrong.</param>
/// <param name="Scenario">The scenario that finds it.</param>
/// <param name="CaughtBy">The invariant that names it.</param>
public sealed record PlantedFault(string Name, string Summary, string Scenario, Invariant CaughtBy)
{
    /// <summary>Nothing is wrong.</summary>
    public static PlantedFault None { get; } = new("none", "nothing is wrong", "", default);

    /// <summary>All there are.</summary>
    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        new("forget-sync", "an invalidation is queued and not waited for", "unback-access", Invariant.NoStaleAccess)
        {
            Wrap = static iommu => new ForgetSync(iommu),
        },
        new("invalidate-first", "the invalidation comes before the entries are cleared", "back-unback", Invariant.NoStaleAccess)
        {
            Wrap = static iommu => new InvalidateFirst(iommu),
        },
        new("first-page-only", "only the first page of a range is invalidated", "back-unback", Invariant.NoStaleAccess)
        {
            Wrap = static iommu => new FirstPageOnly(iommu),
        },
        new("forgets-guests", "what changes in a region is not told to the domains of those who go through a guest's table", "guest-unback", Invariant.NoStaleAccess)
        {
            Wrap = static iommu => new ForgetsGuests(iommu),
        },
        new("skip-unattached", "an invalidation is left out while the domain's attach has not returned", "deactivate-unback", Invariant.NoStaleAccess)
        {
            Wrap = static iommu => new SkipUnattached(iommu),
        },
        new("early-detach", "a detach returns before the hardware has let go", "deactivate-unback", Invariant.Isolation)
        {
            Wrap = static iommu => new EarlyDetach(iommu),
            Variant = 0,
        },
        new("early-end", "that a device is let through ends before the hardware has let go of it", "pass-through", Invariant.Isolation)
        {
            Wrap = static iommu => new EarlyDetach(iommu, ofPassagesAlone: true),
        },
        new("activates-as-before", "an activation is in the address space that the association had when it was called, though it was changed meanwhile", "change-activate", Invariant.Isolation)
        {
            Wrap = static iommu => new ActivatesAsBefore(iommu),
        },
        new("detaches-unconfirmed", "a detach that the hardware did not confirm is told as done", "detach-unheard", Invariant.Isolation)
        {
            Wrap = static iommu => new DetachesUnconfirmed(iommu),
        },
        new("invents-use", "all that is asked for is told to have been written", "collect-use", Invariant.TablesAreTruth)
        {
            Wrap = static iommu => new InventsUse(iommu),
        },
        new("loses-faults", "of two faults that are taken one after the other the second is lost", "faults-told", Invariant.FaultExact)
        {
            Wrap = static iommu => new LosesFaults(iommu),
        },
        new("mistakes-causes", "whatever blocked an access, its fault says that the device is not attached", "faults-told", Invariant.FaultExact)
        {
            Wrap = static iommu => new MistakesCauses(iommu),
        },
        new("tells-faults-again", "a fault is told again in the place of the one that follows it", "faults-told", Invariant.FaultExact)
        {
            Wrap = static iommu => new TellsFaultsAgain(iommu),
        },
        new("answers-early", "an access that waits is answered before its hook has put a page there", "page-on-demand", Invariant.FaultExact)
        {
            Wrap = static iommu => new AnswersEarly(iommu),
        },
        new("retries-all", "whatever a hook answers, the access is tried again", "page-on-demand", Invariant.FaultExact)
        {
            Wrap = static iommu => new IgnoresHooks(iommu, retries: true),
        },
        new("refuses-all", "whatever a hook answers, the access is refused", "page-space-goes", Invariant.FaultExact)
        {
            Wrap = static iommu => new IgnoresHooks(iommu, retries: false),
        },
        new("answers-from-one-place", "of two answers that are sent beside each other one is sent twice and the other never", "page-dispatch-two", Invariant.Progress)
        {
            Wrap = static iommu => new AnswersFromOnePlace(iommu),
        },
        new("takes-in-two-steps", "two that dispatch beside each other may both be given a request", "page-dispatch-two", Invariant.FaultExact)
        {
            Wrap = static iommu => new TakesInTwoSteps(iommu),
        },
        new("leaves-requests", "a detach does not answer what waits in the address space", "page-detach", Invariant.Progress)
        {
            Wrap = static iommu => new LeavesRequests(iommu),
            AnswersAtDetach = WrongAnswers.Left,
        },
        new("refuses-twice", "a detach refuses what waits in the address space, and then the last of it once more", "page-detach", Invariant.FaultExact)
        {
            AnswersAtDetach = WrongAnswers.SentTwice,
        },
        new("forgets-unheard", "an answer to an access that waits is not sent again when the hardware did not hear it", "page-unheard", Invariant.Progress)
        {
            Wrap = static iommu => new ForgetsUnheard(iommu),
            AnswersAtDetach = WrongAnswers.NotAgain,
        },
        new("clears-late", "the status of page requests is cleared when the queue is empty, and not before it is looked at", "page-interrupt", Invariant.Progress)
        {
            Registers = static registers => new ClearsLate(registers),
        },
        new("stays-unmasked", "an event that is disabled is not masked", "page-handled", Invariant.FaultExact)
        {
            Registers = static registers => new StaysUnmasked(registers),
        },
        new("blames-another", "where a device was blocked that is not attached, another is said to be blocked that is", "faults-told-tlb", Invariant.FaultExact)
        {
            Wrap = static iommu => new BlamesAnother(iommu),
        },
        new("forget-absent", "mapping leaves out the invalidation that caching mode asks for", "recycle", Invariant.TablesAreTruth)
        {
            Wrap = static iommu => new ForgetAbsent(iommu),
            Variant = 1,
        },
        new("check-then-act", "a range is looked up and taken in two steps", "reserve", Invariant.NoOverlap)
        {
            TakesRangesInTwoSteps = true,
        },
        new("leaves-only", "tables are freed after an invalidation that leaves the walk caches alone", "large-leaf", Invariant.FrameSafety)
        {
            Wrap = static iommu => new LeavesOnly(iommu),
        },
        new("idle-left-out", "a shootdown leaves out idle cores, and one that comes back says so too late", "shared-process", Invariant.NoStaleAccess)
        {
            MakeCpus = static (memory, options, steps) => new IdleCoresLeftOut(memory, options, steps),
            Variant = 0,
        },
        new("device-left-out", "an unmap of the process does not reach the devices that have its table", "shared-process", Invariant.FrameSafety)
        {
            LeavesAdoptersOut = true,
            Variant = 1,
        },
        new("shoots-for-devices", "an unback for devices interrupts the cores, too", "shared-process", Invariant.OneSided)
        {
            Wrap = static iommu => new ShootsDownForDevices(iommu),
        },
        new("core-left-out", "a shootdown leaves out the last core", "process-cores", Invariant.NoStaleAccess)
        {
            MakeCpus = static (memory, options, steps) => new LastCoreLeftOut(memory, options, steps),
        },
        new("adopter-left-out", "regions that have a process's table are not told of what is taken from it", "process-adopted", Invariant.FrameSafety)
        {
            LeavesAdoptersOut = true,
        },
        new("late-adopter-left-out", "a region that has adopted a table while it was in use is not told of what is taken from it", "adopt-beside", Invariant.FrameSafety)
        {
            LeavesLateAdoptersOut = true,
        },
        new("no-device-tlb", "the TLBs of devices are left out of invalidations", "device-tlb", Invariant.FrameSafety)
        {
            LeavesDeviceTlbsOut = true,
        },
        new("no-drain", "an invalidation does not let accesses end that are under way", "bind-unbind", Invariant.FrameSafety)
        {
            LeavesDrainsOut = true,
        },
        new("invalidate-first-at-rest", "the invalidation comes before the entries are cleared, while no device is at work", "eager-unback", Invariant.NoStaleAccess)
        {
            Wrap = static iommu => new InvalidateFirst(iommu),
            Variant = 0,
        },
        new("skip-at-rest", "an unback does not invalidate, since no device is at work", "eager-unback", Invariant.NoStaleAccess)
        {
            Wrap = static iommu => new NeverInvalidates(iommu),
            Variant = 0,
        },
        new("forget-absent-at-rest", "mapping leaves out the invalidation that caching mode asks for, since no device is at work", "eager-unback", Invariant.TablesAreTruth)
        {
            Wrap = static iommu => new ForgetAbsent(iommu),
            Variant = 1,
        },
        new("store-for-exchange", "an entry is read, and then written as if nobody had meanwhile", "same-table", Invariant.SharedTable)
        {
            StoresForExchanges = true,
        },
        new("no-doorbell-fence", "the queue's tail is written with no fence after the descriptors", "back-unback-weak", Invariant.Progress)
        {
            LeavesOut = LeftOut.DoorbellFence,
            Variant = 0,
        },
        new("no-table-fence", "a back returns with no fence after the entries", "back-unback-weak", Invariant.TablesAreTruth)
        {
            LeavesOut = LeftOut.TableFence,
            Variant = 0,
        },
        new("no-clean", "entries that became present are not cleaned for walkers that do not snoop", "recycle-weak", Invariant.TablesAreTruth)
        {
            LeavesOut = LeftOut.CleanOfPresent,
            Variant = 1,
        },
        new("no-clean-of-absent", "entries that became absent are not cleaned for walkers that do not snoop", "back-unback-weak", Invariant.NoStaleAccess)
        {
            LeavesOut = LeftOut.CleanOfAbsent,
            Variant = 1,
        },
        new("no-clean-of-narrowed", "entries that grant less than they did are not cleaned for walkers that do not snoop", "protect-unclean", Invariant.NoStaleAccess)
        {
            LeavesOut = LeftOut.CleanOfReadOnly,
        },
        new("identity-not-kept", "what is mapped is not told to the table of devices without an IOMMU", "direct-device", Invariant.SharedTable)
        {
            ForgetsIdentity = true,
        },
        new("keeps-what-it-took", "a call that is refused memory does not give back what it took before", "memory-refused", Invariant.Conservation)
        {
            KeepsWhatItTook = true,
        },
        new("forget-narrowing", "entries that are changed to grant less are not invalidated", "protect-access", Invariant.NoStaleAccess)
        {
            Wrap = static iommu => new ForgetNarrowing(iommu),
        },
        new("forget-cleared", "entries that are made clean are not invalidated", "collect-use", Invariant.TablesAreTruth)
        {
            Wrap = static iommu => new ForgetCleared(iommu),
        },
    ];

    /// <summary>The IOMMU's driver with the fault in it.</summary>
    public Func<IIommu, IIommu>? Wrap { get; init; }

    /// <summary>The scenario's variant to explore, if the others let other invariants speak first; null for all.</summary>
    public int? Variant { get; init; }

    /// <summary>Whether ranges are reserved by <see cref="CheckThenActRanges"/>.</summary>
    public bool TakesRangesInTwoSteps { get; init; }

    /// <summary>Whether the library's compare-exchange of a word of memory is a load and a store.</summary>
    public bool StoresForExchanges { get; init; }

    /// <summary>The CPU's port.</summary>
    public Func<ControlledMemory, CpuOptions, ControlledSteps, ControlledCpus> MakeCpus { get; init; } = static (memory, options, steps) => new(memory, options, steps);

    /// <summary>Whether the library's frames are <see cref="Faults.KeepsWhatItTook"/>.</summary>
    public bool KeepsWhatItTook { get; init; }

    /// <summary>Whether the tables of devices without an IOMMU are <see cref="UntoldTables"/>.</summary>
    public bool ForgetsIdentity { get; init; }

    /// <summary>Whether the driver leaves out the invalidations of the TLBs of devices.</summary>
    public bool LeavesDeviceTlbsOut { get; init; }

    /// <summary>Whether the driver's invalidations let accesses go on that are under way.</summary>
    public bool LeavesDrainsOut { get; init; }

    /// <summary>What is wrong with the answers that are sent to what waits for pages.</summary>
    public WrongAnswers AnswersAtDetach { get; init; }

    /// <summary>Whether regions that have a process's table are not told of its changes.</summary>
    public bool LeavesAdoptersOut { get; init; }

    /// <summary>Whether regions are not told of a table's changes that have adopted it while threads ran.</summary>
    public bool LeavesLateAdoptersOut { get; init; }

    /// <summary>The registers as the driver has them.</summary>
    public Func<IMmio, IMmio> Registers { get; init; } = static registers => registers;

    /// <summary>What the driver leaves out of ordering its writes.</summary>
    public LeftOut LeavesOut { get; init; }

    /// <summary>The fault of that name, or null.</summary>
    public static PlantedFault? Find(string name) => name == None.Name ? None : All.FirstOrDefault(fault => fault.Name == name);

    /// <summary>The IOMMU that the library is given.</summary>
    public IIommu Apply(IIommu iommu) => Wrap?.Invoke(iommu) ?? iommu;
}
