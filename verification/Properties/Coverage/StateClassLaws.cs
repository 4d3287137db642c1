using Harness.Coverage;
using Harness.Operations;
using Vcmm.Spec;

namespace Properties.Coverage;

/// <summary>What of a world matters to an operation.</summary>
public sealed class StateClassLaws
{
    private static readonly string[] Made =
    [
        "v0 = vcm 0x0-0xffff", "a0 = associate v0 d0", "r0 = reserve-at v0 0x0 8K rw", "m0 = allocate 4K of 4K", "b0 = bound v0 4K align 4K", "r1 = reserve-at v0 0x4000 8K rw",
    ];

    /// <summary>What an operation meets after others, in words.</summary>
    [Theory]
    [InlineData("unback r0", "Joined", "")]
    [InlineData("unback r0", "Joined, Active, PartlyBacked", "back r0 at 0 m0 at 0 for 4K", "activate a0")]
    [InlineData("unback r0", "Ended", "unreserve r0")]
    [InlineData("unback r0", "Joined, Shared", "acquire r0")]
    [InlineData("back r1 m0", "Joined", "")]
    [InlineData("back r1 m0", "Joined; Used", "back r0 at 0 m0 at 0 for 4K")]
    [InlineData("back r1 m0", "Joined, PartlyBacked; Used, Shared", "back r0 at 0 m0 at 0 for 4K", "back r1 at 0 m0 at 0 for 4K")]
    [InlineData("free m0", "Ended", "free m0")]
    [InlineData("free v0", "Joined, Used", "")]
    [InlineData("free v0", "Joined", "unreserve r0", "unreserve r1")]
    [InlineData("associate-it", "Joined, ManyFormats, Used; Joined", "a1 = associate v0 d1 first-stage")]
    [InlineData("activate a0", "", "")]
    [InlineData("activate a0", "Hooked", "hook d0 refuse")]
    [InlineData("activate a0", "Active", "activate a0")]
    [InlineData("free b0", "", "")]
    [InlineData("read d0 0x0", "Joined, Active", "activate a0")]
    [InlineData("read d0 0x0", "Joined, Waiting", "read d0 0x0")]
    public void An_operation_meets_what_was_done_before(string operation, string expected, params string[] before)
    {
        World world = World.Create(new(ulong.MaxValue >> 16, []) { OtherTables = [new(TableKind.FirstStage, ulong.MaxValue >> 17)] }, 2);
        foreach (string line in Made.Concat(before.Where(static line => line.Length != 0))) world = Do(world, line);
        Operation next = operation == "associate-it" ? new Associate(new(ObjectKind.Association, 9), new(ObjectKind.Vcm, 0), new(ObjectKind.Device, 0)) : OperationText.Parse(operation).Operation;
        Assert.Equal(expected, StateClass.Of(world, next).ToString());
    }

    /// <summary>Where things lie, and what they are called, makes no difference.</summary>
    [Fact]
    public void Names_and_places_do_not_matter()
    {
        World world = World.Create(new(ulong.MaxValue >> 16, []), 1);
        foreach (string line in (string[])["v0 = vcm 0x0-0xffff", "v1 = vcm 0x10000-0x2ffff", "r0 = reserve-at v0 0x0 4K rw", "r1 = reserve-at v1 0x14000 8K r"]) world = Do(world, line);
        Assert.Equal(StateClass.Of(world, new Unreserve(new(ObjectKind.Reservation, 0))), StateClass.Of(world, new Unreserve(new(ObjectKind.Reservation, 1))));
        Assert.NotEqual(StateClass.Of(world, new Unreserve(new(ObjectKind.Reservation, 0))), StateClass.Of(Do(world, "acquire r0"), new Unreserve(new(ObjectKind.Reservation, 0))));
    }

    private static World Do(World world, string line)
    {
        Operation operation = OperationText.Parse(line).Operation;
        Observation seen = operation switch
        {
            ReserveAt at => new(Outcome.None) { Ranges = [new(at.First, at.First + at.ByteCount - 1)] },
            AllocateMemory => new(Outcome.None) { Ranges = [new(0x1000, 0x1fff)] },
            CreateBound => new(Outcome.None) { Ranges = [new(0x8000, 0x8fff)] },
            DeviceAccess => new(Outcome.Fault),
            _ => new(Outcome.None),
        };
        Verdict<World> verdict = world.Judge(operation, seen, new(ulong.MaxValue));
        Assert.True(verdict.IsAccepted, $"{line}: {verdict}");
        return verdict.Next;
    }
}
