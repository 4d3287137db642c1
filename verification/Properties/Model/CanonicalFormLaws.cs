using CsCheck;
using Harness.Coverage;
using Harness.Generating;
using Harness.ModelChecking;
using Vcmm.Spec;

namespace Properties.Model;

/// <summary>Worlds without names.</summary>
public sealed class CanonicalFormLaws
{
    private static readonly Scope Small = new() { Processes = 1 };

    private static readonly int Count = UnderMutation.IsOn ? 40 : 150, CountOfGuests = UnderMutation.IsOn ? 20 : 60;

    /// <summary>A way through the scope: at each step, one of the behaviours that the model accepts.</summary>
    private static readonly Gen<int[]> Ways = Gen.Int[0, int.MaxValue - 1].Array[1, 14];

    private static readonly Scope Nesting = new() { Vcms = 2, Formats = 1, Devices = 2, Granules = 2, Frames = 2, Bounds = 0, Owners = 1, Quarantine = 1, Faults = 0, Guests = 1 };

    /// <summary>A guest's device that is active, and may have kept something.</summary>
    private static readonly string[] Nested =
    [
        "v1 = vcm 0x0-0x1fff deferred", "r1 m1 = bind v1 4K rw of 4K scattered", "g1 = guest r1 one-page", "guest-map g1 page 0 to 0x1000 rw", "a1 = associate v1 d0 nested g1", "activate a1",
        "guest-map g1 page 0 to 0x0 r",
    ];

    [Fact]
    public void A_form_tells_all_that_matters() => Ways.ForAll(Count, static way => IsTold(Small, WorldWalk.Walk(Small, way)));

    [Fact]
    public void A_form_tells_all_that_matters_of_guests() => Ways.ForAll(
        CountOfGuests,
        static way =>
        {
            // As many steps of the beginning as the first number says.
            string[] first = Nested[..(1 + (way[0] % Nested.Length))];
            IsTold(Nesting, WorldWalk.Walk(Nesting, way, out _, first));
        });

    [Fact]
    public void A_guest_whose_region_has_ended_is_told_as_it_is() => IsTold(
        Nesting,
        WorldWalk.Do(
            Nesting, "v1 = vcm 0x0-0x1fff", "r1 m1 = bind v1 4K rw of 4K scattered", "g1 = guest r1 one-page", "unmap r1", "free v1", "v2 = vcm 0x0-0x1fff", "a1 = associate v2 d0 nested g1", "activate a1",
            "guest-map g1 page 0 to 0x0 r", "guest-unmap g1 page 0"));

    [Fact]
    public void Names_are_not_in_it() => Ways.ForAll(Count, static way => HasNoNames(Small, way));

    [Fact]
    public void Names_are_not_in_it_where_there_are_guests() => Ways.ForAll(CountOfGuests, static way => HasNoNames(Nesting, way, Nested));

    private static void IsTold(Scope scope, World world)
    {
        CanonicalForm form = NewForm(scope);
        byte[] bytes = [.. form.Of(world)];
        World again = form.ToWorld(bytes);
        Assert.Equal(bytes, form.Of(again).ToArray());
        // What can follow has the same forms, whatever the names. What it was called does not matter, and how often it is reached that way does not either.
        Assert.Equal(FormsAfter(scope, world), FormsAfter(scope, again));
        // And what was met in the one can be met in the other, which has more that has ended.
        Assert.Empty(SituationsIn(scope, again).Except(SituationsIn(scope, world)));
    }

    private static void HasNoNames(Scope scope, int[] way, params string[] first)
    {
        // The other way to the same: devices in the opposite order, frames too, the objects made in the same order.
        World world = WorldWalk.Walk(scope, way, out List<Behaviour> steps, first);
        World other = scope.Blank();
        foreach (Behaviour step in steps)
        {
            Behaviour mirrored = Mirror.Of(step, scope);
            other = other.Judge(mirrored.Operation, mirrored.Seen, mirrored.Surroundings).Next;
        }

        Assert.Equal(NewForm(scope).Of(world).ToArray(), NewForm(scope).Of(other).ToArray());
    }

    /// <summary>A guest that has ended, region and memory, is as if it had not been; with names it is not there, and one that is has its name.</summary>
    [Fact]
    public void A_guest_is_told_apart_by_what_it_has()
    {
        string[] ended = ["v1 = vcm 0x0-0x1fff", "r1 m1 = bind v1 4K rw of 4K scattered", "g1 = guest r1 one-page", "guest-map g1 page 0 to 0x0 rw", "unbind v1 r1 m1", "free v1"];
        string[] another = ["v2 = vcm 0x0-0x1fff", "r2 m2 = bind v2 4K rw of 4K scattered", "g2 = guest r2 one-page"];
        string[] first = ["v1 = vcm 0x0-0x1fff", "r1 m1 = bind v1 4K rw of 4K scattered", "g1 = guest r1 one-page"];
        CanonicalForm form = NewForm(Nesting);
        string Form(params string[] steps) => Convert.ToHexString(form.Of(WorldWalk.Do(Nesting, steps)));
        Assert.Equal(Convert.ToHexString(form.Of(Nesting.Blank())), Form(ended));
        Assert.Equal(Form(first), Form([.. ended, .. another]));
        CanonicalForm named = CanonicalForm.WithNames(Nesting.Blank().WithoutObjects());
        World[] worlds = [WorldWalk.Do(Nesting, [.. ended, .. another]), WorldWalk.Do(Nesting, [.. ended, .. another, "guest-map g2 page 0 to 0x0 rw", "guest-unmap g2 page 0"]), WorldWalk.Do(Nesting, first)];
        string[] forms = [.. worlds.Select(world => Convert.ToHexString(named.Of(world)))];
        Assert.Equal(forms[0], forms[1]);
        Assert.NotEqual(forms[0], forms[2]);
    }

