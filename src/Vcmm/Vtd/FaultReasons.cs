namespace Vcmm.Vtd;

/// <summary>What the numbers of the fault reason field mean to whoever is told.</summary>
/// <remarks><b>Source.</b> VT-d specification, "Non-Recoverable Address Translation Faults" and "Fault Reason Encodings"; the conditions stand in brackets.</remarks>
internal static class FaultReasons
{
    /// <summary>The cause that a reason tells of.</summary>
    /// <param name="reason">The number, of 8 bits. Those of interrupt remapping, and those that are reserved, are <see cref="FaultCause.Unknown"/>.</param>
    public static FaultCause CauseOf(uint reason) => reason switch
    {
        // The entries on the way to the tables are absent (LRT.2, LCT.2; SRT.2, SCT.2, SPD.2, SPT.2).
        0x01 or 0x02 or 0x39 or 0x41 or 0x51 or 0x59 => FaultCause.NotAttached,
        // A request with a PASID where none can be, and one with a PASID that no tables can be given (RTA.2, SCT.6, SCT.7, SCT.9, SGN.10).
        0x31 or 0x45 or 0x46 or 0x48 or 0x89 => FaultCause.NotAttached,
        // A first-stage entry has a bit that says that it is present (SFS.2).
        0x71 => FaultCause.NotMapped,
        // No permission (LGN.2, LGN.3, SSS.2, SGN.6, SGN.7), which is also how an absent second-stage entry is told.
        0x05 or 0x06 or 0x79 or 0x85 or 0x86 => FaultCause.NotPermitted,
        // No such request may be made: to execute, with supervisor or with user privilege (SPT.5, SPT.6, SGN.2, SGN.3).
        0x5C or 0x5D or 0x81 or 0x82 => FaultCause.NotPermitted,
        // Wider than the unit or the tables (LGN.1, SGN.4.2, SGN.5), or not canonical (SGN.1).
        0x04 or 0x80 or 0x83 or 0x84 => FaultCause.OutOfRange,
        // What cannot be fetched, is reserved, or must not be so (LRT, LCT, LSL, LGN.4; RTA, SRT, SCT, SPD, SPT; SFS, SSS, SGN.8).
        0x03 or (>= 0x07 and <= 0x0E) => FaultCause.Misprogrammed,
        0x30 or 0x32 or 0x33 or 0x38 or 0x3A or 0x40 or (>= 0x42 and <= 0x44) or 0x47 => FaultCause.Misprogrammed,
        0x50 or 0x52 or 0x58 or 0x5A or 0x5B => FaultCause.Misprogrammed,
        0x70 or (>= 0x72 and <= 0x78) or (>= 0x7A and <= 0x7D) or 0x87 or 0x90 or 0x91 => FaultCause.Misprogrammed,
        _ => FaultCause.Unknown,
    };
}
