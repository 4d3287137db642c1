using Explorer.Races;
using Microsoft.Coyote.Rewriting;
using Vcmm.Spec;

namespace Explorer.Scheduling;

/// <summary>What is recorded while one schedule runs: events for the reader, states that were reached, the violation.</summary>
/// <remarks>
/// Not rewritten: recording must not add steps. One task runs at a time, and control passes through the scheduler's locks; but a schedule
/// that the scheduler itself ends, at a deadlock or at its bound of steps, leaves tasks that are still being unwound, all at once. So
/// events are under a lock, and none comes after the end.
/// </remarks>
[SkipRewriting("Recording must not add steps to the schedule.")]
public sealed class Attempt
{
    /// <summary>Who acts before the threads start and after they have ended.</summary>
    public const string SetUpAgent = "set-up";

    private const int EventLimit = 20_000;

    // A controlled task keeps to one thread.
    [ThreadStatic]
    private static string? _agent;

    [ThreadStatic]
    private static string? _call;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);
    private static readonly List<Thread> Threads = [];

    private readonly object _gate = new();
    private readonly List<ScheduleEvent> _events = [];
    private bool _isOver;
    private readonly Dictionary<string, int> _reached = [];
    private readonly long[] _checks = new long[1 + (int)Invariant.BreakBeforeMake];

    private readonly long[] _muted = new long[1 + (int)Invariant.BreakBeforeMake];

    /// <summary>Invariants of which no violation is told.</summary>
    public InvariantSet Muted { get; init; }

    /// <summary>How often each of those was found broken, by its number.</summary>
    public IReadOnlyList<long> MutedBreaches => _muted;

    /// <summary>What happened, in order.</summary>
    public IReadOnlyList<ScheduleEvent> Events => _events;

    /// <summary>How often each interesting state was reached.</summary>
    public IReadOnlyDictionary<string, int> Reached => _reached;

    /// <summary>How often each invariant was checked, by its number.</summary>
    public IReadOnlyList<long> Checks => _checks;

    /// <summary>The first violation, if there was one.</summary>
    public Violation? Violation { get; private set; }

    /// <summary>Looks on while a schedule is run again; null in all others, since looking costs far more than running.</summary>
    public IScheduleWatcher? Watcher { get; set; }

    /// <summary>The first agent that acted on a thread which the scheduler does not control, or null: then the schedule means nothing.</summary>
    public string? UncontrolledAgent { get; private set; }

    /// <summary>The search for races by what happens before what; null: there is none.</summary>
    public AccessRaces? Races { get; set; }

    /// <summary>Which statements made the two accesses of a race; null: there was none, or nobody looked on.</summary>
    public string? RaceLines { get; set; }

    /// <summary>The call that the calling agent is in; null: in none.</summary>
    internal static string? Call => _call;

    /// <summary>Whether a check has failed, or the schedule has ended otherwise.</summary>
    public bool IsOver
    {
        get
        {
            lock (_gate) return _isOver;
        }
    }

    /// <summary>Who the calling task is: a thread or a part of the hardware. Each is a lane of the picture.</summary>
    public static string Agent
    {
        get => _agent ?? SetUpAgent;
        set
        {
            _agent = value;
            _call = null;
            if (value == SetUpAgent) return;
            lock (Threads) Threads.Add(Thread.CurrentThread);
        }
    }

    /// <summary>What the calling thread does is another's for a while: it goes by <paramref name="agent"/>.</summary>
    /// <returns>Who it was.</returns>
    internal static string ActAs(string agent)
    {
        string self = Agent;
        _agent = agent;
        return self;
    }

    /// <summary>
    /// Waits for the agents of the schedule before. One that ended early leaves them to be unwound, and what they still do then is in the next schedule's way.
    /// </summary>
    internal static void AwaitAgents()
    {
        Thread[] threads;
        lock (Threads)
        {
            threads = [.. Threads];
            Threads.Clear();
        }

        // None waits for anything but the scheduler, which has let go of them.
        foreach (Thread thread in threads)
        {
            if (thread != Thread.CurrentThread) thread.Join(Patience);
        }
    }

    /// <summary>The calls that have begun and not returned.</summary>
    public IEnumerable<ScheduleEvent> InCalls()
    {
        var open = new List<ScheduleEvent>();
        lock (_gate)
        {
            foreach (ScheduleEvent e in _events)
            {
                if (e.Kind == EventKind.Call) open.Add(e);
                if (e.Kind == EventKind.Return) open.RemoveAt(open.FindLastIndex(call => call.Agent == e.Agent));
            }
        }

        return open;
    }

    /// <summary>The schedule is over: nothing more is noted.</summary>
    public void End()
    {
        lock (_gate) _isOver = true;
    }

    /// <summary>Notes what the calling task does.</summary>
    public void Note(EventKind kind, ulong detail = 0, ulong value = 0, string? text = null)
    {
        if (kind is EventKind.Call or EventKind.Return) _call = kind == EventKind.Call ? text : null;
        lock (_gate)
        {
            // After a violation the tasks are ended from outside; what they still do is no part of the schedule.
            if (_isOver || _events.Count >= EventLimit) return;
            if (UncontrolledAgent is null && _agent is not (null or SetUpAgent) && !ControlledThreads.IsCaller) UncontrolledAgent = _agent;
            _events.Add(new(Agent, kind, detail, value, text));
            _isOver = kind == EventKind.Violation;
        }

        Watcher?.Noted(Agent);
    }

    /// <summary>Notes that an interesting state was reached.</summary>
    public void Reach(string state) => _reached[state] = _reached.GetValueOrDefault(state) + 1;

    /// <summary>Counts a check that the scheduler makes itself: it ends the schedule if the invariant does not hold.</summary>
    public void Passed(Invariant invariant, long times = 1) => _checks[(int)invariant] += times;

    /// <summary>Counts what others have found broken, and is muted.</summary>
    public void Mute(Invariant invariant, long times = 1) => _muted[(int)invariant] += times;

    /// <summary>Counts a check of something that the ledger found wrong, or (null) did not.</summary>
    public void Check(Invariant invariant, (string Observed, string Expected)? wrong) => Check(invariant, wrong is null, () => wrong!.Value.Observed, () => wrong!.Value.Expected);

    /// <summary>Counts a check, and ends the schedule if it does not hold; what is muted is counted, and the schedule goes on.</summary>
    public void Check(Invariant invariant, bool holds, Func<string> observed, Func<string> expected)
    {
        _checks[(int)invariant]++;
        if (holds) return;
        if (Muted.Contains(invariant))
        {
            Mute(invariant);
            return;
        }

        Violation ??= new(invariant, observed(), expected());
        Note(EventKind.Violation, text: Violation.ToString());
        Controlled.Fail(Violation.ToString());
    }
}

