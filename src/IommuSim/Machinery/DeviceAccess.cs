namespace IommuSim;

/// <summary>What a device wants to do with memory.</summary>
public enum DeviceAccess
{
    /// <summary>Memory to device.</summary>
    Read,

    /// <summary>Device to memory.</summary>
    Write,
}
