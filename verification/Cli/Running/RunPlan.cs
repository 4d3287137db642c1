using Harness;
using Harness.Stages;
using Vcmm.Spec;

namespace Verify.Running;

/// <summary>A stage that was asked for, and whether it can run.</summary>
/// <param name="Stage">The stage.</param>
/// <param name="Missing">Null if it can run here, otherwise the one line that it gave.</param>
internal sealed record PlannedStage(IStage Stage, string? Missing);

/// <summary>What a run is asked to do.</summary>
/// <param name="Stages">In the order to run them.</param>
/// <param name="Seed">For every stage.</param>
/// <param name="Budget">For all of them together.</param>
internal sealed record RunPlan(IReadOnlyList<PlannedStage> Stages, ulong Seed, TimeSpan Budget)
{
    /// <summary>How many sequences, schedules, cases or units each stage may have; null: as many as there is time for.</summary>
    public long? Most { get; init; }

    /// <summary>Invariants of which no violation is told.</summary>
    public InvariantSet Muted { get; init; }

    /// <summary>Whether a failure is told as it was found.</summary>
    public bool IsBrief { get; init; }

    /// <summary>Chooses among the stages that exist.</summary>
    /// <param name="all">The stages that exist.</param>
    /// <param name="names">Those to run; none means all.</param>
    /// <param name="strict">Whether one that cannot run is an error. One asked for by name always is.</param>
    /// <param name="seed">For every stage.</param>
    /// <param name="budget">For all of them together, above zero.</param>
    /// <exception cref="BadInputException">A name is not a stage's.</exception>
    /// <exception cref="EnvironmentException">A stage that must run cannot, or none can.</exception>
    public static RunPlan Of(IReadOnlyList<IStage> all, IReadOnlyCollection<string> names, bool strict, ulong seed, TimeSpan budget)
    {
        foreach (string name in names)
        {
            if (all.All(stage => stage.Name != name))
                throw new BadInputException($"--stage: \"{name}\" is not a stage; expected {OneOf(all.Select(stage => stage.Name))}");
        }

        PlannedStage[] stages = [.. all.Where(stage => names.Count == 0 || names.Contains(stage.Name)).Select(stage => new PlannedStage(stage, stage.Missing))];
        PlannedStage? lame = stages.FirstOrDefault(stage => stage.Missing is not null);
        if (lame is not null && (strict || names.Count > 0)) throw new EnvironmentException($"stage {lame.Stage.Name} cannot run here: {lame.Missing}");
        if (lame is not null && stages.All(stage => stage.Missing is not null)) throw new EnvironmentException($"no stage can run here; {lame.Stage.Name}: {lame.Missing}");
        if (stages.Length == 0) throw new EnvironmentException("no stage can run here: this build has none");
        return new RunPlan(stages, seed, budget);
    }

    /// <summary>The choices of a name, in words.</summary>
    public static string OneOf(IEnumerable<string> names)
    {
        string[] all = [.. names];
        return all.Length switch { 0 => "none: this build has none", 1 => all[0], _ => "one of " + string.Join(", ", all) };
    }
}
