using System.Collections.Immutable;
using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>What the model says of devices that are let through untranslated, by hand.</summary>
public sealed class PassingModel
{
    private static readonly ObjectId D0 = new(ObjectKind.Device, 0), D1 = new(ObjectKind.Device, 1), D2 = new(ObjectKind.Device, 2), D3 = new(ObjectKind.Device, 3);

    private static readonly Surroundings Plenty = new(FreeBytes: 1 << 20);

    private static readonly World Empty = World.Create(
        new(LastAddress: 0xFFFF_FFFF_FFFF, Untranslated: [])
        {
            PassesThrough = true,
            PasidCount = 8,
            Memory = new(0x10_0000, 0x1F_FFFF),
            Devices = [new(), new(), new() { HasTlb = true }, new() { IsTranslated = false }],
        },
        deviceCount: 4);

    [Fact]
    public void It_is_refused_for_each_reason_there_is()
    {
        Refuses(Empty, new PassThrough(D0) { Pasid = 0 }, Outcome.Invalid);
        Refuses(Empty, new PassThrough(D0) { Pasid = 8 }, Outcome.Invalid);
        Refuses(Empty, new PassThrough(D2), Outcome.Invalid);
        Refuses(Empty, new PassThrough(D3), Outcome.NoDevice);
        Refuses(World.Create(new(0xFFFF, []), deviceCount: 1), new PassThrough(D0), Outcome.NoDevice);
        Refuses(Empty, new EndPassThrough(D0), Outcome.NotFound);
        World passing = Does(Empty, new PassThrough(D0));
        Refuses(passing, new PassThrough(D0), Outcome.Busy);
        Refuses(passing, new EndPassThrough(D0) { Pasid = 1 }, Outcome.NotFound);
        Refuses(passing, new EndPassThrough(D1), Outcome.NotFound);
        Does(passing, new PassThrough(D0) { Pasid = 1 });
        Does(passing, new PassThrough(D1));
        Does(Does(passing, new EndPassThrough(D0)), new PassThrough(D0));
    }

    [Fact]
    public void An_address_space_is_a_region_or_let_through()
    {
        World world = WithData();
        World passing = Does(world, new PassThrough(D0) { Pasid = 1 });
        ObjectId plain = new(ObjectKind.Association, 0), named = new(ObjectKind.Association, 1);
        Refuses(passing, new Activate(named), Outcome.Busy);
        World both = Does(passing, new Activate(plain));
        Refuses(both, new PassThrough(D0), Outcome.Busy);
        // Its other address space is a region's, and is confined to it.
        Breaks(both, Access(D0, 0x10_2000, null), Outcome.None, 0x10_2000, Invariant.Isolation);
        Does(Does(both, new EndPassThrough(D0) { Pasid = 1 }), new Activate(named));
    }

    [Theory]
    [InlineData(Permissions.Read)]
    [InlineData(Permissions.Write)]
    public void It_reaches_the_address_that_it_names_and_no_other(Permissions kind)
    {
        World passing = Does(WithData(), new PassThrough(D0));
        var access = new DeviceAccess(D0, 0x10_2808, kind);
        Assert.True(passing.IsDefined(access));
        Assert.True(passing.Judge(access, new(Outcome.None) { Reached = 0x10_2808 }, Plenty).IsAccepted);
        Breaks(passing, access, Outcome.None, 0x10_3808, Invariant.Isolation);
        Breaks(passing, access, Outcome.Fault, null, Invariant.Isolation);
        Breaks(passing, access, Outcome.Fault, 0x10_2808, Invariant.Isolation);
        // Nobody's data tells nothing when it is read; where something was written is found.
        Assert.Equal(kind == Permissions.Read, passing.Judge(access, new(Outcome.None), Plenty).IsAccepted);
        // Nor is it told of to anybody.
        Assert.Empty(passing.Judge(access, new(Outcome.None) { Reached = 0x10_2808 }, Plenty).Next.Faults);
    }

