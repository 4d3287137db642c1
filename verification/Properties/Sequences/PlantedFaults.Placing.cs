using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>What can be wrong in where things are placed.</summary>
internal static class PlacementFaults
{
    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        new("a region that is filled from the bottom though it says from the top", Invariant.NoOverlap, 3, new() { Ranges = static space => new Upwards(space) })
        {
            // With the cache before it the library is free.
            Topology = new() { RangeCache = false },
        },
        new("memory that comes from any bank, whichever was asked for", Invariant.Conservation, 1, new() { Frames = static frames => new AnyBank(frames) }),
        new("a look at memory that finds single pages only", Invariant.Linearizable, 2, new() { Frames = static frames => new SinglePages(frames) }),
        new("a look for addresses that does not go on behind the first", Invariant.Linearizable, 2, new() { Ranges = static space => new FirstOnly(space) }),
    ];
}

internal sealed class SinglePages(IBankedFrameSource inner) : PassingFrames(inner)
{
    public override VcmmError TryFindWithin(ulong byteCount, ulong alignment, PhysRange within, out PhysAddr block)
    {
        VcmmError error = base.TryFindWithin(byteCount, alignment, within, out block);
        return byteCount > World.PageBytes ? VcmmError.NoMemory : error;
    }
}

internal sealed class FirstOnly(IovaRange space) : IRangeAllocator
{
    private readonly RangeAllocator _right = new(space);

    public VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range) =>
        _right.TryAllocate(byteCount, alignment, placement, within, out range);

    public VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range)
    {
        VcmmError error = _right.TryFind(byteCount, alignment, new(new(0), within.Last), out range);
        return error == VcmmError.None && !within.Contains(range) ? VcmmError.NoSpace : error;
    }

    public VcmmError TryAllocateAt(IovaRange range) => _right.TryAllocateAt(range);

    public VcmmError TryFree(IovaRange range) => _right.TryFree(range);
}

internal sealed class AnyBank(IBankedFrameSource inner) : PassingFrames(inner)
{
    public override VcmmError TryAllocate(ulong byteCount, MemoryRequest request, out PhysAddr block) => Inner.TryAllocate(byteCount, out block);
}

internal sealed class Upwards(IovaRange space) : IRangeAllocator
{
    private readonly RangeAllocator _right = new(space);

    public VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range) =>
        _right.TryAllocate(byteCount, alignment, Placement.BottomUp, within, out range);

    public VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range) => _right.TryFind(byteCount, alignment, within, out range);

    public VcmmError TryAllocateAt(IovaRange range) => _right.TryAllocateAt(range);

    public VcmmError TryFree(IovaRange range) => _right.TryFree(range);
}
