using Platform;
using Vcmm.Tables;

namespace Vcmm;

/// <summary>
/// What a reservation is made of. States are used again after an unreserve; the generation tells handles of the new
/// reservation from handles of the old.
/// </summary>
internal sealed class ReservationState(Vcm vcm, long order)
{
    /// <summary>One operation on one reservation at a time; held across the wait for the hardware.</summary>
    [LockRank(LockRank.Reservation)]
    public readonly object Gate = new();

    /// <summary>What the operation under way leaves to invalidate and to free.</summary>
    public InvalidationGather Gather = new();

    /// <summary>Table pages set aside by the operation under way.</summary>
    public readonly TablePagePool Pages = new();

    /// <summary>A part of memory, put together for the operation under way.</summary>
    // Survives as `[default]`: equivalent, it is cleared before it is filled
    public readonly List<PhysRange> Scratch = [];

    /// <summary>
    /// What was found dirty, or accessed, and cleared in the tables without the hardware's word that it has forgotten. Under
    /// <see cref="Gate"/>.
    /// </summary>
    public readonly List<IovaRange> UnconfirmedDirty = [], UnconfirmedAccessed = [];

    /// <summary>What backs the reservation. Under <see cref="Gate"/>.</summary>
    public readonly BackingList Backings = new();

    public Vcm Vcm { get; } = vcm;

    /// <summary>Who takes several gates takes them in ascending order of this.</summary>
    public long Order { get; } = order;

    /// <summary>
    /// Even while the reservation is alive. Moves on when it ends, and when the state is another's: handles are told apart by it.
    /// Written under <see cref="Gate"/>.
    /// </summary>
    public uint Generation = 1;

    /// <summary>Written under a stripe of the region and <see cref="Gate"/>, while no handle is alive.</summary>
    public IovaRange Range;

    /// <summary>The part of the region that it was taken from; null: the region itself.</summary>
    public Bound? Bound;

    /// <summary>Under <see cref="Gate"/>.</summary>
    public MappingAttributes Attributes;

    /// <summary>Who must let go before the reservation ends: 1 …. Under <see cref="Gate"/>.</summary>
    public int OwnerCount;

    /// <summary>Holds the addresses once an unback was deferred. Under <see cref="Gate"/>.</summary>
    public RangeHold? Hold;

    /// <summary>Whether a reservation with that generation is, or was, alive.</summary>
    public static bool IsAlive(uint generation) => (generation & 1) == 0;

    /// <summary>A handle of the reservation as it is now. Under a gate that keeps it from ending.</summary>
    public Reservation Handle => new(this, Generation);
}
