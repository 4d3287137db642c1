namespace Harness.Operations;

/// <summary>What can be made to go wrong while an operation runs.</summary>
public enum MishapKind
{
    /// <summary>An allocation of physical memory is refused.</summary>
    Memory,

    /// <summary>The hardware does not see that the queue has a new tail.</summary>
    Hardware,
}

/// <summary>Something that is made to go wrong while an operation runs, although the library is right.</summary>
/// <param name="Kind">What.</param>
/// <param name="Number">Which of the operation's allocations, or writes of the queue's tail: 1 ….</param>
public readonly record struct Mishap(MishapKind Kind, int Number);
