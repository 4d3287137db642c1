using System.Collections.Immutable;
using Explorer.Faults;
using Explorer.Machines;
using Explorer.Oracles;
using Explorer.Replaying;
using Explorer.Scenarios;
using Explorer.Scheduling;
using Harness.Foreign;
using Harness.Operations;
using Harness.Running;
using Harness.Scenarios;
using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Spec;
using DeviceAccess = Vcmm.Spec.DeviceAccess;
using EagerHardware = Explorer.Machines.EagerHardware;
using HistoryViolation = Harness.Running.Violation;

namespace Explorer.Scripts;

/// <summary>
/// One schedule of a script. The harness's <see cref="Subject"/> does the operations, on controlled threads of ours: it is not rewritten, so that what it notes
/// is no step, while the library and the simulator below it are. What the threads have seen is judged by <see cref="HistoryJudge"/> when all have ended.
/// </summary>
internal sealed partial class ScriptRun
{
    private const int WordBytes = 8;
    private const int Fetches = 5;

    private readonly Attempt _attempt;
    private readonly Script _script;
    private readonly PlantedFault _fault;
    private readonly Ledger _ledger;
    private readonly ScriptMachine _machine;
    private readonly ScriptEffects _effects;
    private readonly Subject _subject;
    private readonly HistoryJudge _judge;
    private readonly RunCounts _counts;
    private readonly World _start;
    private readonly ImmutableArray<HistoryEntry>.Builder[] _history;
    private readonly ImmutableArray<HistoryEntry>.Builder _accesses = ImmutableArray.CreateBuilder<HistoryEntry>();
    private ScriptFrames? _frames;
    private FaultyIommu? _faulty;
    private bool _hasLateAdopter;
    private int _clock;

    private ScriptRun(Attempt attempt, Script script, PlantedFault fault)
    {
        _attempt = attempt;
        _ledger = new() { Memory = SimulatedVtd.MemoryRange, KeepsCauses = script.Dispatches || script.Waits, MayRepeatAnswers = () => _subject!.Mishaps.HasBeenUnheard };
        _script = script;
        _fault = fault;
        // The thread may have been another's before, and its name decides which slots are used.
        Attempt.Agent = Attempt.SetUpAgent;
        Subject? subject = null;
        _machine = new(attempt, script.Scenario.Topology, IsTable, fault, _ledger);
        _effects = new(
            attempt, _ledger, () => subject!, MayNoteWhatNobodyDid(script.Scenario.Topology), device => ScriptLimits.HasTlb(script.Scenario.Topology, device));
        _hooked = HookedThroughout(script.Scenario);
        subject = _subject = new(_machine, script.Scenario.Topology, Parts(script.Scenario.Topology.RangeCache))
        {
            Expected = Reached,
            InUse = () => _effects.Data.Select(static segment => new AddressRange(segment.First.Value, segment.Last.Value)),
            Copied = _ => _effects.Data.SelectMany(static segment => Enumerable.Range(0, (int)(segment.ByteCount / World.PageBytes)).Select(page => segment.First.Value + (ulong)page * World.PageBytes)).ToHashSet(),
        };
        _machine.Pump.IsUnheard = () => _subject.Mishaps.IsUnheard;
        _counts = new() { Muted = attempt.Muted };
        _judge = new(_subject, _counts);
        Report(_judge.Begin(script.Scenario, out _start));
        if (attempt.Watcher is { } watcher) watcher.Begin(CreateStates());
        _history = [.. script.Scenario.Threads.Select(static _ => ImmutableArray.CreateBuilder<HistoryEntry>())];
    }

    /// <summary>Makes the machine and does what comes before the threads.</summary>
    public static Prepared Prepare(Attempt attempt, Script script, PlantedFault fault)
    {
        var run = new ScriptRun(attempt, script, fault);
        return new(run.Run, run.Finish);
    }

