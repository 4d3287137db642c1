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

    /// <inheritdoc/>
    public bool Equals(Observation? other) =>
        other is not null && Outcome == other.Outcome && Translation == other.Translation && Reached == other.Reached
        && Ranges.SequenceEqual(other.Ranges);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Outcome, Translation, Reached, Ranges.Length);

    /// <summary>What was seen, on one line.</summary>
    public override string ToString()
    {
        if (Outcome != Outcome.None) return Outcome.ToString();
        if (Translation is { } translation) return translation.ToString();
        if (Reached is { } reached) return $"0x{reached:x}";
        return Ranges.Length switch
        {
            0 => "ok",
            <= 4 => string.Join(", ", Ranges),
            _ => $"{string.Join(", ", Ranges.Take(3))}, … ({Ranges.Length})",
        };
    }
}

/// <summary>What an operation met that is not the model's: it decides which failures are excused.</summary>
/// <param name="FreeBytes">Physical memory that was free when the operation began.</param>
/// <param name="MemoryFails">Whether allocations were made to fail.</param>
/// <param name="HardwareFails">Whether the hardware was made to fail.</param>
public readonly record struct Surroundings(ulong FreeBytes, bool MemoryFails = false, bool HardwareFails = false);
