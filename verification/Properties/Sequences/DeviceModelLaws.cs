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

    /// <summary>d0 has no IOMMU and is active in a one-to-one region that is backed at 0x11000; d1 is behind one.</summary>
    private static World Direct()
    {
        var iommu = new IommuModel(0xFFFF_FFFF_FFFF, []) { Memory = Memory, PasidCount = 8, Devices = [new() { IsTranslated = false }] };
        return Start(
            World.Create(iommu, 2), "v0 = vcm 0x10000-0x1ffff one-to-one", "v1 = vcm 0x10000-0x1ffff", "a0 = associate v0 d0", "activate a0",
            "m0 = wrap 0x11000-0x11fff", "r0 = reserve-at v0 0x11000 4K rw", "back r0 m0");
    }

    private static bool IsDefined(World world, string line) => world.IsDefined(Harness.Operations.OperationText.Parse(line).Operation);

    private static void AssertDone(World world, string line, ulong? reached) => Assert.True(Judge(world, line, new(Outcome.None) { Reached = reached }).IsAccepted);

    private static void AssertBroken(Invariant invariant, World world, string line, Observation seen) => Assert.Equal(invariant, Judge(world, line, seen).Broken);
}
