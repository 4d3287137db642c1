using System.Collections.Immutable;
using Harness.ModelChecking;
using Harness.Operations;
using Harness.Running;
using Harness.Scenarios;
using Harness.Stages;
using Vcmm.Spec;

namespace Harness.Coverage;

/// <summary>
/// Leads the library into one situation of the model after the other, by ways that the model knows: a tour of its transitions. What memory and hardware must fail
/// at on the way is tried out.
/// </summary>
/// <remarks>
/// The library is free where the model is, so that a way can lead elsewhere: then the next one is tried. A reservation anywhere is made at the address that the
/// way has it at.
/// </remarks>
internal sealed class DirectedRun
{
    /// <summary>If an operation has so often met what it is to meet, and come to something else, that is enough.</summary>
    private const int MostTries = 6;

    private readonly Scope _scope;
    private readonly SequenceRunner _runner;
    private readonly HashSet<Situation> _situations = [];
    private readonly HashSet<(Type, StateClass)> _met = [];

    /// <summary>In which memory, or the hardware, failed, whatever the library then came to: the outcome is the one that this excuses.</summary>
    private readonly HashSet<Situation> _failing = [];

    private Operation? _last;
    private Outcome? _came;
    private StateClass? _metLast;
    private bool _hasFailed;

    private DirectedRun(Scope scope, IBench bench, SubjectParts parts)
    {
        _scope = scope;
        _runner = new(bench, parts) { Judging = Note };
    }

    /// <summary>Sequences that ran.</summary>
    public long Sequences { get; private set; }

    /// <summary>The situations that it has been in.</summary>
    public IReadOnlySet<Situation> Situations => _situations;

    /// <summary>What failed; null: nothing.</summary>
    public StageFailure? Failure { get; private set; }

    /// <summary>Runs.</summary>
    /// <param name="scope">The small world.</param>
    /// <param name="model">What the model has come to in it.</param>
    /// <param name="parts">The library, or one with a fault in it.</param>
    /// <param name="isOver">Whether to stop with what it has; told how much of it is done.</param>
    public static DirectedRun Run(Scope scope, ModelReport model, SubjectParts parts, Func<double, bool> isOver)
    {
        using var bench = new SimulatorBench();
        var run = new DirectedRun(scope, bench, parts);
        // What comes of failures last: it takes the most tries.
        Situation[] wanted =
        [
            .. model.Coverage.Keys.Where(static situation => situation.Operation != typeof(CrossingAccess))
                .OrderBy(static situation => situation.Outcome is Outcome.NoMemory or Outcome.HardwareFailure).ThenBy(static situation => situation.ToString(), StringComparer.Ordinal),
        ];
        for (int i = 0; i < wanted.Length && run.Failure is null && !isOver((double)i / wanted.Length); i++) run.LeadInto(wanted[i], model);
        return run;
    }

    /// <summary>Why it has not been in a situation.</summary>
    public MissingBecause WhyMissing(Situation situation)
    {
        if (!_met.Contains((situation.Operation, situation.Class))) return MissingBecause.NotMet;
        return situation.Outcome is Outcome.NoMemory or Outcome.HardwareFailure && !_failing.Contains(situation) ? MissingBecause.CannotFail : MissingBecause.Chosen;
    }

    private void LeadInto(Situation situation, ModelReport model)
    {
        if (_situations.Contains(situation)) return;
        int met = 0;
        foreach (ImmutableArray<Behaviour> way in model.WaysInto(situation))
        {
            // On a machine that caches what is absent, too: on another, what is only made cannot fail.
            foreach (bool cachingMode in (bool[])[false, true])
            {
                Topology topology = (_scope with { CachingMode = cachingMode }).ToTopology();
                // What is looked at after each step leaves faults, which some situations do not have.
                bool isMet = Follow(way, tellsFaults: false, topology) == situation.Class || Follow(way, tellsFaults: true, topology) == situation.Class;
                if (isMet) met++;
                if (met == MostTries || _situations.Contains(situation) || Failure is not null) return;
            }
        }
    }

    /// <returns>What the last operation met; null: it was not come to.</returns>
    private StateClass? Follow(ImmutableArray<Behaviour> way, bool tellsFaults, Topology topology)
    {
        _metLast = null;
        ImmutableArray<Step> steps = [];
        foreach (Behaviour behaviour in way[..^1])
        {
            // An operation of its own, so that it can be told from others.
            var step = new Step(AsOnTheWay(behaviour) with { });
            if (FailureOf(behaviour) is not { } kind) steps = steps.Add(step);
            else if (TryFail(steps, step, kind, behaviour.Seen.Outcome, topology) is { } failed) steps = steps.Add(failed);
            else return null;
        }

        if (tellsFaults) steps = steps.Add(new(new DispatchFaults()));
        var last = new Step(way[^1].Operation with { });
        if (Try(steps.Add(last), topology) != way[^1].Seen.Outcome && FailureOf(way[^1]) is { } how) TryFail(steps, last, how, way[^1].Seen.Outcome, topology);
        return _metLast;
    }

    /// <summary>The step, with what must go wrong in it so that it comes to what it must; null: it does not.</summary>
    private Step? TryFail(ImmutableArray<Step> before, Step step, MishapKind kind, Outcome outcome, Topology topology)
    {
        for (int number = 1; ; number++)
        {
            Step failing = step with { Mishap = new(kind, number) };
            _hasFailed = false;
            Outcome? came = Try(before.Add(failing), topology);
            if (came == outcome) return failing;
            if (!_hasFailed || Failure is not null) return null;
        }
    }

    /// <summary>What the last of the steps comes to; null: it cannot be done.</summary>
    private Outcome? Try(ImmutableArray<Step> steps, Topology topology)
    {
        (_last, _came) = (steps[^1].Operation, null);
        Sequences++;
        Failure ??= SequenceLoop.Describe(SequenceStage.StageName, _runner.Run(new(topology, steps)));
        return _came;
    }

    private static Operation AsOnTheWay(Behaviour behaviour) => behaviour is { Operation: Reserve reserve, Seen: { Outcome: Outcome.None, Ranges: [var range, ..] } }
        ? new ReserveAt(reserve.Reservation, reserve.In, range.First, reserve.ByteCount, reserve.Attributes)
        : behaviour.Operation;

    private static MishapKind? FailureOf(Behaviour behaviour) => (behaviour.Seen.Outcome, behaviour.Surroundings) switch
    {
        (Outcome.NoMemory, _) or (_, { MemoryFails: true }) => MishapKind.Memory,
        (Outcome.HardwareFailure, _) or (_, { HardwareFails: true }) => MishapKind.Hardware,
        _ => null,
    };

    private void Note(World before, Operation operation, Observation seen, Surroundings surroundings)
    {
        if (!ReferenceEquals(operation, _last)) return;
        _hasFailed = surroundings.MemoryFails || surroundings.HardwareFails;
        _came = seen.Outcome;
        var situation = Situation.Of(before, operation, seen.Outcome);
        _situations.Add(situation);
        _metLast = situation.Class;
        _met.Add((situation.Operation, situation.Class));
        if (surroundings.MemoryFails) _failing.Add(situation with { Outcome = Outcome.NoMemory });
        if (surroundings.HardwareFails) _failing.Add(situation with { Outcome = Outcome.HardwareFailure });
    }
}
