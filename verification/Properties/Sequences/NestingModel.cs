using System.Collections.Immutable;
using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>What the model says of guests, by hand.</summary>
public sealed class NestingModel
{
    private const ulong Page = World.PageBytes, Frames = 0x10_0000;

    private static readonly ObjectId D0 = new(ObjectKind.Device, 0), D1 = new(ObjectKind.Device, 1), V0 = new(ObjectKind.Vcm, 0), R0 = new(ObjectKind.Reservation, 0), M0 = new(ObjectKind.Memory, 0),
        G0 = new(ObjectKind.Guest, 0), A0 = new(ObjectKind.Association, 0), A1 = new(ObjectKind.Association, 1);

    private static readonly Surroundings Plenty = new(FreeBytes: 1 << 20);

    private static readonly IommuModel Hardware = new(LastAddress: 0xFFFF_FFFF_FFFF, Untranslated: [])
    {
        Nests = true,
        PasidCount = 8,
        OtherTables = [new(TableKind.FirstStage, (1UL << 47) - 1) { TellsAbsent = true }],
        Memory = new(Frames, 0x1F_FFFF),
        Devices = [new(), new(), new() { AsksForPages = true, HasTlb = true }],
    };

    [Fact]
    public void A_device_reaches_what_both_tables_say_with_the_rights_of_both()
    {
        World world = Does(Guest(), new GuestMap(G0, 1, 4 * Page, Permissions.ReadWrite));
        Reaches(world, Access(1, Permissions.Read), Frames + (4 * Page));
        Reaches(world, Access(1, Permissions.Write), Frames + (4 * Page));
        Breaks(world, Access(1, Permissions.Read), Outcome.Fault, null, Invariant.TablesAreTruth);
        Breaks(world, Access(1, Permissions.Read), Outcome.None, Frames + (5 * Page), Invariant.TablesAreTruth);
        Breaks(world, Access(1, Permissions.Read), Outcome.None, 0x1F_0000, Invariant.Isolation);
        Breaks(world, Access(1, Permissions.Read), Outcome.None, null, Invariant.Isolation);
        // The region's own addresses are none of the device's.
        IsBlocked(world, new(D0, 4 * Page, Permissions.Read));
        IsBlocked(world, Access(2, Permissions.Read));

        World readOnly = Does(Guest(), new GuestMap(G0, 1, 4 * Page, Permissions.Read));
        Reaches(readOnly, Access(1, Permissions.Read), Frames + (4 * Page));
        IsBlocked(readOnly, Access(1, Permissions.Write));
        Breaks(readOnly, Access(1, Permissions.Write), Outcome.None, Frames + (4 * Page), Invariant.Permission);
        World narrowed = Does(world, new SetAttributes(R0, Permissions.Read));
        IsBlocked(narrowed, Access(1, Permissions.Write), FaultCauses.Misprogrammed);
        Breaks(narrowed, Access(1, Permissions.Write), Outcome.None, Frames + (4 * Page), Invariant.NoStaleAccess);
        // Whether the hardware has set its flags already nobody knows.
        Reaches(narrowed, Access(1, Permissions.Read), Frames + (4 * Page));
        IsBlocked(narrowed, Access(1, Permissions.Read), FaultCauses.Misprogrammed);
    }

    [Fact]
    public void What_the_guest_has_said_may_be_kept_until_it_tells()
    {
        World world = Does(Guest(), new GuestMap(G0, 0, 4 * Page, Permissions.ReadWrite));
        // That nothing was there is not kept.
        Breaks(world, Access(0, Permissions.Read), Outcome.Fault, null, Invariant.TablesAreTruth);
        World changed = Does(world, new GuestMap(G0, 0, 5 * Page, Permissions.Read));
        Reaches(changed, Access(0, Permissions.Read), Frames + (4 * Page));
        Reaches(changed, Access(0, Permissions.Read), Frames + (5 * Page));
        Reaches(changed, Access(0, Permissions.Write), Frames + (4 * Page));
        Breaks(changed, Access(0, Permissions.Write), Outcome.None, Frames + (5 * Page), Invariant.Permission);
        World gone = Does(changed, new GuestUnmap(G0, 0));
        Reaches(gone, Access(0, Permissions.Read), Frames + (5 * Page));
        IsBlocked(gone, Access(0, Permissions.Read));
        // To tell of another page changes nothing.
        Reaches(Does(gone, new GuestInvalidate(A0, Pages(1, 1))), Access(0, Permissions.Read), Frames + (4 * Page));
        World told = Does(gone, new GuestInvalidate(A0, Pages(0, 4)));
        IsBlocked(told, Access(0, Permissions.Read));
        Breaks(told, Access(0, Permissions.Read), Outcome.None, Frames + (4 * Page), Invariant.NoStaleAccess);
        Breaks(told, Access(0, Permissions.Read), Outcome.None, Frames + (5 * Page), Invariant.NoStaleAccess);
        // Where the hardware would not do it nobody knows.
        Verdict<World> failed = gone.Judge(new GuestInvalidate(A0, Pages(0, 4)), new(Outcome.HardwareFailure), Plenty with { HardwareFails = true });
        Reaches(failed.Next, Access(0, Permissions.Read), Frames + (4 * Page));
    }

