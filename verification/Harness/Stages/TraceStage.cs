using Harness.Traces;
using Vcmm.Spec;

namespace Harness.Stages;

/// <summary>Holds what a real kernel did to the specification: every capture that comes with the suite.</summary>
public sealed class TraceStage : IStage
{
    /// <inheritdoc/>
    public string Name => "traces";

    /// <inheritdoc/>
    public string? Missing => null;

    /// <inheritdoc/>
    public StageReport Run(StageContext context)
    {
        long start = context.Time.GetTimestamp();
        long traces = 0;
        long events = 0;
        var checks = new Dictionary<Invariant, long>();
        var muted = new Dictionary<Invariant, long>();
        var failures = new List<StageFailure>();
        foreach (string name in Captures.Names)
        {
            context.Progress(new((double)traces / Captures.Names.Count, name));
            TraceOutcome outcome;
            try
            {
                using Stream capture = Captures.Open(name);
                outcome = TraceCheck.Run(capture, mode: null, context.Stop, context.Muted);
            }
            catch (OperationCanceledException)
            {
                break;
            }

            traces++;
            events += outcome.Report.Events;
            foreach ((Invariant invariant, long count) in outcome.Report.Checks)
                checks[invariant] = checks.GetValueOrDefault(invariant) + count;
            foreach ((Invariant invariant, long count) in outcome.Report.Muted) muted[invariant] = muted.GetValueOrDefault(invariant) + count;
            if (outcome.Refusal is { } refusal)
                failures.Add(new(refusal.Invariant, $"{name}: {refusal.Summary}", $"{name}\n{outcome}", null));
        }

        context.Progress(new(1, "done"));
        return new()
        {
            Name = Name,
            Elapsed = context.Time.GetElapsedTime(start),
            Ran = [("traces", traces), ("events", events)],
            Checks = checks,
            Muted = muted,
            Failures = failures,
        };
    }
}
