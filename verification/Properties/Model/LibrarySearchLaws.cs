using Harness.Coverage;
using Harness.Failures;
using Harness.ModelChecking;
using Harness.Scenarios;
using Properties.Sequences;
using Vcmm.Spec;
using Xunit.Abstractions;

namespace Properties.Model;

/// <summary>All that can be done with the library in a small world.</summary>
[Trait("Category", "Broad")]
public sealed class LibrarySearchLaws(ITestOutputHelper output)
{
    private static readonly Scope Least = new() { Vcms = 1, Formats = 1, Devices = 1, Granules = 1, Frames = 1, Bounds = 0, Owners = 1, Quarantine = 0, Faults = 0 };

    /// <summary>Scopes, and of how many operations all sequences run; how many states of the model the library has been in, and in how many sequences: pinned.</summary>
    public static TheoryData<string, Scope, int, int, long> Pinned => new()
    {
        { "the default", new Scope(), 3, 887, 24_121 },
        { "accesses that wait", Least with { Frames = 2, Faults = 1, Waiting = 1 }, 5, 259, 27_754 },
        { "a guest", Least with { Guests = 1 }, 7, 627, 99_357 },
    };

    [Theory]
    [MemberData(nameof(Pinned))]
    public void The_library_does_what_the_model_says_in_all_sequences(string name, Scope scope, int depth, int states, long sequences)
    {
        LibraryReport report = LibrarySearch.Run(scope, TimeSpan.MaxValue, TimeProvider.System, depth: depth);
        output.WriteLine($"{name}: {report.States} states, {report.Sequences} sequences in {report.Elapsed}, depth {report.Depth}, {report.CutOff}");
        Assert.True(report.Failure is null, report.Failure?.Report);
        Assert.Equal((states, sequences), (report.States, report.Sequences));
    }

    /// <summary>
    /// Small worlds, whether nothing fails in them, of how many operations all sequences run, how many those are, and what the model accepts and the library
    /// does not come to: tables of one kind are there already when an association is given them; nothing waits there that a flush could fail to end; and of an unbind that is wrong in two ways it says the other.
    /// </summary>
    public static TheoryData<Scope, bool, int, long, string> Compared => new()
    {
        { Least, false, 6, 47_341, "(ChangeAssociation, NoMemory) (PollFlush, HardwareFailure) (Unbind, Busy)" },
        { Least with { Granules = 2, Frames = 2 }, true, 5, 31_397, "" },
    };

    /// <summary>What the model accepts the library does, on a machine that caches what is absent or on one that does not.</summary>
    [Theory]
    [MemberData(nameof(Compared))]
    public void Each_operation_comes_to_all_that_the_model_accepts_of_it(Scope scope, bool isSpared, int depth, long sequences, string missing)
    {
        LibraryReport[] reports =
        [
            .. new[] { false, true }.Take(isSpared ? 1 : 2)
                .Select(cachingMode => LibrarySearch.Run(scope with { CachingMode = cachingMode }, TimeSpan.MaxValue, TimeProvider.System, depth: depth, isSpared: isSpared)),
        ];
        ModelReport model = ModelSearch.Run(scope, new SearchLimits { Depth = depth }, TimeProvider.System);
        Assert.All(reports, static report => Assert.True(report.Failure is null, report.Failure?.Report));
        (string, Outcome Outcome)[] possible = Outcomes(model.Coverage.Keys), done = Outcomes(reports.SelectMany(static report => report.Coverage.Keys));
        string[] lacks = [.. possible.Except(done).Where(key => !isSpared || key.Outcome is not (Outcome.HardwareFailure or Outcome.NoMemory)).Select(static key => $"{key}").Order(StringComparer.Ordinal)];
        output.WriteLine($"{done.Length} of {possible.Length}");
        Assert.Equal(sequences, reports.Sum(static report => report.Sequences));
        Assert.Equal(missing, string.Join(" ", lacks));

        static (string, Outcome)[] Outcomes(IEnumerable<Situation> situations) => [.. situations.Select(static situation => (situation.Operation.Name, situation.Outcome)).Distinct()];
    }

    [Theory]
    [InlineData("a detach that is not done", 3)]
    [InlineData("an unback that does not invalidate", 5)]
    [InlineData("a table that grants more than the reservation", 4)]
    [InlineData("a sub-range unback that unmaps the whole", 3)]
    [InlineData("an owner count that ends too early", 3)]
    public void A_fault_in_the_library_is_found_by_the_shortest_sequence(string name, int length)
    {
        PlantedFault planted = PlantedFault.All.Single(fault => fault.Name == name);
        Finds(planted, planted.CaughtBy, Least with { Granules = 2, Frames = 2, Owners = 2 }, length);
    }

    /// <summary>In a region of one page an unback takes the guest's table, which the hardware knows the way to; and before a guest takes rights away it can give more, which a device that has not heard of it lacks.</summary>
    [Theory]
    [InlineData("a guest's device that has the addresses of the region", Invariant.SharedTable, 3)]
    [InlineData("an unback that leaves what guests' tables led to", Invariant.FrameSafety, 6)]
    [InlineData("a guest's invalidation that nobody hears", Invariant.TablesAreTruth, 8)]
    public void A_fault_in_what_guests_devices_are_told_is_found_by_the_shortest_sequence(string name, Invariant broken, int length) =>
        Finds(PlantedFault.All.Single(fault => fault.Name == name), broken, Least with { Guests = 1 }, length);

    private void Finds(PlantedFault planted, Invariant broken, Scope scope, int length)
    {
        LibraryReport report = LibrarySearch.Run(scope, TimeSpan.MaxValue, TimeProvider.System, parts: planted.Parts, depth: length, isSpared: true);
        output.WriteLine($"{report.Sequences} sequences\n{report.Failure?.Report}");
        Assert.Equal(broken, report.Failure?.Invariant);
        Assert.Equal(length, Scenario.FromJson(FailureFile.Parse(report.Failure!.FileContent!).Scenario).Steps.Length - scope.Prologue().Count());
    }
}
