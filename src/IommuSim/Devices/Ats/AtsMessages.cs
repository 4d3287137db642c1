namespace IommuSim.Devices;

/// <summary>What an access by a device's own translation came to.</summary>
internal enum AtsOutcome : byte
{
    /// <summary>It goes on; its slot is to be ended.</summary>
    Goes,

    /// <summary>There is a fault, and it has been recorded.</summary>
    Blocked,

    /// <summary>Recoverable: the page is absent or does not permit the access. Nothing has been recorded.</summary>
    Denied,
}

/// <summary>What a device with a TLB of its own is sent.</summary>
/// <remarks><b>Threads.</b> Called with no lock of the unit's state held; messages of the command queue come one after the other.</remarks>
internal interface IAtsPort
{
    /// <summary>A page group response.</summary>
    void Answer(in PageGroupResponse response);

    /// <summary>Software has made room in the page request queue: what was told to ask again does so.</summary>
    void AskAgain();

    /// <summary>An invalidation of some pages has taken a translation, of a device that wants it again.</summary>
    void Refetch(in DeviceTlbLine line);
}
