// Code that is wrong on purpose, one mistake a class, and code that is right: what the check of the locks is held to.
using Vcmm.Vtd;

namespace Properties.House.Locks.Samples;

#pragma warning disable CS9237 // yield in a lock: it is one of the mistakes

[RunsUnderLocks(typeof(Func<long>), "a clock")]
[TalksToAnother(typeof(RightLocks), "the one behind")]
internal enum LockRank
{
    [HeldAcrossWait("it is the outer one", In = "RightLocks.WaitUnderTheOuterLock")]
    Outer,

    [HeldTwice("in order", In = "RightLocks.TakeBoth")]
    [HeldTwice("in order", In = "RightLocks.TakeAllInALoop")]
    Middle,

    Inner,
}

[AttributeUsage(AttributeTargets.Field | AttributeTargets.Class)]
internal sealed class LockRankAttribute(LockRank rank) : Attribute
{
    public LockRank Rank { get; } = rank;
}

[AttributeUsage(AttributeTargets.Field)]
internal sealed class HeldAcrossWaitAttribute(string reason) : Attribute
{
    public string Reason { get; } = reason;

    public string? In { get; init; }
}

[AttributeUsage(AttributeTargets.Field, AllowMultiple = true)]
internal sealed class HeldTwiceAttribute(string reason) : Attribute
{
    public string Reason { get; } = reason;

    public required string In { get; init; }
}

[AttributeUsage(AttributeTargets.Enum)]
internal sealed class RunsUnderLocksAttribute(Type callback, string reason) : Attribute
{
    public Type Callback { get; } = callback;

    public string Reason { get; } = reason;
}

[AttributeUsage(AttributeTargets.Enum)]
internal sealed class TalksToAnotherAttribute(Type type, string reason) : Attribute
{
    public Type Type { get; } = type;

    public string Reason { get; } = reason;
}

public abstract class Pair
{
    [LockRank(LockRank.Outer)]
    protected readonly object OuterGate = new();

    [LockRank(LockRank.Inner)]
    protected readonly object InnerGate = new();

    protected int Count { get; set; }

    public void TakeOuter()
    {
        lock (OuterGate) Count++;
    }
}

/// <summary>Everything that looks like a mistake and is none.</summary>
public sealed class RightLocks(Func<long> clock, RightLocks.IBehind? behind) : Pair, RightLocks.IBehind
{
    public interface IBehind
    {
        void Take();
    }

    public void Take()
    {
        lock (OuterGate)
        {
            lock (InnerGate) behind?.Take();
        }
    }

    [LockRank(LockRank.Middle)]
    private readonly object[] _middleGates = [new(), new()];

    public int InOrder(int most)
    {
        lock (OuterGate)
        {
            foreach (object middle in _middleGates)
            {
                lock (middle)
                {
                    if (Count > most) return most;
                    lock (InnerGate) Count++;
                }
            }
        }

        return Count;
    }

    public void OneAfterTheOther()
    {
        lock (InnerGate)
        {
            if (Count == 0) throw new InvalidOperationException($"{Count}");
        }

        TakeOuter();
    }

    public void AfterAThrow()
    {
        try
        {
            lock (InnerGate) Count = checked(Count * 2);
        }
        catch (OverflowException)
        {
            TakeOuter();
        }
    }

    public void TakeBoth()
    {
        lock (_middleGates[0])
        {
            lock (_middleGates[1]) Count++;
            lock (InnerGate) Count++;
        }

        TakeOuter();
    }

    public void TakeAllInALoop()
    {
        int taken = 0;
        try
        {
            for (; taken < 1; taken++) Monitor.Enter(_middleGates[taken]);
        }
        finally
        {
            while (taken != 0) Monitor.Exit(_middleGates[--taken]);
        }

        TakeOuter();
    }

    public void WaitUnderTheOuterLock(IWaitPolicy policy)
    {
        lock (OuterGate) policy.KeepWaiting(policy.Begin(), 1);
    }

    public long ReadTheClock()
    {
        lock (InnerGate) return clock();
    }
}

/// <summary>Known by its name and those of its methods.</summary>
public class ThinLock
{
    private int _held;

    public void Enter() => _held++;

    public void Exit() => _held--;
}

internal sealed class AThinLock : Pair
{
    [LockRank(LockRank.Inner)]
    private readonly ThinLock _thin = new();

    public void Start()
    {
        _thin.Enter();
        try
        {
            TakeOuter();
        }
        finally
        {
            _thin.Exit();
        }

        TakeOuter();
    }
}

internal sealed class AThinLockOfAClass : Pair
{
    private readonly Slot _slot = new();

    public void Start()
    {
        _slot.Enter();
        try
        {
            TakeOuter();
        }
        finally
        {
            _slot.Exit();
        }

        TakeOuter();
    }

    [LockRank(LockRank.Inner)]
    private sealed class Slot : ThinLock;
}

internal sealed class ThroughTwoCalls : Pair
{
    public void Start()
    {
        lock (InnerGate) Continue();
    }

    private void Continue() => TakeOuter();
}

internal sealed class ThroughAnInterface : Pair, ThroughAnInterface.IPort
{
    internal interface IPort
    {
        void Call();
    }

    public void Start(IPort port)
    {
        lock (InnerGate) port.Call();
    }

    void IPort.Call() => TakeOuter();
}

internal sealed class ThroughAnOverride : Pair
{
    public void Start(Base called)
    {
        lock (InnerGate) called.Call();
    }

    internal abstract class Base
    {
        public abstract void Call();
    }

    internal sealed class Derived(Pair pair) : Base
    {
        public override void Call() => pair.TakeOuter();
    }
}

