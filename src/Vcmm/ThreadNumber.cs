using System.Runtime.CompilerServices;

namespace Vcmm;

/// <summary>
/// Numbers threads in the order in which they first ask: 1, 2, … Threads that share n slots by these numbers meet only if more than
/// n of them came. The runtime's own numbers have gaps: two threads of a dozen that never call the library would decide who meets.
/// </summary>
/// <remarks><b>Threads.</b> Any number at once, without a lock.</remarks>
internal static class ThreadNumber
{
    private static int s_last;

    [ThreadStatic]
    private static int t_number;

    /// <summary>The calling thread's.</summary>
    public static int Current
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            int number = t_number;
            return number != 0 ? number : Assign();
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int Assign() => t_number = Interlocked.Increment(ref s_last);
}
