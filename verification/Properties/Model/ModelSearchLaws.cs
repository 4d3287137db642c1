using System.Collections.Immutable;
using Harness.Generating;
using Harness.ModelChecking;
using Harness.Operations;
using Vcmm.Spec;

namespace Properties.Model;

/// <summary>Searches through small worlds: what they count, what they find, and what they say when there is too much.</summary>
public sealed class ModelSearchLaws
{
    private static readonly Scope Least = new() { Vcms = 1, Formats = 1, Devices = 1, Granules = 1, Frames = 1, Bounds = 0, Owners = 1, Quarantine = 0, Faults = 0 };

    /// <summary>Scopes that end soon.</summary>
    private static readonly Dictionary<string, Scope> Small = new()
    {
        ["the least"] = Least,
        ["two granules"] = Least with { Granules = 2 },
        ["two formats and two devices"] = Least with { Formats = 2, Devices = 2 },
        ["an access may wait"] = Least with { Faults = 1, Waiting = 1 },
        ["let through"] = Least with { PassThrough = true },
        ["one-to-one"] = Least with { OneToOne = true, Frames = 2 },
        ["a guest"] = Least with { Guests = 1 },
        ["a guest of two pages"] = Least with { Guests = 1, GuestPages = 2 },
        ["a guest on hardware that caches what is absent"] = Least with { Guests = 1, CachingMode = true },
    };

    /// <summary>How many states, up to names, they have: pinned.</summary>
    /// <remarks>
    /// With a guest, by hand. In a region without one there are 52 of reservation and memory, and 36 where a device has joined, so that nothing is reserved
    /// that its tables cannot say; the device is apart, joined or active, with the table of a guest that has ended or without, and has a hook or not. Without a region there are 4.
    /// Where there is a guest its memory is there, so that there are 32 and 22. Of one page its table says one of three things, and of what it may have kept of
    /// the other two, where it is not nothing, a device that is active with it has any: 8 in all, and where nothing is kept, too, 12; of two pages that squared. Where the
    /// memory of a guest is gone its table says nothing, and its place in the region is taken: again 52 and 36. Where its region is gone its memory is, or is not, in another, in which a device
    /// may have its table as before, or that of one that has ended. Where both are gone there is none.
    /// </remarks>
    [Theory]
    [InlineData("the least", 256, 1)]
    [InlineData("the least", 256, 2)]
    [InlineData("two granules", 3_936, 2)]
    [InlineData("two formats and two devices", 2_040, 2)]
    [InlineData("an access may wait", 2_160, 2)]
    // As below: a device that is not active is let through, or is not.
    [InlineData("let through", (36 * 10) + (20 * 4), 2)]
    [InlineData("one-to-one", 4_784, 2)]
    // As told above.
    [InlineData("a guest", 400 + (2 * (((32 + 66) * 3) + (22 * 8))) + 392 + 12 + (2 * (((32 + 110) * 3) + (22 * 8))), 2)]
    [InlineData("a guest of two pages", 400 + (2 * (((32 + 66) * 9) + (22 * 64))) + 392 + 36 + (2 * (((32 + 110) * 9) + (22 * 64))), 2)]
    [InlineData("a guest on hardware that caches what is absent", 400 + (2 * (((32 + 66) * 3) + (22 * 12))) + 392 + 12 + (2 * (((32 + 110) * 3) + (22 * 12))), 2)]
    public void A_scope_has_as_many_states_as_it_had(string name, int states, int workers)
    {
        // Four fifths of the time of all rows.
        if (UnderMutation.IsOn && states > 3_000) return;
        Scope scope = Small[name];
        ModelReport report = Search(scope, new SearchLimits { Workers = workers });
        Assert.Null(report.CutOff);
        Assert.Null(report.Counterexample);
        Assert.Equal(states, report.States);
        Assert.Equal(states, report.Expanded);
        Assert.Equal(states, report.StatesByDepth.Sum());
        // Of what such a scope can come to nothing is left out.
        Assert.Empty(report.Laws.Where(static law => law.Depth < 0).Select(static law => law.Name));
        Assert.True(report.BareStatesPerSecond > report.StatesPerSecond);
    }

