using System.Collections.Immutable;
using Harness.Operations;
using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>What the model accepts and refuses by itself, where a generated sequence would show it only by luck.</summary>
public sealed class ModelLaws
{
    private static readonly Surroundings Plenty = new(ulong.MaxValue);

    [Theory]
    [InlineData("copy r0 at 0 to r0 at 8 for 16", "0x10008-0x10017 from 0x10000", "accepted")]
    [InlineData("copy r0 at 8 to r0 at 0 for 16", "0x10000-0x1000f from 0x10008", "accepted")]
    [InlineData("copy r0 at 8 to r0 at 8 for 16", "", "accepted")]
    [InlineData("copy r0 at 0 to r1 at 4088 for 16", "0x11ff8-0x11fff from 0x10000, 0x10000-0x10007 from 0x10008", "accepted")]
    // Forward, where the ranges overlap.
    [InlineData("copy r0 at 0 to r0 at 8 for 16", "0x10008-0x1000f from 0x10000, 0x10010-0x10017 from 0x10000", "I6")]
    [InlineData("copy r0 at 0 to r0 at 8 for 16", "0x10008-0x1000f from 0x10000", "I6")]
    [InlineData("copy r0 at 0 to r0 at 8 for 16", "", "I6")]
    [InlineData("copy r0 at 0 to r0 at 8 for 16", "0x10008-0x1001f from 0x10000", "I8")]
    [InlineData("copy r0 at 0 to r0 at 8 for 16", "0x10008-0x10017 from nowhere", "I6")]
    public void A_copy_is_held_to_each_word(string copy, string moves, string verdict)
    {
        // The second reservation has the pages of the first in the other order.
        World world = Start(
            "v0 = vcm 0x0-0xffff", "r0 = reserve-at v0 0x0 8K rw", "r1 = reserve-at v0 0x4000 8K r", "m0 = wrap 0x10000-0x11fff", "back r0 m0",
            "back r1 at 0 m0 at 4K for 4K", "back r1 at 4K m0 at 0 for 4K");
        // r1 at 4088 is the last word of its first page, and then the first of its second: 0x11ff8 and 0x10000.
        Assert.StartsWith(verdict == "accepted" ? verdict : $"refused: {verdict} ", Judge(world, copy, new(Outcome.None) { Moves = ParseMoves(moves) }).ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_copy_that_is_refused_changes_nothing()
    {
        World world = Start("v0 = vcm 0x0-0xffff", "r0 = reserve-at v0 0x0 8K rw", "m0 = wrap 0x10000-0x10fff", "back r0 at 4K m0 at 0 for 4K");
        Assert.True(Judge(world, "copy r0 at 0 to r0 at 4K for 8", new(Outcome.Fault)).IsAccepted);
        Assert.False(Judge(world, "copy r0 at 0 to r0 at 4K for 8", new(Outcome.None)).IsAccepted);
        Assert.False(Judge(world, "copy r0 at 0 to r0 at 4K for 8", new(Outcome.Invalid)).IsAccepted);
        Assert.Equal(Invariant.Conservation, Judge(world, "copy r0 at 0 to r0 at 4K for 8", new(Outcome.Fault) { Moves = ParseMoves("0x10000-0x10007 from nowhere") }).Broken);
    }

    [Fact]
    public void Where_memory_stands_twice_in_the_destination_either_word_may_be_the_last()
    {
        World world = Start(
            "v0 = vcm 0x0-0xffff", "r0 = reserve-at v0 0x0 8K rw", "r1 = reserve-at v0 0x4000 8K rw", "m0 = wrap 0x10000-0x11fff", "m1 = wrap 0x20000-0x20fff",
            "back r0 m0", "back r1 at 0 m1 at 0 for 4K", "back r1 at 4K m1 at 0 for 4K");
        Assert.True(Judge(world, "copy r0 at 0 to r1 at 0 for 8K", new(Outcome.None) { Moves = ParseMoves("0x20000-0x20fff from 0x10000") }).IsAccepted);
        Assert.True(Judge(world, "copy r0 at 0 to r1 at 0 for 8K", new(Outcome.None) { Moves = ParseMoves("0x20000-0x20fff from 0x11000") }).IsAccepted);
        Assert.False(Judge(world, "copy r0 at 0 to r1 at 0 for 8K", new(Outcome.None) { Moves = ParseMoves("0x20000-0x20fff from 0x12000") }).IsAccepted);
    }

    [Fact]
    public void A_clone_is_changed_alone()
    {
        World world = Start(
            "v0 = vcm 0x0-0xffff", "b0 = bound v0 8K align 4K", "r0 = reserve-at b0 0x0 4K rw", "r1 = reserve-at v0 0x4000 4K rw", "m0 = wrap 0x10000-0x10fff",
            "back r0 m0", "acquire r0", "v1 = clone v0", "unback r0@v1", "unreserve r0@v1", "r2 = reserve-at b0@v1 0x1000 4K r", "v2 = clone v1");
        Assert.Equal(0x10000UL, world.MeaningOf(new(ObjectKind.Vcm, 0), 0)!.Value.Target);
        Assert.Null(world.MeaningOf(new(ObjectKind.Vcm, 1), 0));
        Assert.True(world.Knows(Id("r1@v2")) && world.Knows(Id("r2@v2")) && world.Knows(Id("b0@v2")));
        Assert.False(world.Knows(Id("r0@v2")));
        Assert.Equal(Id("b0@v2"), world.Reservations[Id("r2@v2")].Bound);
        // Of two owners one is still there.
        Assert.Equal(Outcome.Busy, Refusal(world, "unreserve r0"));
        Assert.Equal(Outcome.Busy, Refusal(world, "free b0"));
        Assert.Equal(Outcome.Busy, Refusal(world, "free m0"));
        Assert.Equal(Outcome.Busy, Refusal(world, "free v2"));
    }

    [Fact]
    public void What_is_unbacked_in_the_middle_leaves_both_sides()
    {
        World world = Start(
            "v0 = vcm 0x0-0xffff", "r0 = reserve-at v0 0x1000 12K rw", "m0 = wrap 0x10000-0x12fff", "back r0 m0", "unback r0 at 4K for 4K");
        Assert.Equal(
            ["0x1000-0x1fff -> 0x10000 rw", "0x3000-0x3fff -> 0x12000 rw"],
            world.MappingsOf(new ObjectId(ObjectKind.Vcm, 0)).Select(mapping => $"{mapping.Range} -> {mapping.Translation}"));
        Assert.Equal(Outcome.NotFound, Refusal(world, "unback r0 at 0 for 8K"));
        Assert.Equal(Outcome.Busy, Refusal(world, "back r0 at 4K m0 at 4K for 8K"));
        Assert.Equal(Outcome.Invalid, Refusal(world, "unbind v0 r0 m0"));
    }

    [Fact]
    public void Bounds_and_what_they_hold_are_taken_apart()
    {
        World world = Start("v0 = vcm 0x0-0x3fff", "b0 = bound v0 8K align 4K", "r0 = reserve-at b0 0x1000 4K rw");
        Assert.Equal(Outcome.NoSpace, Refusal(world, "r1 = reserve-at v0 0x0 4K rw"));
        Assert.Equal(Outcome.Invalid, Refusal(world, "r1 = reserve-at b0 0x2000 4K rw"));
        Assert.Equal(Outcome.NoSpace, Refusal(world, "r1 = reserve b0 8K rw align 4K"));
        Assert.Equal(Outcome.NoSpace, Refusal(world, "r1 = reserve v0 12K rw align 4K"));
        Assert.Equal(Outcome.NoSpace, Refusal(world, "b1 = bound v0 12K align 4K"));
        Assert.Equal(Invariant.NoOverlap, Judge(world, "r1 = reserve v0 4K rw align 4K", new(Outcome.None) { Ranges = [new(0, 0xfff)] }).Broken);
        Assert.True(Judge(world, "r1 = reserve b0 4K rw align 4K", new(Outcome.None) { Ranges = [new(0, 0xfff)] }).IsAccepted);
    }

    [Theory]
    [InlineData("", 0x10000UL, "accepted")]
    [InlineData(" bank 0", 0x10000UL, "accepted")]
    [InlineData(" bank 1", 0x10000UL, "refused: I6")]
    [InlineData(" bank 1", 0x20000UL, "accepted")]
    [InlineData(" bank 1 coherent", 0x20000UL, "refused: I6")]
    [InlineData(" coherent", 0x10000UL, "accepted")]
    // Beside all banks, and of two of them.
    [InlineData("", 0x40000UL, "refused: I6")]
    [InlineData("", 0x1f000UL, "refused: I6")]
    public void Memory_comes_from_the_banks_that_were_asked_for(string banks, ulong first, string verdict)
    {
        World world = World.Create(new(0xFFFF_FFFF_FFFF, []), 1, new() { Banks = [new(new(0x10000, 0x1ffff), 0, true), new(new(0x20000, 0x2ffff), 1, false)] });
        Observation seen = new(Outcome.None) { Ranges = [new(first, first + 0x1fff)] };
        Assert.StartsWith(verdict, Judge(world, $"m0 = allocate-contiguous 8K align 4K{banks}", seen).ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_bank_that_there_is_not_is_not_found_and_one_that_is_full_has_no_memory()
    {
        World world = World.Create(new(0xFFFF_FFFF_FFFF, []), 1, new() { Banks = [new(new(0x10000, 0x1ffff), 0, true), new(new(0x20000, 0x2ffff), 1, false)] });
        var surroundings = new Surroundings(0x10000) { FreeInBanks = [0, 0x10000] };
        Assert.True(Judge(world, "m0 = allocate 4K of 4K bank 2", new(Outcome.NotFound)).IsAccepted);
        Assert.False(Judge(world, "m0 = allocate 4K of 4K bank 1", new(Outcome.NotFound)).IsAccepted);
        Assert.True(world.Judge(OperationText.Parse("m0 = allocate 4K of 4K bank 0").Operation, new(Outcome.NoMemory), surroundings).IsAccepted);
        Assert.False(world.Judge(OperationText.Parse("m0 = allocate 4K of 4K bank 1").Operation, new(Outcome.NoMemory), surroundings).IsAccepted);
    }

    [Theory]
    [InlineData("", "r1 = reserve v0 8K rw align 4K", 0x6000UL, 0x7000UL)]
    [InlineData("", "r1 = reserve v0 4K rw align 16K", 0x4000UL, 0x8000UL)]
    [InlineData("", "r1 = reserve b0 4K rw align 4K", 0UL, 0x1000UL)]
    [InlineData("", "b1 = bound v0 4K align 4K", 0x4000UL, 0x6000UL)]
    [InlineData(" top-down", "r1 = reserve v0 8K rw align 4K", 0xe000UL, 0xd000UL)]
    [InlineData(" top-down", "r1 = reserve v0 8K rw align 16K", 0xc000UL, 0x8000UL)]
    [InlineData(" top-down", "r1 = map v0 m0 rw align 4K", 0xf000UL, 0xe000UL)]
    public void Where_it_is_certain_the_first_place_that_fits_is_given(string placement, string step, ulong right, ulong wrong)
    {
        string[] steps = [$"v0 = vcm 0x0-0xffff{placement}", "r0 = reserve-at v0 0x5000 4K rw", "m0 = wrap 0x10000-0x10fff"];
        // The bound lies at the bottom, where a region that is filled from the top has none.
        if (placement.Length == 0) steps = [.. steps, "b0 = bound v0 16K align 4K"];
        World certain = Start(World.Create(new(0xFFFF_FFFF_FFFF, []), 1), steps), exact = Start(World.Create(new(0xFFFF_FFFF_FFFF, []), 1, new() { PlacesExactly = true }), steps);
        ulong length = step.Contains(" 8K ", StringComparison.Ordinal) ? 0x2000UL : 0x1000;
        Observation At(ulong first) => new(Outcome.None) { Ranges = [new(first, first + length - 1)] };
        Assert.True(Judge(exact, step, At(right)).IsAccepted, Judge(exact, step, At(right)).ToString());
        Assert.Equal(Invariant.NoOverlap, Judge(exact, step, At(wrong)).Broken);
        // Elsewhere it is free, as long as it fits.
        Assert.True(Judge(certain, step, At(wrong)).IsAccepted);
    }

    [Fact]
    public void A_one_to_one_region_maps_memory_to_its_own_addresses_only()
    {
        World world = Start("v0 = vcm 0x0-0xfffff one-to-one", "r0 = reserve-at v0 0x4000 4K rw", "m0 = wrap 0x10000-0x10fff", "m1 = wrap 0x4000-0x4fff", "m2 = wrap 0x200000-0x200fff");
        Assert.Equal(Outcome.Invalid, Refusal(world, "back r0 m0"));
        Assert.True(Judge(world, "back r0 m1", new(Outcome.None)).IsAccepted);
        Assert.Equal(Outcome.NoSpace, Refusal(world, "r1 = map v0 m1 rw align 4K"));
        Assert.Equal(Outcome.Invalid, Refusal(world, "r1 = map v0 m2 rw align 4K"));
        Assert.Equal(Outcome.Invalid, Refusal(world, "r1 = map v0 m0 rw align 128K"));
        Assert.True(Judge(world, "r1 = map v0 m0 rw align 64K", new(Outcome.None) { Ranges = [new(0x10000, 0x10fff)] }).IsAccepted);
        Assert.Equal(Invariant.TablesAreTruth, Judge(world, "r1 = map v0 m0 rw align 4K", new(Outcome.None) { Ranges = [new(0x20000, 0x20fff)] }).Broken);
    }

    [Fact]
    public void An_access_that_was_narrowed_away_is_a_stale_one_and_one_that_never_was_granted_is_not()
    {
        string[] steps =
        [
            "v0 = vcm 0x0-0xffff", "r0 = reserve-at v0 0x0 4K rw", "r1 = reserve-at v0 0x1000 4K r", "m0 = wrap 0x10000-0x11fff",
            "back r0 at 0 m0 at 0 for 4K", "back r1 at 0 m0 at 4K for 4K", "a0 = associate v0 d0", "activate a0", "protect r0 r",
        ];
        World world = Start(steps);
        Assert.Equal(Invariant.NoStaleAccess, Judge(world, "write d0 0x0", new(Outcome.None) { Reached = 0x10000 }).Broken);
        Assert.Equal(Invariant.Permission, Judge(world, "write d0 0x1000", new(Outcome.None) { Reached = 0x11000 }).Broken);
        Assert.Equal(Outcome.Invalid, Refusal(world, "protect r0 rx"));
    }

    [Fact]
    public void Every_place_of_a_frame_is_named()
    {
        World world = Start(
            "v0 = vcm 0x0-0xffff", "v1 = vcm 0x0-0xffff", "r0 = reserve-at v0 0x2000 8K rw", "r1 = reserve-at v1 0x5000 4K rw", "m0 = wrap 0x10000-0x11fff",
            "m1 = wrap 0x11000-0x11fff", "back r0 m0", "back r1 m1");
        Place[] places = [new(Id("r0"), 0x3008), new(Id("r1"), 0x5008)];
        Assert.True(Judge(world, "mappings m1 at 8", new(Outcome.None) { Places = [.. places] }).IsAccepted);
        Assert.False(Judge(world, "mappings m1 at 8", new(Outcome.None) { Places = [places[0]] }).IsAccepted);
        Assert.False(Judge(world, "mappings m1 at 8", new(Outcome.NotFound)).IsAccepted);
        Assert.True(Judge(world, "translate v0 0x3008 to v1", new(Outcome.None) { Address = 0x5008 }).IsAccepted);
        Assert.False(Judge(world, "translate v0 0x3008 to v1", new(Outcome.NotFound)).IsAccepted);
        Assert.True(Judge(world, "translate v0 0x2008 to v1", new(Outcome.NotFound)).IsAccepted);
        Assert.True(Judge(world, "translate v0 0x1008 to v1", new(Outcome.Fault)).IsAccepted);
    }

    [Fact]
    public void An_address_space_of_a_device_is_one_region_and_another_is_another()
    {
        World world = Start(
            Scalable, "v0 = vcm 0x0-0xffff", "v1 = vcm 0x0-0xffff", "r0 = reserve-at v0 0x0 4K rw", "r1 = reserve-at v1 0x0 4K rw", "m0 = wrap 0x10000-0x10fff",
            "m1 = wrap 0x20000-0x20fff", "back r0 m0", "back r1 m1", "a0 = associate v0 d0", "a1 = associate v1 d0 first-stage pasid 5", "a2 = associate v1 d0",
            "activate a0", "activate a1");
        Assert.True(Judge(world, "read d0 0x0", new(Outcome.None) { Reached = 0x10000 }).IsAccepted);
        Assert.True(Judge(world, "read d0 pasid 5 0x0", new(Outcome.None) { Reached = 0x20000 }).IsAccepted);
        Assert.True(Judge(world, "read d0 pasid 6 0x0", new(Outcome.Fault)).IsAccepted);
        Assert.Equal(Invariant.Isolation, Judge(world, "read d0 pasid 5 0x0", new(Outcome.None) { Reached = 0x10000 }).Broken);
        Assert.Equal(Outcome.Busy, Refusal(world, "activate a2"));
        Assert.Equal(Outcome.Busy, Refusal(world, "a3 = associate v1 d0 second-stage pasid 5"));
        Assert.Equal(Outcome.Invalid, Refusal(world, "a3 = associate v1 d0 pasid 8"));
        Assert.Equal(Outcome.Invalid, Refusal(world, "a3 = associate v1 d0 first-stage-5 pasid 1"));
        world = Judge(world, "deactivate a1", new(Outcome.None)).Next;
        Assert.Equal(Invariant.Isolation, Judge(world, "read d0 pasid 5 0x0", new(Outcome.None) { Reached = 0x20000 }).Broken);
    }

    [Fact]
    public void A_reservation_grants_what_all_tables_of_its_region_can()
    {
        World world = Start(Scalable, "v0 = vcm 0x0-0xffff", "a0 = associate v0 d0 first-stage");
        Assert.Equal(Outcome.Invalid, Refusal(world, "r0 = reserve-at v0 0x0 4K w"));
        Assert.True(Judge(world, "r0 = reserve-at v0 0x0 4K rx", new(Outcome.None) { Ranges = [new(0, 0xfff)] }).IsAccepted);
        world = Start(Scalable, "v0 = vcm 0x0-0xffff", "a0 = associate v0 d0 first-stage", "a1 = associate v0 d0 pasid 1");
        Assert.Equal([TableKind.SecondStage, TableKind.FirstStage], world.TablesOf(Id("v0")));
        Assert.Equal(Outcome.Invalid, Refusal(world, "r0 = reserve-at v0 0x0 4K rx"));
        world = Judge(world, "deassociate a0", new(Outcome.None)).Next;
        Assert.True(Judge(world, "r0 = reserve-at v0 0x0 4K w", new(Outcome.None) { Ranges = [new(0, 0xfff)] }).IsAccepted);
    }

    [Fact]
    public void A_prebuilt_region_means_what_its_owner_maps_and_nothing_can_be_made_in_it()
    {
        World world = Start(
            Scalable, "v0 = vcm 0x0-0xffff", "r0 = reserve-at v0 0x0 8K rw", "m0 = wrap 0x10000-0x11fff", "back r0 m0", "a0 = associate v0 d0 first-stage", "activate a0",
            "v1 = adopt v0 first-stage", "a1 = associate v1 d0 first-stage pasid 1", "activate a1");
        Assert.True(Judge(world, "read d0 pasid 1 0x1000", new(Outcome.None) { Reached = 0x11000 }).IsAccepted);
        Assert.True(Judge(world, "translate v1 0x1000", new(Outcome.None) { Translation = new(0x11000) }).IsAccepted);
        Assert.True(Judge(world, "translate v1 0x1000 to v0", new(Outcome.None) { Address = 0x1000 }).IsAccepted);
        Assert.True(Judge(world, "translate v0 0x1000 to v1", new(Outcome.NotFound)).IsAccepted);
        Assert.Equal(Outcome.Invalid, Refusal(world, "r1 = reserve-at v1 0x4000 4K rw"));
        Assert.Equal(Outcome.Invalid, Refusal(world, "r1 = map v1 m0 rw align 4K"));
        Assert.Equal(Outcome.Invalid, Refusal(world, "b0 = bound v1 4K align 4K"));
        Assert.Equal(Outcome.Invalid, Refusal(world, "v2 = clone v1"));
        Assert.Equal(Outcome.Invalid, Refusal(world, "a2 = associate v1 d0 pasid 2"));
        Assert.Equal(Outcome.Busy, Refusal(world, "free v1"));
        world = Judge(world, "unback r0 at 4K for 4K", new(Outcome.None)).Next;
        Assert.Equal(Invariant.NoStaleAccess, Judge(world, "read d0 pasid 1 0x1000", new(Outcome.None) { Reached = 0x11000 }).Broken);
        Assert.True(Judge(world, "read d0 pasid 1 0x0", new(Outcome.None) { Reached = 0x10000 }).IsAccepted);
    }

    [Fact]
    public void The_table_of_a_prebuilt_region_outlives_it()
    {
        World world = Start(
            Scalable, "v0 = vcm 0x0-0xffff", "a0 = associate v0 d0", "a1 = associate v0 d0 pasid 1", "a2 = associate v0 d0 first-stage pasid 2", "activate a0",
            "v1 = adopt v0", "v2 = adopt v0", "deactivate a0", "deassociate a1");
        Assert.False(IsDefined(world, "v3 = adopt v0 first-stage"));
        Assert.False(IsDefined(world, "v3 = adopt v0"));
        Assert.False(IsDefined(world, "deassociate a0"));
        Assert.True(IsDefined(world, "deassociate a2"));
        world = Judge(world, "free v1", new(Outcome.None)).Next;
        Assert.False(IsDefined(world, "deassociate a0"));
        world = Judge(world, "free v2", new(Outcome.None)).Next;
        Assert.True(IsDefined(world, "deassociate a0"));

        static bool IsDefined(World world, string line) => world.IsDefined(OperationText.Parse(line).Operation);
    }

    private static IommuModel Scalable => new(0xFFFF_FFFF_FFFF, [])
    {
        PasidCount = 8,
        OtherTables = [new(TableKind.FirstStage, 0x7FFF_FFFF_FFFF) { Grantable = [Permissions.Read, Permissions.ReadWrite, Permissions.Read | Permissions.Execute] }],
    };

    internal static Verdict<World> Judge(World world, string line, Observation seen) => world.Judge(OperationText.Parse(line).Operation, seen, Plenty);

    /// <summary>The one refusal that the model accepts.</summary>
    internal static Outcome Refusal(World world, string line) =>
        Assert.Single(Enum.GetValues<Outcome>(), outcome => outcome != Outcome.None && Judge(world, line, new(outcome)).IsAccepted);

    private static ObjectId Id(string text) => ObjectId.TryParse(text, out ObjectId id) ? id : throw new ArgumentException(text);

    private static ImmutableArray<Move> ParseMoves(string text) =>
    [
        .. text.Split(", ", StringSplitOptions.RemoveEmptyEntries).Select(static move =>
        {
            string[] words = move.Split(['-', ' ']);
            return new Move(new(Hex(words[0]), Hex(words[1])), words[3] == "nowhere" ? null : Hex(words[3]));
        }),
    ];

    private static ulong Hex(string word) => Convert.ToUInt64(word, 16);

    /// <summary>All of it done, where it lies as low as it can.</summary>
    internal static World Start(params string[] lines) => Start(World.Create(new(0xFFFF_FFFF_FFFF, []), 1), lines);

    private static World Start(IommuModel iommu, params string[] lines) => Start(World.Create(iommu, 1), lines);

    internal static World Start(World world, params string[] lines)
    {
        foreach (Operation operation in lines.Select(line => OperationText.Parse(line).Operation))
        {
            Observation seen = new(Outcome.None)
            {
                Ranges = operation switch
                {
                    ReserveAt o => [new(o.First, o.First + o.ByteCount - 1)],
                    CreateBound o => [new(0, o.ByteCount - 1)],
                    _ => [],
                },
            };
            world = world.Judge(operation, seen, Plenty).Next;
        }

        return world;
    }
}
