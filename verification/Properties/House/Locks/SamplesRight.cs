// Locks with ranks, and code that takes them rightly: what the check of the locks is held to. The mistakes are in the files beside this one.
using Vcmm.Vtd;

namespace Properties.House.Locks.Samples;

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
