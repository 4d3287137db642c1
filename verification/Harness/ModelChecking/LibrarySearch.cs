using System.Collections.Immutable;
using Harness.Coverage;
using Harness.Failures;
using Harness.Operations;
using Harness.Running;
using Harness.Scenarios;
using Harness.Stages;
using Vcmm.Spec;

namespace Harness.ModelChecking;

/// <summary>What a search of the library has come to.</summary>
public sealed record LibraryReport
{
    /// <summary>States of the model, up to names, that the library has been in.</summary>
    public required int States { get; init; }

    /// <summary>Those in which every operation was tried.</summary>
    public required int Expanded { get; init; }

    /// <summary>Sequences that ran, each to its end and taken down again.</summary>
    public required long Sequences { get; init; }

    /// <summary>All sequences of so many operations, up to names, have run.</summary>
    public required int Depth { get; init; }

    /// <summary>Why it did not go on; null: there was no more.</summary>
    public required string? CutOff { get; init; }

    /// <summary>How long it took.</summary>
    public required TimeSpan Elapsed { get; init; }

    /// <summary>How often each operation came to what, by what it met.</summary>
    public required IReadOnlyDictionary<Situation, long> Coverage { get; init; }

    /// <summary>What failed; null: nothing.</summary>
    public required StageFailure? Failure { get; init; }
}

/// <summary>
/// Breadth first through all that can be done with the library in a small world, on the simulator: in each state that the model tells from others, every
/// operation on every object, those that have ended too, by the shortest sequence that leads there. Every sequence is held to the model, to the tables, the caches and the frames, as
/// generated ones are.
/// </summary>
/// <remarks>
/// The library chooses what the model leaves free, always the same; what it can come to only by another choice is not seen here. Of each operation it is tried, too,
/// what it comes to if the first allocation of memory in it is refused, the second, and so on, and if the hardware does not see the first of its commands, the
/// second, and so on. Frames are those of the machine; no more of them are taken than the scope has.
/// </remarks>
public sealed class LibrarySearch
{
    private readonly Scope _scope;
    private readonly Topology _topology;
    private readonly Behaviours _behaviours;
    private readonly SequenceRunner _runner;
    private readonly Dictionary<Situation, long> _coverage = [];
    private readonly bool _isSpared;
    private readonly HashSet<string> _seen = new(StringComparer.Ordinal);
    private CanonicalForm? _form;
    private Operation? _last;
    private bool _hasStruck;
    private Reached? _reached;
    private long _sequences;

    private LibrarySearch(Scope scope, IBench bench, SubjectParts parts, bool isSpared)
    {
        scope.Validate();
        (_scope, _isSpared) = (scope, isSpared);
        _topology = scope.ToTopology();
        _behaviours = new(scope);
        _runner = new(bench, parts) { Judging = Note };
    }

    /// <summary>Searches.</summary>
    /// <param name="scope">The small world.</param>
    /// <param name="budget">For how long; a sequence that has begun is finished.</param>
    /// <param name="time">The clock by which that is measured.</param>
    /// <param name="progress">Told from time to time how far it is.</param>
    /// <param name="stop">Set to end it with what it has.</param>
    /// <param name="parts">The library, or one with a fault in it.</param>
    /// <param name="depth">No longer sequences than this; null: as long as there is time.</param>
    /// <param name="isSpared">Whether neither memory nor hardware fails.</param>
    /// <exception cref="BadInputException">The scope is none.</exception>
    public static LibraryReport Run(
        Scope scope, TimeSpan budget, TimeProvider time, Action<ModelProgress>? progress = null, CancellationToken stop = default, SubjectParts? parts = null, int? depth = null, bool isSpared = false)
    {
        using var bench = new SimulatorBench();
        return new LibrarySearch(scope, bench, parts ?? SubjectParts.Own, isSpared).Run(budget, time, progress, stop, depth);
    }

