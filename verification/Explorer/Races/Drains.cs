using Microsoft.Coyote.Rewriting;

namespace Explorer.Races;

/// <summary>
/// What comes before the end of a wait, or of a shootdown: of each agent that accesses memory as hardware all it had done when it was told to forget, and an access that was under
/// way then to its end.
/// </summary>
/// <param name="clocks">Of the agents.</param>
[SkipRewriting("Looking on adds no steps to the schedule.")]
internal sealed class Drains(VectorClocks clocks)
{
    // VT-d specification, "Queued Invalidation Interface": the type of a descriptor is in its bits 3:0; of one for the IOTLB bits 7:6 say whether reads and writes are drained,
    // and of the others all are.
    private const ulong TypeMask = 0xF, Iotlb = 2, DeviceTlb = 3, PasidIotlb = 6, PasidDeviceTlb = 8, Both = 0xC0;

    // Places beside those of the races.
    private const ulong Drained = 18, DrainedCores = 22;

    private readonly Party[] _parties = new Party[VectorClocks.Most];
    private bool _isTold;

    /// <summary>Whether a descriptor with that low word lets accesses end.</summary>
    public static bool IsDrainedBy(ulong descriptor) => (descriptor & TypeMask) switch
    {
        Iotlb => (descriptor & Both) == Both,
        DeviceTlb or PasidIotlb or PasidDeviceTlb => true,
        _ => false,
    };

    /// <summary>The calling agent begins to access memory.</summary>
    public void BeginAccess(bool isOfCore)
    {
        lock (clocks.Gate)
        {
            if (clocks.Caller() is not VectorClocks.Nobody and var agent)
                _parties[agent] = new() { IsHardware = true, IsCore = isOfCore, IsUnderWay = true };
        }
    }

    /// <summary>It has ended.</summary>
    public void EndAccess()
    {
        lock (clocks.Gate)
        {
            if (clocks.Caller() is not VectorClocks.Nobody and var agent) Leave(ref _parties[agent], agent, isOver: true);
        }
    }

    /// <summary>An invalidation takes effect before the next command is fetched.</summary>
    public void Tell() => _isTold = true;

    /// <summary>If one has: it drains what is under way.</summary>
    public void BeginIfTold()
    {
        if (_isTold) Begin(isOfCores: false);
        _isTold = false;
    }

    /// <summary>What is under way is drained from here on.</summary>
    public void Begin(bool isOfCores)
    {
        lock (clocks.Gate)
        {
            for (int agent = 0; agent < clocks.Count; agent++)
            {
                ref Party party = ref _parties[agent];
                if (!party.IsHardware || party.IsCore != isOfCores) continue;
                party.IsDrained = party.IsUnderWay;
                clocks.Release(agent, PlaceOf(isOfCores));
            }
        }
    }

    /// <summary>It is drained, for the calling agent.</summary>
    public void End(bool isOfCores)
    {
        lock (clocks.Gate)
        {
            for (int agent = 0; agent < clocks.Count; agent++)
            {
                ref Party party = ref _parties[agent];
                if (party.IsHardware && party.IsCore == isOfCores) Leave(ref party, agent, isOver: false);
            }

            clocks.Acquire(clocks.Caller(), PlaceOf(isOfCores));
        }
    }

    private void Leave(ref Party party, int agent, bool isOver)
    {
        if (party.IsDrained) clocks.Release(agent, PlaceOf(party.IsCore));
        party.IsDrained = false;
        if (isOver) party.IsUnderWay = false;
    }

    private static ulong PlaceOf(bool isOfCores) => isOfCores ? DrainedCores : Drained;

    private struct Party
    {
        public bool IsHardware, IsCore, IsUnderWay, IsDrained;
    }
}