/// <summary>A broken invariant.</summary>
/// <param name="Invariant">Which.</param>
/// <param name="Observed">What was seen.</param>
/// <param name="Expected">What may be seen.</param>
public sealed record Violation(Invariant Invariant, string Observed, string Expected)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Invariant.Label()}: {Observed}; expected: {Expected}";
}

/// <summary>One thing that an agent did.</summary>
/// <param name="Agent">Who.</param>
/// <param name="Kind">What.</param>
/// <param name="Detail">An address, mostly.</param>
/// <param name="Value">What was read or written.</param>
/// <param name="Text">Words, where numbers do not say it.</param>
public readonly record struct ScheduleEvent(string Agent, EventKind Kind, ulong Detail, ulong Value, string? Text);

/// <summary>What an agent can do.</summary>
public enum EventKind
{
    /// <summary>An operation of the library begins.</summary>
    Call,

    /// <summary>An operation of the library returns.</summary>
    Return,

    /// <summary>A device's access begins, moves its bytes, ends.</summary>
    Device,

    /// <summary>A step of the IOMMU.</summary>
    Hardware,

    /// <summary>A word of a table or of the queue is read.</summary>
    MemoryRead,

    /// <summary>A word of a table or of the queue is written.</summary>
    MemoryWrite,

    /// <summary>The same, but it waits in a store buffer; it is written later.</summary>
    MemoryBuffered,

    /// <summary>An invariant is broken.</summary>
    Violation,
}
