using Vcmm.Spec;
using static Properties.Sequences.ModelLaws;

namespace Properties.Sequences;

/// <summary>What the model says of a deferred region: what waits for a flush, who may see it, and who must not have it.</summary>
public sealed class FlushModel
{
    private static readonly string[] Unbacked =
    [
        "v0 = vcm 0x0-0xffff deferred", "b0 = bound v0 16K align 4K", "r0 = reserve-at v0 0x8000 8K r", "m0 = wrap 0x10000-0x11fff", "back r0 m0", "a0 = associate v0 d0",
        "activate a0", "unback r0 at 4K for 4K",
    ];

    [Fact]
    public void Until_the_flush_a_device_sees_the_old_or_nothing()
    {
        World world = Start(Unbacked);
        Assert.True(Judge(world, "read d0 0x9000", new(Outcome.None) { Reached = 0x11000 }).IsAccepted);
        Assert.True(Judge(world, "read d0 0x9000", new(Outcome.Fault)).IsAccepted);
        // Never a third, nor more than was granted, nor less of what is still there.
        Assert.Equal(Invariant.TablesAreTruth, Judge(world, "read d0 0x9000", new(Outcome.None) { Reached = 0x10000 }).Broken);
        Assert.False(Judge(world, "write d0 0x9000", new(Outcome.None) { Reached = 0x11000 }).IsAccepted);
        Assert.False(Judge(world, "read d0 0x8000", new(Outcome.Fault)).IsAccepted);
        World flushed = Judge(world, "flush v0", new(Outcome.None)).Next;
        Assert.Equal(Invariant.NoStaleAccess, Judge(flushed, "read d0 0x9000", new(Outcome.None) { Reached = 0x11000 }).Broken);
        Assert.True(Judge(flushed, "read d0 0x9000", new(Outcome.Fault)).IsAccepted);
    }

    [Fact]
    public void Without_an_active_device_nothing_waits()
    {
        World world = Start([.. Unbacked[..^2], "unback r0", "unreserve r0"]);
        Assert.Empty(world.Quarantine);
        Assert.True(Judge(world, "r1 = reserve-at v0 0x8000 8K r", new(Outcome.None) { Ranges = [new(0x8000, 0x9fff)] }).IsAccepted);
        // What waits already goes on waiting when the last device leaves, which sees it no more and will not see it again.
        World left = Start([.. Unbacked, "deactivate a0", "activate a0"]);
        Assert.Single(left.Quarantine);
        Assert.False(Judge(left, "read d0 0x9000", new(Outcome.None) { Reached = 0x11000 }).IsAccepted);
    }

    [Fact]
    public void Addresses_wait_for_the_flush()
    {
        World world = Start([.. Unbacked, "unback r0 at 0 for 4K", "unreserve r0"]);
        Assert.Equal(Outcome.NoSpace, Refusal(world, "r1 = reserve-at v0 0x9000 4K r"));
        Assert.Equal(Invariant.NoStaleAccess, Judge(world, "r1 = reserve-at v0 0x9000 4K r", new(Outcome.None) { Ranges = [new(0x9000, 0x9fff)] }).Broken);
        Assert.Equal(Invariant.NoStaleAccess, Judge(world, "r1 = reserve v0 4K r align 4K", new(Outcome.None) { Ranges = [new(0x8000, 0x8fff)] }).Broken);
        Assert.Equal(Outcome.NoSpace, Refusal(world, "r1 = reserve v0 28K r align 4K"));
        World flushed = Judge(world, "flush v0", new(Outcome.None)).Next;
        Assert.True(Judge(flushed, "r1 = reserve v0 28K r align 4K", new(Outcome.None) { Ranges = [new(0x8000, 0xefff)] }).IsAccepted);
    }

    [Fact]
    public void A_bound_that_ends_waits_with_what_was_in_it()
    {
        World world = Start(
            "v0 = vcm 0x0-0xffff deferred", "b0 = bound v0 16K align 4K", "r0 = reserve-at b0 0x1000 4K rw", "m0 = wrap 0x10000-0x10fff", "back r0 m0", "a0 = associate v0 d0",
            "activate a0", "unback r0", "unreserve r0");
        Assert.Equal(Outcome.NoSpace, Refusal(world, "r1 = reserve-at b0 0x1000 4K r"));
        World ended = Judge(world, "free b0", new(Outcome.None)).Next;
        Assert.Equal(Outcome.NoSpace, Refusal(ended, "r1 = reserve-at v0 0x3000 4K r"));
        World flushed = Judge(ended, "flush v0", new(Outcome.None)).Next;
        Assert.True(Judge(flushed, "r1 = reserve-at v0 0x3000 4K r", new(Outcome.None) { Ranges = [new(0x3000, 0x3fff)] }).IsAccepted);
    }

