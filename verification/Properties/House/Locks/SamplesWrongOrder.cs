// Code that is wrong on purpose, one mistake a class: the outer lock is taken under the inner one, by a way that is easily overlooked.
namespace Properties.House.Locks.Samples;

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
