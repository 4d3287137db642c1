using CsCheck;
using Harness.Generating;
using Harness.ModelChecking;
using Vcmm.Spec;

namespace Properties.Model;

/// <summary>Worlds without names.</summary>
public sealed class CanonicalFormLaws
{
    private static readonly Scope Small = new() { Processes = 1 };

    /// <summary>A way through the scope: at each step, one of the behaviours that the model accepts.</summary>
    private static readonly Gen<int[]> Ways = Gen.Int[0, int.MaxValue - 1].Array[1, 14];

    [Fact]
    public void A_form_tells_all_that_matters() => Ways.ForAll(
        150,
        static way =>
        {
            World world = WorldWalk.Walk(Small, way);
            CanonicalForm form = NewForm();
            byte[] bytes = [.. form.Of(world)];
            World again = form.ToWorld(bytes);
            Assert.Equal(bytes, form.Of(again).ToArray());
            // What can follow has the same forms, whatever the names. What it was called does not matter, and how often it is reached that way does not either.
            Assert.Equal(FormsAfter(world), FormsAfter(again));
        });

    [Fact]
    public void Names_are_not_in_it() => Ways.ForAll(
        150,
        static way =>
        {
            // The other way to the same: devices in the opposite order, frames too, the objects made in the same order.
            World world = WorldWalk.Walk(Small, way, out List<Behaviour> steps);
            World other = Small.Blank();
            foreach (Behaviour step in steps)
            {
                Behaviour mirrored = Mirror.Of(step, Small);
                other = other.Judge(mirrored.Operation, mirrored.Seen, mirrored.Surroundings).Next;
            }

            Assert.Equal(NewForm().Of(world).ToArray(), NewForm().Of(other).ToArray());
        });

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
        CanonicalForm form = NewForm();
        string[] forms = [.. more.Select(steps => Convert.ToHexString(form.Of(WorldWalk.Do(Small, world, steps))))];
        Assert.Equal(forms.Length, forms.Distinct().Count());
    }

    private static CanonicalForm NewForm() => new(Small.Blank(), Small.FrameAddresses);

    private static SortedSet<string> FormsAfter(World world)
    {
        CanonicalForm form = NewForm();
        return new(WorldWalk.Next(Small, world).Select(step => Convert.ToHexString(form.Of(step.Next))), StringComparer.Ordinal);
    }
}