    private LibraryReport Run(TimeSpan budget, TimeProvider time, Action<ModelProgress>? progress, CancellationToken stop, int? most)
    {
        long start = time.GetTimestamp();
        string? cutOff = null;
        StageFailure? failure = null;
        int expanded = 0, depth = 0;
        ImmutableArray<Step> prologue = [.. _scope.Prologue().Select(static done => new Step(done.Operation))];
        failure = Try(prologue);
        List<(ImmutableArray<Step> Path, World World)> level = _reached is null ? [] : [(prologue, _reached.World)];
        while (level.Count != 0 && failure is null && cutOff is null && depth != most)
        {
            var next = new List<(ImmutableArray<Step>, World)>();
            foreach ((ImmutableArray<Step> path, World world) in level)
            {
                foreach (Step step in StepsIn(world))
                {
                    TimeSpan elapsed = time.GetElapsedTime(start);
                    cutOff = stop.IsCancellationRequested ? "it was stopped" : elapsed >= budget ? $"after {elapsed.TotalSeconds:F0} s, as asked" : null;
                    if (cutOff is not null) break;
                    ImmutableArray<Step> longer = path.Add(step);
                    failure = Try(longer);
                    if (failure is not null) break;
                    if (_reached is { IsNew: true } reached) next.Add((longer, reached.World));
                    if (_sequences % 64 == 0) progress?.Invoke(new(depth + 1, _seen.Count, expanded, elapsed));
                }

                if (cutOff is not null || failure is not null) break;
                expanded++;
            }

            if (cutOff is null && failure is null) depth++;
            level = next;
        }

        return new()
        {
            States = _seen.Count,
            Expanded = expanded,
            Sequences = _sequences,
            Depth = depth,
            CutOff = cutOff ?? (failure is null && level.Count != 0 ? $"at depth {depth}, as asked" : null),
            Elapsed = time.GetElapsedTime(start),
            Coverage = _coverage,
            Failure = failure,
        };
    }

    /// <summary>Every operation, with every failure that it has met when the one before has been tried.</summary>
    private IEnumerable<Step> StepsIn(World world)
    {
        foreach (Operation operation in OperationsIn(world))
        {
            yield return new(operation);
            foreach (MishapKind kind in _isSpared ? [] : Enum.GetValues<MishapKind>())
            {
                _hasStruck = true;
                for (int number = 1; _hasStruck; number++)
                {
                    _hasStruck = false;
                    yield return new(operation, new(kind, number));
                }
            }
        }
    }

    /// <summary>Every operation on every object, but none that takes more memory than the scope has.</summary>
    private IEnumerable<Operation> OperationsIn(World world) => _behaviours.Of(world).Select(static behaviour => behaviour.Operation).Distinct()
        .Where(operation => operation switch
        {
            AllocateMemory o => o.ByteCount <= _scope.FreeBytes(world),
            AllocateContiguous o => o.ByteCount <= _scope.FreeBytes(world),
            Bind o => o.ByteCount <= _scope.FreeBytes(world),
            _ => true,
        });

    private StageFailure? Try(ImmutableArray<Step> path)
    {
        (_last, _reached) = (path[^1].Operation, null);
        _sequences++;
        RunResult result = _runner.Run(new(_topology, path));
        return SequenceLoop.Describe(SequenceStage.StageName, result);
    }

    /// <summary>Told of each operation of a sequence, and of what devices look at after each.</summary>
    private void Note(World before, Operation operation, Observation seen, Surroundings surroundings)
    {
        _form ??= new CanonicalForm(before.WithoutObjects(), [.. Enumerable.Range(0, _topology.MemoryMiB << 8).Select(static page => FirstMemory + ((ulong)page * World.PageBytes))]);
        if (!ReferenceEquals(operation, _last)) return;
        _last = null;
        _hasStruck = surroundings.MemoryFails || surroundings.HardwareFails;
        var situation = Situation.Of(before, operation, seen.Outcome);
        _coverage[situation] = _coverage.GetValueOrDefault(situation) + 1;
        if (before.Judge(operation, seen, surroundings) is not { IsAccepted: true, Next: var after }) return;
        // What devices looked at on the way has left faults, which are not the sequence's.
        World told = after.WithoutFaults();
        _reached = new(told, _seen.Add(Convert.ToBase64String(_form.Of(told))));
    }

    private static ulong FirstMemory => Foreign.SimulatedVtd.MemoryRange.First.Value;

    private sealed record Reached(World World, bool IsNew);
}
