namespace Harness.Differential;

/// <summary>What a unit does not look at where it should. Each is a row of <see cref="Foreign.QemuDeviations"/>, which says of whose.</summary>
[Flags]
internal enum Laxity
{
    None = 0,

    /// <summary>Of the root table address: bits 9:0 and the mode.</summary>
    RootBits = 1,

    /// <summary>How large the PASID directory is.</summary>
    DirectorySize = 2,

    /// <summary>Reserved bits of PASID directory entries and PASID entries.</summary>
    PasidReserved = 4,

    /// <summary>Whether a PASID entry is present, if it was since context entries were invalidated.</summary>
    PasidPresent = 8,

    /// <summary>Translation types that the unit does not offer: they are second-stage translation to it.</summary>
    Types = 16,

    /// <summary>A PASID entry that was of pass-through since context entries were invalidated: it still is.</summary>
    PassThroughEnd = 32,

    /// <summary>Bit 11 of second-stage leaves.</summary>
    Snoop = 64,

    /// <summary>Whether a PASID entry is present, if its type or width is none: it is invalid.</summary>
    PasidTypeFirst = 128,

    /// <summary>Whether the walk snoops where it sets flags: PWSNP.</summary>
    WalkSnoop = 256,

    /// <summary>
    /// The translation type of a PASID entry that was present since context entries were invalidated, where the context entry disables fault
    /// processing: one that there is not is the one that the unit has. Nor the width, of which then nothing is said.
    /// </summary>
    PasidType = 512,
}

/// <summary>What comes of an access where something was not looked at.</summary>
/// <param name="What">What comes of it.</param>
/// <param name="Laxity">What was not looked at on the way.</param>
internal readonly record struct LaxOutcome(Expected What, Laxity Laxity);
