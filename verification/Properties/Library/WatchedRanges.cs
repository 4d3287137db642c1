using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library;

/// <summary>Hands out addresses, and lets a test do something at that very moment.</summary>
internal sealed class WatchedRanges(IovaRange space) : IRangeAllocator
{
    private readonly RangeAllocator _ranges = new(space);

    /// <summary>Called in the middle of each request.</summary>
    public Action OnTake { get; set; } = static () => { };

    public VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range)
    {
        OnTake();
        return _ranges.TryAllocate(byteCount, alignment, placement, within, out range);
    }

    public VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range) => _ranges.TryFind(byteCount, alignment, within, out range);

    public VcmmError TryAllocateAt(IovaRange range)
    {
        OnTake();
        return _ranges.TryAllocateAt(range);
    }

    public VcmmError TryFree(IovaRange range) => _ranges.TryFree(range);
}
