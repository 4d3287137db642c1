namespace Vcmm;

/// <summary>Why an IOMMU did not let an access through, in words that no architecture owns. <see cref="DeviceFault.Reason"/> is its own number.</summary>
public enum FaultCause
{
    /// <summary>The hardware does not say, or says what the driver does not know. It says nothing of an access that waits.</summary>
    Unknown = 0,

    /// <summary>Nothing is attached for the device under that PASID.</summary>
    NotAttached,

    /// <summary>Nothing is mapped there.</summary>
    NotMapped,

    /// <summary>
    /// What is mapped there does not grant the access, or nothing grants it to such a request. Where tables have no flag that says that
    /// an entry is present, but only permissions, as VT-d's second stage, it is also told where nothing is mapped.
    /// </summary>
    NotPermitted,

    /// <summary>The address is none that the tables can translate.</summary>
    OutOfRange,

    /// <summary>The hardware could not make sense of what is in memory: a structure or table that it cannot read, or with bits that must not be set.</summary>
    Misprogrammed,
}