    [Fact]
    public void Of_writes_where_no_data_is_and_of_what_is_no_memory_nothing_is_said()
    {
        World passing = Does(WithData(), new PassThrough(D0));
        Assert.False(passing.IsDefined(new DeviceAccess(D0, 0x18_0000, Permissions.Write)));
        Assert.True(passing.IsDefined(new DeviceAccess(D0, 0x18_0000, Permissions.Read)));
        Assert.False(passing.IsDefined(new DeviceAccess(D0, 0x20_0000, Permissions.Read)));
        Assert.False(passing.IsDefined(new CrossingAccess(D0, 0x10_3000, Permissions.Read)));
        Assert.False(Does(passing, new FreeMemory(new(ObjectKind.Memory, 1))).IsDefined(new DeviceAccess(D0, 0x10_2000, Permissions.Write)));
    }

    [Fact]
    public void No_supervisor_is_let_through_and_it_is_told()
    {
        World passing = Does(WithData(), new PassThrough(D0) { Pasid = 2 });
        DeviceAccess access = Access(D0, 0x10_2000, 2) with { IsPrivileged = true };
        Breaks(passing, access, Outcome.None, 0x10_2000, Invariant.Permission);
        PendingFault fault = Assert.Single(passing.Judge(access, new(Outcome.Fault), Plenty).Next.Faults);
        Assert.Equal((D0, 2u, FaultCauses.NotPermitted), (fault.Device, fault.Pasid!.Value, fault.Causes));
    }

    [Fact]
    public void What_was_let_through_reaches_nothing_when_the_end_has_returned_and_others_never_did()
    {
        World passing = Does(WithData(), new PassThrough(D0));
        Breaks(passing, Access(D1, 0x10_2000, null), Outcome.None, 0x10_2000, Invariant.Isolation);
        Breaks(passing, Access(D0, 0x10_2000, 1), Outcome.None, 0x10_2000, Invariant.Isolation);
        Breaks(passing, Access(D0, 0x10_2000, null) with { IsStray = true }, Outcome.None, 0x10_2000, Invariant.Isolation);
        World ended = Does(passing, new EndPassThrough(D0));
        Breaks(ended, Access(D0, 0x10_2000, null), Outcome.None, 0x10_2000, Invariant.Isolation);
        Assert.Equal(FaultCauses.NotAttached, Assert.Single(ended.Judge(Access(D0, 0x10_2000, null), new(Outcome.Fault), Plenty).Next.Faults).Causes);
    }

    /// <summary>A region that is two address spaces of a device, a page that it has, and one that it has not.</summary>
    private static World WithData()
    {
        ObjectId vcm = new(ObjectKind.Vcm, 0);
        World world = Does(Empty, new CreateVcm(vcm, new(0, 0xFFFF)));
        world = Does(world, new Associate(new(ObjectKind.Association, 0), vcm, D0));
        world = Does(world, new Associate(new(ObjectKind.Association, 1), vcm, D0) { Pasid = 1 });
        for (int number = 0; number < 2; number++)
        {
            ulong first = 0x10_0000 + (2 * (ulong)number * World.PageBytes);
            world = Does(world, new AllocateMemory(new(ObjectKind.Memory, number), World.PageBytes, World.PageBytes, Scattered: false), new AddressRange(first, first + (World.PageBytes - 1)));
        }

        return world;
    }

    private static DeviceAccess Access(ObjectId device, ulong address, uint? pasid) => new(device, address, Permissions.Read) { Pasid = pasid };

    private static World Does(World world, Operation operation, params AddressRange[] given)
    {
        Verdict<World> verdict = world.Judge(operation, new(Outcome.None) { Ranges = ImmutableArray.Create(given) }, Plenty);
        Assert.True(verdict.IsAccepted, $"{operation}: {verdict}");
        return verdict.Next;
    }

    private static void Refuses(World world, Operation operation, Outcome outcome)
    {
        Assert.True(world.Judge(operation, new(outcome), Plenty).IsAccepted);
        Breaks(world, operation, Outcome.None, null, Invariant.Isolation);
    }

    private static void Breaks(World world, Operation operation, Outcome outcome, ulong? reached, Invariant broken)
    {
        Verdict<World> verdict = world.Judge(operation, new(outcome) { Reached = reached }, Plenty);
        Assert.False(verdict.IsAccepted, $"{operation} may come to {outcome}");
        Assert.Equal(broken, verdict.Broken);
    }
}
