using Platform;

namespace IommuSim.Cpu;

/// <summary>What cores are to forget.</summary>
/// <param name="Tag">Of which address space.</param>
/// <param name="Range">Which addresses, of whole 4 KiB pages in one canonical half; null: all.</param>
/// <param name="LeavesOnly">Whether no table has ended: then a core that is idle in the address space need not be interrupted.</param>
public readonly record struct TlbFlush(Pcid Tag, IovaRange? Range, bool LeavesOnly = false);

/// <summary>A shootdown that is under way, or over.</summary>
public sealed class CpuShootdown
{
    private int _pending = 1;

    internal CpuShootdown(PendingFlush[] flushes) => Flushes = flushes;

    /// <summary>Whether every core that it was sent to has acknowledged: it has forgotten, and every access that began before is over.</summary>
    public bool IsComplete => Volatile.Read(ref _pending) == 0;

    internal PendingFlush[] Flushes { get; }

    internal void Expect() => Interlocked.Increment(ref _pending);

    internal void Acknowledge() => Interlocked.Decrement(ref _pending);
}

/// <summary>A flush with the address space that it is of; null: none has the tag.</summary>
/// <param name="Tag">The tag.</param>
/// <param name="Space">The address space.</param>
/// <param name="Generation">Its generation after the flush.</param>
/// <param name="Range">Which addresses; null: all.</param>
/// <param name="Ends">The number that ends: who is in it leaves it; null: none does.</param>
/// <param name="LeavesOnly">Whether no table has ended.</param>
internal readonly record struct PendingFlush(Pcid Tag, CpuAddressSpace? Space, ulong Generation, IovaRange? Range, uint? Ends, bool LeavesOnly = false);

/// <summary>A table that cores may walk, under its tag; several address spaces may have it. Each flush begins a generation; a core knows up to which it has forgotten.</summary>
internal sealed class CpuAddressSpace(PhysAddr root, Pcid tag, int coreCount)
{
    public PhysAddr Root => root;

    public Pcid Tag => tag;

    /// <summary>Under the cluster's lock. The first is 1, so that a core which never was in it, and may have something under the tag, is behind.</summary>
    public ulong Generation { get; set; } = 1;

    /// <summary>For each core, under the core's lock.</summary>
    public ulong[] Known { get; } = new ulong[coreCount];
}
