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
}
