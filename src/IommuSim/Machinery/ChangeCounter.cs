namespace IommuSim.Machinery;

/// <summary>
/// Lets readers look at what writers change, without a lock: who has read counts before and after, and drops what it read if
/// the count was odd or has moved. What is read must have no references in it, since it may be torn until then. Writers keep
/// each other out by the same count.
/// </summary>
/// <remarks>
/// <b>Threads.</b> Any number. Between <see cref="Begin"/> and <see cref="End"/> a writer waits for nothing.
/// </remarks>
internal struct ChangeCounter
{
    private int _count;

    /// <summary>Whether a writer is at work.</summary>
    public readonly bool IsUnderWay => (Look() & 1) != 0;

    /// <summary>Before reading.</summary>
    public readonly int Look() => Volatile.Read(in _count);

    /// <summary>After reading: whether what was read was there at one instant.</summary>
    public readonly bool IsAsSeen(int count)
    {
        Volatile.ReadBarrier();
        return _count == count && (count & 1) == 0;
    }

    /// <summary>Before a change that need not be made: false while another writer is at work.</summary>
    public bool TryBegin()
    {
        int count = _count;
        return (count & 1) == 0 && Interlocked.CompareExchange(ref _count, unchecked(count + 1), count) == count;
    }

    /// <summary>Before a change.</summary>
    public void Begin()
    {
        var spin = new SpinWait();
        // Survives as `+1`: performance only, it says how soon who waits sleeps
        while (!TryBegin()) spin.SpinOnce(sleep1Threshold: -1);
    }

    /// <summary>After it.</summary>
    public void End()
    {
        // Not Volatile.Write: a controlled schedule could stop before it, and others would spin.
        Volatile.WriteBarrier();
        _count = unchecked(_count + 1);
    }
}
