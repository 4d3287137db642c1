using Harness.Coverage;
using Harness.ModelChecking;
using Harness.Running;
using Properties.Sequences;
using Vcmm.Spec;
using Xunit.Abstractions;

namespace Properties.Coverage;

/// <summary>The library takes the transitions of the model, one after the other.</summary>
[Trait("Category", "Slow")]
public sealed class DirectedRunLaws(ITestOutputHelper output)
{
    private static readonly Scope Least = new() { Vcms = 1, Formats = 1, Devices = 1, Granules = 1, Frames = 1, Bounds = 0, Owners = 1, Quarantine = 0, Faults = 1 };

    /// <summary>
    /// Small worlds, how many situations the model has in them, in how many of those memory or hardware would have to fail that is not asked for anything, and in how
    /// many the library is free and comes to something else: where a call may be refused for two reasons it gives one, and what is flushed early nobody waits for.
    /// </summary>
    public static TheoryData<string, Scope, int, int, string> Worlds => new()
    {
        { "the least", Least, 582, 188, "Back Invalid 3, Copy Fault 13, Map Invalid 3, Unbind Busy 2" },
        { "two formats", Least with { Formats = 2, Devices = 2, Faults = 0 }, 858, 276, "Back Invalid 5, Copy Fault 21, Map Invalid 5, Unbind Busy 2" },
        { "deferral", Least with { Quarantine = 1, Faults = 0 }, 1414, 480, "Back Invalid 6, Copy Fault 32, Map Invalid 23, Reserve NoSpace 1, ReserveAt NoSpace 1, Unbind Busy 2" },
        { "bounds and owners", Least with { Bounds = 1, Owners = 2, Faults = 0 }, 1252, 411, "Back Invalid 12, Copy Fault 49, Map Invalid 3, Unbind Busy 36" },
        { "accesses that wait", Least with { Waiting = 1 }, 587, 188, "Back Invalid 3, ChangeAssociation Busy 1, Copy Fault 13, Map Invalid 3, Unbind Busy 2" },
        // What is at the address of a region the machine decides.
        {
            "one-to-one", Least with { OneToOne = true, Faults = 0 }, 889, 290,
            "Back Invalid 9, Back None 3, Bind NoMemory 2, Bind NoSpace 6, Copy Fault 25, Map Invalid 3, Map NoSpace 5, Translate None 2, TranslateTo None 3, Unbind Busy 2"
        },
    };

    [Theory]
    [MemberData(nameof(Worlds))]
    public void Every_transition_of_the_model_is_taken_or_the_library_is_free_to_do_something_else(string name, Scope scope, int situations, int cannotFail, string chosen)
    {
        ModelReport model = ModelOf(scope);
        DirectedRun run = DirectedRun.Run(scope, model, SubjectParts.Own, static _ => false);
        Assert.True(run.Failure is null, run.Failure?.Report);
        Situation[] possible = [.. model.Coverage.Keys];
        ILookup<MissingBecause, Situation> missing = possible.Where(situation => !run.Situations.Contains(situation)).ToLookup(run.WhyMissing);
        string[] free = [.. missing[MissingBecause.Chosen].GroupBy(static situation => $"{situation.Operation.Name} {situation.Outcome}").Select(static group => $"{group.Key} {group.Count()}").Order(StringComparer.Ordinal)];
        output.WriteLine($"{name}: {model.States} states, {possible.Length} situations, {run.Sequences} sequences; {missing[MissingBecause.CannotFail].Count()} cannot fail; {string.Join(", ", free)}");
        foreach (Situation situation in missing[MissingBecause.NotMet]) output.WriteLine($"not met: {situation}");
        Assert.Empty(missing[MissingBecause.NotMet]);
        Assert.Equal((situations, cannotFail, chosen), (possible.Length, missing[MissingBecause.CannotFail].Count(), string.Join(", ", free)));
    }

    [Theory]
    [InlineData("a detach that is not done")]
    [InlineData("an unback that does not invalidate")]
    [InlineData("a table that grants more than the reservation")]
    public void A_fault_in_the_library_is_met_on_the_way(string name)
    {
        PlantedFault planted = PlantedFault.All.Single(fault => fault.Name == name);
        DirectedRun run = DirectedRun.Run(Least, ModelOf(Least), planted.Parts, static _ => false);
        Assert.Equal(planted.CaughtBy, run.Failure?.Invariant);
    }

    [Fact]
    public void It_stops_when_it_is_told_to()
    {
        int asked = 0;
        DirectedRun run = DirectedRun.Run(Least, ModelOf(Least), SubjectParts.Own, _ => ++asked == 10);
        Assert.Equal(10, asked);
        Assert.InRange(run.Sequences, 9, 500);
    }

    /// <summary>As far as short ways go; on one thread, so that it knows the same ways every time.</summary>
    private static ModelReport ModelOf(Scope scope) => ModelSearch.Run(scope, new SearchLimits { Depth = 9, Workers = 1 }, TimeProvider.System);
}
