using Harness.Foreign;
using Harness.Generating;
using Harness.Running;
using Harness.Scenarios;
using Harness.Stages;
using Mutation.Hunting;
using Mutation.SelfCheck;
using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>What is muted is found, counted and not told, and whatever else is wrong still is.</summary>
public sealed class MutedSequences
{
    private const uint Sequences = 60;

    private static readonly ScenarioGen Scenarios = new(ScenarioShape.Any);

    [Theory]
    [Trait("Category", "Slow")]
    [InlineData("a reservation one page too high")]
    [InlineData("memory that is not given back")]
    [InlineData("a table that grants more than the reservation")]
    [InlineData("one domain id for all regions")]
    public void A_muted_invariant_is_counted_and_not_told(string name)
    {
        PlantedFault fault = PlantedFault.All.Single(candidate => candidate.Name == name);
        using IBench bench = fault.Bench(new SimulatorBench());
        var heard = new SequenceRunner(bench, fault.Parts);
        var muted = new SequenceRunner(bench, fault.Parts with { Muted = InvariantSet.Of(fault.CaughtBy) });
        bool wasTold = false;
        for (uint index = 0; index < Sequences; index++)
        {
            Scenario scenario = Scenarios.Generate(1, index);
            wasTold |= heard.Run(scenario).Violation?.Invariant == fault.CaughtBy;
            Assert.NotEqual(fault.CaughtBy, muted.Run(scenario).Violation?.Invariant);
        }

        Assert.True(wasTold);
        Assert.InRange(muted.Counts.MutedBreaches[fault.CaughtBy], 1, long.MaxValue);
        Assert.Equal([fault.CaughtBy], muted.Counts.MutedBreaches.Keys);
    }

    /// <summary>Muting an invariant that nothing breaks changes nothing.</summary>
    [Fact]
    public void The_library_as_it_is_runs_the_same_with_all_muted()
    {
        using var bench = new SimulatorBench();
        var heard = new SequenceRunner(bench, SubjectParts.Own);
        var muted = new SequenceRunner(bench, SubjectParts.Own with { Muted = InvariantSet.Of(Enum.GetValues<Invariant>()) });
        for (uint index = 0; index < 10; index++)
        {
            Scenario scenario = Scenarios.Generate(1, index);
            Assert.Equal(heard.Run(scenario).Report(), muted.Run(scenario).Report());
        }

        Assert.Empty(muted.Counts.MutedBreaches);
        Assert.Equal(0, muted.Counts.Lost);
    }

    [Fact]
    public void The_model_goes_on_past_what_it_overlooks_and_past_nothing_else()
    {
        World world = World.Create(new IommuModel(LastAddress: 0xFFFF_FFFF, Untranslated: []), deviceCount: 1);
        var vcm = new ObjectId(ObjectKind.Vcm, 0);
        var reservation = new ObjectId(ObjectKind.Reservation, 0);
        world = world.Judge(new CreateVcm(vcm, new(0, 0xFFFF)), new(Outcome.None), default).Next;
        var reserve = new Reserve(reservation, vcm, World.PageBytes, new(Permissions.Read), 2 * World.PageBytes);
        Observation odd = new(Outcome.None) { Ranges = [new(World.PageBytes, 2 * World.PageBytes - 1)] };
        Assert.Equal(Invariant.NoOverlap, world.Judge(reserve, odd, default).Broken);
        Assert.Equal(Invariant.NoOverlap, (world with { Overlooked = InvariantSet.Of(Invariant.Conservation) }).Judge(reserve, odd, default).Broken);
        World after = (world with { Overlooked = InvariantSet.Of(Invariant.NoOverlap) }).Judge(reserve, odd, default).Next;
        Assert.Equal(odd.Ranges[0], after.Reservations[reservation].Range);
        // That it was refused with nothing against it is another's.
        Assert.Equal(Invariant.Linearizable, (world with { Overlooked = InvariantSet.Of(Invariant.NoOverlap) }).Judge(reserve, new(Outcome.Busy), default).Broken);
    }

    [Fact]
    public void A_trace_is_not_refused_for_what_is_muted()
    {
        Hunt heard = EditedTrace.Judge("map-again", InvariantSet.None, TimeProvider.System, CancellationToken.None);
        Assert.Equal((HuntEnd.Found, Invariant.BreakBeforeMake), (heard.End, heard.Named));
        Hunt other = EditedTrace.Judge("map-again", InvariantSet.Of(Invariant.NoStaleAccess), TimeProvider.System, CancellationToken.None);
        Assert.Equal(Invariant.BreakBeforeMake, other.Named);
        Hunt muted = EditedTrace.Judge("map-again", InvariantSet.Of(Invariant.BreakBeforeMake), TimeProvider.System, CancellationToken.None);
        Assert.Equal((HuntEnd.NotFound, 1), (muted.End, muted.Muted));
    }

    [Fact]
    public void A_stage_ends_after_as_many_tries_as_it_has()
    {
        var context = new StageContext(1, TimeSpan.FromMinutes(5), TimeProvider.System, static _ => { }, CancellationToken.None) { Most = 3 };
        Assert.Equal(3, new SequenceStage().Run(context).Ran.Single(static ran => ran.What == "sequences").Count);
        Assert.Equal(3, new HostileStage().Run(context).Ran.Single(static ran => ran.What == "units").Count);
    }
}
