namespace IommuSim;

/// <summary>
/// Lets readers look at what one writer at a time changes, without a lock: who has read counts before and after, and drops what it
/// read if the count was odd or has moved. What is read must have no references in it, since it may be torn until then.
/// </summary>
/// <remarks><b>Threads.</b> Writers under a lock of their own; any number of readers.</remarks>
internal struct ChangeCounter
{
    private int _count;

    /// <summary>Before reading.</summary>
    public readonly int Look() => Volatile.Read(in _count);

    /// <summary>After reading: whether what was read was there at one instant.</summary>
    public readonly bool IsAsSeen(int count)
    {
        Volatile.ReadBarrier();
        return _count == count && (count & 1) == 0;
    }

    /// <summary>Before a change.</summary>
    public void Begin()
    {
        _count = unchecked(_count + 1);
        Volatile.WriteBarrier();
    }

    /// <summary>After it.</summary>
    public void End() => Volatile.Write(ref _count, unchecked(_count + 1));
}
