using Harness.Failures;
using Harness.ModelChecking;
using Harness.Scenarios;
using Properties.Sequences;
using Vcmm.Spec;
using Xunit.Abstractions;

namespace Properties.Model;

/// <summary>All that can be done with the library in a small world.</summary>
public sealed class LibrarySearchLaws(ITestOutputHelper output)
{
    private static readonly Scope Least = new() { Vcms = 1, Formats = 1, Devices = 1, Granules = 1, Frames = 1, Bounds = 0, Owners = 1, Quarantine = 0, Faults = 0 };

    /// <summary>Scopes, and of how many operations all sequences run; how many states of the model the library has been in, and in how many sequences: pinned.</summary>
    public static TheoryData<string, Scope, int, int, long> Pinned => new()
    {
        { "the least", Least, 8, 144, 9_517 },
        { "the default", new Scope(), 3, 887, 8_550 },
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

    /// <summary>What the model accepts in the least world, but for what only a failure, another choice of the library or a device that misbehaves comes to, the library does.</summary>
    [Fact]
    public void Each_operation_comes_to_all_that_the_model_accepts_of_it()
    {
        Scope scope = Least with { Granules = 2, Frames = 2 };
        LibraryReport library = LibrarySearch.Run(scope, TimeSpan.MaxValue, TimeProvider.System, depth: 6);
        ModelReport model = ModelSearch.Run(scope, new SearchLimits { Depth = 6 }, TimeProvider.System);
        string[] missing =
        [
            .. model.Coverage.Keys.Except(library.Coverage.Keys).Where(static key => key.Outcome is not (Outcome.HardwareFailure or Outcome.NoMemory) && key.Operation != nameof(CrossingAccess))
                .Select(static key => $"{key.Operation} {key.Outcome}"),
        ];
        Assert.True(library.Failure is null, library.Failure?.Report);
        output.WriteLine($"{library.Coverage.Count} of {model.Coverage.Count}; missing: {string.Join(", ", missing)}");
        Assert.Empty(missing);
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
        Scope scope = Least with { Granules = 2, Frames = 2, Owners = 2 };
        LibraryReport report = LibrarySearch.Run(scope, TimeSpan.MaxValue, TimeProvider.System, parts: planted.Parts, depth: length);
        output.WriteLine($"{report.Sequences} sequences\n{report.Failure?.Report}");
        Assert.Equal(planted.CaughtBy, report.Failure?.Invariant);
        Assert.Equal(length, Scenario.FromJson(FailureFile.Parse(report.Failure!.FileContent!).Scenario).Steps.Length - scope.Prologue().Count());
    }
}