    /// <summary>
    /// Where there is a region, a device is apart, joined or active, and has a hook or not: it is one of 6, of two that are alike there are 21 pairs, and of
    /// three 56. Where there is none it has a hook or not. What else there is, there is 36 and 20 times.
    /// </summary>
    [Theory]
    [InlineData(1, (36 * 6) + (20 * 2))]
    [InlineData(2, (36 * 21) + (20 * 3))]
    [InlineData(3, (36 * 56) + (20 * 4))]
    public void Devices_that_are_alike_are_not_told_apart(int devices, int states) => Assert.Equal(states, Search(Least with { Devices = devices }, new()).States);

    [Fact]
    [Trait("Category", "Broad")]
    public void Every_operation_is_tried_and_every_law_of_reach_holds()
    {
        // Between them these have a case of each.
        Scope[] scopes =
        [
            Least with { Granules = 2, Bounds = 1, Owners = 2, Quarantine = 1, Faults = 1, Processes = 1 },
            Least with { Vcms = 2, Devices = 3, Formats = 2 },
            Least with { Quarantine = 2, Granules = 2, Faults = 1 },
            Least with { PassThrough = true },
            Least with { Guests = 1 },
        ];
        ModelReport[] reports = [.. scopes.Select(static scope => Search(scope, new SearchLimits { Depth = 6, States = 60_000 }))];
        Assert.All(reports, static report => Assert.Null(report.Counterexample));
        string[] operations = [.. typeof(Operation).Assembly.GetTypes().Where(static type => type.IsSubclassOf(typeof(Operation))).Select(static type => type.Name)];
        string[] tried = [.. reports.SelectMany(static report => report.Coverage.Keys).Select(static situation => situation.Operation.Name).Distinct()];
        Assert.Empty(operations.Except(tried));
        string[] done = [.. reports.SelectMany(static report => report.Coverage.Keys).Where(static situation => situation.Outcome == Outcome.None).Select(static situation => situation.Operation.Name).Distinct()];
        Assert.Empty(operations.Except(done));
    }

    [Fact]
    [Trait("Category", "Broad")]
    public void What_a_region_takes_away_blocks_a_guests_device_and_is_told()
    {
        ModelReport report = Search(Least with { Guests = 1, Faults = 1 }, new());
        Assert.Null(report.Counterexample);
        Assert.Equal(47_168, report.States);
        Assert.Empty(report.Laws.Where(static law => law.Depth < 0).Select(static law => law.Name));
    }

    [Fact]
    public void What_happens_late_happens()
    {
        // What the first steps of a search do not come to, by hand: so the laws can hold.
        Scope scope = new();
        string[][] ways =
        [
            ["v1 = vcm 0x0-0x3fff", "a1 = associate v1 d0", "a2 = associate v1 d1", "a3 = associate v1 d2", "activate a1", "activate a2", "activate a3"],
            ["v1 = vcm 0x0-0x3fff", "a1 = associate v1 d0", "a2 = associate v1 d1 first-stage", "activate a1", "activate a2"],
            ["v1 = vcm 0x0-0x3fff", "m1 = allocate 4K of 4K scattered", "r1 = map v1 m1 rw align 4K", "v2 = clone v1", "a1 = associate v1 d0", "a2 = associate v2 d1", "activate a1", "activate a2"],
            ["v1 = vcm 0x0-0x3fff deferred", "m1 = allocate 8K of 4K scattered", "r1 = map v1 m1 rw align 4K", "a1 = associate v1 d0", "activate a1", "unback r1 at 0 for 4K", "read d0 0x0"],
            ["v1 = vcm 0x0-0x3fff deferred", "m1 = allocate 4K of 4K scattered", "r1 = map v1 m1 rw align 4K", "a1 = associate v1 d0", "activate a1", "unmap r1", "free m1", "deactivate a1", "deassociate a1", "free v1"],
        ];
        ImmutableArray<ReachLaw> laws = ReachLaw.For(scope);
        HashSet<string> reached = [];
        foreach (string[] way in ways)
        {
            World world = scope.Blank();
            foreach (string step in way)
            {
                foreach ((Behaviour behaviour, World next) in WorldWalk.Next(scope, world))
                    reached.UnionWith(laws.Where(law => law.OfStep?.Invoke(new(world, behaviour.Operation, behaviour.Seen, next)) ?? law.OfWorld!(next)).Select(static law => law.Name));
                world = WorldWalk.Do(scope, world, step);
            }
        }

        string[] early = [.. Search(scope with { Granules = 2 }, new SearchLimits { Depth = 3 }).Laws.Where(static law => law.Depth >= 0).Select(static law => law.Name)];
        string[] missing = [.. laws.Select(static law => law.Name).Except(reached).Except(early)];
        // The ways have no flush but where it is due.
        Assert.Equal(["a flush came before it was due"], missing);
    }

