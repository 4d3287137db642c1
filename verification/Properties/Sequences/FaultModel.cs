using System.Collections.Immutable;
using Vcmm.Spec;
using static Properties.Sequences.ModelLaws;

namespace Properties.Sequences;

/// <summary>What the model says of faults: each blocked access is told once, to the hook of its device, unless the hardware had no room for it.</summary>
public sealed class FaultModel
{
    private static readonly ObjectId D0 = new(ObjectKind.Device, 0), D1 = new(ObjectKind.Device, 1);

    private static readonly GivenFault First = new(D0, D0, 0x1000, Permissions.Read), Second = new(D0, D0, 0x2000, Permissions.Write);

    [Fact]
    public void Every_blocked_access_is_told_once()
    {
        World world = Blocked(isExact: true);
        Assert.True(Dispatch(world, 3, First, Second).IsAccepted);
        Assert.Equal(Invariant.FaultExact, Dispatch(world, 3, First).Broken);
        Assert.Equal(Invariant.FaultExact, Dispatch(world, 3, Second, First).Broken);
        Assert.Equal(Invariant.FaultExact, Dispatch(world, 3, First, First, Second).Broken);
        Assert.Equal(Invariant.FaultExact, Dispatch(world, 3, First with { Hook = D1 }, Second).Broken);
        Assert.Equal(Invariant.FaultExact, Dispatch(world, 3, First, Second with { Access = Permissions.Read }).Broken);
        // The one without a hook is counted, and not given.
        Assert.Equal(Invariant.FaultExact, Dispatch(world, 2, First, Second).Broken);
        Assert.Equal(Invariant.FaultExact, Dispatch(world, 3, First, Second, new(D1, D1, 0x3000, Permissions.Read)).Broken);
        World told = Dispatch(world, 3, First, Second).Next;
        Assert.Equal(Invariant.FaultExact, Dispatch(told, 1, First).Broken);
        Assert.True(Dispatch(told, 0).IsAccepted);
    }

    [Fact]
    public void What_was_lost_is_not_told_and_nothing_else_is_told_instead()
    {
        World world = Blocked(isExact: true);
        Observation lost = new(Outcome.None) { FaultsLost = true, FaultCount = 1 };
        Assert.True(Judge(world, "dispatch", lost with { Faults = [First] }).IsAccepted);
        Assert.True(Judge(world, "dispatch", lost with { Faults = [Second] }).IsAccepted);
        Assert.Equal(Invariant.FaultExact, Judge(world, "dispatch", lost with { Faults = [First with { Page = 0x4000 }] }).Broken);
        Assert.Equal(Invariant.FaultExact, Judge(world, "dispatch", lost with { FaultCount = 4 }).Broken);
        // Hardware that forgets without a word is known by name.
        Assert.True(Dispatch(Blocked(isExact: false), 1, Second).IsAccepted);
        Assert.Equal(Invariant.FaultExact, Dispatch(Blocked(isExact: false), 3, Second, First).Broken);
    }

    private static World Blocked(bool isExact)
    {
        World world = World.Create(new(0xFFFF_FFFF_FFFF, []), 2, new() { FaultsAreExact = isExact });
        world = Judge(world, "hook d0 refuse", new(Outcome.None)).Next;
        foreach (string step in new[] { "read d0 0x1808", "write d0 0x2000", "read d1 0x3000" }) world = Judge(world, step, new(Outcome.Fault)).Next;
        return world;
    }

    private static Verdict<World> Dispatch(World world, int count, params GivenFault[] given) =>
        Judge(world, "dispatch", new(Outcome.None) { Faults = ImmutableArray.Create(given), FaultCount = count });
}
