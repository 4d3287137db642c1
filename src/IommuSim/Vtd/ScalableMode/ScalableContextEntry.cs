using IommuSim.Machinery;
using Platform;

namespace IommuSim.ScalableMode;

/// <summary>
/// One half of a scalable-mode root entry: the low half is for devices and functions 0 to 127 of its bus, the high half for
/// those from 128 on.
/// </summary>
/// <remarks><b>Source.</b> Intel VT-d specification, Translation Structure Formats, Scalable-Mode Root Entry.</remarks>
internal readonly record struct ScalableRootHalf(ulong Bits)
{
    public const ulong EntryBytes = 16;

    /// <summary>LP, UP.</summary>
    public bool IsPresent => (Bits & 1) != 0;

    /// <summary>LCTP, UCTP.</summary>
    public PhysAddr ContextTable => new(Bits & PageLevels.FrameMask);

    /// <summary>Bits 11:1, and those from the host address width up.</summary>
    public bool HasReserved(int hostAddressWidth) => (Bits & (0xFFEUL | PageLevels.BitsFrom(hostAddressWidth))) != 0;
}

/// <summary>A scalable-mode context entry, 256 bits; <paramref name="Rest"/> is its upper half, all of which is reserved.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, Translation Structure Formats, Scalable-Mode Context-Entry.</remarks>
internal readonly record struct ScalableContextEntry(ulong Low, ulong High, ulong Rest)
{
    public const int Words = 4;
    public const ulong Bytes = 32;
    private const ulong DeviceTlbEnable = 1 << 2;
    private const ulong PasidEnable = 1 << 3;
    private const ulong PageRequestEnable = 1 << 4;
    private const ulong RidPrivilegeBit = 1UL << 20;

    public bool IsPresent => (Low & 1) != 0;

    /// <summary>FPD.</summary>
    public bool FaultProcessingDisabled => (Low & 2) != 0;

    /// <summary>DTE.</summary>
    public bool IsDeviceTlbEnabled => (Low & DeviceTlbEnable) != 0;

    /// <summary>PRE.</summary>
    public bool IsPageRequestEnabled => (Low & PageRequestEnable) != 0;

    /// <summary>PASIDE.</summary>
    public bool IsPasidEnabled => (Low & PasidEnable) != 0;

    /// <summary>PDTS = X: the directory has 2^(X+7) entries, each of which leads to 64 PASIDs.</summary>
    public int PasidBits => (int)(Low >> 9 & 7) + 7 + PasidDirectoryEntry.TableCountLog2;

    /// <summary>PASIDDIRPTR.</summary>
    public PhysAddr Directory => new(Low & PageLevels.FrameMask);

    /// <summary>RID_PASID: the PASID of requests without one.</summary>
    public Pasid RidPasid => new((uint)(High & Pasid.Largest));

    /// <summary>RID_PRIV: whether requests without a PASID have supervisor privilege.</summary>
    public bool RidPrivilege => (High & RidPrivilegeBit) != 0;

    /// <summary>Whether the directory has an entry for the PASID.</summary>
    public bool Reaches(Pasid pasid) => pasid.Value >> PasidBits == 0;

    /// <summary>The fault that using the entry gives, whatever the request; None if it can be used.</summary>
    public VtdFaultReason Check(VtdOptions options)
    {
        if (!IsPresent) return VtdFaultReason.ScalableContextEntryNotPresent;                     // SCT.2
        if (HasReserved(options)) return VtdFaultReason.ScalableContextEntryReserved;             // SCT.3
        bool isValid = (IsDeviceTlbEnabled || !IsPageRequestEnabled) && Reaches(RidPasid);        // SCT.4.1, SCT.4.2
        return isValid ? VtdFaultReason.None : VtdFaultReason.ScalableContextEntryInvalid;
    }

    /// <summary>The fault that a request with this PASID gets from the entry; None if the PASID may be used. How many bits it has does not matter to a page request.</summary>
    public VtdFaultReason CheckPasid(Pasid pasid, VtdOptions options, bool isPageRequest = false)
    {
        if (!IsPasidEnabled) return VtdFaultReason.PasidNotEnabled;                               // SCT.6
        if (!isPageRequest && pasid.Value >> options.PasidBits != 0) return VtdFaultReason.PasidBeyondSize;    // SGN.10
        if (!Reaches(pasid)) return VtdFaultReason.PasidBeyondDirectory;                          // SCT.7
        return pasid == RidPasid ? VtdFaultReason.PasidIsRidPasid : VtdFaultReason.None;          // SCT.9
    }

    /// <summary>
    /// Bits 8:5 (EPTR, HPTE, whose features are not offered), those from the host address width up, and all from 127:85 on; DTE,
    /// PASIDE, PRE, RID_PASID and RID_PRIV where the unit lacks them.
    /// </summary>
    private bool HasReserved(VtdOptions options)
    {
        ulong low = 0x1E0UL | PageLevels.BitsFrom(options.HostAddressWidth)
            | Unless(options.DeviceTlbs, DeviceTlbEnable)
            | Unless(options.HasPageRequests, PageRequestEnable)
            | Unless(options.HasPasid, PasidEnable);
        ulong high = PageLevels.BitsFrom(21)
            | Unless(options.HasRidPasid, Pasid.Largest)
            | Unless(options.HasRidPrivilege, RidPrivilegeBit);
        return (Low & low) != 0 || (High & high) != 0 || Rest != 0;
    }

    private static ulong Unless(bool isOffered, ulong field) => isOffered ? 0 : field;
}