    [Fact]
    [Trait("Category", "Broad")]
    public void A_scope_that_does_not_fit_says_what_it_took_and_what_it_would_take()
    {
        ModelReport report = Search(new Scope(), new SearchLimits { Bytes = 3 << 20 });
        Assert.NotNull(report.CutOff);
        Assert.Matches("does not fit into 3 MiB: .* states took .* MiB, and depth . alone, .* about .* states and .* MiB", report.CutOff);
        Assert.True(report.States > 1000);
        Assert.Null(report.Counterexample);
    }

    [Fact]
    public void A_search_stops_when_it_is_told_to()
    {
        using var stop = new CancellationTokenSource();
        ModelReport report = ModelSearch.Run(new Scope(), new SearchLimits(), TimeProvider.System, _ => stop.Cancel(), stop.Token);
        Assert.Equal("it was stopped", report.CutOff);
        Assert.Equal("at depth 2, as asked", Search(new Scope(), new SearchLimits { Depth = 2 }).CutOff);
        Assert.StartsWith("at 1,000 states", Search(new Scope(), new SearchLimits { States = 1000 }).CutOff, StringComparison.Ordinal);
    }

    /// <summary>I10 is of histories, and I11 of what calls cost.</summary>
    [Fact]
    public void Every_other_invariant_is_a_predicate_and_some_planted_model_breaks_it()
    {
        Invariant[] predicates = [.. Enum.GetValues<Invariant>().Except([Invariant.Linearizable, Invariant.Frugal])];
        Assert.Equal(predicates, InvariantPredicate.All.Select(static predicate => predicate.Invariant));
        Assert.Equal(predicates, PlantedModels.All.Select(static row => (Invariant)row[1]).Distinct().Order());
    }

    [Fact]
    public void A_number_outside_its_range_is_bad_input()
    {
        Assert.Contains("granules is 9; expected 1 to 8", Assert.Throws<Harness.BadInputException>(() => Search(new Scope { Granules = 9 }, new())).Message);
    }

    /// <summary>A model with a fault in it, and the invariant that is broken by it, by which operations.</summary>
    [Theory]
    [MemberData(nameof(PlantedModels.All), MemberType = typeof(PlantedModels))]
    [Trait("Category", "Broad")]
    public void A_fault_in_the_model_is_found_by_its_invariant(string name, Invariant broken)
    {
        PlantedModel planted = PlantedModels.Named(name);
        ModelReport report = ModelSearch.Run(planted.Scope, new SearchLimits { Workers = 1, States = 150_000 }, TimeProvider.System, judge: planted.Judge);
        Assert.NotNull(report.Counterexample);
        Assert.Equal(broken, report.Counterexample.Broken);
        Assert.Equal(planted.Way, string.Join("; ", report.Counterexample.Steps.Skip(planted.Scope.Prologue().Count()).Select(static step => OperationText.Write(step.Operation))));
    }

    /// <summary>Whatever these operations come to, it breaks nothing; but for the last, of which one outcome breaks that invariant.</summary>
    [Theory]
    [MemberData(nameof(PlantedModels.All), MemberType = typeof(PlantedModels))]
    public void A_fault_in_the_model_breaks_its_invariant_at_the_end_of_the_shortest_way(string name, Invariant broken)
    {
        PlantedModel planted = PlantedModels.Named(name);
        string[] way = planted.Way.Split("; ");
        World[] worlds = [planted.Scope.Blank()];
        for (int i = 0; i < way.Length; i++)
        {
            WorldStep[] steps =
            [
                .. worlds.SelectMany(world => WorldWalk.Next(planted.Scope, world, planted.Judge)
                    .Where(step => OperationText.Write(step.Behaviour.Operation) == way[i])
                    .Select(step => new WorldStep(world, step.Behaviour.Operation, step.Behaviour.Seen, step.Next))),
            ];
            Assert.NotEmpty(steps);
            Invariant?[] found = [.. steps.Select(static step => (InvariantPredicate.WhyBroken(step) ?? InvariantPredicate.WhyBroken(step.After))?.Broken).Distinct()];
            if (i == way.Length - 1) Assert.Contains(broken, found);
            else Assert.Equal([null], found);
            worlds = [.. steps.Select(static step => step.After).Distinct()];
        }
    }

    private static ModelReport Search(Scope scope, SearchLimits limits) => ModelSearch.Run(scope, limits, TimeProvider.System);
}
