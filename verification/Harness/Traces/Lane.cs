using Vcmm.Spec;

namespace Harness.Traces;

/// <summary>A range that was unmapped and is not known to be invalidated.</summary>
internal sealed class Unmapped(long line, long microseconds, DomainKey domain, AddressRange range)
{
    public long Line { get; } = line;

    public long Microseconds { get; } = microseconds;

    public DomainKey Domain { get; } = domain;

    public AddressRange Range { get; } = range;

    public bool IsSettled { get; set; }
}

/// <summary>A decision that no descriptor has carried out yet.</summary>
internal readonly record struct OpenDecision(long Line, FlushDecision Decision);

/// <summary>A direct map (iova = physical address) whose domain the lane's next line tells.</summary>
internal readonly record struct DirectMap(long Line, MapEvent Map);

/// <summary>One flow of control in the kernel, and the driver call in it that has not ended as far as is known.</summary>
internal sealed class Lane(int number)
{
    /// <summary>Direct maps wait here, apart from every real domain.</summary>
    public DomainKey Provisional { get; } = new(1UL << 40 | (uint)number);

    /// <summary>What the call unmapped.</summary>
    public List<Unmapped> Unmapped { get; } = [];

    /// <summary>What it decided, oldest first.</summary>
    public Queue<OpenDecision> Decisions { get; } = [];

    /// <summary>Maps that may have been made for a domain before its first device is attached.</summary>
    public List<DirectMap> Direct { get; } = [];

    /// <summary>The descriptor just before, if no decision had asked for it: kernels 6.10 and 6.11 trace the decision after it.</summary>
    public IotlbDescriptor? Early { get; set; }

    public bool IsIdle => Unmapped.Count == 0 && Decisions.Count == 0 && Direct.Count == 0 && Early is null;
}

/// <summary>
/// The kernel's flows of control: a task wherever it runs, the idle task of each processor, and each level of interrupt of
/// each processor.
/// </summary>
/// <remarks>
/// An interrupt runs to its end before what it interrupted goes on. Hence a line of one level proves that every call of a
/// higher level on that processor has returned.
/// </remarks>
internal sealed class Lanes
{
    private const int Levels = 4;

    /// <summary>Beyond so many tasks, those with nothing but an <see cref="Lane.Early"/> descriptor are forgotten.</summary>
    private const int ManyTasks = 1024;

    private readonly Dictionary<int, Lane> _tasks = [];
    private readonly Stack<Lane> _free = [];
    private Lane?[] _processors = [];
    private int _made;

    /// <summary>The lane of a line.</summary>
    public Lane At(Place place)
    {
        if (place is { Context: Context.Task, Pid: > 0 })
            return _tasks.TryGetValue(place.Pid, out Lane? task) ? task : _tasks[place.Pid] = Make();

        int index = place.Cpu * Levels + (int)place.Context;
        if (index >= _processors.Length) Array.Resize(ref _processors, (place.Cpu + 1) * Levels);
        return _processors[index] ??= Make();
    }

    /// <summary>The lane of an interrupt level on the line's processor, if it was ever seen.</summary>
    public Lane? Interrupt(Place place, Context level)
    {
        int index = place.Cpu * Levels + (int)level;
        return index < _processors.Length ? _processors[index] : null;
    }

    /// <summary>The line of a lane has been dealt with: tasks come and go, so what they leave must not pile up.</summary>
    public void Leave(Place place, Lane lane)
    {
        if (place is not { Context: Context.Task, Pid: > 0 }) return;
        if (lane.IsIdle)
            Drop(place.Pid, lane);
        else if (_tasks.Count > ManyTasks)
            DropEarly();
    }

    /// <summary>Every lane with a call that has not ended.</summary>
    public IEnumerable<Lane> Busy() => _tasks.Values.Concat(_processors.OfType<Lane>()).Where(lane => !lane.IsIdle);

    private Lane Make() => _free.TryPop(out Lane? lane) ? lane : new(_made++);

    private void Drop(int pid, Lane lane)
    {
        lane.Early = null;
        _tasks.Remove(pid);
        _free.Push(lane);
    }

    private void DropEarly()
    {
        foreach ((int pid, Lane lane) in _tasks)
        {
            if (lane.Unmapped.Count + lane.Decisions.Count + lane.Direct.Count == 0) Drop(pid, lane);
        }
    }
}
