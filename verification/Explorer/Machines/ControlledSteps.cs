using Explorer.Scheduling;
using IommuSim;

namespace Explorer.Machines;

/// <summary>
/// The simulator's steps in a schedule. All but one begin with a lock or a word of memory, which is a scheduling point by
/// itself; the one in which a device's bytes move is made one here.
/// </summary>
/// <param name="attempt">Where steps are noted.</param>
public readonly struct ControlledSteps(Attempt attempt) : ISteps
{
    /// <inheritdoc/>
    public void At(SimStep step, ulong detail)
    {
        if (step == SimStep.MemoryAccess) Controlled.Step();
        attempt.Note(EventKind.Hardware, (ulong)step, detail);
    }
}