    private SubjectParts Parts(bool hasRangeCache) => new()
    {
        Wait = _machine.Pump,
        Registers = _fault.Registers,
        DriverMemory = _ => _machine.DriverMemory,
        CpuMemory = _ => _machine.LibraryMemory,
        ControlledCpus = options => _machine.AddCpus(options, _script.Scenario.Topology.Processes),
        CpuIommu = mmu =>
        {
            if (_faulty is ShootsDownForDevices faulty) faulty.Mmu = mmu;
            return mmu;
        },
        Telling = tell => (root, range) =>
        {
            if (!_fault.LeavesAdoptersOut && !(_fault.LeavesLateAdoptersOut && _hasLateAdopter)) tell(root, range);
        },
        Memory = _ => _machine.LibraryMemory,
        Iommu = iommu =>
        {
            IIommu port = _fault.Apply(iommu);
            _faulty = port as FaultyIommu;
            return port;
        },
        NoIommu = none => _fault.ForgetsIdentity ? new UntoldTables(none) : none,
        Frames = frames =>
        {
            _frames = new(frames, _attempt, WhoReaches, _ledger.NoteTaken);
            return _fault.KeepsWhatItTook ? new KeepsWhatItTook(_frames) : _frames;
        },
        Caller = static () => Attempt.Agent,
        // The runtime's numbers of threads differ from run to run; a schedule must not.
        Ranges = space => hasRangeCache ? new CachedRangeAllocator(new RangeAllocator(space), slotCount: 2, static () => Attempt.Agent[^1]) : new RangeAllocator(space),
        Options = static options => options with { StripeCount = 2, Thread = static () => Attempt.Agent[^1] },
        Around = Watch,
        AroundHook = _effects.Tell,
    };

    private void Run()
    {
        _faulty?.Start();
        _machine.SetAtWork(true);
        Task pump = _machine.Pump.Start();
        _left = _script.Agents.Count;
        _callersLeft = _script.Scenario.Threads.Count(thread => !thread.All(step => MayWait(step.Operation)));
        List<Task> tasks = [.. _script.Agents.Select((name, number) => Task.Run(() =>
        {
            Attempt.Agent = name;
            RunThread(number);
            _left--;
            if (!_script.Scenario.Threads[number].All(step => MayWait(step.Operation))) _callersLeft--;
        }))];
        if (_script.Waits) tasks.Add(Task.Run(RefuseAtLast));
        if (_script.Scenario.Topology.Eagerness != 0) tasks.Add(Task.Run(RunAhead));
        Task.WaitAll(tasks.ToArray());
        _faulty?.Stop();
        _machine.Pump.Stop();
        pump.Wait();
        _machine.SetAtWork(false);
        // Whoever waits may have run a task himself.
        Attempt.Agent = Attempt.SetUpAgent;
        if (_machine.Iommu.Statistics.WaitsHeld != 0) _attempt.Reach(States.Drained);
        if (_machine.Iommu.Statistics.DiscardedFills != 0) _attempt.Reach(States.DiscardedFill);
        if (_machine.Cpus is not { } cpus) return;
        if (cpus.WaitedForAccess) _attempt.Reach(States.Interrupted);
        if (cpus.Statistics is { Deferrals: not 0, SwitchFlushes: not 0 }) _attempt.Reach(States.LeftAlone);
    }

    private void RunThread(int number)
    {
        var accessors = new Dictionary<(StreamId, ulong), Accessor>();
        foreach (Step step in _script.Scenario.Threads[number])
        {
            switch (step.Operation)
            {
                case DeviceAccess access:
                    ulong offset = MayWait(access) ? PagingDevices.OffsetOf(number) : PagingDevices.FirstOffset;
                    Note(access, () => Of(accessors, access, WordBytes).Access(AddressOf(access.Address, offset), (Access)access.Kind));
                    break;
                case CrossingAccess across:
                    Note(across, () => Of(accessors, across.Second, 2 * WordBytes).AccessAcross(new(across.Boundary), 2 * WordBytes, (Access)across.Kind));
                    break;
                case CoreAccess access:
                    Note(access, () => Of(accessors, access).Access(AddressOf(access.Address, PagingDevices.FirstOffset), (Access)access.Kind));
                    break;
                case GoIdle idle:
                    GoIdle(idle);
                    break;
                default:
                    Do(number, step);
                    break;
            }
        }
    }

    /// <summary>An access is in no history, since no order of calls tells what it met; but it may be what a script must reach.</summary>
    private void Note(Operation access, Func<bool> run)
    {
        int begun = ++_clock;
        bool wentThrough = run();
        _accesses.Add(new(access, new(wentThrough ? Outcome.None : Outcome.Fault), begun, ++_clock));
    }

