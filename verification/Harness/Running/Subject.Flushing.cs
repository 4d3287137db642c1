using Vcmm.Invalidations;
using Vcmm.Spec;

namespace Harness.Running;

// Deferred flush: one queue for all deferred regions of the machine.
public sealed partial class Subject
{
    private readonly FlushQueue _flushQueue;

    /// <summary>How many unbacks wait for a flush.</summary>
    public int QuarantineCount => _flushQueue.Count;

    /// <summary>The table pages that wait with them.</summary>
    public QuarantinedTables QuarantinedTables { get; } = new();

    /// <summary>The clock.</summary>
    public ScenarioClock Clock { get; } = new();

    private Observation Do(AdvanceTime advance)
    {
        Clock.Advance(TimeSpan.FromMilliseconds(advance.Milliseconds));
        return new(Outcome.None);
    }
}