    [Fact]
    public void What_differs_of_guests_has_another_form()
    {
        World world = WorldWalk.Do(Nesting, Nested);
        string[][] more =
        [
            [], ["guest-map g1 page 0 to 0x0 rw"], ["guest-map g1 page 0 to 0x1000 r"], ["guest-map g1 page 0 to 0x1000 rw"], ["guest-unmap g1 page 0"], ["invalidate a1 0x5a5a40204000-0x5a5a40204fff"],
            ["invalidate a1 0x5a5a40204000-0x5a5a40207fff", "guest-unmap g1 page 0"], ["deactivate a1"], ["deactivate a1", "change a1"], ["deactivate a1", "deassociate a1"], ["unback r1"], ["unback r1", "free m1"], ["unback r1", "free m1", "flush v1"],
            ["a2 = associate v1 d1"], ["a2 = associate v1 d1 nested g1"], ["a2 = associate v1 d1 nested g1", "activate a2"], ["v2 = vcm 0x0-0x1fff"], ["v2 = vcm 0x0-0x1fff", "a2 = associate v2 d1 nested g1"],
            ["v2 = vcm 0x0-0x1fff", "a2 = associate v2 d1 nested g0"], ["deactivate a1", "deassociate a1", "unback r1", "unreserve r1", "free v1"],
        ];
        CanonicalForm form = NewForm(Nesting);
        string[] forms = [.. more.Select(steps => Convert.ToHexString(form.Of(WorldWalk.Do(Nesting, world, steps))))];
        Assert.Equal(forms.Length, forms.Distinct().Count());
        // To say again what is kept anyway changes nothing.
        string[] again = ["guest-map g1 page 0 to 0x1000 rw", "guest-map g1 page 0 to 0x0 r"];
        Assert.Equal(forms[0], Convert.ToHexString(form.Of(WorldWalk.Do(Nesting, world, again))));
    }

    [Fact]
    public void What_differs_in_anything_else_has_another_form()
    {
        World world = WorldWalk.Do(
            Small, "v1 = vcm 0x0-0x3fff deferred", "r1 = reserve-at v1 0x0 8K rw", "m1 = allocate 4K of 4K scattered", "back r1 at 0 m1 at 0 for 4K", "a1 = associate v1 d0", "activate a1");
        string[][] more =
        [
            [], ["v2 = vcm 0x0-0x3fff"], ["v2 = vcm 0x0-0x3fff deferred"], ["b1 = bound v1 4K align 4K"], ["r2 = reserve-at v1 0x2000 4K rw"], ["r2 = reserve-at v1 0x3000 4K rw"],
            ["r2 = reserve-at v1 0x2000 4K r"], ["protect r1 r"], ["acquire r1"], ["m2 = allocate 4K of 4K scattered"], ["m2 = allocate 8K of 4K scattered"], ["m2 = wrap 0x3800000-0x3800fff"],
            ["back r1 at 4K m1 at 0 for 4K"], ["unback r1"], ["unback r1", "free m1"], ["unback r1", "unreserve r1"], ["unback r1", "advance 10ms"], ["deactivate a1"], ["deactivate a1", "deassociate a1"],
            ["a2 = associate v1 d1"], ["a2 = associate v1 d1 first-stage"], ["a2 = associate v1 d1", "activate a2"], ["hook d0 refuse"], ["a2 = associate v1 p0"],
        ];
        CanonicalForm form = NewForm(Small);
        string[] forms = [.. more.Select(steps => Convert.ToHexString(form.Of(WorldWalk.Do(Small, world, steps))))];
        Assert.Equal(forms.Length, forms.Distinct().Count());
    }

    private static CanonicalForm NewForm(Scope scope) => new(scope.Blank(), scope.FrameAddresses);

    /// <summary>But for look-ups from memory: who has the frame now that memory had which has ended is a matter of names.</summary>
    private static SortedSet<string> SituationsIn(Scope scope, World world) =>
        new(WorldWalk.Next(scope, world).Where(static step => step.Behaviour.Operation is not FindMappings).Select(step => $"{Situation.Of(world, step.Behaviour.Operation, step.Behaviour.Seen.Outcome)}"), StringComparer.Ordinal);

    private static SortedSet<string> FormsAfter(Scope scope, World world)
    {
        CanonicalForm form = NewForm(scope);
        return new(WorldWalk.Next(scope, world).Select(step => Convert.ToHexString(form.Of(step.Next))), StringComparer.Ordinal);
    }
}
