using System.Collections.Immutable;
using System.Text;
using Harness.Foreign;
using Harness.Operations;
using Harness.Oracles;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Running;

/// <summary>What a run of a scenario came to.</summary>
/// <param name="Scenario">What ran.</param>
/// <param name="Lines">Each step that ran, and what was seen of it.</param>
/// <param name="Violation">What is wrong; null: nothing.</param>
public sealed record RunResult(Scenario Scenario, ImmutableArray<(string Step, string Seen)> Lines, Violation? Violation)
{
    /// <summary>What it ran on, in a few words.</summary>
    public required string Machine { get; init; }

    /// <summary>How many steps ran, the one that failed included: the rest of the scenario is not needed.</summary>
    public int StepsRun { get; init; }

    /// <summary>The run for a person.</summary>
    public string Report()
    {
        var text = new StringBuilder();
        if (Violation is { } violation) text.Append(violation.Invariant.Label()).Append(" is broken\n");
        text.Append($"machine: {Machine}\n\n");
        int width = Lines.Length == 0 ? 0 : Lines.Max(line => line.Step.Length);
        for (int i = 0; i < Lines.Length; i++) text.Append($"{i + 1,4}  {Lines[i].Step.PadRight(width)}  {Lines[i].Seen}\n");
        if (Violation is { } broken) text.Append($"\nobserved: {broken.Observed}\nexpected: {broken.Expected}\n");
        return text.ToString();
    }
}

/// <summary>
/// Runs a scenario step by step and holds everything that is seen to the model: what each call returns, the tables, the caches,
/// the frames, and what devices reach. At the end all is taken down, and nothing may be left.
/// </summary>
/// <remarks><b>Threads.</b> One at a time.</remarks>
public sealed class SequenceRunner
{
    // Pages that devices look at after each step: those of the last reservations that were worked on.
    private const int MostProbes = 6;

    private readonly IBench _bench;
    private readonly SubjectParts _parts;
    private readonly List<(string Step, string Seen)> _lines = [];
    private readonly List<ulong> _probes = [];
    private readonly InterestingStates _interesting;
    private Subject _subject = null!;
    private World _world = null!;
    private bool _hardwareHasFailed;
    private bool _isLost;

    /// <summary>Runs scenarios of the library, or of parts that stand in, on a bench's machines.</summary>
    public SequenceRunner(IBench bench, SubjectParts parts)
    {
        _bench = bench;
        _parts = parts;
        Counts = new() { Muted = parts.Muted };
        _interesting = new(Counts);
    }

    /// <summary>What has run so far.</summary>
    public RunCounts Counts { get; }

    /// <summary>Told, after each operation, whatever the model is told of it: the world before, and what was seen.</summary>
    public Action<World, Operation, Observation, Surroundings>? Judging { get; init; }

    /// <summary>How many translations eager hardware has fetched in the last run that came to its end.</summary>
    public long Fetched { get; private set; }

    /// <summary>Runs a scenario of one thread.</summary>
    public RunResult Run(Scenario scenario)
    {
        _lines.Clear();
        _probes.Clear();
        _hardwareHasFailed = _isLost = false;
        _subject = null!;
        IVtdMachine machine = _bench.Open(scenario.Topology);
        Violation? violation = null;
        bool isClean = false;
        int steps = 0;
        try
        {
            _subject = new(machine, scenario.Topology, _parts);
            _world = World.Create(_subject.Model, scenario.Topology.Devices.Count, scenario.Topology.ToSetup(machine.Window.First) with { FaultsAreExact = _subject.Insides is not null }).With(scenario.Topology.ToCpuModel());
            _subject.Expected = access => _world.PassesThrough(access.Device, access.Pasid) ? access.Address : (_world.Sees(access.Device, access.Address, access.Pasid) ?? _world.StaleAt(access.Device, access.Address, access.Pasid))?.Target;
            _subject.Copied = copy => FramesBehind(copy);
            _subject.InUse = () => _world.Memories.Where(memory => !memory.Value.IsFreed || _world.IsInQuarantine(memory.Key)).SelectMany(memory => memory.Value.Segments);
            foreach (Step step in scenario.Steps)
            {
                steps++;
                violation = Do(step);
                if (violation is not null || _isLost) break;
            }

            if (!_isLost) violation ??= TakeDown();
            if (_isLost) Counts.Lost++;
            isClean = violation is null && !_isLost;
        }
        finally
        {
            Counts.Check(Invariant.FrameSafety, _subject?.Frames.Frees ?? 0);
            _bench.Close(machine, _subject?.Touched ?? [], isClean);
        }

        return new(scenario, [.. _lines], violation) { Machine = _bench.Describe(scenario.Topology), StepsRun = steps };
    }