    [Fact]
    public void What_the_region_takes_away_is_gone_at_once()
    {
        World world = Does(Guest(), new GuestMap(G0, 0, 4 * Page, Permissions.ReadWrite));
        World kept = Does(world, new GuestMap(G0, 0, 5 * Page, Permissions.ReadWrite));
        World without = Does(kept, new UnbackPart(R0, 4 * Page, Page));
        Breaks(without, Access(0, Permissions.Read), Outcome.None, Frames + (4 * Page), Invariant.NoStaleAccess);
        Reaches(without, Access(0, Permissions.Read), Frames + (5 * Page));
        // By what the guest had said a device gets to what is there now.
        World other = Does(without, new BackPart(R0, 4 * Page, M0, 6 * Page, Page));
        Reaches(other, Access(0, Permissions.Read), Frames + (6 * Page));
        for (ulong table = 0; table < World.GuestTables; table++)
        {
            World away = Does(world, new UnbackPart(R0, table * Page, Page));
            IsBlocked(away, Access(0, Permissions.Read), FaultCauses.Misprogrammed);
            Breaks(away, Access(0, Permissions.Read), Outcome.None, Frames + (4 * Page), Invariant.NoStaleAccess);
            // What others have there is no table of the guest's.
            Assert.False(Does(away, new BackPart(R0, table * Page, M0, 6 * Page, Page)).IsDefined(Access(0, Permissions.Read)));
            World back = Does(away, new BackPart(R0, table * Page, M0, table * Page, Page));
            Reaches(back, Access(0, Permissions.Read), Frames + (4 * Page));
            Breaks(back, Access(0, Permissions.Read), Outcome.Fault, null, Invariant.TablesAreTruth);
        }
    }

    [Fact]
    public void Who_has_the_same_table_has_kept_the_same_and_the_last_takes_it_along()
    {
        World world = Does(Does(Guest(), new GuestMap(G0, 0, 4 * Page, Permissions.ReadWrite)), new GuestUnmap(G0, 0));
        world = Does(world, new Associate(A1, V0, D1) { Guest = G0 });
        World two = Does(world, new Activate(A1));
        Reaches(two, Access(0, Permissions.Read) with { Device = D1 }, Frames + (4 * Page));
        World told = Does(two, new GuestInvalidate(A1, Pages(0, 1)));
        Breaks(told, Access(0, Permissions.Read), Outcome.None, Frames + (4 * Page), Invariant.NoStaleAccess);
        World again = Does(Does(world, new Deactivate(A0)), new Activate(A1));
        Breaks(again, Access(0, Permissions.Read) with { Device = D1 }, Outcome.None, Frames + (4 * Page), Invariant.TablesAreTruth);
    }

    [Fact]
    public void Of_a_write_in_halves_each_goes_a_way_that_is_left()
    {
        World both = Does(Does(Guest(Hardware with { Devices = [new() { WritesInHalves = true }, new(), new()] }), new GuestMap(G0, 0, 4 * Page, Permissions.ReadWrite)), new GuestMap(G0, 0, 5 * Page, Permissions.ReadWrite));
        DeviceAccess write = Access(0, Permissions.Write);
        Observation halves = new(Outcome.None) { Reached = Frames + (4 * Page), ReachedNext = Frames + (5 * Page) };
        Assert.True(both.Judge(write, halves, Plenty).IsAccepted);
        World told = Does(both, new GuestInvalidate(A0, Pages(0, 1)));
        Assert.Equal(Invariant.NoStaleAccess, told.Judge(write, halves, Plenty).Broken);
        Assert.Equal(Invariant.NoStaleAccess, told.Judge(write, halves with { Reached = halves.ReachedNext, ReachedNext = halves.Reached }, Plenty).Broken);
        World gone = Does(told, new GuestUnmap(G0, 0));
        // The first half found what was kept, the second nothing.
        Observation first = new(Outcome.Fault) { Reached = Frames + (5 * Page) };
        Verdict<World> blocked = gone.Judge(write, first, Plenty);
        Assert.True(blocked.IsAccepted);
        Assert.Single(blocked.Next.Faults);
        Assert.False(gone.Judge(write, first with { ReachedNext = first.Reached }, Plenty).IsAccepted);
        Assert.False(gone.Judge(write with { Device = D1 }, first with { ReachedNext = first.Reached }, Plenty).IsAccepted);
        // Whoever does not write in halves has no first.
        World plain = Does(Does(Guest(), new GuestMap(G0, 0, 5 * Page, Permissions.ReadWrite)), new GuestUnmap(G0, 0));
        Assert.False(plain.Judge(write, first, Plenty).IsAccepted);
    }

