using System.Runtime.CompilerServices;

namespace Vcmm;

/// <summary>
/// A lock for paths on which the lock itself is most of the cost: to take it is one atomic instruction, to let it go, while nobody
/// waits, a store. Who has to wait pays for that. Not reentrant.
/// </summary>
/// <remarks>
/// <para><b>Why no wake-up is lost.</b> Who lets go stores, then reads whether anybody waits, with no fence between: the store may still be
/// on its way when the read is done. Who waits first says so, then makes every processor drain its stores, then tries once more: either
/// the read came after that and finds the waiter, or the store had been done and the lock is free.</para>
/// <para><b>Source.</b> Dice, Huang and Yang, Asymmetric Dekker Synchronization, Sun Microsystems, 2001.</para>
/// </remarks>
[LockRank(LockRank.Waiters)]
internal class ThinLock : CacheLineBefore
{
    private const int MostSpins = 7;

    private int _held;
    private int _waiterCount;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Enter()
    {
        if (Interlocked.CompareExchange(ref _held, 1, 0) != 0) Contend();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Exit()
    {
        Volatile.Write(ref _held, 0);
        if (Volatile.Read(ref _waiterCount) != 0) Wake();
    }

    private bool TryEnter() => Volatile.Read(ref _held) == 0 && Interlocked.CompareExchange(ref _held, 1, 0) == 0;

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Contend()
    {
        // Most are held for less than a microsecond.
        int spins = 0;
        do
        {
            // Survives as `spins != MostSpins`: performance only, then it sleeps at once
            if (spins == MostSpins)
            {
                Wait();
                return;
            }

            // Survives as `8 >> spins…` and as `8 >>> spins…`: performance only, it spins for less
            Thread.SpinWait(8 << spins++);
        }
        while (!TryEnter());
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Wait()
    {
        lock (this)
        {
            _waiterCount++;
            try
            {
                Interlocked.MemoryBarrierProcessWide();
                while (!TryEnter()) Monitor.Wait(this);
            }
            finally
            {
                _waiterCount--;
            }
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Wake()
    {
        lock (this) Monitor.Pulse(this);
    }
}

/// <summary>
/// Room for one cache line before the fields of an object that a thread writes to all the time: what lies before it in memory may be
/// read by another thread as often.
/// </summary>
internal abstract class CacheLineBefore
{
#pragma warning disable CS0169, IDE0051 // Nobody reads it: it is there for its length.
    private CacheLine _padding;
#pragma warning restore CS0169, IDE0051
}

/// <summary>As long as a cache line of the processors that .NET runs on, or half of one.</summary>
[InlineArray(8)]
internal struct CacheLine
{
    private ulong _first;
}
