namespace Vcmm;

/// <summary>One of the locks of a region's reservations, and what its threads use again.</summary>
[LockRank(LockRank.Reservations)]
internal sealed class RegionStripe : ThinLock
{
    public readonly Stack<ReservationState> IdleStates = new();
}

// Which reservations and bounds there are is guarded by stripes: a thread that makes or ends one reservation takes its own, so
// that threads do not meet; who must see all of them at rest takes every one.
public sealed partial class Vcm
{
    private readonly RegionStripe[] _stripes;

    private RegionStripe OwnStripe =>
        _stripes[unchecked((uint)(Manager.Options.Thread?.Invoke() ?? ThreadNumber.Current)) % (uint)_stripes.Length];

    private static RegionStripe[] MakeStripes(int count)
    {
        var stripes = new RegionStripe[count];
        for (int i = 0; i < stripes.Length; i++) stripes[i] = new();
        return stripes;
    }

    /// <summary>Does something while no reservation and no bound is made or ended, and nobody is half way through it.</summary>
    private VcmmError Exclusively(Func<VcmmError> action, int held = 0)
    {
        if (held == _stripes.Length) return action();
        _stripes[held].Enter();
        try
        {
            return Exclusively(action, held + 1);
        }
        finally
        {
            _stripes[held].Exit();
        }
    }

    /// <summary>What is done while nobody works on any of a region's reservations.</summary>
    private delegate VcmmError AtRestAction(ReservationState[] states);

    /// <summary>Does something while no reservation is made, ended or worked on.</summary>
    /// <param name="action">Told every reservation.</param>
    private VcmmError AtRest(AtRestAction action) => Exclusively(() => HoldingAll([.. _reservations.All], action));

    private static VcmmError HoldingAll(ReservationState[] states, AtRestAction action)
    {
        Array.Sort(states, static (a, b) => a.Order.CompareTo(b.Order));
        int taken = 0;
        try
        {
            for (; taken < states.Length; taken++) Monitor.Enter(states[taken].Gate);
            return action(states);
        }
        finally
        {
            while (taken != 0) Monitor.Exit(states[--taken].Gate);
        }
    }
}
