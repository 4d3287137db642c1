using System.Collections.Immutable;
using Harness.Stages;
using Mutation.Exhibits;
using Mutation.Hunting;
using Mutation.Schema;
using Properties.Cli;
using Verify.Commands;

namespace Properties.Mutating;

/// <summary>Several seeds hunt in one process: of each is told what it would have found alone.</summary>
[Trait("Category", "Slow")]
public sealed class HunterLaws
{
    // Far more than it takes, so that no clock decides what is found.
    private static readonly TimeSpan Budget = TimeSpan.FromSeconds(60);

    private const string Description = "Title: t\nSource: s\nStory: s\nHere: h\nBreaks: I2\nThreads: no\n\n--- src/Vcmm/Vcm.Backing.cs\n@@\n";

    private const string Line = "        if (state.Backings.Overlaps(offset, byteCount)) return VcmmError.Busy;\n";

    [Fact]
    public void Seeds_that_share_a_process_find_what_each_finds_alone()
    {
        using var terminal = new Terminal();
        MutantWorkshop workshop = MutantWorkshop.Open(new() { Stages = Array.Empty<IStage>(), Out = TextWriter.Null, Error = TextWriter.Null, Directory = Checkout.Root });
        Exhibit[] exhibits =
        [
            Exhibit.Parse("asks-nothing", $"{Description}-{Line}         IovaRange range = IovaRange.FromLength(state.Range.First + offset, byteCount);\n"),
            Exhibit.Parse("ends-the-process", $"{Description}-{Line}+        Environment.Exit(7);\n"),
        ];
        (MutatedLibrary library, Hunter hunter) = workshop.Build("hunter-laws", [.. exhibits.Select(exhibit => exhibit.ToMutant(workshop.Sources.TextOf))], withTests: false);
        Assert.Empty(library.Broken);

        ImmutableArray<Hunt> together = hunter.Sequences(1, 1, 3, 3, Budget, null, isBrief: true, CancellationToken.None);
        ImmutableArray<Hunt> alone = [.. Enumerable.Range(1, 3).SelectMany(seed => hunter.Sequences(1, (ulong)seed, 1, 1, Budget, null, isBrief: true, CancellationToken.None))];
        Assert.Equal(alone.Select(What), together.Select(What));
        Assert.Equal(3, together.Select(What).Distinct().Count());
        Assert.All(together, static hunt => Assert.Equal(HuntEnd.Found, hunt.End));
        Assert.All(together, static hunt => Assert.InRange(hunt.Elapsed, TimeSpan.FromTicks(1), Budget));

        // With a single sequence each, and until two did not find it.
        ImmutableArray<Hunt> missed = hunter.Sequences(1, 1, 9, 2, Budget, 1, isBrief: true, CancellationToken.None);
        Assert.Equal([HuntEnd.NotFound, HuntEnd.Found, HuntEnd.NotFound], missed.Select(static hunt => hunt.End));

        Hunt broke = Assert.Single(hunter.Sequences(2, 1, 3, 3, Budget, null, isBrief: true, CancellationToken.None));
        Assert.Equal((HuntEnd.Broke, "it ended with 7: "), (broke.End, broke.Report));
    }

    private static (long, Vcmm.Spec.Invariant?, string) What(Hunt hunt) => (hunt.Tries, hunt.Named, hunt.Report);
}