    private Violation? Do(Step step)
    {
        int interrupts = _subject.Events?.Count ?? 0;
        if (DoAndLook(step) is { } violation) return violation;
        return _isLost || _subject.Events is not { } events ? null : JudgeInterrupts(step, events, interrupts);
    }

    /// <summary>I12 and I13: what is pending has interrupted, and nothing else has.</summary>
    private Violation? JudgeInterrupts(Step step, EventWatch events, int before)
    {
        Counts.Check(Invariant.Progress);
        if (events.Count != before) Counts.Reach("the IOMMU interrupted");
        if (events.Count != before && step.Operation is DispatchFaults) Counts.Reach("the IOMMU interrupted while it was seen to");
        return Counts.FirstToTell(events.Check());
    }

    private Violation? DoAndLook(Step step)
    {
        Operation operation = step.Operation;
        if (!operation.Uses.All(_world.Knows) || !_world.IsDefined(operation)) return null;
        // A back that the hardware would neither confirm nor let be undone stands, and may be found absent a while longer: a device that stops there tells nothing.
        if (_hardwareHasFailed && operation is CrossingAccess && _subject.Options.CachingMode) return null;
        ImmutableArray<ulong> free = [.. _subject.Frames.Banks.Select(_subject.Frames.FreeBytesOf)];
        // Only then does it matter, and it takes time to say.
        bool isPlaced = operation is Bind { Vcm: var vcm } && _world.Vcms.TryGetValue(vcm, out VcmState? region) && region.Kind == VcmKind.OneToOne;
        ImmutableArray<AddressRange> freeMemory = isPlaced ? [.. _subject.Frames.Free.Select(static range => new AddressRange(range.First.Value, range.Last.Value))] : default;
        string text = step.ToString();
        Observation seen;
        World before = _world;
        InterestingStates.Before interest = _interesting.Look(_subject, before, operation);
        CpuLedger ledger = CpuLedger.Open(_subject, before, operation);
        InvalidationCount told = _subject.Invalidations;
        _subject.Mishaps.Arm(step.Mishap);
        BeEager(step);
        try
        {
            seen = _subject.Do(operation);
        }
        catch (Exception e) when (e is not BadInputException and not QemuException)
        {
            _lines.Add((text, $"threw {e.GetType().Name}"));
            Violation? thrown = Counts.Tell(new(Invariant.Linearizable, $"{text} threw {e.GetType().Name}: {e.Message.ReplaceLineEndings(" ")}", "operations that are refused return a code"));
            _isLost = thrown is null;
            return thrown;
        }

        if (_subject.QuarantineCount is var waiting && (waiting != 0 || !_world.Quarantine.IsEmpty)) seen = seen with { Quarantined = waiting };
        var surroundings = new Surroundings(free.Aggregate(static (sum, one) => sum + one), _subject.Mishaps.MemoryFailed, _subject.Mishaps.HardwareFailed) { FreeInBanks = free, FreeMemory = freeMemory };
        _hardwareHasFailed |= surroundings.HardwareFails;
        _subject.Mishaps.Arm(null);
        told = _subject.Invalidations.Since(told);
        _lines.Add((text, seen.ToString()));
        Count(operation, seen, surroundings);
        if (Judge(operation, seen, surroundings) is { } violation) return violation;
        if (_isLost) return null;
        if (JudgeCost(before, operation, ledger.Close(_subject)) is { } costly) return costly;
        _interesting.Note(before, _world, operation, seen, interest);
        if (operation is DeviceAccess made) _interesting.Note(_world, made, seen, _subject.KindOf(made.Device));
        _interesting.NoteWild(operation, seen);
        NoteProbes(operation);
        foreach (HookAct act in seen.Acts) NoteProbes(act.Operation);
        // What changes nothing needs no second look.
        if (operation is DeviceAccess or CrossingAccess or CoreAccess or GoIdle or Translate or TranslateTo or FindReservation or ListReservations or FindMappings or AdvanceTime or SetFaultHook || (operation is DispatchFaults && seen.Acts.IsEmpty)) return null;
        var look = new Look(_subject, _world, Counts, _hardwareHasFailed);
        _subject.QuarantinedTables.Note(before, look);
        return look.FirstViolation() ?? Probe() ?? JudgeInvalidations(before, operation, told);
    }

