using Platform;
using Vcmm.Allocation;
using Vcmm.Invalidations;
using Vcmm.Tables;

namespace Vcmm;

/// <summary>The addresses of a reservation that ended, or may end, while devices may still translate them: free when the last lets go.</summary>
internal sealed class RangeHold
{
    private int _count;

    public IRangeAllocator Ranges = null!;

    public IovaRange Range;

    /// <summary>Holds the addresses of the bound that these are part of; null: they are in none.</summary>
    public RangeHold? Within;

    /// <summary>Whether somebody beside the reservation holds the addresses.</summary>
    public bool IsDeferred => Volatile.Read(ref _count) > 1;

    public void Begin(IRangeAllocator ranges, IovaRange range, RangeHold? within)
    {
        Ranges = ranges;
        Range = range;
        Within = within;
        within?.Take();
        _count = 1;
    }

    public void Take() => Interlocked.Increment(ref _count);

    /// <summary>True to whoever is the last.</summary>
    public bool LetGo() => Interlocked.Decrement(ref _count) == 0;
}

/// <summary>What an unback leaves behind until the hardware has forgotten: unlinked tables, memory, addresses.</summary>
/// <remarks><b>Threads.</b> Filled under the reservation's gate; released once, by whoever flushes.</remarks>
internal sealed class DeferredUnback(Vcm vcm) : IQuarantined
{
    private readonly List<PhysicalAllocation> _memories = [];
    private int _invalidationCount;

    // Survives as `[default]`: performance only, an array that is too short is replaced when it is filled
    private PendingInvalidation[] _invalidations = [];

    // Survives as `[default]`: equivalent, what is in it is looked at only after Begin has set it
    private IPageTable[] _tables = [];

    /// <summary>The operation's, which got this one's in its place.</summary>
    public InvalidationGather Gather { get; private set; } = new();

    public ReadOnlySpan<PendingInvalidation> Invalidations => _invalidations.AsSpan(0, _invalidationCount);

    public RangeHold Hold { get; private set; } = null!;

    public void Begin(ReservationState state, IPageTable[] tables, ActiveDomain[] domains)
    {
        (Gather, state.Gather) = (state.Gather, Gather);
        _tables = tables;
        Hold = state.Hold!;
        Hold.Take();
        ReadOnlySpan<IovaRange> ranges = Gather.Ranges;
        if (_invalidations.Length < domains.Length * ranges.Length) _invalidations = new PendingInvalidation[domains.Length * ranges.Length];
        _invalidationCount = 0;
        foreach (ActiveDomain domain in domains)
        {
            foreach (IovaRange range in ranges) _invalidations[_invalidationCount++] = new(domain.Iommu, domain.Id, range, Gather.LeavesOnly);
        }
    }

    public void Pin(PhysicalAllocation memory)
    {
        memory.Pin();
        _memories.Add(memory);
    }

    /// <summary>Links again what was unlinked: the hardware was not told.</summary>
    public void Undo()
    {
        foreach (IPageTable table in _tables) table.Relink(Gather);
        End();
    }

    /// <inheritdoc/>
    public void Release()
    {
        foreach (IPageTable table in _tables) table.Release(Gather);
        End();
    }

    private void End()
    {
        foreach (PhysicalAllocation memory in _memories) memory.Unpin();
        _memories.Clear();
        Gather.Clear();
        _tables = [];
        RangeHold hold = Hold;
        Hold = null!;
        vcm.LetGo(hold);
        vcm.Recycle(this);
    }
}
