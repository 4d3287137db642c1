using System.IO.Hashing;
using System.Runtime.InteropServices;
using Harness.Coverage;
using Vcmm.Spec;

namespace Harness.ModelChecking;

/// <summary>Says what the model says of a behaviour: the model itself, or one with a fault in it.</summary>
public delegate Verdict<World> Judge(World world, Operation operation, Observation seen, Surroundings surroundings);

/// <summary>How far a search may go.</summary>
public sealed record SearchLimits
{
    /// <summary>No further than so many operations; null: to the end.</summary>
    public int? Depth { get; init; }

    /// <summary>About so many states; null: all.</summary>
    public int? States { get; init; }

    /// <summary>For so long; null: to the end.</summary>
    public TimeSpan? Time { get; init; }

    /// <summary>In so many bytes, besides what the runtime needs.</summary>
    public long Bytes { get; init; } = 4L << 30;

    /// <summary>On so many threads.</summary>
    public int Workers { get; init; } = Environment.ProcessorCount;
}

/// <summary>
/// Breadth first through all that the model accepts in a scope. Of worlds that differ in names alone one is looked at, and each once; of each world and each
/// step every invariant is looked at.
/// </summary>
/// <remarks>
/// What is kept of a world is a fingerprint of 64 bits. Two worlds with one fingerprint would be taken for one; among ten million that happens once in 300,000
/// searches. The counts of a search that was not cut off depend on the scope alone.
/// </remarks>
public sealed class ModelSearch
{
    private readonly Scope _scope;
    private readonly SearchLimits _limits;
    private readonly Judge _judge;
    private readonly World _blank;
    private readonly StateTable _states = new();
    private readonly List<Worker> _workers;
    private readonly List<int> _statesByDepth = [];
    private volatile string? _cutOff;
    private Found? _found;
    private int _depth;
    private long _expanded;

    private ModelSearch(Scope scope, SearchLimits limits, Judge judge)
    {
        scope.Validate();
        (_scope, _limits, _judge) = (scope, limits, judge);
        _blank = scope.Blank();
        _workers = [.. Enumerable.Range(0, limits.Workers).Select(_ => new Worker(this))];
    }

    /// <summary>Searches.</summary>
    /// <param name="scope">The small world.</param>
    /// <param name="limits">How far.</param>
    /// <param name="time">The clock by which the time is measured.</param>
    /// <param name="progress">Told from time to time how far it is; on the caller's thread.</param>
    /// <param name="stop">Set to end it with what it has.</param>
    /// <param name="judge">Null: the model itself.</param>
    /// <exception cref="BadInputException">The scope is none.</exception>
    public static ModelReport Run(Scope scope, SearchLimits limits, TimeProvider time, Action<ModelProgress>? progress = null, CancellationToken stop = default, Judge? judge = null)
    {
        var search = new ModelSearch(scope, limits, judge ?? OfTheModel);
        return search.Run(time, progress, stop);
    }

    private static Verdict<World> OfTheModel(World world, Operation operation, Observation seen, Surroundings surroundings) => world.Judge(operation, seen, surroundings);