    /// <summary>Before an operation: where eager hardware looks while it is done.</summary>
    private void BeEager(Step step)
    {
        if (_subject.Eager is not { } eager) return;
        IEnumerable<ulong> worked = step.Operation.Uses.Where(id => _world.Reservations.ContainsKey(id)).Select(id => _world.Reservations[id].Range).SelectMany(PagesOf);
        eager.Begin(step.ToString(), [.. _subject.HardwareSpaces(_world)], [.. worked.Concat(_probes).Concat(GuestProbes(_world))]);

        static IEnumerable<ulong> PagesOf(AddressRange range)
        {
            const ulong most = 16;
            for (ulong offset = 0; offset <= Math.Min(range.Last - range.First, most * World.PageBytes); offset += World.PageBytes) yield return range.First + offset;
            yield return range.Last;
        }
    }

    private Violation? Judge(Operation operation, Observation seen, Surroundings surroundings)
    {
        // A back that the hardware would neither confirm nor let be undone stands, and may be found absent a while longer.
        if (_hardwareHasFailed && operation is DeviceAccess access && _world.ModelOf(access.Device).IsTranslated && seen is { Outcome: Outcome.Fault or Outcome.Waits, Reached: null } && _subject.Options.CachingMode)
        {
            _world = seen.Outcome == Outcome.Waits ? _world.Asks(access) : _world.Blocked(access);
            return null;
        }

        Counts.Check(InvariantOf(operation));
        Judging?.Invoke(_world, operation, seen, surroundings);
        Verdict<World> verdict = _world.Judge(operation, seen, surroundings);
        if (!verdict.IsAccepted) return Overlook(operation, seen, surroundings, Violation.Of(OperationText.Write(operation), verdict));
        _world = verdict.Next;
        return null;
    }

    /// <summary>Where what was refused is muted the model goes on as if it was right, if it can say how; if it cannot, the sequence ends there.</summary>
    private Violation? Overlook(Operation operation, Observation seen, Surroundings surroundings, Violation refused)
    {
        if (Counts.Tell(refused) is { } told) return told;
        Verdict<World> verdict = (_world with { Overlooked = Counts.Muted }).Judge(operation, seen, surroundings);
        if (verdict.IsAccepted) _world = verdict.Next with { Overlooked = InvariantSet.None };
        else if (Counts.Tell(Violation.Of(OperationText.Write(operation), verdict)) is { } other) return other;
        else _isLost = true;
        return null;
    }

    /// <summary>
    /// Every device reads, in each of its address spaces, the first and writes the last page of the reservations of late. Besides finding what is stale now, it
    /// puts into the caches what may become stale.
    /// </summary>
    private Violation? Probe()
    {
        (ObjectId Device, uint? Pasid)[] spaces = [.. _world.Spaces];
        foreach (ulong address in (ulong[])[.. _probes, .. GuestProbes(_world)])
        {
            bool isOfGuests = address is >= World.GuestFirst and < World.GuestFirst + (World.GuestPages * World.PageBytes);
            Permissions kind = address % World.PageBytes == 0 ? Permissions.Read : Permissions.Write;
            foreach (Operation access in spaces.Where(space => !isOfGuests || _world.ActiveAssociationOf(space.Device, space.Pasid) is { Guest: not null }).SelectMany(space => AccessesIn(space.Device, space.Pasid, address, kind)))
            {
                if (!_world.IsDefined(access)) continue;
                Observation seen = _subject.Do(access);
                Counts.DeviceAccesses++;
                Counts.Check(Invariant.NoStaleAccess);
                if (Judge(access, seen, default) is not { } violation)
                {
                    if (_isLost) return null;
                    if (access is DeviceAccess byDevice)
                    {
                        _interesting.Note(_world, byDevice, seen, _subject.KindOf(byDevice.Device));
                        if (_world.Sees(byDevice.Device, address, byDevice.Pasid) is { SupervisorOnly: true }) Counts.Reach("a supervisor-only page kept a device out");
                        if (seen.Reached is { } reached && reached == _world.StaleAt(byDevice.Device, address)?.Target) Counts.Reach("a device reached what waits for a flush");
                    }

                    continue;
                }

                _lines.Add((OperationText.Write(access), seen.ToString()));
                return violation;
            }
        }

        return null;
    }

