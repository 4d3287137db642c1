namespace Vcmm;

/// <summary>
/// Lets readers look, without a lock, at what writers change under one: who has read counts before and after, and reads anew if the count has
/// moved. What is read may be torn until then. A sequence lock, less the lock.
/// </summary>
/// <remarks>
/// <para><b>Threads.</b> Any number of readers, one writer at a time. Between <see cref="BeginChange"/> and <see cref="EndChange"/> the writer waits
/// for nothing, so that a reader is held up for a few instructions at most.</para>
/// <para><b>Source.</b> Boehm, Can Seqlocks Get Along with Programming Language Memory Models?, MSPC 2012, sections 3 and 4.</para>
/// </remarks>
internal struct SequenceCount
{
    private uint _count;

    /// <summary>Before a change.</summary>
    public void BeginChange()
    {
        Step();
        Volatile.WriteBarrier();
    }

    /// <summary>After it.</summary>
    public void EndChange()
    {
        // Not Volatile.Write: a controlled schedule could stop before it, and readers would spin.
        Volatile.WriteBarrier();
        Step();
    }

    /// <summary>Before reading; waits for the end of a change that is under way.</summary>
    public readonly uint BeginRead()
    {
        uint count;
        // Survives as `+1`: performance only, who waits sleeps sooner
        for (var spin = new SpinWait(); ((count = Volatile.Read(in _count)) & 1) != 0; spin.SpinOnce(sleep1Threshold: -1))
        {
        }

        return count;
    }

    /// <summary>After reading: whether what was read was there at one instant.</summary>
    public readonly bool IsUnchanged(uint count)
    {
        Volatile.ReadBarrier();
        return Volatile.Read(in _count) == count;
    }

    // Survives as `_count - 1`: equivalent, a count is told from the ones before it by any change, and is odd as often
    private void Step() => _count = unchecked(_count + 1);
}
