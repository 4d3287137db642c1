using Mutation.Hunting;
using Mutation.SelfCheck;
using Vcmm.Spec;

namespace Verify.Output;

/// <summary>A self-check for programs to read: <c>docs/cli.md</c> describes it.</summary>
/// <param name="here">Where relative paths begin.</param>
/// <param name="file">The file, as the user gave it.</param>
internal sealed class SelfCheckReport(Surroundings here, string file) : JsonFile(here, file)
{
    /// <summary>What the first field says. The number changes when a field changes its meaning or goes.</summary>
    public const string Magic = "vcmm-selfcheck-1";

    /// <summary>Writes it.</summary>
    /// <exception cref="EnvironmentException">The file cannot be written.</exception>
    public void Write(SelfCheckOutcome outcome) => WriteContent(new
    {
        Format = Magic,
        ElapsedSeconds = Seconds(outcome.Elapsed),
        outcome.ExitCode,
        Invariants = outcome.Invariants.Select(static row => new
        {
            row.Witness.Invariant,
            Name = row.Witness.Names.ToString(),
            row.IsRight,
            row.Witness.Why,
            Witness = row.Witness.Planted?.ToString(),
            Plan = Plan(row.Witness.Hunt),
            All = Of(row.All),
            Muted = Of(row.Muted),
        }),
        Engines = outcome.Engines.Select(static row => new
        {
            row.Witness.Engine,
            row.IsRight,
            row.Witness.Why,
            Witness = row.Witness.Planted?.ToString(),
            Plan = Plan(row.Witness.Hunt),
            Own = Of(row.Own),
            Others = row.Others.Select(static other => new { Plan = Plan(other.Plan), Hunt = Of(other.Hunt) }),
        }),
    });

    private static object? Plan(HuntPlan? plan) => plan is null ? null : new { plan.Engine, plan.Scenario, plan.Class, plan.Count, plan.Seed };

    private static object? Of(Hunt? hunt) => hunt is null
        ? null
        : new { End = hunt.End.ToString(), hunt.Tries, Named = hunt.Named?.Id(), hunt.Test, MutedBreaches = hunt.Muted, ElapsedSeconds = Seconds(hunt.Elapsed), Broke = hunt.End == HuntEnd.Broke ? hunt.Report : null };
}