    /// <summary>The pages of guests' devices: one is read and one is written to in turn.</summary>
    private static IEnumerable<ulong> GuestProbes(World world)
    {
        if (world.Guests.Count == 0) yield break;
        for (ulong page = 0; page < World.GuestPages; page++)
        {
            foreach (ulong offset in Scenario.AccessOffsets[..2]) yield return World.GuestFirst + page * World.PageBytes + offset;
        }
    }

    /// <summary>By the device; of a process, by every core.</summary>
    private IEnumerable<Operation> AccessesIn(ObjectId device, uint? pasid, ulong address, Permissions kind) => device.Kind == ObjectKind.Process
        ? _world.Cores.Select(core => new CoreAccess(core, device, address, kind))
        : [new DeviceAccess(device, address, kind) { Pasid = pasid, MayAsk = false }];

    /// <summary>I9: what an operation has cost the CPU.</summary>
    private Violation? JudgeCost(World before, Operation operation, CpuCost cost)
    {
        if (_subject.Cpus is null) return null;
        if (!before.MayCostCpu(operation))
        {
            Counts.Check(Invariant.OneSided);
            if (operation is Back or BackPart or Unback or UnbackPart or Map or Unmap) Counts.Reach("a region without a process was worked on beside a CPU");
        }
        else if (cost.Shootdowns != 0) Counts.Reach("cores were made to forget");

        Verdict<World> verdict = before.JudgeCost(operation, cost);
        return verdict.IsAccepted ? null : Counts.Tell(Violation.Of(OperationText.Write(operation), verdict));
    }

    /// <summary>I11: how often an operation has made the IOMMU forget. What had failed may be told again.</summary>
    private Violation? JudgeInvalidations(World before, Operation operation, InvalidationCount told)
    {
        if (_hardwareHasFailed || FrugalLedger.MostOf(before, operation, _subject.Driver.CachesAbsent) is not { } most) return null;
        Counts.Check(Invariant.Frugal);
        if (told.Waits != 0) Counts.Reach("the IOMMU was told to forget, and not more often than needed");
        return told.Waits <= most.Waits && told.Commands <= most.Commands
            ? null
            : Counts.Tell(new(Invariant.Frugal, $"{OperationText.Write(operation)} told the IOMMU {told.Waits} times to forget, {told.Commands} ranges", $"at most {most.Waits} times, {most.Commands} ranges"));
    }

    private void NoteProbes(Operation operation)
    {
        (ObjectId Reservation, ulong Offset, ulong ByteCount)? worked = operation switch
        {
            Reserve o => (o.Reservation, 0, 0),
            ReserveAt o => (o.Reservation, 0, 0),
            SetAttributes o => (o.Reservation, 0, 0),
            Back o => (o.Reservation, 0, 0),
            BackPart o => (o.Reservation, o.Offset, o.ByteCount),
            Unback o => (o.Reservation, 0, 0),
            UnbackPart o => (o.Reservation, o.Offset, o.ByteCount),
            Map o => (o.Reservation, 0, 0),
            Unmap o => (o.Reservation, 0, 0),
            Bind o => (o.Reservation, 0, 0),
            Unbind o => (o.Reservation, 0, 0),
            _ => null,
        };
        if (worked is not var (id, offset, byteCount) || !_world.Reservations.TryGetValue(id, out ReservationState? reservation)) return;
        ulong first = reservation.Range.First, last = LastWord(reservation.Range.Last);
        if (byteCount == 0)
        {
            NoteProbes(first, last);
            if (operation is SetAttributes) NoteProbes(first + Scenario.AccessOffsets[1]);
        }
        else if (offset < reservation.ByteCount && byteCount <= reservation.ByteCount - offset)
        {
            // Both sides of both edges of the part, as far as they are in the reservation.
            ulong end = first + (offset + byteCount - 1);
            NoteProbes(offset == 0 ? last : LastWord(first + offset - 1), first + offset, LastWord(end), byteCount == reservation.ByteCount - offset ? first : end + 1);
        }

        if (_probes.Count > MostProbes) _probes.RemoveRange(0, _probes.Count - MostProbes);

        static ulong LastWord(ulong address) => (address & ~(World.PageBytes - 1)) + Scenario.AccessOffsets[^1];
    }

