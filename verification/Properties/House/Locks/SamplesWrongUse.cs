// Code that is wrong on purpose, one mistake a class: locks that nobody can put in order, and what is done while one is held.
using Vcmm.Vtd;

namespace Properties.House.Locks.Samples;

#pragma warning disable CS9237 // yield in a lock: it is one of the mistakes

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
