using Mutation.Hunting;
using Vcmm.Spec;

namespace Verify.Output;

/// <summary>A tour of the museum for programs to read: <c>docs/cli.md</c> describes it.</summary>
/// <param name="here">Where relative paths begin.</param>
/// <param name="file">The file, as the user gave it.</param>
internal sealed class MuseumReport(Surroundings here, string file) : JsonFile(here, file)
{
    /// <summary>What the first field says. The number changes when a field changes its meaning or goes.</summary>
    public const string Magic = "vcmm-museum-2";

    /// <summary>Writes it.</summary>
    /// <exception cref="EnvironmentException">The file cannot be written.</exception>
    public void Write(IReadOnlyList<ExhibitOutcome> outcomes, MuseumPlan plan, TimeSpan elapsed) => WriteContent(new
    {
        Format = Magic,
        plan.FirstSeed,
        plan.Seeds,
        plan.Sequences,
        plan.Schedules,
        ElapsedSeconds = Seconds(elapsed),
        FoundByName = outcomes.Count(static outcome => outcome.IsFoundByName),
        Exhibits = outcomes.Select(static outcome => new
        {
            outcome.Exhibit.Name,
            outcome.Exhibit.Title,
            outcome.Exhibit.Source,
            Breaks = outcome.Exhibit.Breaks.Select(Invariants.Id),
            outcome.Exhibit.NeedsThreads,
            outcome.Exhibit.Scenarios,
            outcome.Broken,
            outcome.IsFoundByName,
            FoundByTest = outcome.Test,
            Tests = outcome.Tests.Select(static run => new { run.Engine, End = run.Hunt.End.ToString(), run.Hunt.Tries, run.Hunt.Test, ElapsedSeconds = Seconds(run.Hunt.Elapsed) }),
            Engines = outcome.Engines.Select(static engine => new
            {
                engine.Engine,
                engine.Seeds,
                SeedsRun = engine.Hunts.Length,
                engine.Found,
                engine.Median,
                Hunts = engine.Hunts.Select(static hunt => new
                {
                    End = hunt.End.ToString(), hunt.Tries, Named = hunt.Named?.Id(), hunt.Size, ElapsedSeconds = Seconds(hunt.Elapsed),
                }),
            }),
        }),
    });
}
