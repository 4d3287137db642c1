namespace Vcmm;

/// <summary>Why a call was refused. A refused call changes nothing.</summary>
public enum VcmmError
{
    /// <summary>Not refused.</summary>
    None = 0,

    /// <summary>An argument is outside what the call accepts, or a handle was used after its end.</summary>
    Invalid,

    /// <summary>The object is in a state or in a use that excludes the call.</summary>
    Busy,

    /// <summary>No free range of that size and alignment is left in the region.</summary>
    NoSpace,

    /// <summary>Physical memory ran out, for what was asked or for page tables.</summary>
    NoMemory,

    /// <summary>What the call should end or give is not there.</summary>
    NotFound,

    /// <summary>The IOMMU cannot tell such a device apart, or the hardware is not one that the driver can drive.</summary>
    NoDevice,

    /// <summary>The hardware did not complete what it was told in time, or reported an error.</summary>
    HardwareFailure,

    /// <summary>The address is not mapped.</summary>
    Fault,
}

/// <summary>A call was refused; nothing changed.</summary>
public sealed class VcmmException : Exception
{
    /// <summary>A refusal with its code and one sentence.</summary>
    public VcmmException(VcmmError error, string message)
        : base($"{error}: {message}")
    {
        Error = error;
    }

    /// <summary>The code that the call's <c>Try…</c> twin returns.</summary>
    public VcmmError Error { get; }

    internal static void ThrowIf(VcmmError error, string operation)
    {
        if (error != VcmmError.None) throw new VcmmException(error, $"{operation} was refused");
    }
}
