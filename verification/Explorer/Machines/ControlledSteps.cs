using Explorer.Scheduling;
using IommuSim;
using Platform;

namespace Explorer.Machines;

/// <summary>
/// The simulator's steps in a schedule. All but one begin with a lock or a word of memory, which is a scheduling point by
/// itself; the one in which a device's bytes move is made one here.
/// </summary>
/// <param name="attempt">Where steps are noted.</param>
public readonly struct ControlledSteps(Attempt attempt) : ISteps
{
    /// <summary>Told where a device looks something up in its TLB; null: nobody is.</summary>
    public Action<Iova>? LookedUp { get; init; }

    /// <summary>Whether the schedule has ended.</summary>
    public bool IsOver => attempt.IsOver;

    /// <inheritdoc/>
    public void At(SimStep step, ulong detail)
    {
        if (step == SimStep.MemoryAccess) Controlled.Step();
        attempt.Note(EventKind.Hardware, (ulong)step, detail);
        attempt.Races?.Step(step, detail);
        if (step == SimStep.DeviceTlbLookup) LookedUp?.Invoke(new(detail));
    }
}
