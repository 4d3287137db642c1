using Vcmm.Spec;
using static Properties.Sequences.ModelLaws;

namespace Properties.Sequences;

/// <summary>What the model says of devices that are not plain ones.</summary>
public sealed class DeviceModelLaws
{
    private static readonly AddressRange Memory = new(0x10000, 0x1FFFF);

    [Theory]
    [InlineData("a1 = associate v1 d0", Outcome.Invalid)]
    [InlineData("a1 = associate v0 d0 second-stage", Outcome.Invalid)]
    [InlineData("a1 = associate v0 d1 identity", Outcome.Invalid)]
    [InlineData("a1 = associate v0 d0 pasid 1", Outcome.Invalid)]
    [InlineData("a1 = associate v0 d0 identity", Outcome.Busy)]
    [InlineData("r1 = reserve-at v0 0x14000 4K r", Outcome.Invalid)]
    [InlineData("protect r0 r", Outcome.Invalid)]
    [InlineData("activate a0", Outcome.Busy)]
    public void What_a_device_without_an_iommu_cannot_be_held_to_is_refused(string line, Outcome outcome) => Assert.Equal(outcome, Refusal(Direct(), line));

    [Fact]
    public void A_device_without_an_iommu_reaches_what_it_was_given_and_can_be_kept_from_nothing()
    {
        World world = Direct();
        AssertDone(world, "read d0 0x11000", 0x11000);
        AssertDone(world, "write d0 0x11ff8", 0x11ff8);
        AssertBroken(Invariant.TablesAreTruth, world, "read d0 0x11000", new(Outcome.None) { Reached = 0x12000 });
        AssertBroken(Invariant.TablesAreTruth, world, "read d0 0x11000", new(Outcome.None));
        AssertBroken(Invariant.TablesAreTruth, world, "write d0 0x11000", new(Outcome.Fault));
        // Elsewhere it reaches what it names, whose ever it is, if there is memory at all.
        AssertDone(world, "read d0 0x18000", 0x18000);
        AssertDone(world, "read d0 0x18000", null);
        AssertBroken(Invariant.Isolation, world, "read d0 0x18000", new(Outcome.None) { Reached = 0x11000 });
        AssertBroken(Invariant.Isolation, world, "read d0 0x18000", new(Outcome.Fault));
        Assert.True(Judge(world, "read d0 0x20000", new(Outcome.Fault)).IsAccepted);
        AssertBroken(Invariant.Isolation, world, "read d0 0x20000", new(Outcome.None));
        // What it writes there is for its owner to see to.
        Assert.False(IsDefined(world, "write d0 0x18000"));
        Assert.False(IsDefined(world, "read d0 pasid 1 0x11000"));
        Assert.True(IsDefined(world, "write d0 0x11000"));
        Assert.False(IsDefined(world, "v2 = adopt v0 identity"));
        // Nobody is told of anything.
        World read = Judge(Judge(world, "hook d0 refuse", new(Outcome.None)).Next, "read d0 0x20000", new(Outcome.Fault)).Next;
        Assert.True(Judge(read, "dispatch", new(Outcome.None)).IsAccepted);
        Assert.False(Judge(read, "dispatch", new(Outcome.None) { FaultCount = 1 }).IsAccepted);
    }

    [Fact]
    public void What_a_device_may_not_reach_waits_until_it_is_told_and_answered()
    {
        World world = Paging();
        // What is mapped must not wait; what is not must, unless the device does not ask, and then nothing is recorded.
        AssertBroken(Invariant.TablesAreTruth, world, "read d0 0x1000", new(Outcome.Waits));
        AssertBroken(Invariant.FaultExact, world, "read d0 0x2000", new(Outcome.Fault));
        Assert.True(Judge(Judge(world, "read d0 0x2000 at-once", new(Outcome.Fault)).Next, "dispatch", new(Outcome.None)).IsAccepted);
        AssertBroken(Invariant.FaultExact, world, "read d0 0x2000 at-once", new(Outcome.Waits));
        // In an address space that it does not have, it is blocked, and a translation request is recorded: a read.
        World blocked = Judge(world, "write d0 pasid 5 0x1000", new(Outcome.Fault)).Next;
        AssertBroken(Invariant.FaultExact, world, "write d0 pasid 5 0x1000", new(Outcome.Waits));
        Assert.Equal(Permissions.Read, Assert.Single(blocked.Faults).Access);

        World waits = Judge(world, "write d0 0x2000", new(Outcome.Waits)).Next;
        EndedAccess failed = new(0, Outcome.Fault, null), done = new(0, Outcome.None, 0x12000);
        GivenFault refused = new(D0, D0, 0x2000, Permissions.Write) { Waits = true }, again = refused with { IsRetried = true };
        // Nobody has answered yet.
        AssertBroken(Invariant.FaultExact, waits, "poll", new(Outcome.None) { Ended = [failed] });
        Assert.Equal(Invariant.FaultExact, Dispatch(waits).Broken);
        Assert.True(Dispatch(waits, [refused], [failed]).IsAccepted);
        Assert.Equal(Invariant.Progress, Dispatch(waits, [refused]).Broken);
        Assert.NotEqual(default, Dispatch(waits, [refused], [done]).Broken);
        Assert.Equal(Invariant.FaultExact, Dispatch(waits, [again], [failed]).Broken);
        Assert.Equal(Invariant.FaultExact, Dispatch(waits, [refused, refused], [failed]).Broken);
        Assert.Equal(Invariant.FaultExact, Dispatch(waits, [refused with { Access = Permissions.Read }], [failed]).Broken);
        // Tried again, and nothing is there: it asks again.
        World still = Dispatch(waits, [again]).Next;
        Assert.Equal(0, Assert.Single(still.Waiting).Number);
        // What is mapped meanwhile it reaches when it is told and answered, and not before.
        World backed = Start(still, "m1 = wrap 0x12000-0x12fff", "back r1 m1");
        AssertBroken(Invariant.FaultExact, backed, "poll", new(Outcome.None) { Ended = [done] });
        Assert.Equal(Invariant.Progress, Dispatch(backed, [again]).Broken);
        Assert.Equal(Invariant.TablesAreTruth, Dispatch(backed, [again], [failed]).Broken);
        Assert.False(Dispatch(backed, [again], [done with { Reached = 0x13000 }]).IsAccepted);
        Assert.Empty(Dispatch(backed, [again], [done]).Next.Waiting);
    }

