namespace Vcmm.Spec;

/// <summary>Why hardware blocks an access; several, where it may be told either way.</summary>
[Flags]
public enum FaultCauses
{
    /// <summary>None that the model knows: nobody has said why.</summary>
    None = 0,

    /// <summary>The device is active nowhere under that PASID.</summary>
    NotAttached = 1,

    /// <summary>Nothing is mapped there.</summary>
    NotMapped = 2,

    /// <summary>What is mapped there does not grant it, or nothing would.</summary>
    NotPermitted = 4,

    /// <summary>The tables translate no such address.</summary>
    OutOfRange = 8,

    /// <summary>Tables on the way cannot be read, or not be written to where hardware sets flags: those of a guest, which the region has taken away, or narrowed.</summary>
    Misprogrammed = 16,
}
