using Microsoft.Coyote.Rewriting;
using CoyoteMonitor = Microsoft.Coyote.Rewriting.Types.Threading.Monitor;

namespace Explorer.Races;

/// <summary>What orders agents in the library: its locks, and its interlocked and volatile accesses.</summary>
/// <remarks>
/// The build puts calls of these methods into the library (<see cref="Worker.EdgeFitter"/>). Not into the simulator: what its own locks order, hardware does not.
/// Locks are told apart by the object. Of a field all objects' are taken for one: nothing names it that stays where it is.
/// </remarks>
[SkipRewriting("Looking on adds no steps to the schedule.")]
public static class Edges
{
    // Words lie at multiples of four.
    private const ulong FieldMark = 1;

    /// <summary>Takes a lock.</summary>
    public static void Enter(object gate)
    {
        CoyoteMonitor.Enter(gate);
        VectorClocks.Current.Acquire(gate);
    }

    /// <summary>Takes a lock.</summary>
    public static void Enter(object gate, ref bool taken)
    {
        CoyoteMonitor.Enter(gate, ref taken);
        VectorClocks.Current.Acquire(gate);
    }

    /// <summary>Lets a lock go.</summary>
    public static void Exit(object gate)
    {
        VectorClocks.Current.Release(gate);
        CoyoteMonitor.Exit(gate);
    }

    /// <summary>Lets a lock go until somebody says that it may be taken again.</summary>
    public static bool Wait(object gate)
    {
        VectorClocks.Current.Release(gate);
        bool isWoken = CoyoteMonitor.Wait(gate);
        VectorClocks.Current.Acquire(gate);
        return isWoken;
    }

    /// <summary>A lock of the library's own was taken, or whatever else orders as one does.</summary>
    public static void Entered(object gate) => VectorClocks.Current.Acquire(gate);

    /// <summary>It is let go.</summary>
    public static void Exits(object gate) => VectorClocks.Current.Release(gate);

    /// <summary>A field is about to be written so that others see what came before.</summary>
    public static void Publishes(int field) => VectorClocks.Current.Release(PlaceOf(field));

    /// <summary>A field was read so that what came before its value is seen.</summary>
    public static void Sees(int field) => VectorClocks.Current.Acquire(PlaceOf(field));

    private static ulong PlaceOf(int field) => (ulong)unchecked((uint)field) << 2 | FieldMark;
}
