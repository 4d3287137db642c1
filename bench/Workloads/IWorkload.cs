namespace Workloads;

/// <summary>
/// Work that is done again and again and timed. The constructor is the set-up; each batch leaves things as it found them, so
/// that any number of batches can follow each other.
/// </summary>
/// <remarks><b>Threads.</b> One at a time; a workload of two threads starts the second by itself.</remarks>
public interface IWorkload : IDisposable
{
    /// <summary>How many operations a batch is: what the time of a batch is divided by. Above 0.</summary>
    int OperationsPerBatch { get; }

    /// <summary>
    /// What threads that the workload started have allocated on the managed heap, ever, in bytes; what the calling thread
    /// allocates is the caller's to count.
    /// </summary>
    long OthersAllocatedBytes => 0;

    /// <summary>How many methods the JIT of other processes that the workload started has compiled; what that of the caller compiles is the caller's to count.</summary>
    long OthersCompiledMethodCount => 0;

    /// <summary>Does the operations. Allocates nothing on the managed heap once it is warm.</summary>
    /// <exception cref="InvalidOperationException">An operation was refused.</exception>
    void Batch();

    /// <summary>Does the same step by step and looks, between the steps, whether each did what it says.</summary>
    /// <exception cref="InvalidOperationException">One did not.</exception>
    void Check();
}

/// <summary>Conditions that a workload holds what it works on to.</summary>
internal static class Require
{
    /// <summary>Fails loudly unless the condition holds: what does not work is not worth timing.</summary>
    public static void That(bool condition, string what)
    {
        if (!condition) throw new InvalidOperationException($"not so: {what}");
    }
}
