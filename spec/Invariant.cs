namespace Vcmm.Spec;

/// <summary>The invariants that properties, oracles, mutants and reports name. The number is the invariant's id: I1 … I14.</summary>
public enum Invariant
{
    /// <summary>Reservations of one VCM never overlap, lie inside the VCM, and have their alignment.</summary>
    NoOverlap = 1,

    /// <summary>Decoding the table bytes in memory gives exactly the mapping that the model has.</summary>
    TablesAreTruth = 2,

    /// <summary>All active associations of a VCM with one format use the same root; tables of different formats agree.</summary>
    SharedTable = 3,

    /// <summary>When an operation that removes or narrows a mapping returns, no device access through the old translation succeeds.</summary>
    NoStaleAccess = 4,

    /// <summary>A frame or table page that an IOMMU or CPU may still reach is never freed nor handed out.</summary>
    FrameSafety = 5,

    /// <summary>Frames are neither lost nor doubled; a refused or failed operation leaves state as it was.</summary>
    Conservation = 6,

    /// <summary>No device gets an access that the reservation's attributes do not grant.</summary>
    Permission = 7,

    /// <summary>A device reaches only frames backed in VCMs that it is actively associated with.</summary>
    Isolation = 8,

    /// <summary>Operations on device VCMs write no CPU table and cause no CPU shootdown.</summary>
    OneSided = 9,

    /// <summary>Every concurrent history has a legal sequential order.</summary>
    Linearizable = 10,

    /// <summary>Invalidations stay within the stated bound.</summary>
    Frugal = 11,

    /// <summary>No deadlock, no lost wake-up; a full queue, a command error or a time-out ends in a clear error.</summary>
    Progress = 12,

    /// <summary>A blocked access gives exactly one fault record, or sets the overflow flag.</summary>
    FaultExact = 13,

    /// <summary>A live entry changes size or target only through not-present and an invalidation.</summary>
    BreakBeforeMake = 14,
}

/// <summary>How invariants are written in reports.</summary>
public static class Invariants
{
    /// <summary>The id alone: <c>I4</c>.</summary>
    public static string Id(this Invariant invariant) => $"I{(int)invariant}";

    /// <summary>Reads an id.</summary>
    /// <param name="id"><c>I1</c> to <c>I14</c>.</param>
    /// <param name="invariant">The invariant.</param>
    /// <returns>Whether it is one.</returns>
    public static bool TryParse(string id, out Invariant invariant)
    {
        foreach (Invariant candidate in Enum.GetValues<Invariant>())
        {
            if (candidate.Id() != id) continue;
            invariant = candidate;
            return true;
        }

        invariant = default;
        return false;
    }

    /// <summary>Id and name: <c>I4 NoStaleAccess</c>.</summary>
    public static string Label(this Invariant invariant) => $"{invariant.Id()} {invariant}";
}
