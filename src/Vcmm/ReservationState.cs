using Platform;
using Vcmm.Tables;

namespace Vcmm;

/// <summary>
/// What a reservation is made of. States are used again after an unreserve; the generation tells handles of the new
/// reservation from handles of the old.
/// </summary>
internal sealed class ReservationState(Vcm vcm)
{
    /// <summary>One operation on one reservation at a time; held across the wait for the hardware.</summary>
    public readonly object Gate = new();

    /// <summary>Tables unlinked by the operation under way.</summary>
    public readonly InvalidationGather Gather = new();

    /// <summary>Table pages set aside by the operation under way.</summary>
    public readonly TablePagePool Pages = new();

    public Vcm Vcm { get; } = vcm;

    /// <summary>Moves on when the reservation ends: no handle has this one until the next reserve. Under <see cref="Gate"/>.</summary>
    public uint Generation;

    public IovaRange Range;

    public MappingAttributes Attributes;

    /// <summary>What backs the reservation. Written under <see cref="Gate"/>.</summary>
    public PhysicalAllocation? Memory;

    /// <summary>The tables in which the memory is mapped. Under <see cref="Gate"/>.</summary>
    public IPageTable[] MappedIn = [];
}
