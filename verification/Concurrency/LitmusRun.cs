using Explorer.Machines;
using Explorer.Scheduling;
using Platform;

namespace Concurrency;

/// <summary>What a program does between two accesses.</summary>
public enum Between
{
    /// <summary>Nothing.</summary>
    Nothing,

    /// <summary>A fence.</summary>
    Fence,

    /// <summary>Cleans what it wrote.</summary>
    Clean,

    /// <summary>Cleans what it wrote, then fences.</summary>
    CleanAndFence,

    /// <summary>Fences, then cleans what it wrote.</summary>
    FenceAndClean,

    /// <summary>A compare-exchange of something else.</summary>
    CompareExchange,

    /// <summary>Cleans what it wrote, then a compare-exchange of something else.</summary>
    CleanAndCompareExchange,
}

/// <summary>One schedule of a litmus program: two words in lines of their own, a doorbell, and what was seen.</summary>
public sealed class LitmusRun
{
    private static readonly PhysRange Range = PhysRange.FromLength(new(0x1000), 0x1000);
    private static readonly MemoryPool Pool = new(Range);

    private readonly WeakMemory? _weak;
    private readonly List<(string Name, Action Body)> _agents = [];
    private readonly SortedDictionary<int, ulong> _seen = [];
    private PhysAddr[] _atEnd = [];
    private bool _rung;

    private LitmusRun(MemoryModel model, bool processorsSynchronize)
    {
        Pool.Reset();
        _weak = model == MemoryModel.Sequential ? null : new(Pool, model, processorsSynchronize);
    }

    /// <summary>A word.</summary>
    public PhysAddr X { get; } = Range.First;

    /// <summary>A word in another line.</summary>
    public PhysAddr Y { get; } = Range.First + 0x100;

    private PhysAddr Other { get; } = Range.First + 0x200;

    /// <summary>What each schedule ended with, in order.</summary>
    public static IReadOnlyList<string> Outcomes(
        MemoryModel model, Strategy strategy, int schedules, bool processorsSynchronize, Action<LitmusRun> program)
    {
        var outcomes = new List<string>();
        Exploration result = Controlled.Explore(new(strategy, 1, schedules), _ =>
        {
            var run = new LitmusRun(model, processorsSynchronize);
            program(run);
            outcomes.Add(run.Run());
        });
        Assert.Null(result.Failure);
        Assert.Empty(result.Uncontrolled);
        Assert.Equal(schedules, outcomes.Count);
        return outcomes;
    }

    /// <summary>A thread with a store buffer.</summary>
    public void Processor(int number, Action<ControlledMemory> body) => Agent($"cpu {number}", MemorySide.Processor, body);

    /// <summary>Somebody who uses memory.</summary>
    public void Agent(string name, MemorySide side, Action<ControlledMemory> body) =>
        _agents.Add((name, () => body(new(Pool, new Unwatched(), _weak, side))));

    /// <summary>A device that does nothing before its doorbell rings.</summary>
    public void AtDoorbell(MemorySide side, Action<ControlledMemory> body) => Agent("device", side, memory =>
    {
        Controlled.WaitUntil(() => _rung);
        body(memory);
    });

    /// <summary>Writes the doorbell register.</summary>
    public void Ring()
    {
        Controlled.Step();
        _rung = true;
    }

    /// <summary>Does what is between two accesses.</summary>
    public void Order(ControlledMemory memory, PhysAddr written, Between between)
    {
        if (between == Between.FenceAndClean) memory.Fence();
        if (between is Between.Clean or Between.CleanAndFence or Between.FenceAndClean or Between.CleanAndCompareExchange)
            memory.Clean(PhysRange.FromLength(written, sizeof(ulong)));
        if (between is Between.Fence or Between.CleanAndFence) memory.Fence();
        if (between is Between.CompareExchange or Between.CleanAndCompareExchange) memory.CompareExchange64(Other, 1, 0);
    }

    /// <summary>Puts down what was read, in a place of the outcome.</summary>
    public void See(int place, ulong value) => _seen[place] = value;

    /// <summary>The outcome is what is there once everything has arrived.</summary>
    public void SeeAtEnd(params PhysAddr[] words) => _atEnd = words;

    private string Run()
    {
        _weak?.Begin();
        Task[] tasks = [.. _agents.Select(agent => Task.Run(() =>
        {
            Attempt.Agent = agent.Name;
            agent.Body();
        }))];
        Task.WaitAll(tasks);
        Attempt.Agent = Attempt.SetUpAgent;
        _weak?.End();
        for (int i = 0; i < _atEnd.Length; i++) See(i, Pool.Port.Read64(_atEnd[i]));
        return string.Join(' ', _seen.Values);
    }

    private sealed class Unwatched : IMemoryObserver
    {
        public void WordRead(PhysAddr address, ulong value)
        {
        }

        public void WordWritten(PhysAddr address, ulong value)
        {
        }

        public void BytesMoved(PhysAddr address, int byteCount, bool toMemory)
        {
        }
    }
}
