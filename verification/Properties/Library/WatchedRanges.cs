using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library;

/// <summary>An allocator of addresses that lets a test look around, or refuse, at the moment at which it is called.</summary>
internal sealed class WatchedRanges(IovaRange space) : IRangeAllocator
{
    private readonly RangeAllocator _right = new(space);

    /// <summary>Called before something is taken; what it returns instead of <see cref="VcmmError.None"/> is the outcome.</summary>
    public Func<VcmmError> OnTake { get; set; } = static () => VcmmError.None;

    /// <summary>Called before something is given back.</summary>
    public Action OnFree { get; init; } = static () => { };

    /// <summary>What came of it each time that something was given back.</summary>
    public List<VcmmError> Freed { get; } = [];

    public VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range)
    {
        range = default;
        VcmmError error = OnTake();
        return error == VcmmError.None ? _right.TryAllocate(byteCount, alignment, placement, within, out range) : error;
    }

    public VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range) => _right.TryFind(byteCount, alignment, within, out range);

    public VcmmError TryAllocateAt(IovaRange range)
    {
        VcmmError error = OnTake();
        return error == VcmmError.None ? _right.TryAllocateAt(range) : error;
    }

    public VcmmError TryFree(IovaRange range)
    {
        OnFree();
        VcmmError error = _right.TryFree(range);
        lock (Freed) Freed.Add(error);
        return error;
    }
}