    [Fact]
    public void Memory_waits_for_the_flush()
    {
        World world = Start("v0 = vcm 0x0-0xffff deferred", "r0 = reserve-at v0 0x0 4K rw", "a0 = associate v0 d0", "activate a0");
        Observation given = new(Outcome.None) { Ranges = [new(0x10000, 0x10fff)] };
        world = Judge(world, "m0 = allocate 4K of 4K", given).Next;
        foreach (string step in new[] { "back r0 m0", "unback r0", "free m0" }) world = Judge(world, step, new(Outcome.None)).Next;
        Assert.Equal(Invariant.FrameSafety, Judge(world, "m1 = allocate 4K of 4K", given).Broken);
        Assert.True(Judge(world, "m1 = allocate 4K of 4K", given with { Quarantined = 0 }).IsAccepted);
        world = Judge(world, "flush v0", new(Outcome.None)).Next;
        Assert.True(Judge(world, "m1 = allocate 4K of 4K", given).IsAccepted);
    }

    [Fact]
    public void What_is_backed_again_was_flushed()
    {
        World world = Start(Unbacked);
        Assert.Equal(Invariant.Conservation, Judge(world, "back r0 at 4K m0 at 0 for 4K", new(Outcome.None) { Quarantined = 1 }).Broken);
        World again = Judge(world, "back r0 at 4K m0 at 0 for 4K", new(Outcome.None) { Quarantined = 0 }).Next;
        Assert.Equal(Invariant.NoStaleAccess, Judge(again, "read d0 0x9000", new(Outcome.None) { Reached = 0x11000 }).Broken);
    }

    [Theory]
    [InlineData("poll", 9, 1, "accepted")]
    [InlineData("poll", 10, 1, "refused")]
    [InlineData("poll", 10, 0, "accepted")]
    // A flush may come early; nothing comes into quarantine by itself.
    [InlineData("poll", 0, 0, "accepted")]
    [InlineData("poll", 0, 2, "refused")]
    // The second unback: 2 wait, and with 2 it is due.
    [InlineData("unback r0 at 0 for 4K", 0, 2, "refused")]
    [InlineData("unback r0 at 0 for 4K", 0, 0, "accepted")]
    public void A_flush_comes_when_it_is_due(string step, int milliseconds, int left, string verdict)
    {
        World world = Start(World.Create(new(0xFFFF_FFFF_FFFF, []), 1, new() { Flush = new(3, 2, 10) }), [.. Unbacked, $"advance {milliseconds}ms"]);
        Assert.StartsWith(verdict, Judge(world, step, new(Outcome.None) { Quarantined = left }).ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_flush_that_fails_leaves_all_where_it_was()
    {
        World world = Start(World.Create(new(0xFFFF_FFFF_FFFF, []), 1, new() { Flush = new(3, 1, 10) }), [.. Unbacked[..^1]]);
        Surroundings broken = new(ulong.MaxValue, HardwareFails: true);
        Verdict<World> Fail(World from, string step, Outcome outcome, int left) =>
            from.Judge(Harness.Operations.OperationText.Parse(step).Operation, new(outcome) { Quarantined = left }, broken);

        // Due by count, and not done: the unback is.
        World waits = Fail(world, "unback r0 at 4K for 4K", Outcome.None, 1).Next;
        Assert.True(Judge(waits, "read d0 0x9000", new(Outcome.None) { Reached = 0x11000 }).IsAccepted);
        // The count alone starts no flush now; asking does, and so does age.
        Assert.True(Judge(waits, "unback r0 at 0 for 4K", new(Outcome.None) { Quarantined = 2 }).IsAccepted);
        Assert.False(Judge(waits, "flush v0", new(Outcome.HardwareFailure) { Quarantined = 1 }).IsAccepted);
        World still = Fail(waits, "flush v0", Outcome.HardwareFailure, 1).Next;
        Assert.True(Judge(still, "read d0 0x9000", new(Outcome.None) { Reached = 0x11000 }).IsAccepted);
        World later = Judge(still, "advance 10ms", new(Outcome.None) { Quarantined = 1 }).Next;
        Assert.False(Judge(later, "poll", new(Outcome.None) { Quarantined = 1 }).IsAccepted);
    }
}
