using Harness.Stages;

namespace Verify;

/// <summary>What <c>verify run</c> runs, in this order. A stage that is also an <see cref="IReplayer"/> replays its failure files.</summary>
public static class Stages
{
    /// <summary>The worker that explores schedules, in its folder of rewritten assemblies.</summary>
    public static string ScheduleWorker { get; } = Path.Combine(AppContext.BaseDirectory, "controlled", "explorer.dll");

    /// <summary>Every stage there is.</summary>
    public static IReadOnlyList<IStage> All { get; } =
    [
        new SequenceStage(),
        new ScheduleStage(ScheduleWorker),
        new TraceStage(),
        new ForeignStage(),
        new DifferentialStage(),
        new HostileStage(),
    ];
}
