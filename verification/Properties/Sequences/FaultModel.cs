using System.Collections.Immutable;
using Vcmm.Spec;
using static Properties.Sequences.ModelLaws;

namespace Properties.Sequences;

/// <summary>What the model says of faults: each blocked access is told once, to the hook of its device, unless the hardware had no room for it.</summary>
public sealed class FaultModel
{
    private static readonly ObjectId D0 = new(ObjectKind.Device, 0), D1 = new(ObjectKind.Device, 1);

    private static readonly GivenFault First = new(D0, D0, 0x1000, Permissions.Read) { Cause = FaultCauses.NotAttached };
    private static readonly GivenFault Second = new(D0, D0, 0x2000, Permissions.Write) { Cause = FaultCauses.NotAttached };

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
        Assert.Equal(Invariant.FaultExact, Dispatch(world, 3, First, Second, First with { Hook = D1, Device = D1, Page = 0x3000 }).Broken);
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

    /// <summary>What has a cause of its own, in tables that have a bit for what is present and in those that have none.</summary>
    [Theory]
    [InlineData(TableKind.SecondStage, "read d0 0x2000", FaultCauses.NotPermitted)]
    [InlineData(TableKind.SecondStage, "write d0 0x1000", FaultCauses.NotPermitted)]
    [InlineData(TableKind.SecondStage, "read d0 0x1000000000000", FaultCauses.OutOfRange | FaultCauses.NotPermitted)]
    [InlineData(TableKind.FirstStage, "read d0 0x2000", FaultCauses.NotMapped)]
    [InlineData(TableKind.FirstStage, "write d0 0x1000", FaultCauses.NotPermitted)]
    [InlineData(TableKind.FirstStage, "read d0 0x800000000000", FaultCauses.OutOfRange | FaultCauses.NotMapped)]
    [InlineData(TableKind.FirstStage, "read d0 as-supervisor 0x2000", FaultCauses.NotMapped | FaultCauses.NotPermitted)]
    [InlineData(TableKind.FirstStage, "read d1 0x1000", FaultCauses.NotAttached)]
    [InlineData(TableKind.FirstStage, "read d0 0xfee00000", FaultCauses.NotAttached | FaultCauses.NotPermitted)]
    public void A_blocked_access_is_told_for_one_of_its_causes(TableKind kind, string access, FaultCauses causes)
    {
        var first = new TableModel(TableKind.FirstStage, 0x7FFF_FFFF_FFFF) { TellsAbsent = true };
        World world = Start(
            World.Create(new(0xFFFF_FFFF_FFFF, [new(0xFEE0_0000, 0xFEEF_FFFF)]) { OtherTables = [first] }, 2), "hook d0 refuse", "hook d1 refuse",
            "v0 = vcm 0x0-0xffff", $"a0 = associate v0 d0{(kind == TableKind.FirstStage ? " first-stage" : "")}", "activate a0",
            "m0 = wrap 0x11000-0x11fff", "r0 = reserve-at v0 0x1000 4K r", "back r0 m0");
        world = Judge(world, access, new(Outcome.Fault)).Next;
        PendingFault pending = Assert.Single(world.Faults);
        Assert.Equal(causes, pending.Causes);
        foreach (FaultCauses cause in Enum.GetValues<FaultCauses>())
        {
            Verdict<World> told = Dispatch(world, 1, new GivenFault(pending.Device, pending.Device, pending.Page, pending.Access) { Cause = cause });
            Assert.Equal(cause != FaultCauses.None && causes.HasFlag(cause), told.IsAccepted);
            if (!told.IsAccepted) Assert.Equal(Invariant.FaultExact, told.Broken);
        }
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