    private ModelReport Run(TimeProvider time, Action<ModelProgress>? progress, CancellationToken stop)
    {
        long start = time.GetTimestamp();
        var current = new Frontier();
        Begin(current);
        while (!current.IsEmpty && _cutOff is null && _found is null && !(_depth >= _limits.Depth))
        {
            _depth++;
            var next = new Frontier();
            Task[] tasks = [.. _workers.Select(worker => Task.Factory.StartNew(() => worker.Expand(current, next), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
            Task all = Task.WhenAll(tasks);
            while (!all.Wait(TimeSpan.FromMilliseconds(200), CancellationToken.None))
            {
                TimeSpan elapsed = time.GetElapsedTime(start);
                CutOff(current, next, elapsed, stop);
                progress?.Invoke(new(_depth, _states.Count, Interlocked.Read(ref _expanded), elapsed));
            }

            if (!next.IsEmpty) CutOff(current, next, time.GetElapsedTime(start), stop);
            _statesByDepth.Add(_states.Count - _statesByDepth.Sum());
            current = next;
        }

        string? cutOff = _cutOff ?? (_found is null && !current.IsEmpty ? $"at depth {_depth}, as asked" : null);
        return Report(time.GetElapsedTime(start), cutOff, time);
    }

    private void Begin(Frontier frontier)
    {
        _statesByDepth.Add(1);
        var writer = new Frontier.Writer(frontier);
        ReadOnlySpan<byte> form = _workers[0].Form.Of(_blank);
        _states.TryAdd(Fingerprint(form), -1, out int number);
        writer.Add(number, form);
        writer.Flush();
    }

    private void CutOff(Frontier current, Frontier next, TimeSpan elapsed, CancellationToken stop)
    {
        long bytes = _states.ByteCount + current.ByteCount + next.ByteCount;
        if (stop.IsCancellationRequested) _cutOff ??= "it was stopped";
        else if (_states.Count >= _limits.States) _cutOff ??= $"at {_limits.States:N0} states, as asked";
        else if (elapsed >= _limits.Time) _cutOff ??= $"after {elapsed.TotalSeconds:F0} s, as asked";
        else if (bytes >= _limits.Bytes) _cutOff ??= TooLarge(bytes);
    }

    /// <summary>What to say of a scope that does not fit.</summary>
    private string TooLarge(long bytes)
    {
        long each = bytes / _states.Count;
        double growth = _statesByDepth.Count < 2 ? 1 : Math.Max(1, (double)_statesByDepth[^1] / _statesByDepth[^2]);
        double least = _statesByDepth.Sum() + (_statesByDepth[^1] * growth);
        return $"the scope does not fit into {_limits.Bytes >> 20:N0} MiB: {_states.Count:N0} states took {bytes >> 20:N0} MiB, and depth {_depth} alone, at the growth so far, ends at about {least:N0} states and {least * each / (1 << 20):N0} MiB; a smaller scope or a larger --memory goes further";
    }

    private ModelReport Report(TimeSpan elapsed, string? cutOff, TimeProvider time)
    {
        var laws = ReachLaw.For(_scope);
        var reached = laws.Select((law, i) => new ReachedLaw(law.Name, _workers.Select(worker => worker.ReachedAt[i]).Where(static depth => depth >= 0).DefaultIfEmpty(-1).Min())).ToArray();
        var coverage = new Dictionary<Situation, Sightings>();
        foreach ((Situation situation, Sightings sightings) in _workers.SelectMany(static worker => worker.Coverage))
            coverage[situation] = coverage.TryGetValue(situation, out Sightings? others) ? others.And(sightings) : sightings;
        var paths = new PathFinder(_scope, _judge, _states);
        var graph = new BareWalk(_workers.Select(static worker => worker.Edges));
        return new()
        {
            Scope = _scope,
            States = _states.Count,
            Expanded = _expanded,
            Steps = _workers.Sum(static worker => worker.Steps),
            Tried = _workers.Sum(static worker => worker.Tried),
            StatesByDepth = [.. _statesByDepth],
            CutOff = cutOff,
            Elapsed = elapsed,
            ByteCount = _states.ByteCount,
            Laws = reached,
            Coverage = coverage.ToDictionary(static pair => pair.Key, static pair => pair.Value.Count),
            WaysInto = situation => coverage[situation].States.Select(state => paths.Into(state, situation)),
            BareStatesPerSecond = graph.StatesPerSecond(time),
            Counterexample = _found is { } found ? new Counterexample(_scope, found.Broken, found.Sentence, paths.ToBroken(found.Parent, found.Broken)) : null,
        };
    }

    internal static ulong Fingerprint(ReadOnlySpan<byte> form) => XxHash3.HashToUInt64(form) is var hash && hash == 0 ? 1 : hash;

    /// <summary>How often a situation came up, and some of the states in which it did.</summary>
    private sealed class Sightings
    {
        private const int MostStates = 12;

        private readonly SortedSet<int> _states = [];

        public long Count { get; private set; }

        /// <summary>The first, and ever fewer of the later ones, since those that come one after another are like each other.</summary>
        public IEnumerable<int> States => _states;

        public void Add(int state)
        {
            if (long.IsPow2(++Count) && _states.Count < MostStates) _states.Add(state);
        }

        public Sightings And(Sightings other)
        {
            var both = new Sightings { Count = Count + other.Count };
            both._states.UnionWith(_states.Concat(other._states));
            return both;
        }
    }

    /// <summary>What broke an invariant, in which state or by a step from it.</summary>
    private sealed record Found(int Parent, Invariant Broken, string Sentence);

    private sealed class Worker(ModelSearch search)
    {
        private const int MostEdges = 2_000_000;

        private readonly Behaviours _behaviours = new(search._scope);
        private (Operation? Operation, StateClass Class) _met;
        private readonly ReachLaw[] _laws = [.. ReachLaw.For(search._scope)];

        public CanonicalForm Form { get; } = new(search._blank, search._scope.LikeFrames);

        public int[] ReachedAt { get; } = [.. ReachLaw.For(search._scope).Select(static _ => -1)];

        public Dictionary<Situation, Sightings> Coverage { get; } = [];

        /// <summary>From state to state, of the first states: pairs.</summary>
        public List<(int From, int To)> Edges { get; } = [];

        public long Steps { get; private set; }

        public long Tried { get; private set; }

        public void Expand(Frontier current, Frontier next)
        {
            var writer = new Frontier.Writer(next);
            while (search._cutOff is null && search._found is null && current.Take() is var (bytes, length))
            {
                for (int offset = 0; offset < length && search._cutOff is null && search._found is null;)
                {
                    offset = Frontier.Read(bytes, offset, out int number, out ReadOnlySpan<byte> form);
                    Expand(number, Form.ToWorld(form), writer);
                    Interlocked.Increment(ref search._expanded);
                }
            }

            writer.Flush();
        }

        private void Expand(int number, World world, Frontier.Writer writer)
        {
            List<Behaviour> behaviours = _behaviours.Of(world);
            foreach (Behaviour behaviour in behaviours)
            {
                Tried++;
                Verdict<World> verdict = search._judge(world, behaviour.Operation, behaviour.Seen, behaviour.Surroundings);
                if (!verdict.IsAccepted) continue;
                if (!Follow(number, new(world, behaviour.Operation, behaviour.Seen, verdict.Next), writer)) return;
                // More may be flushed than must be.
                for (int left = verdict.Next.Quarantine.Count - 1; left >= 0; left--)
                {
                    Observation seen = behaviour.Seen with { Quarantined = left };
                    Verdict<World> early = search._judge(world, behaviour.Operation, seen, behaviour.Surroundings);
                    if (early.IsAccepted && !Follow(number, new(world, behaviour.Operation, seen, early.Next), writer)) return;
                }
            }
        }

        /// <returns>Whether no invariant is broken.</returns>
        private bool Follow(int number, WorldStep step, Frontier.Writer writer)
        {
            Steps++;
            Count(number, step);
            if (InvariantPredicate.WhyBroken(step) is var (broken, sentence)) return Break(number, broken, sentence);
            if (ReferenceEquals(step.Before, step.After)) return true;
            ReadOnlySpan<byte> form = Form.Of(step.After);
            bool isNew = search._states.TryAdd(Fingerprint(form), number, out int reached);
            if (Edges.Count < MostEdges) Edges.Add((number, reached));
            if (!isNew) return true;
            if (InvariantPredicate.WhyBroken(step.After) is var (of, what)) return Break(number, of, what);
            for (int i = 0; i < _laws.Length; i++)
            {
                if (ReachedAt[i] < 0 && _laws[i].OfWorld is { } law && law(step.After)) ReachedAt[i] = search._depth;
            }

            writer.Add(reached, form);
            return true;
        }

        private bool Break(int number, Invariant broken, string sentence)
        {
            Interlocked.CompareExchange(ref search._found, new(number, broken, sentence), null);
            return false;
        }

        private void Count(int number, WorldStep step)
        {
            // What may be seen of one operation comes in a row.
            if (!ReferenceEquals(step.Operation, _met.Operation)) _met = (step.Operation, StateClass.Of(step.Before, step.Operation));
            ref Sightings? sightings = ref CollectionsMarshal.GetValueRefOrAddDefault(Coverage, new(step.Operation.GetType(), _met.Class, step.Seen.Outcome), out _);
            (sightings ??= new()).Add(number);
            for (int i = 0; i < _laws.Length; i++)
            {
                if (ReachedAt[i] < 0 && _laws[i].OfStep is { } law && law(step)) ReachedAt[i] = search._depth;
            }
        }
    }
}