    [Fact]
    public void What_is_refused_is_refused_for_its_reason()
    {
        World world = Guest();
        Refuses(world, new Associate(A1, V0, D1) { Guest = G0, Kind = TableKind.FirstStage }, Invariant.TablesAreTruth);
        Refuses(world, new GuestInvalidate(A0, new(World.GuestFirst, World.GuestFirst + 0x7FF)), Invariant.NoStaleAccess);
        World plain = Does(world, new Associate(A1, V0, D1));
        Refuses(plain, new GuestInvalidate(A1, Pages(0, 1)), Invariant.NoStaleAccess);
        Refuses(Does(Does(world, new Deactivate(A0)), new Deassociate(A0)), new GuestInvalidate(A0, Pages(0, 1)), Invariant.Isolation);
        ObjectId elsewhere = new(ObjectKind.Vcm, 1);
        Refuses(Does(world, new CreateVcm(elsewhere, new(0x10_0000, 0x1F_FFFF))), new Associate(A1, elsewhere, D1) { Guest = G0 }, Invariant.TablesAreTruth);
        Refuses(Guest(Hardware with { Nests = false }, joins: false), new Associate(A0, V0, D0) { Guest = G0 }, Invariant.TablesAreTruth);
    }

    [Fact]
    public void Of_some_calls_nothing_is_said()
    {
        World world = Guest();
        Assert.False(world.IsDefined(new CreateGuest(new(ObjectKind.Guest, 1), R0)));
        Assert.False(world.IsDefined(new Copy(R0, 4 * Page, R0, 3 * Page, Page)));
        Assert.True(world.IsDefined(new Copy(R0, 4 * Page, R0, 5 * Page, Page)));
        Assert.False(world.IsDefined(new GuestMap(G0, World.GuestPages, 0, Permissions.Read)));
        Assert.False(world.IsDefined(new GuestMap(G0, 0, 8, Permissions.Read)));
        Assert.False(world.IsDefined(new GuestMap(G0, 0, 0, Permissions.Write)));
        World freed = Does(Does(Does(world, new Deactivate(A0)), new Unback(R0)), new FreeMemory(M0));
        Assert.False(freed.IsDefined(new GuestUnmap(G0, 0)));
    }

    /// <summary>A region of 16 pages, 6 of which and one besides are backed by memory of 7; a guest with tables in the first, and a device that has them.</summary>
    private static World Guest(IommuModel? hardware = null, bool joins = true)
    {
        World world = Does(World.Create(hardware ?? Hardware, deviceCount: 3), new CreateVcm(V0, new(0, (16 * Page) - 1)));
        world = Does(world, new ReserveAt(R0, V0, 0, 6 * Page, Permissions.ReadWrite), new AddressRange(0, (6 * Page) - 1));
        world = Does(world, new AllocateContiguous(M0, 7 * Page, Page), new AddressRange(Frames, Frames + (7 * Page) - 1));
        world = Does(world, new BackPart(R0, 0, M0, 0, 6 * Page));
        Assert.True(world.IsDefined(new CreateGuest(G0, R0)));
        world = Does(world, new CreateGuest(G0, R0));
        return joins ? Does(Does(world, new Associate(A0, V0, D0) { Guest = G0 }), new Activate(A0)) : world;
    }

    private static DeviceAccess Access(ulong page, Permissions kind) => new(D0, World.GuestFirst + (page * Page), kind);

    private static AddressRange Pages(ulong first, ulong count) => new(World.GuestFirst + (first * Page), World.GuestFirst + ((first + count) * Page) - 1);

    private static World Does(World world, Operation operation, params AddressRange[] given)
    {
        Verdict<World> verdict = world.Judge(operation, new(Outcome.None) { Ranges = ImmutableArray.Create(given) }, Plenty);
        Assert.True(verdict.IsAccepted, $"{operation}: {verdict}");
        return verdict.Next;
    }

    private static void Reaches(World world, DeviceAccess access, ulong target)
    {
        Assert.True(world.IsDefined(access));
        Verdict<World> verdict = world.Judge(access, new(Outcome.None) { Reached = target }, Plenty);
        Assert.True(verdict.IsAccepted, $"{access}: {verdict}");
    }

    private static void IsBlocked(World world, DeviceAccess access, FaultCauses besides = FaultCauses.None)
    {
        Verdict<World> verdict = world.Judge(access, new(Outcome.Fault), Plenty);
        Assert.True(verdict.IsAccepted, $"{access}: {verdict}");
        Assert.Equal(FaultCauses.NotMapped | FaultCauses.NotPermitted | besides, Assert.Single(verdict.Next.Faults).Causes);
    }

    private static void Refuses(World world, Operation operation, Invariant broken)
    {
        Assert.True(world.Judge(operation, new(Outcome.Invalid), Plenty).IsAccepted);
        Breaks(world, operation, Outcome.None, null, broken);
    }

    private static void Breaks(World world, Operation operation, Outcome outcome, ulong? reached, Invariant broken)
    {
        Verdict<World> verdict = world.Judge(operation, new(outcome) { Reached = reached }, Plenty);
        Assert.False(verdict.IsAccepted, $"{operation} may come to {outcome}");
        Assert.Equal(broken, verdict.Broken);
    }
}