    private void NoteProbes(params ReadOnlySpan<ulong> addresses)
    {
        foreach (ulong address in addresses)
        {
            _probes.Remove(address);
            _probes.Add(address);
        }
    }

    private HashSet<ulong> FramesBehind(Copy copy)
    {
        var frames = new HashSet<ulong>();
        foreach (AddressRange run in _world.Behind(copy.Source, copy.SourceOffset, copy.ByteCount).Concat(_world.Behind(copy.Destination, copy.DestinationOffset, copy.ByteCount)))
        {
            for (ulong frame = run.First & ~(World.PageBytes - 1); frame < run.Last; frame += World.PageBytes) frames.Add(frame);
        }

        return frames;
    }

    private void Count(Operation operation, Observation seen, Surroundings surroundings)
    {
        if (operation is DeviceAccess or CrossingAccess or CoreAccess) Counts.DeviceAccesses++;
        else Counts.Operations++;
        Counts.DeviceAccesses += seen.Meanwhile.Length;
        Counts.Reach(seen.Outcome == Outcome.None ? $"{operation.GetType().Name} done" : $"{operation.GetType().Name} refused: {seen.Outcome}");
        if (surroundings.MemoryFails) Counts.Reach("memory was taken away");
        if (surroundings.HardwareFails) Counts.Reach("the hardware was made to fail");
    }

    private Violation? TakeDown()
    {
        Counts.Check(Invariant.Isolation);
        if (_subject.Stamps.FindStrayWrite() is { } stray && Counts.Tell(new(Invariant.Isolation, $"a write that was blocked changed memory at 0x{stray:x}", "a blocked write changes nothing")) is { } strayed)
            return strayed;

        foreach (Operation operation in TearDown.Of(_world))
        {
            if (Do(new(operation)) is { } violation) return violation;
            if (_isLost) return null;
        }

        _subject.Driver.Stop();
        Counts.Check(Invariant.Conservation);
        if (Counts.FirstToTell(_subject.Frames.Violations) is { } found) return found;
        ulong lost = _subject.Frames.TotalBytes - _subject.Frames.FreeBytes;
        if (_subject.Insides is { } insides && insides.Statistics.IotlbHits != 0) Counts.Reach("the IOTLB answered");
        Fetched = _subject.Eager?.Fetched ?? 0;
        if (Fetched != 0) Counts.Reach("translations were fetched ahead");
        return lost == 0 ? null : Counts.Tell(new(Invariant.Conservation, $"{lost} bytes are still handed out after all was taken down", "0"));
    }

    private static Invariant InvariantOf(Operation operation) => operation switch
    {
        Reserve or ReserveAt or ListReservations or FindReservation or CreateVcm or CreateBound or FreeBound => Invariant.NoOverlap,
        Translate or TranslateTo or FindMappings or CollectUse => Invariant.TablesAreTruth,
        SetAttributes or DeviceAccess or CrossingAccess or CoreAccess => Invariant.Permission,
        Associate or ChangeAssociation or Activate or Deactivate or Deassociate or PassThrough or EndPassThrough => Invariant.Isolation,
        Flush or PollFlush or CreateGuest or GuestMap or GuestUnmap or GuestInvalidate => Invariant.NoStaleAccess,
        SetFaultHook or DispatchFaults => Invariant.FaultExact,
        _ => Invariant.Conservation,
    };
}
