using Harness.Operations;
using Vcmm.Spec;
using static Properties.Sequences.ModelLaws;

namespace Properties.Sequences;

/// <summary>What the model says of privilege, security and cache policy.</summary>
public sealed class AttributeModel
{
    private static readonly ObjectId R0 = new(ObjectKind.Reservation, 0);

    private static IommuModel TwoFormats => new(0xFFFF_FFFF_FFFF, [])
    {
        PasidCount = 8,
        OtherTables =
        [
            new(TableKind.FirstStage, 0x7FFF_FFFF_FFFF)
            {
                Grantable = [Permissions.Read, Permissions.ReadWrite],
                HasPrivilege = true,
                CachePolicies = [CachePolicy.WriteBackWriteAllocate, CachePolicy.WriteThrough, CachePolicy.NotCached],
            },
        ],
    };

    [Theory]
    [InlineData("r0 = reserve-at v0 0x0 4K rw supervisor", true, false)]
    [InlineData("r0 = reserve-at v0 0x0 4K rw secure", false, false)]
    [InlineData("r0 = reserve-at v0 0x0 4K rw not-cached", true, true)]
    [InlineData("r0 = reserve-at v0 0x0 4K rw no-write-allocate", true, true)]
    public void What_protects_must_be_said_and_how_caches_are_used_need_not(string reserve, bool isOfFirstStage, bool isOfSecondStage)
    {
        foreach ((string kind, bool isSaid) in new[] { ("first-stage", isOfFirstStage), ("second-stage", isOfSecondStage) })
        {
            Observation done = new(Outcome.None) { Ranges = [new(0, 0xfff)] };
            World associated = Start(World.Create(TwoFormats, 1), "v0 = vcm 0x0-0xffff", $"a0 = associate v0 d0 {kind}");
            World reserved = Start(World.Create(TwoFormats, 1), "v0 = vcm 0x0-0xffff", reserve);
            string set = $"protect r1 {reserve[(reserve.IndexOf("rw", StringComparison.Ordinal))..]}";
            World plain = Start(associated, "r1 = reserve-at v0 0x1000 4K rw");
            Assert.Equal(isSaid, Judge(associated, reserve, done).IsAccepted);
            Assert.Equal(isSaid, Judge(reserved, $"a0 = associate v0 d0 {kind}", new(Outcome.None)).IsAccepted);
            Assert.Equal(isSaid, Judge(plain, set, new(Outcome.None)).IsAccepted);
            if (isSaid) continue;
            Assert.Equal(Outcome.Invalid, Refusal(associated, reserve));
            Assert.Equal(Outcome.Invalid, Refusal(reserved, $"a0 = associate v0 d0 {kind}"));
            Assert.Equal(Outcome.Invalid, Refusal(plain, set));
        }
    }

    [Fact]
    public void A_supervisor_only_page_lets_no_device_in()
    {
        World world = Start(
            World.Create(TwoFormats, 1), "v0 = vcm 0x0-0xffff", "r0 = reserve-at v0 0x0 4K rw supervisor", "m0 = wrap 0x10000-0x10fff", "back r0 m0",
            "a0 = associate v0 d0 first-stage", "activate a0");
        Assert.True(Judge(world, "read d0 0x0", new(Outcome.Fault)).IsAccepted);
        Assert.Equal(Invariant.Permission, Judge(world, "read d0 0x0", new(Outcome.None) { Reached = 0x10000 }).Broken);
        World open = Judge(world, "protect r0 rw", new(Outcome.None)).Next;
        Assert.True(Judge(open, "write d0 0x0", new(Outcome.None) { Reached = 0x10000 }).IsAccepted);
        Assert.False(Judge(open, "write d0 0x0", new(Outcome.Fault)).IsAccepted);
        // Taken away again, what was granted is a stale access and not a wrong one.
        World closed = Judge(open, "protect r0 rw supervisor", new(Outcome.None)).Next;
        Assert.Equal(Invariant.NoStaleAccess, Judge(closed, "write d0 0x0", new(Outcome.None) { Reached = 0x10000 }).Broken);
    }

    [Fact]
    public void A_table_says_of_caches_what_it_can()
    {
        World world = Start(
            World.Create(TwoFormats, 1), "v0 = vcm 0x0-0xffff", "r0 = reserve-at v0 0x0 4K rw write-through", "m0 = wrap 0x10000-0x10fff", "back r0 m0",
            "a0 = associate v0 d0 first-stage");
        Assert.True(Judge(world, "translate v0 0x0", Seen(CachePolicy.WriteThrough)).IsAccepted);
        Assert.Equal(Invariant.TablesAreTruth, Judge(world, "translate v0 0x0", Seen(CachePolicy.NotCached)).Broken);
        Assert.Equal(Invariant.TablesAreTruth, Judge(world, "translate v0 0x0", Seen(CachePolicy.WriteBackWriteAllocate)).Broken);
        World both = Judge(world, "a1 = associate v0 d0 pasid 1", new(Outcome.None)).Next;
        Assert.True(Judge(both, "translate v0 0x0", Seen(CachePolicy.WriteBackWriteAllocate)).IsAccepted);
        Assert.True(Judge(both, "translate v0 0x0", Seen(CachePolicy.WriteThrough)).IsAccepted);
        Assert.Equal(new(Permissions.ReadWrite, Cache: CachePolicy.WriteThrough), both.Reservations[R0].Attributes);

        static Observation Seen(CachePolicy cache) => new(Outcome.None) { Translation = new(0x10000, Cache: cache) };
    }
}
