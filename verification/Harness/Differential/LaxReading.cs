namespace Harness.Differential;

/// <summary>
/// Words as a unit reads them that does not look at something: what it does not look at is as it should be.
/// </summary>
/// <remarks>
/// <b>Source.</b> Intel VT-d specification, Translation Structure Formats: Scalable-Mode Context Entry, PASID Directory Entry and
/// PASID Table Entry, of a unit with one of first-stage and second-stage translation; host addresses have 48 bits.
/// </remarks>
internal sealed class LaxReading
{
    public const ulong ScalableRoot = 1UL << 10;

    // The places of these words in the order of reading: an entry of several words is read twice.
    public const int ContextEntry = 3, ContextAgain = 7, DirectoryEntry = 11, PasidEntry = 12, PasidAgain = 20, Tables = 28;

    private const ulong Present = 1, Type = 7UL << 6, FirstStage = 1UL << 6, SecondStage = 2UL << 6, Nested = 3UL << 6, PassThrough = 4UL << 6, NoType = 7UL << 6, FaultsDisabled = 2, WalkSnoop = 1 << 23;
    private const ulong DirectorySize = 7UL << 9, BeyondHost = 0xFFFFUL << 48;

    // FPD of the context entry that was read last.
    private bool _isSilenced;

    // Present words that were replaced since context entries were invalidated: the first words of PASID entries among them.
    private readonly Dictionary<ulong, bool> _passedThrough = [];

    /// <summary>What is not looked at.</summary>
    public Laxity Laxity { get; set; }

    /// <summary>Whether an entry was read of which type and width are not heeded.</summary>
    public bool IsUnheeded { get; set; }

    /// <summary>Whether the unit has first-stage translation; then it has no second-stage one.</summary>
    public bool HasFirstStage { get; init; }

    private ulong Offered => HasFirstStage ? FirstStage : SecondStage;

    /// <summary>Whether an entry that was of pass-through has been changed, and no context entry invalidated since.</summary>
    public bool MayLinger => _passedThrough.ContainsValue(true);

    /// <summary>Software replaces a word.</summary>
    public void Replace(ulong address, ulong old)
    {
        if (address % 64 == 0 && (old & Present) != 0)
            _passedThrough[address] = (old & Type) == PassThrough || _passedThrough.GetValueOrDefault(address);
    }

    /// <summary>Software has invalidated all context entries.</summary>
    public void Settle() => _passedThrough.Clear();

    /// <summary>The root table address to a unit that looks at nothing in it but the address and, if it has the scalable mode, one bit of the mode.</summary>
    public static ulong Root(ulong value, bool isScalable) => value & (~0xFFFUL | (isScalable ? ScalableRoot : 0));

    /// <summary>A word that is read in scalable mode.</summary>
    /// <param name="place">How many were read before.</param>
    /// <param name="address">Where it is.</param>
    /// <param name="value">What is there.</param>
    public ulong Read(int place, ulong address, ulong value) => place switch
    {
        ContextEntry or ContextAgain => Context(value),
        DirectoryEntry when Laxity.HasFlag(Laxity.PasidReserved) => Narrow(value & ~0xFFCUL),
        PasidEntry or PasidAgain => FirstWord(address, value),
        > PasidEntry and < PasidAgain => OtherWord(place - PasidEntry, value),
        > PasidAgain and < Tables => OtherWord(place - PasidAgain, value),
        _ => value,
    };

    private ulong Context(ulong value)
    {
        _isSilenced = (value & FaultsDisabled) != 0;
        return Laxity.HasFlag(Laxity.DirectorySize) ? value | DirectorySize : value;
    }

    private ulong FirstWord(ulong address, ulong value)
    {
        const ulong reserved = 1UL << 5 | 7UL << 9;
        if (Laxity.HasFlag(Laxity.PasidReserved)) value = HasFirstStage ? value & (Present | FaultsDisabled | Type) : Narrow(value & ~reserved);
        bool wasPresent = _passedThrough.TryGetValue(address, out bool hasPassed), isUnheeded = wasPresent && _isSilenced && Laxity.HasFlag(Laxity.PasidType);
        if (Laxity.HasFlag(Laxity.PasidTypeFirst) && !isUnheeded && (value & Present) == 0 && !IsOffered(value)) return Present | (value & FaultsDisabled) | NoType;
        IsUnheeded |= isUnheeded;
        if (wasPresent)
        {
            if (Laxity.HasFlag(Laxity.PassThroughEnd) && hasPassed) return Present | PassThrough;
            if (Laxity.HasFlag(Laxity.PasidPresent) && (value & Present) == 0) value = AsPresent(value);
            if (isUnheeded && (value & Type) != PassThrough) value = (value & ~Type) | Offered;
        }

        bool isOther = (value & Type) is FirstStage or Nested;
        return Laxity.HasFlag(Laxity.Types) && isOther ? (value & ~Type) | SecondStage : value;
    }

    /// <summary>Type and width: pass-through, or tables, if they are of the second stage of three or four levels.</summary>
    private bool IsOffered(ulong value) => (value & Type) == PassThrough || ((value & Type) == Offered && (HasFirstStage || (value >> 2 & 7) is 1 or 2));

    /// <summary>Reserved bits of an address count all the same: nothing is there.</summary>
    private static ulong Narrow(ulong value) => (value & BeyondHost) == 0 ? value : (value & ~BeyondHost) | Ground.Nowhere;

    /// <summary>Pass-through is what only an entry that can be used may ask for.</summary>
    private ulong AsPresent(ulong value) => Present | ((value & Type) == PassThrough ? (value & ~Type) | Offered : value);

    private ulong OtherWord(int word, ulong value)
    {
        if (word == 1 && Laxity.HasFlag(Laxity.WalkSnoop)) value |= WalkSnoop;
        return Laxity.HasFlag(Laxity.PasidReserved) ? WithoutReserved(word, value) : value;
    }

    /// <summary>Only the domain has a meaning, and of the first stage the root of the tables and how many levels they have; bits 134 and 133 are ignored.</summary>
    private ulong WithoutReserved(int word, ulong value) => word switch
    {
        1 => value & (0xFFFF | (HasFirstStage ? WalkSnoop : 0)),
        2 => HasFirstStage ? Narrow(value & ~0xF93UL) : value & 0x60,
        _ => 0,
    };
}