    private void Do(int thread, Step step)
    {
        if (!step.Operation.Uses.All(_subject.Has)) return;
        if (step.Operation is DispatchFaults && !AwaitRequest()) return;
        int begun = ++_clock, unheard = _effects.UnheardCount;
        _subject.Mishaps.Arm(step.Mishap);
        if (step.Operation is DispatchFaults) _dispatching[Attempt.Agent] = thread;
        Observation seen = _subject.Do(step.Operation);
        _dispatching.Remove(Attempt.Agent);
        _hasLateAdopter |= step.Operation is Adopt;
        (bool memoryFails, bool hardwareFails) = (_subject.Mishaps.MemoryFailed, _subject.Mishaps.HardwareFailed);
        // What starts the queue anew answers nobody, whoever waits for an answer to arrive.
        bool mayLoseAnswers = _script.Waits && _effects.WasUnheardSince(unheard);
        _subject.Mishaps.Arm(null);
        if (hardwareFails) _effects.NoteUnheard();
        if (memoryFails) _attempt.Reach(States.Refused);
        if (hardwareFails) _attempt.Reach(States.Unheard);
        // What devices did meanwhile is in no history: the ledger judges what was told of it.
        if (step.Operation is CollectUse) seen = seen with { Ranges = [] };
        if (step.Operation is DispatchFaults) seen = new(seen.Outcome);
        _history[thread].Add(new(step.Operation, seen, begun, ++_clock) { MemoryFails = memoryFails, HardwareFails = hardwareFails || mayLoseAnswers });
    }

    /// <summary>Hardware notes what it fetches ahead, and devices with TLBs of their own ask for more than they use.</summary>
    private static bool MayNoteWhatNobodyDid(Topology topology) => topology.Eagerness != 0 || topology.Devices.Any(static kind => kind is DeviceKind.Ats or DeviceKind.Paging);

    private bool MayWait(Operation operation) => ScriptLimits.MayWait(_script.Scenario.Topology, operation);

    /// <summary>Devices move bytes beside the marks, which stay for those who look at the end.</summary>
    private static Iova AddressOf(ulong address, ulong offset) => new((address & ~(World.PageBytes - 1)) + offset);

    private Accessor Of(Dictionary<(StreamId, ulong), Accessor> accessors, DeviceAccess access, int byteCount)
    {
        StreamId space = ScriptEffects.SpaceOf(_machine.Devices[access.Device.Number].Id, access);
        if (!accessors.TryGetValue((space, (ulong)byteCount), out Accessor? accessor))
            accessors[(space, (ulong)byteCount)] = accessor = _machine.Play(_ledger, space, access, byteCount, IsLive, page => IsMapped(space, page), _hooked.Contains(access.Device));
        return accessor;
    }

    private Accessor Of(Dictionary<(StreamId, ulong), Accessor> accessors, CoreAccess access)
    {
        StreamId space = ScriptEffects.SpaceOf(access.Core.Number, access.Process.Number);
        if (!accessors.TryGetValue((space, WordBytes), out Accessor? accessor))
            accessors[(space, WordBytes)] = accessor = _machine.PlayCore(_ledger, space, access.Core.Number, (uint)access.Process.Number, IsLive, page => IsMapped(space, page));
        return accessor;
    }

    private void GoIdle(GoIdle idle)
    {
        string text = OperationText.Write(idle);
        _attempt.Note(EventKind.Call, text: text);
        _machine.Cpus!.GoIdle(idle.Core.Number);
        _attempt.Note(EventKind.Return, text: $"{text} = {Outcome.None}");
    }

    private void RunAhead()
    {
        Attempt.Agent = EagerHardware.Agent;
        StreamId device = _machine.Devices[0].Id;
        new EagerHardware(_attempt, _machine.Iommu, device, [.. _script.Pages.Select(static page => new Iova(page))]).Run(Fetches);
    }

    /// <summary>Where an access ends that is made while nothing else is.</summary>
    private ulong? Reached(DeviceAccess access)
    {
        StreamId space = access.Device.Kind == ObjectKind.Process
            ? ScriptEffects.SpaceOf(0, access.Device.Number)
            : ScriptEffects.SpaceOf(_machine.Devices[access.Device.Number].Id, access);
        ulong within = access.Address % World.PageBytes;
        return _ledger.Possible(space, new(access.Address - within)) is [{ } target] ? target.Frame.Value + within : null;
    }

    /// <summary>Every operation, whoever does it, is noted, and told to the ledger before it begins and when it has returned.</summary>
    private Observation Watch(Operation operation, Func<Operation, Observation> run)
    {
        if (Script.IsAccess(operation)) return run(operation);
        string text = OperationText.Write(operation);
        bool isForDevices = _effects.IsForDevicesAlone(operation);
        long before = Shootdowns;
        int begun = ++_clock;
        Action<Observation>? end = _effects.Begin(operation);
        _attempt.Note(EventKind.Call, text: text);
        if (_faulty is ActivatesAsBefore faulty && operation is Activate activate) faulty.Ask(_subject.Joined(activate.Association));
        Observation seen = run(operation);
        end?.Invoke(seen);
        _attempt.Note(EventKind.Return, text: $"{text} = {seen}");
        if (operation is not DispatchFaults && _dispatching.TryGetValue(Attempt.Agent, out int thread)) NoteAct(thread, operation, seen, begun);
        if (_machine.Cpus is not null && isForDevices)
        {
            _attempt.Check(
                Invariant.OneSided, Shootdowns == before,
                () => $"{text} cost {Shootdowns - before} shootdowns", () => "none: no process is associated with what it works on");
        }

        return seen;
    }

