using System.Collections.Immutable;
using Vcmm.Spec;
using static Properties.Sequences.ModelLaws;

namespace Properties.Sequences;

/// <summary>What the model says of collecting what devices used and wrote to.</summary>
public sealed class UseModel
{
    private static IommuModel Noting => new(0xFFFF_FFFF_FFFF, []) { NotesUse = true };

    private static readonly AddressRange Page0 = new(0, 0xfff), Page1 = new(0x1000, 0x1fff), Page2 = new(0x2000, 0x2fff);

    [Fact]
    public void What_was_written_is_told_and_nothing_else()
    {
        World world = Written();
        Assert.True(Collect(world, "dirty r0 at 0 for 16K", Range(0, 0x1fff)).IsAccepted);
        Assert.True(Collect(world, "dirty r0 at 4K for 4K", Page1).IsAccepted);
        Assert.True(Collect(world, "dirty r0 at 8K for 8K").IsAccepted);
        Assert.True(Collect(world, "accessed r0 at 0 for 16K", Range(0, 0x2fff)).IsAccepted);
        // Missing, never written, beside the part, and in pieces.
        Assert.Equal(Invariant.TablesAreTruth, Collect(world, "dirty r0 at 0 for 16K", Page0).Broken);
        Assert.Equal(Invariant.TablesAreTruth, Collect(world, "dirty r0 at 0 for 16K", Range(0, 0x2fff)).Broken);
        Assert.Equal(Invariant.TablesAreTruth, Collect(world, "dirty r0 at 4K for 4K", Range(0, 0x1fff)).Broken);
        Assert.Equal(Invariant.TablesAreTruth, Collect(world, "dirty r0 at 0 for 16K", Page0, Page1).Broken);
        Assert.Equal(Invariant.TablesAreTruth, Collect(world, "accessed r0 at 0 for 16K", Range(0, 0x1fff)).Broken);
        // An access that was blocked may be told, and need not.
        World blocked = Judge(world, "protect r0 r", new(Outcome.None)).Next;
        blocked = Judge(blocked, "write d0 0x3000", new(Outcome.Fault)).Next;
        Assert.True(Collect(blocked, "accessed r0 at 0 for 16K", Range(0, 0x3fff)).IsAccepted);
        Assert.True(Collect(blocked, "accessed r0 at 0 for 16K", Range(0, 0x2fff)).IsAccepted);
        Assert.False(Collect(blocked, "dirty r0 at 0 for 16K", Range(0, 0x1fff), Range(0x3000, 0x3fff)).IsAccepted);
    }

    [Fact]
    public void After_a_clear_it_begins_anew()
    {
        World cleared = Collect(Written(), "dirty r0 at 0 for 4K clear", Page0).Next;
        Assert.True(Collect(cleared, "dirty r0 at 0 for 16K", Page1).IsAccepted);
        Assert.False(Collect(cleared, "dirty r0 at 0 for 16K", Range(0, 0x1fff)).IsAccepted);
        World again = Write(cleared, 0);
        Assert.True(Collect(again, "dirty r0 at 0 for 16K", Range(0, 0x1fff)).IsAccepted);
        Assert.False(Collect(again, "dirty r0 at 0 for 16K", Page1).IsAccepted);
        // What was told beside the part is told, and may be told again.
        World beside = Collect(Written(), "dirty r0 at 0 for 4K clear", Range(0, 0x1fff)).Next;
        Assert.True(Collect(beside, "dirty r0 at 0 for 16K").IsAccepted);
        Assert.True(Collect(beside, "dirty r0 at 0 for 16K", Page1).IsAccepted);
        // Read and written are cleared apart.
        Assert.True(Collect(cleared, "accessed r0 at 0 for 16K", Range(0, 0x2fff)).IsAccepted);
    }

    [Fact]
    public void An_unback_forgets_and_one_that_failed_tells_of_everything()
    {
        World world = Written();
        World backed = Start(world, "unback r0 at 0 for 4K", "back r0 at 0 m0 at 0 for 4K");
        Assert.True(Collect(backed, "dirty r0 at 0 for 16K", Page1).IsAccepted);
        Assert.False(Collect(backed, "dirty r0 at 0 for 16K", Range(0, 0x1fff)).IsAccepted);
        World failed = world.Judge(Harness.Operations.OperationText.Parse("unback r0 at 8K for 4K").Operation, new(Outcome.HardwareFailure), new(ulong.MaxValue, HardwareFails: true)).Next;
        Assert.True(Collect(failed, "dirty r0 at 0 for 16K", Range(0, 0x2fff)).IsAccepted);
        Assert.True(Collect(failed, "dirty r0 at 0 for 16K", Range(0, 0x1fff)).IsAccepted);
        Assert.False(Collect(failed, "dirty r0 at 0 for 16K", Page2).IsAccepted);
        Assert.False(Collect(failed, "dirty r0 at 0 for 16K", Range(0, 0x3fff)).IsAccepted);
    }

