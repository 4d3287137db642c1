using Harness.Stages;

namespace Verify;

/// <summary>What <c>verify run</c> runs, in this order. A stage that is also an <see cref="IReplayer"/> replays its failure files.</summary>
public static class Stages
{
    /// <summary>Every stage there is.</summary>
    public static IReadOnlyList<IStage> All { get; } =
    [
        new SequenceStage(),
        new ScheduleStage(Path.Combine(AppContext.BaseDirectory, "controlled", "explorer.dll")),
        new TraceStage(),
        new ForeignStage(),
        new DifferentialStage(),
        new HostileStage(),
    ];
}
