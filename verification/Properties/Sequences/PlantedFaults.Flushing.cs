using Harness.Passing;
using Harness.Running;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>What can be wrong in a deferred flush.</summary>
internal static class FlushFaults
{
    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        new("a deferred unback that gives its addresses back at once", Invariant.NoStaleAccess, 8, EagerRanges.Parts()),
        new("a flush by age that does not invalidate", Invariant.NoStaleAccess, 9, NoFlushByAge())
        {
            // Where memory was freed meanwhile, it is freed while it can be reached.
            OrElse = Invariant.FrameSafety,
        },
        new("memory that is freed while it waits for a flush", Invariant.FrameSafety, 8, EagerFrames.Parts()),
    ];

    private static SubjectParts NoFlushByAge()
    {
        bool isPoll = false;
        return new()
        {
            Around = (operation, run) =>
            {
                isPoll = operation is PollFlush;
                return run(operation);
            },
            Iommu = iommu => new Invalidating(iommu, command => isPoll ? null : command),
        };
    }
}

/// <summary>Gives the addresses of a reservation that ends back, whoever may still see what was there.</summary>
internal sealed class EagerRanges
{
    private readonly Dictionary<ObjectId, (Allocator Ranges, IovaRange Range)> _taken = [];
    private Allocator? _last;

    public static SubjectParts Parts()
    {
        var eager = new EagerRanges();
        return new()
        {
            Ranges = space => new Allocator(eager, space),
            Around = eager.Do,
            Iommu = iommu =>
            {
                // Another scenario, in which the names stand for others.
                eager._taken.Clear();
                return iommu;
            },
        };
    }

    private Observation Do(Operation operation, Func<Operation, Observation> run)
    {
        Observation seen = run(operation);
        if (seen.Outcome != Outcome.None) return seen;
        if (operation is Vcmm.Spec.Reserve or ReserveAt or Vcmm.Spec.Map or Vcmm.Spec.Bind)
            _taken[operation.Makes.First()] = (_last!, new(new(seen.Ranges[0].First), new(seen.Ranges[0].Last)));
        ObjectId? ended = operation switch
        {
            Unreserve o => o.Reservation,
            Unmap o => o.Reservation,
            Unbind o => o.Reservation,
            _ => null,
        };
        if (ended is { } reservation && _taken.Remove(reservation, out (Allocator Ranges, IovaRange Range) taken)) taken.Ranges.GiveBack(taken.Range);
        return seen;
    }

    private sealed class Allocator(EagerRanges eager, IovaRange space) : IRangeAllocator
    {
        private readonly RangeAllocator _right = new(space);
        private readonly HashSet<IovaRange> _taken = [];
        private readonly List<IovaRange> _early = [];

        public VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range) =>
            Note(_right.TryAllocate(byteCount, alignment, placement, within, out range), range);

        public VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range) => _right.TryFind(byteCount, alignment, within, out range);

        public VcmmError TryAllocateAt(IovaRange range) => Note(_right.TryAllocateAt(range), range);

        public VcmmError TryFree(IovaRange range)
        {
            if (_early.Remove(range)) return VcmmError.None;
            _taken.Remove(range);
            return _right.TryFree(range);
        }

        public void GiveBack(IovaRange range)
        {
            if (!_taken.Remove(range)) return;
            _right.TryFree(range);
            _early.Add(range);
        }

        private VcmmError Note(VcmmError error, IovaRange range)
        {
            eager._last = this;
            if (error == VcmmError.None) _taken.Add(range);
            return error;
        }
    }
}

/// <summary>Gives memory that is freed back, whoever may still reach it.</summary>
internal sealed class EagerFrames(IBankedFrameSource inner) : PassingFrames(inner)
{
    private readonly List<PhysAddr> _early = [];
    private readonly HashSet<PhysAddr> _taken = [];

    public static SubjectParts Parts()
    {
        EagerFrames? frames = null;
        Dictionary<ObjectId, AddressRange[]> made = [];
        return new()
        {
            Frames = watched =>
            {
                // Another scenario, in which the names stand for others.
                made.Clear();
                return frames = new(watched);
            },
            Around = (operation, run) =>
            {
                Observation seen = run(operation);
                if (seen.Outcome != Outcome.None) return seen;
                if (operation is AllocateMemory allocate) made[allocate.Memory] = [.. seen.Ranges];
                if (operation is FreeMemory free && made.Remove(free.Memory, out AddressRange[]? chunks)) frames!.GiveBack(chunks);
                return seen;
            },
        };
    }

    public override VcmmError TryFree(PhysAddr block)
    {
        if (_early.Remove(block)) return VcmmError.None;
        _taken.Remove(block);
        return Inner.TryFree(block);
    }

    public override VcmmError TryAllocate(ulong byteCount, out PhysAddr block)
    {
        VcmmError error = Inner.TryAllocate(byteCount, out block);
        if (error == VcmmError.None) _taken.Add(block);
        return error;
    }

    private void GiveBack(AddressRange[] chunks)
    {
        foreach (AddressRange chunk in chunks)
        {
            if (!_taken.Remove(new(chunk.First))) continue;
            Inner.TryFree(new(chunk.First));
            _early.Add(new(chunk.First));
        }
    }
}