    private long Shootdowns => _machine.Cpus?.ShootdownsOf(Attempt.Agent) ?? 0;

    private void Finish()
    {
        ImmutableArray<ImmutableArray<HistoryEntry>> history = [.. _history.Select(static thread => thread.ToImmutable())];
        foreach (ScriptState state in _script.States)
        {
            if (state.IsReachedIn(history.Add(_accesses.ToImmutable()))) _attempt.Reach(state.Text);
        }

        // What was not told by now is told at last, or lost.
        if (_script.Collects) foreach (CollectUse last in _effects.LastCollections().ToArray()) _subject.Do(last);
        if (_subject.Events is { } events) Report(events.Check().FirstOrDefault());
        if (_script.Dispatches || _script.Waits) DispatchLast();
        HistoryViolation? violation = _judge.Judge(_start, history) ?? _judge.TakeDown();
        foreach ((Invariant invariant, long times) in _counts.Checks) _attempt.Passed(invariant, times);
        foreach ((Invariant invariant, long times) in _counts.MutedBreaches) _attempt.Mute(invariant, times);
        Report(violation);
    }

    private void Report(HistoryViolation? violation)
    {
        if (violation is { } found) _attempt.Check(found.Invariant, false, () => found.Observed, () => found.Expected);
    }

    private bool IsLive(PhysAddr frame) => _frames!.IsLive(frame) || _effects.IsForeign(frame);

    // The driver's own tables come from below the watched frames.
    private bool IsTable(PhysAddr address) =>
        _frames is null || (!_effects.Data.Any(segment => segment.Contains(address)) && (_frames.IsLive(address) || _subject.Frames.Live.Any(block => block.Contains(address))));

    private bool IsMapped(StreamId space, Iova page)
    {
        using (Controlled.Quietly()) return _ledger.RegionsOf(space).Any(vcm => vcm.TryTranslate(page, out _) == VcmmError.None);
    }

    private PageStates CreateStates()
    {
        PageStates states = _machine.CreateStates(OwnerOf);
        for (int device = 0; device < _machine.Devices.Count; device++) _machine.Show(states, _machine.Devices[device].Id, device, null);
        foreach (Operation operation in _script.Scenario.Threads.SelectMany(static thread => thread).Select(static step => step.Operation))
        {
            if ((operation as DeviceAccess ?? (operation as CrossingAccess)?.Second) is { } access)
                _machine.Show(states, ScriptEffects.SpaceOf(_machine.Devices[access.Device.Number].Id, access), access.Device.Number, access);
            else if (operation is CoreAccess core) states.AddCore(ScriptEffects.SpaceOf(core.Core.Number, core.Process.Number), _machine.Cpus!, core.Core.Number, (uint)core.Process.Number);
        }

        return states;
    }

    private string OwnerOf(PhysAddr frame)
    {
        if (!_frames!.IsLive(frame)) return "is free";
        string[] backed = [.. _ledger.BackedBy(frame).Select(static page => $"{page.Page}{(page.IsSettled ? "" : " (changing)")}").Distinct()];
        return backed.Length != 0 ? $"backs {string.Join(", ", backed)}" : _effects.Data.Any(segment => segment.Contains(frame)) ? "is allocated" : "is a table";
    }

    private string? WhoReaches(PhysRange block)
    {
        using (Controlled.Quietly())
        {
            foreach (IotlbEntry entry in _machine.Iommu.Iotlb)
            {
                if (entry.Fault == VtdFaultReason.None && PhysRange.FromLength(entry.Address, entry.Range.ByteCount).Overlaps(block))
                    return $"the IOTLB has {entry.Range} of {entry.Domain} there";
            }

            foreach (WalkCacheEntry entry in _machine.Iommu.WalkCache)
            {
                if (entry.Fault == VtdFaultReason.None && block.Contains(entry.Table)) return $"the walk cache has the table of {entry.Range} there";
            }

            foreach (PasidCacheEntry entry in _machine.Iommu.PasidCache)
            {
                if (block.Contains(entry.Root)) return $"the PASID cache has it as the table of {entry.Source} and {entry.Pasid}";
            }

            return _machine.WhoElseReaches(block);
        }
    }
}
