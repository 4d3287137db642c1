namespace Vcmm;

// A deep copy of what a region holds.
public sealed partial class Vcm
{
    /// <summary>Makes a region with the same reservations, bounds and backings; associations are not taken over.</summary>
    /// <param name="clone">The region. Later changes of the one do not show in the other; the memory is the same.</param>
    /// <returns><see cref="VcmmError.Invalid"/> if the region was freed or is prebuilt.</returns>
    /// <remarks>What is cloned is one moment of the region, also while other threads change it. Each reservation has one owner.</remarks>
    public VcmmError TryClone(out Vcm? clone)
    {
        Vcm? made = null;
        VcmmError error = AtRest(states =>
        {
            if (_freed || Kind == VcmKind.Prebuilt) return VcmmError.Invalid;
            made = CloneAll(states);
            return VcmmError.None;
        });
        clone = made;
        return error;
    }

    /// <summary>Makes a region with the same reservations, bounds and backings; associations are not taken over.</summary>
    /// <exception cref="VcmmException">As <see cref="TryClone"/>.</exception>
    public Vcm Clone()
    {
        VcmmException.ThrowIf(TryClone(out Vcm? clone), nameof(Clone));
        return clone!;
    }

    /// <summary>Under all gates of what is cloned. Nobody knows the clone yet.</summary>
    private Vcm CloneAll(ReservationState[] states)
    {
        var clone = new Vcm(Manager, Range, Options) { _isBeingMade = true };
        var bounds = new Dictionary<Bound, Bound>();
        foreach (Bound bound in _bounds)
        {
            Claim(clone._ranges, bound.Range);
            bounds[bound] = clone.AddBound(bound.Range);
        }

        foreach (ReservationState state in states)
        {
            Bound? bound = state.Bound is null ? null : bounds[state.Bound];
            Claim(bound?.Ranges ?? clone._ranges, state.Range);
            ReservationState copy = clone.AddReservation(clone.OwnStripe, state.Range, state.Attributes, bound);
            foreach (Backing backing in state.Backings)
            {
                // Survives as `(true?copied :…`: unreachable by contract, memory that backs a reservation cannot be freed
                backing.Memory.Publish(TryMakeBacking(copy, backing.Offset, backing.Memory, backing.MemoryOffset, backing.ByteCount, out Backing copied)
                    ? copied
                    : throw new InvalidOperationException("memory was freed while it backs a reservation"));
            }
        }

        Volatile.Write(ref clone._isBeingMade, false);
        return clone;
    }

    private static void Claim(Allocation.IRangeAllocator ranges, Platform.IovaRange range)
    {
        if (ranges.TryAllocateAt(range) != VcmmError.None) throw new InvalidOperationException($"{range} is taken in a region that is new");
    }
}
