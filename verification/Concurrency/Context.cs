using Harness.Stages;

namespace Concurrency;

/// <summary>What a stage is given.</summary>
internal static class Context
{
    public static StageContext For(TimeSpan budget, Action<StageProgress>? progress = null, CancellationToken stop = default) =>
        new(1, budget, TimeProvider.System, progress ?? (static _ => { }), stop);
}
