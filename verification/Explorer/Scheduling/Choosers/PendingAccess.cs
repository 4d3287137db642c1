using Microsoft.Coyote.Rewriting;

namespace Explorer.Scheduling.Choosers;

/// <summary>What a task is about to do once it goes on.</summary>
/// <param name="IsAccess">Whether it is an access to memory; else nothing is known of it.</param>
/// <param name="Address">The word.</param>
/// <param name="Changes">Whether it may change it.</param>
[SkipRewriting("Part of the scheduler.")]
internal readonly record struct PendingAccess(bool IsAccess, ulong Address, bool Changes)
{
    // One task runs at a time: who announces goes to the scheduler next.
    private static PendingAccess _announced;

    /// <summary>The calling task says what its next step is.</summary>
    public static void Announce(ulong address, bool changes) => _announced = new(true, address, changes);

    /// <summary>What the task that has come to the scheduler announced.</summary>
    public static PendingAccess Take()
    {
        PendingAccess announced = _announced;
        _announced = default;
        return announced;
    }

    /// <summary>Whether the order of the two steps can matter.</summary>
    public bool RacesWith(PendingAccess other) =>
        IsAccess == other.IsAccess && (!IsAccess || (Address == other.Address && (Changes || other.Changes)));
}
