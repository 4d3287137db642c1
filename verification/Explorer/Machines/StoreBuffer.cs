using Microsoft.Coyote.Rewriting;
using Platform;

namespace Explorer.Machines;

/// <summary>What one processor has written and others need not see yet.</summary>
[SkipRewriting("A step of memory is one step.")]
internal sealed class StoreBuffer(string agent)
{
    public string Agent => agent;

    public List<PendingStore> Stores { get; } = [];

    public List<PendingClean> Cleans { get; } = [];

    public bool Has(PhysAddr word)
    {
        foreach (PendingStore store in Stores)
        {
            if (store.Word == word) return true;
        }

        return false;
    }

    public PendingStore FirstTo(PhysAddr word) => Stores.Find(store => store.Word == word);
}

/// <summary>A store that has not taken effect.</summary>
/// <param name="Word">Where: a multiple of eight.</param>
/// <param name="Mask">Which bytes of the word.</param>
/// <param name="Value">Only bits of the mask are set.</param>
/// <param name="Issued">Its number.</param>
/// <param name="Observer">Told when it takes effect.</param>
internal readonly record struct PendingStore(PhysAddr Word, ulong Mask, ulong Value, long Issued, IMemoryObserver? Observer)
{
    /// <summary>The word with it done.</summary>
    public ulong Into(ulong word) => (word & ~Mask) | Value;
}

/// <summary>A cleaning that is not complete.</summary>
/// <param name="Range">Of what.</param>
/// <param name="Issued">The last store before it.</param>
/// <param name="Now">The last store that had taken effect.</param>
internal readonly record struct PendingClean(PhysRange Range, long Issued, long Now);
