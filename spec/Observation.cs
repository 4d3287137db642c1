using System.Collections.Immutable;

namespace Vcmm.Spec;

/// <summary>What a call came to.</summary>
public enum Outcome
{
    /// <summary>It was done.</summary>
    None = 0,

    /// <summary>An argument is outside what the call accepts, or an object was used after its end.</summary>
    Invalid,

    /// <summary>The object is in a state or in a use that excludes the call.</summary>
    Busy,

    /// <summary>No free range of that size and alignment is left.</summary>
    NoSpace,

    /// <summary>Physical memory ran out.</summary>
    NoMemory,

    /// <summary>What the call should end or give is not there.</summary>
    NotFound,

    /// <summary>The IOMMU cannot tell such a device apart.</summary>
    NoDevice,

    /// <summary>The hardware did not do what it was told.</summary>
    HardwareFailure,

    /// <summary>The address is not mapped; the device's access was blocked.</summary>
    Fault,

    /// <summary>The device's access waits for a page that it has asked for.</summary>
    Waits = 100,
}

/// <summary>A place where memory is mapped.</summary>
/// <param name="Reservation">The reservation.</param>
/// <param name="Address">The address in its region.</param>
public readonly record struct Place(ObjectId Reservation, ulong Address) : IComparable<Place>
{
    /// <inheritdoc/>
    public int CompareTo(Place other) => (Reservation, Address).CompareTo((other.Reservation, other.Address));

    /// <summary><c>r0 0x1000</c>.</summary>
    public override string ToString() => $"{Reservation} 0x{Address:x}";
}

/// <summary>Physical memory that a copy has changed.</summary>
/// <param name="To">What changed; whole words of 8 bytes.</param>
/// <param name="From">Where, before the copy, stood what its first word holds now, the other words in step; null: nowhere.</param>
public readonly record struct Move(AddressRange To, ulong? From)
{
    /// <summary><c>0x2000-0x2fff from 0x1000</c>.</summary>
    public override string ToString() => From is { } from ? $"{To} from 0x{from:x}" : $"{To} from nowhere";
}

/// <summary>What was seen of one access of several.</summary>
/// <param name="Outcome"><see cref="Outcome.None"/> or <see cref="Outcome.Fault"/>.</param>
/// <param name="Reached">As <see cref="Observation.Reached"/>.</param>
public readonly record struct AccessSeen(Outcome Outcome, ulong? Reached)
{
    /// <summary><c>0x100000</c>, or <c>Fault</c>.</summary>
    public override string ToString() => Reached is { } reached ? $"0x{reached:x}" : Outcome.ToString();
}

/// <summary>What was seen of an operation.</summary>
/// <param name="Outcome">What it came to.</param>
public sealed record Observation(Outcome Outcome)
{
    /// <summary>The ranges that it gave: of a reservation, of all of them, or the chunks of memory.</summary>
    public ImmutableArray<AddressRange> Ranges { get; init; } = [];

    /// <summary>The translation that a look-up gave.</summary>
    public Translation? Translation { get; init; }

    /// <summary>The physical address that a device's access reached; null if it reached none.</summary>
    public ulong? Reached { get; init; }

    /// <summary>The physical address that the second half of a transfer across the end of a page, or the word that that of a write in halves, reached; null if it reached none.</summary>
    public ulong? ReachedNext { get; init; }

    /// <summary>What the accesses of a device that went on while the call was under way came to, in order.</summary>
    public ImmutableArray<AccessSeen> Meanwhile { get; init; } = [];

    /// <summary>The address that a look-up gave.</summary>
    public ulong? Address { get; init; }

    /// <summary>The places that a look-up gave.</summary>
    public ImmutableArray<Place> Places { get; init; } = [];

    /// <summary>What a copy changed, in the order of the addresses.</summary>
    public ImmutableArray<Move> Moves { get; init; } = [];

    /// <summary>The faults that hooks were given, in order.</summary>
    public ImmutableArray<GivenFault> Faults { get; init; } = [];

    /// <summary>How many faults were said to be there.</summary>
    public int FaultCount { get; init; }

    /// <summary>Whether the hardware said that it lost some, for want of room.</summary>
    public bool FaultsLost { get; init; }

    /// <summary>The accesses that are over and had waited when the operation began, or its hooks were called.</summary>
    public ImmutableArray<EndedAccess> Ended { get; init; } = [];

    /// <summary>What hooks did, in order.</summary>
    public ImmutableArray<HookAct> Acts { get; init; } = [];

    /// <summary>How many unbacks wait for a flush afterwards; null: nobody looked.</summary>
    public int? Quarantined { get; init; }

    /// <inheritdoc/>
    public bool Equals(Observation? other) =>
        other is not null && Outcome == other.Outcome && Translation == other.Translation && Reached == other.Reached && ReachedNext == other.ReachedNext && Address == other.Address
        && Quarantined == other.Quarantined && FaultCount == other.FaultCount && FaultsLost == other.FaultsLost && Faults.SequenceEqual(other.Faults) && Ranges.SequenceEqual(other.Ranges) && Places.SequenceEqual(other.Places) && Moves.SequenceEqual(other.Moves)
        && Ended.SequenceEqual(other.Ended) && Meanwhile.SequenceEqual(other.Meanwhile) && Acts.SequenceEqual(other.Acts);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Outcome, Translation, Reached, Ranges.Length);

    /// <summary>What was seen, on one line.</summary>
    public override string ToString() =>
        $"{Text()}{(Meanwhile.IsEmpty ? "" : $"; meanwhile {Text(Meanwhile)}")}{(Ended.IsEmpty ? "" : $"; what had waited came to {Text(Ended)}")}";

    private string Text()
    {
        if (Outcome != Outcome.None) return Reached is { } some ? $"0x{some:x}, then {Outcome}" : Outcome.ToString();
        if (ReachedNext is { } next) return $"0x{Reached:x}, then 0x{next:x}";
        if (Translation is { } translation) return translation.ToString();
        if (Reached is { } reached) return $"0x{reached:x}";
        if (Address is { } address) return $"0x{address:x}";
        if (!Places.IsEmpty) return Text(Places);
        if (!Moves.IsEmpty) return Text(Moves);
        if (FaultCount != 0 || FaultsLost) return $"{FaultCount} faults{(FaultsLost ? ", others were lost" : "")}{(Faults.IsEmpty ? "" : $": {Text(Faults)}")}";
        return Ranges.IsEmpty ? "ok" : Text(Ranges);
    }

    private static string Text<T>(ImmutableArray<T> values) => values.Length <= 4
        ? string.Join(", ", values)
        : $"{string.Join(", ", values.Take(3))}, … ({values.Length})";
}

/// <summary>What an operation met that is not the model's: it decides which failures are excused.</summary>
/// <param name="FreeBytes">Physical memory that was free when the operation began.</param>
/// <param name="MemoryFails">Whether allocations were made to fail.</param>
/// <param name="HardwareFails">Whether the hardware was made to fail.</param>
public readonly record struct Surroundings(ulong FreeBytes, bool MemoryFails = false, bool HardwareFails = false)
{
    /// <summary>What was free of each bank, in their order; default: that is not known.</summary>
    public ImmutableArray<ulong> FreeInBanks { get; init; }

    /// <summary>Where it was free, in the order of addresses, each as long as it goes or to the end of a bank; default: that is not known.</summary>
    public ImmutableArray<AddressRange> FreeMemory { get; init; }
}