    [Fact]
    public void The_end_of_an_address_space_ends_what_waits_in_it_and_nothing_else()
    {
        World waits = Judge(Start(Paging(), "a1 = associate v0 d0 pasid 1", "activate a1"), "read d0 0x2000", new(Outcome.Waits)).Next;
        waits = Judge(waits, "read d0 pasid 1 0x2000", new(Outcome.Waits)).Next;
        EndedAccess first = new(0, Outcome.Fault, null), second = new(1, Outcome.Fault, null);
        AssertBroken(Invariant.Progress, waits, "deactivate a0", new(Outcome.None));
        AssertBroken(Invariant.FaultExact, waits, "deactivate a0", new(Outcome.None) { Ended = [first, second] });
        Assert.Equal(1, Assert.Single(Judge(waits, "deactivate a0", new(Outcome.None) { Ended = [first] }).Next.Waiting).Number);
        // Where the hardware fails nobody knows.
        Verdict<World> unsure = waits.Judge(Parse("deactivate a0"), new(Outcome.HardwareFailure), new(ulong.MaxValue, HardwareFails: true));
        Assert.True(unsure.Next.Waiting[0].MayBeOver);
        Assert.True(Judge(unsure.Next, "poll", new(Outcome.None) { Ended = [first] }).IsAccepted);
        AssertBroken(Invariant.FaultExact, unsure.Next, "poll", new(Outcome.None) { Ended = [second] });
    }

    [Fact]
    public void An_access_under_an_id_that_nobody_has_reaches_nothing_and_is_counted_and_told_to_nobody()
    {
        World world = Paging();
        AssertBroken(Invariant.Isolation, world, "read d0 as-nobody 0x1000", new(Outcome.None) { Reached = 0x11000 });
        AssertBroken(Invariant.FaultExact, world, "read d0 as-nobody 0x2000", new(Outcome.Waits));
        World blocked = Judge(world, "write d0 as-nobody 0x1000", new(Outcome.Fault)).Next;
        Assert.True(Judge(blocked, "dispatch", new(Outcome.None) { FaultCount = 1 }).IsAccepted);
        AssertBroken(Invariant.FaultExact, blocked, "dispatch", new(Outcome.None));
        AssertBroken(Invariant.FaultExact, blocked, "dispatch", new(Outcome.None) { FaultCount = 1, Faults = [new(D0, D0, 0x1000, Permissions.Write)] });
    }

    private static readonly ObjectId D0 = new(ObjectKind.Device, 0);

    private static Verdict<World> Dispatch(World world, GivenFault[]? given = null, EndedAccess[]? ended = null) =>
        Judge(world, "dispatch", new(Outcome.None) { Faults = [.. given ?? []], FaultCount = given?.Length ?? 0, Ended = [.. ended ?? []] });

    /// <summary>d0 asks for pages, has a hook, and is active in a region that is backed at 0x1000 and reserved at 0x2000.</summary>
    private static World Paging()
    {
        var iommu = new IommuModel(0xFFFF_FFFF_FFFF, []) { PasidCount = 8, Devices = [new() { HasTlb = true, AsksForPages = true }] };
        return Start(
            World.Create(iommu, 1), "v0 = vcm 0x0-0xffff", "a0 = associate v0 d0", "activate a0", "hook d0 retry",
            "m0 = wrap 0x11000-0x11fff", "r0 = reserve-at v0 0x1000 4K rw", "back r0 m0", "r1 = reserve-at v0 0x2000 4K rw");
    }

    /// <summary>d0 has no IOMMU and is active in a one-to-one region that is backed at 0x11000; d1 is behind one.</summary>
    private static World Direct()
    {
        var iommu = new IommuModel(0xFFFF_FFFF_FFFF, []) { Memory = Memory, PasidCount = 8, Devices = [new() { IsTranslated = false }] };
        return Start(
            World.Create(iommu, 2), "v0 = vcm 0x10000-0x1ffff one-to-one", "v1 = vcm 0x10000-0x1ffff", "a0 = associate v0 d0", "activate a0",
            "m0 = wrap 0x11000-0x11fff", "r0 = reserve-at v0 0x11000 4K rw", "back r0 m0");
    }

    private static bool IsDefined(World world, string line) => world.IsDefined(Parse(line));

    private static Operation Parse(string line) => Harness.Operations.OperationText.Parse(line).Operation;

    private static void AssertDone(World world, string line, ulong? reached) => Assert.True(Judge(world, line, new(Outcome.None) { Reached = reached }).IsAccepted);

    private static void AssertBroken(Invariant invariant, World world, string line, Observation seen) => Assert.Equal(invariant, Judge(world, line, seen).Broken);
}
