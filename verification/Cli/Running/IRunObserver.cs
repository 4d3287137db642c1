using Harness.Stages;

namespace Verify.Running;

/// <summary>Watches a run.</summary>
internal interface IRunObserver
{
    /// <summary>A stage begins.</summary>
    void Started(string stage, TimeSpan budget);

    /// <summary>A stage is so far. Called on the stage's thread; the fraction is in 0 … 1.</summary>
    void Progressed(string stage, StageProgress progress);

    /// <summary>A stage has ended, or will not run.</summary>
    void Ended(StageOutcome outcome);
}
