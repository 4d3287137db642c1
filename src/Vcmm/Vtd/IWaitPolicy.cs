using Platform;

namespace Vcmm.Vtd;

/// <summary>How a driver waits while it polls the hardware, and when it gives up.</summary>
/// <remarks><b>Threads.</b> Any number at once.</remarks>
public interface IWaitPolicy
{
    /// <summary>A wait begins.</summary>
    /// <returns>What <see cref="KeepWaiting"/> is to be given.</returns>
    long Begin();

    /// <summary>Lets some time pass.</summary>
    /// <param name="begun">What <see cref="Begin"/> returned.</param>
    /// <param name="attempt">How often the wait has polled: 1, 2, ….</param>
    /// <returns>False to give up.</returns>
    bool KeepWaiting(long begun, int attempt);

    /// <summary>Told when something is given back that other waits may be for: a place in a queue.</summary>
    /// <remarks>
    /// A policy that polls has nothing to do. One that sleeps until the hardware says something wakes who waits. The driver may hold a lock.
    /// </remarks>
    void GivenBack()
    {
    }
}

/// <summary>Spins, then yields the processor, and gives up after a time.</summary>
/// <param name="time">The clock.</param>
/// <param name="limit">How long a wait may last.</param>
public sealed class SpinUntilDeadline(TimeProvider time, TimeSpan limit) : IWaitPolicy
{
    private const int SpinsBeforeYield = 64;
    private readonly TimeProvider _time = time ?? throw new ArgumentNullException(nameof(time));

    /// <inheritdoc/>
    public long Begin() => _time.GetTimestamp();

    /// <inheritdoc/>
    public bool KeepWaiting(long begun, int attempt)
    {
        if (attempt < SpinsBeforeYield)
        {
            Thread.SpinWait(attempt);
            return true;
        }

        Thread.Yield();
        return _time.GetElapsedTime(begun) < limit;
    }
}

internal static class WaitPolicyExtensions
{
    /// <summary>Polls until the bits of a register are all set, or all clear.</summary>
    public static bool TryWaitForBits(this IWaitPolicy policy, IMmio registers, uint offset, uint bits, bool set)
    {
        long begun = policy.Begin();
        for (int attempt = 1; (registers.Read32(offset) & bits) != (set ? bits : 0); attempt++)
        {
            if (!policy.KeepWaiting(begun, attempt)) return false;
        }

        return true;
    }
}