    [Fact]
    public void What_may_be_one_leaf_may_be_told_as_one()
    {
        World world = World.Create(Noting, 1);
        world = Start(
            world, "v0 = vcm 0x0-0x7fffff", "r0 = reserve-at v0 0x200000 2052K rw", "m0 = wrap 0x400000-0x600fff", "back r0 m0", "r1 = reserve-at v0 0x600000 2M rw",
            "m1 = wrap 0x801000-0xa00fff", "back r1 m1", "a0 = associate v0 d0", "activate a0");
        world = Judge(world, "write d0 0x201000", new(Outcome.None) { Reached = 0x401000 }).Next;
        world = Judge(world, "write d0 0x600000", new(Outcome.None) { Reached = 0x801000 }).Next;
        Assert.True(Collect(world, "dirty r0 at 4K for 4K clear", Range(0x200000, 0x3fffff)).IsAccepted);
        Assert.True(Collect(world, "dirty r0 at 0 for 2052K", Range(0x201000, 0x201fff)).IsAccepted);
        Assert.False(Collect(world, "dirty r0 at 0 for 2052K", Range(0x200000, 0x400fff)).IsAccepted);
        // This memory is not aligned so.
        Assert.False(Collect(world, "dirty r1 at 0 for 2M", Range(0x600000, 0x7fffff)).IsAccepted);
        Assert.True(Collect(world, "dirty r1 at 0 for 2M", Range(0x600000, 0x600fff)).IsAccepted);
        // What was cut off was part of it.
        World cut = Start(world, "unback r0 at 1M for 4K");
        Assert.True(Collect(cut, "dirty r0 at 0 for 1M", Range(0x200000, 0x2fffff)).IsAccepted);
        World written = Judge(Collect(cut, "dirty r0 at 0 for 1M clear", Range(0x200000, 0x2fffff)).Next, "write d0 0x201000", new(Outcome.None) { Reached = 0x401000 }).Next;
        Assert.False(Collect(written, "dirty r0 at 0 for 1M", Range(0x200000, 0x2fffff)).IsAccepted);
    }

    [Fact]
    public void Where_nothing_is_noted_nothing_is_told()
    {
        World world = Start("v0 = vcm 0x0-0xffff", "r0 = reserve-at v0 0x0 4K rw", "m0 = wrap 0x10000-0x10fff", "back r0 m0");
        Assert.True(Collect(world, "dirty r0 at 0 for 4K").IsAccepted);
        Assert.Equal(Outcome.Invalid, Refusal(Start(world, "a0 = associate v0 d0"), "dirty r0 at 0 for 4K"));
        Assert.Equal(Outcome.Invalid, Refusal(world, "dirty r0 at 0 for 8K"));
        Assert.Equal(Outcome.Invalid, Refusal(Start(world, "unback r0", "unreserve r0"), "dirty r0 at 0 for 4K"));
    }

    /// <summary>Four pages; the first two were written, the third was read.</summary>
    private static World Written()
    {
        World world = Start(
            World.Create(Noting, 1), "v0 = vcm 0x0-0xffff", "r0 = reserve-at v0 0x0 16K rw", "m0 = wrap 0x10000-0x13fff", "back r0 m0", "a0 = associate v0 d0", "activate a0");
        world = Write(Write(world, 0), 0x1000);
        return Judge(world, "read d0 0x2000", new(Outcome.None) { Reached = 0x12000 }).Next;
    }

    private static AddressRange Range(ulong first, ulong last) => new(first, last);

    private static World Write(World world, ulong address) => Judge(world, $"write d0 0x{address:x}", new(Outcome.None) { Reached = 0x10000 + address }).Next;

    private static Verdict<World> Collect(World world, string line, params AddressRange[] found) =>
        Judge(world, line, new(Outcome.None) { Ranges = ImmutableArray.Create(found) });
}