/// <summary>The lock is held by the one, the lambda made by the other.</summary>
internal sealed class ThroughALambda : Pair
{
    public void Start(int by) => Run(number => Take(number + by));

    private void Run(Func<int, int> run)
    {
        lock (InnerGate) Count = run(Count);
    }

    private int Take(int number)
    {
        lock (OuterGate) return number;
    }
}

internal sealed class ThroughAMethodGroup : Pair
{
    public void Start() => Run(TakeOuter);

    private void Run(Action run)
    {
        lock (InnerGate) run();
    }
}

internal sealed class ThroughTheRuntime : Pair
{
    public bool Start(List<int> list)
    {
        lock (InnerGate) return list.Exists(IsTaken);
    }

    private bool IsTaken(int number)
    {
        lock (OuterGate) return number == Count;
    }
}

internal sealed class ThroughAnIterator : Pair
{
    public int Start()
    {
        lock (InnerGate) return All().Sum();
    }

    private IEnumerable<int> All()
    {
        lock (OuterGate) Count++;
        yield return Count;
    }
}

internal sealed class ThroughAnAsyncMethod : Pair
{
    public Task Start()
    {
        lock (InnerGate) return Take();
    }

    private async Task Take()
    {
        TakeOuter();
        await Task.CompletedTask;
    }
}

internal sealed class ThroughAConstructor : Pair
{
    public object Start()
    {
        lock (InnerGate) return new Made(this);
    }

    internal sealed class Made
    {
        public Made(Pair pair) => pair.TakeOuter();
    }
}

internal sealed class ThroughDispose : Pair
{
    public void Start()
    {
        lock (InnerGate)
        {
            using var scope = new Scope(this);
            Count++;
        }
    }

    internal sealed class Scope(Pair pair) : IDisposable
    {
        public void Dispose() => pair.TakeOuter();
    }
}

internal sealed class ThroughAnInterpolation : Pair
{
    public string Start()
    {
        lock (InnerGate) return $"it is {this}";
    }

    public override string ToString()
    {
        lock (OuterGate) return "it";
    }
}

internal sealed class ThroughATypeInitializer : Pair
{
    public int Start()
    {
        lock (InnerGate) return Holder.Number;
    }

    internal static class Holder
    {
        public static readonly int Number;

        static Holder()
        {
            var pair = new ThroughATypeInitializer();
            pair.TakeOuter();
            Number = pair.Count;
        }
    }
}

internal sealed class ThroughAnotherOfItsKind(ThroughAnotherOfItsKind.IBehind behind) : Pair, ThroughAnotherOfItsKind.IBehind
{
    internal interface IBehind
    {
        void Take();
    }

    public void Take()
    {
        lock (InnerGate) behind.Take();
    }
}

/// <summary>What a callee leaves held is held.</summary>
internal sealed class LeftHeld : Pair
{
    public void Start()
    {
        Enter();
        TakeOuter();
        Exit();
        TakeOuter();
    }

    private void Enter() => Monitor.Enter(InnerGate);

    private void Exit() => Monitor.Exit(InnerGate);
}

internal sealed class InACatch : Pair
{
    public void Start()
    {
        lock (InnerGate)
        {
            try
            {
                Count = checked(Count * 2);
            }
            catch (OverflowException)
            {
                TakeOuter();
            }
        }
    }
}

internal sealed class NoRank
{
    private readonly object _gate = new();
    private int _count;

    public void Start()
    {
        lock (_gate) _count++;
    }
}

internal sealed class NoField
{
    private int _count;

    public void Start(object gate)
    {
        lock (gate) _count++;
    }
}

internal sealed class ItselfWithoutRank
{
    private int _count;

    public void Start()
    {
        lock (this) _count++;
    }
}

internal sealed class TheSameTwice : Pair
{
    public void Start(TheSameTwice other)
    {
        lock (InnerGate) other.Take();
    }

    private void Take()
    {
        lock (InnerGate) Count++;
    }
}

internal sealed class TheSameInALoop
{
    [LockRank(LockRank.Middle)]
    private readonly object[] _gates = [new(), new()];

    public void Start()
    {
        foreach (object gate in _gates) Monitor.Enter(gate);
        foreach (object gate in _gates) Monitor.Exit(gate);
    }
}

internal sealed class AWait : Pair
{
    public void Start(IWaitPolicy policy)
    {
        lock (InnerGate) Wait(policy);
    }

    private static void Wait(IWaitPolicy policy) => policy.KeepWaiting(policy.Begin(), 1);
}

/// <summary>Allowed to another method.</summary>
internal sealed class AWaitElsewhere : Pair
{
    public void Start(Platform.IMmio registers)
    {
        lock (OuterGate) registers.Read32(0);
    }
}

public sealed class ACallback
{
    [LockRank(LockRank.Inner)]
    private readonly object _gate = new();

    public Func<string, int>? Hook { get; set; }

    public void Start()
    {
        lock (_gate) Call();
    }

    private void Call() => Hook?.Invoke("");
}

public sealed class ACollection
{
    [LockRank(LockRank.Inner)]
    private readonly object _gate = new();

    public void Start(ICollection<string> names)
    {
        lock (_gate) names.Add("");
    }
}

internal sealed class ACallbackInterface : Pair
{
    internal interface IQuarantined
    {
        void Release();
    }

    public void Start(IQuarantined quarantined)
    {
        lock (InnerGate) quarantined.Release();
    }
}

internal sealed class AYield : Pair
{
    public IEnumerable<int> Start()
    {
        lock (InnerGate)
        {
            yield return 1;
            Count++;
        }
    }
}

internal sealed class AnAwait : Pair
{
    public async Task Start(Task other)
    {
        Monitor.Enter(InnerGate);
        await other;
        Monitor.Exit(InnerGate);
    }
}
