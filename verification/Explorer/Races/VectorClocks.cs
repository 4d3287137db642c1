using System.Runtime.CompilerServices;
using Explorer.Scheduling;
using Microsoft.Coyote.Rewriting;

namespace Explorer.Races;

/// <summary>What each agent of a schedule knows of the others: how far each had come when something last told of it.</summary>
/// <remarks>
/// <para>An agent has a clock for each agent. To release is to leave a copy at a place: what the agent has done comes before whatever is done by who acquires there
/// afterwards. A place keeps what all have left there, so an edge may be one too many, which hides a race, and never one too few, which would accuse the innocent.</para>
/// <para>One schedule runs at a time, so there is one of these, which begins anew with each: nothing is allocated but when it grows.</para>
/// <para><b>Source.</b> Mattern, "Virtual Time and Global States of Distributed Systems", 1989; the number of an access, in place of a clock, is the epoch of Flanagan
/// and Freund, "FastTrack: Efficient and Precise Dynamic Race Detection", PLDI 2009.</para>
/// </remarks>
[SkipRewriting("Looking on adds no steps to the schedule.")]
public sealed class VectorClocks
{
    /// <summary>Who is nobody: before the threads start and after they have ended, and who looks on.</summary>
    public const int Nobody = -1;

    /// <summary>How many agents a schedule may have.</summary>
    public const int Most = 32;

    // The agents of a schedule that has ended are unwound all at once.
    private readonly object _gate = new();
    private readonly string[] _agents = new string[Most];
    private readonly int[] _clocks = new int[Most * Most];
    private readonly Dictionary<object, int> _objects = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<ulong, int> _places = [];
    private int[] _left = new int[64 * Most];
    private int _leftCount;
    private int _count;

    /// <summary>Of the schedule that runs.</summary>
    public static VectorClocks Current { get; } = new();

    /// <summary>How many agents have done something.</summary>
    public int Count => _count;

    /// <summary>Held while several things are done in one.</summary>
    internal object Gate => _gate;

    /// <summary>A schedule begins: nobody has done anything.</summary>
    public void Begin()
    {
        lock (_gate)
        {
            _count = 0;
            _leftCount = 0;
            _objects.Clear();
            _places.Clear();
        }
    }

    /// <summary>The number of the calling agent.</summary>
    public int Caller()
    {
        string agent = Attempt.Agent;
        if (agent == Attempt.SetUpAgent || Controlled.IsCallerQuiet) return Nobody;
        for (int i = 0; i < _count; i++)
        {
            if (_agents[i] == agent) return i;
        }

        if (_count == Most) throw new InvalidOperationException($"there are more than {Most} agents");
        _agents[_count] = agent;
        Array.Clear(_clocks, _count * Most, Most);
        _clocks[_count * Most + _count] = 1;
        return _count++;
    }

    /// <summary>An agent's name.</summary>
    public string NameOf(int agent) => _agents[agent];

    /// <summary>The agent's own clock: the epoch of what it does now.</summary>
    public int Now(int agent) => _clocks[agent * Most + agent];

    /// <summary>Whether what <paramref name="other"/> did in its <paramref name="epoch"/> comes before what <paramref name="agent"/> does now.</summary>
    public bool Knows(int agent, int other, int epoch) => epoch <= _clocks[agent * Most + other];

    /// <summary>What the calling agent has done comes before what is done by who acquires there.</summary>
    public void Release(object gate)
    {
        lock (_gate)
        {
            if (Caller() is not Nobody and var agent) Release(agent, SlotOf(gate));
        }
    }

    /// <summary>What was released there comes before what the calling agent does.</summary>
    public void Acquire(object gate)
    {
        lock (_gate)
        {
            if (_objects.TryGetValue(gate, out int slot) && Caller() is not Nobody and var agent) Acquire(agent, slot);
        }
    }

    /// <inheritdoc cref="Release(object)"/>
    public void Release(ulong place)
    {
        lock (_gate) Release(Caller(), place);
    }

    /// <inheritdoc cref="Acquire(object)"/>
    public void Acquire(ulong place)
    {
        lock (_gate) Acquire(Caller(), place);
    }

    /// <summary>The same for an agent, with <see cref="Gate"/> held.</summary>
    internal void Release(int agent, ulong place)
    {
        if (agent == Nobody) return;
        if (!_places.TryGetValue(place, out int slot)) _places[place] = slot = NewSlot();
        Release(agent, slot);
    }

    /// <summary>The same for an agent, with <see cref="Gate"/> held.</summary>
    internal void Acquire(int agent, ulong place)
    {
        if (agent != Nobody && _places.TryGetValue(place, out int slot)) Acquire(agent, slot);
    }

    private void Release(int agent, int slot)
    {
        Span<int> own = _clocks.AsSpan(agent * Most, _count);
        Join(_left.AsSpan(slot * Most, _count), own);
        own[agent]++;
    }

    private void Acquire(int agent, int slot) => Join(_clocks.AsSpan(agent * Most, _count), _left.AsSpan(slot * Most, _count));

    private static void Join(Span<int> into, ReadOnlySpan<int> other)
    {
        for (int i = 0; i < into.Length; i++) into[i] = Math.Max(into[i], other[i]);
    }

    private int SlotOf(object gate)
    {
        if (!_objects.TryGetValue(gate, out int slot)) _objects[gate] = slot = NewSlot();
        return slot;
    }

    private int NewSlot()
    {
        if ((_leftCount + 1) * Most > _left.Length) Array.Resize(ref _left, 2 * _left.Length);
        Array.Clear(_left, _leftCount * Most, Most);
        return _leftCount++;
    }
}
