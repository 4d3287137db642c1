using Vcmm.Tables;

namespace Vcmm.Vtd;

/// <summary>Entries of scalable mode, without their Present bits.</summary>
/// <remarks>
/// <para>Everything that is not named stays 0: faults are recorded (FPD), memory types are the platform's, and no access is
/// forced to snoop (PGSNP).</para>
/// <para><b>Source.</b> VT-d specification, "Scalable-Mode Context Entry", "Scalable-Mode PASID Table Entry".</para>
/// </remarks>
internal static class PasidEntry
{
    public const int WordCount = 8;
    public const int ContextWordCount = 4;

    /// <summary>The smallest directory has 2^7 entries: PDTS 0.</summary>
    public const int SmallestDirectoryLog2 = 7;

    /// <summary>An entry of a directory holds 2^6 PASIDs.</summary>
    public const int PasidsInTableLog2 = 6;

    private const ulong DeviceTlbEnable = 1UL << 2;
    private const ulong PasidEnable = 1UL << 3;
    private const ulong PageRequestEnable = 1UL << 4;
    private const int DirectorySizeShift = 9;

    private const int AddressWidthShift = 2;
    private const ulong FirstStageType = 1UL << 6;
    private const ulong SecondStageType = 2UL << 6;
    private const ulong NestedType = 3UL << 6;
    private const ulong PassThroughType = 4UL << 6;
    private const ulong SecondStageAccessedDirty = 1UL << 9;
    private const ulong PageWalkSnoop = 1UL << 23;
    private const ulong FiveLevels = 1UL << 2;
    private const ulong WriteProtect = 1UL << 4;
    private const ulong NoExecute = 1UL << 5;

    /// <summary>A context entry; requests without a PASID take PASID entry 0 (RID_PASID).</summary>
    /// <param name="directory">The PASID directory.</param>
    /// <param name="entryCountLog2">Log2 of its entries: 7 … 14.</param>
    /// <param name="takesPasids">Whether requests with a PASID are let in; reserved where the hardware knows none.</param>
    /// <param name="ats">What the device may do beside accesses; null: nothing.</param>
    /// <param name="words">The entry.</param>
    public static void WriteContext(ulong directory, int entryCountLog2, bool takesPasids, AtsCapability? ats, Span<ulong> words)
    {
        words.Clear();
        words[0] = directory | (takesPasids ? PasidEnable : 0)
            | (ats is null ? 0 : DeviceTlbEnable) | (ats is { PageRequests: true } ? PageRequestEnable : 0)
            | (ulong)(entryCountLog2 - SmallestDirectoryLog2) << DirectorySizeShift;
    }

    /// <summary>An entry that leads to <paramref name="table"/>, or past all tables.</summary>
    /// <param name="capabilities">What the hardware can do.</param>
    /// <param name="attachment">Its stage, its domain, and what is nested in the table.</param>
    /// <param name="table">The table; null: requests go untranslated.</param>
    /// <param name="tracksUse">Whether hardware keeps Accessed and Dirty in second-stage tables.</param>
    /// <param name="words">The entry, all zero before.</param>
    public static void Write(VtdCapabilities capabilities, in Attachment attachment, IPageTable? table, bool tracksUse, Span<ulong> words)
    {
        if (table is null)
        {
            // The address width is the largest that the hardware has.
            words[0] = PassThroughType | (ulong)(capabilities.MostSecondStageLevels - 2) << AddressWidthShift;
            words[1] = attachment.Domain.Value;
            return;
        }

        words[1] = attachment.Domain.Value | (capabilities.PageWalkSnoop ? PageWalkSnoop : 0);
        if (attachment.Stage == Stage.First)
        {
            words[0] = FirstStageType;
            words[2] = FirstStageOf(capabilities, table.Root.Value, table.Format);
        }
        else
        {
            words[0] = table.Root.Value | SecondStageType | (ulong)(table.Format.LevelCount - 2) << AddressWidthShift
                | (tracksUse ? SecondStageAccessedDirty : 0);
            if (attachment.Nested is not { } nested) return;
            words[0] |= NestedType;
            words[2] = FirstStageOf(capabilities, nested.Root.Value, nested.Format);
        }
    }

    /// <summary>The word that points at a first-stage table, nested or not.</summary>
    private static ulong FirstStageOf(VtdCapabilities capabilities, ulong root, TableFormat format)
    {
        // Requests with supervisor privilege, and those that ask for execute, are refused (SRE 0, ERE 0). WPE speaks of the
        // former alone: they would obey R/W. Where there are the latter, XD is a reserved bit of the tables without NXE.
        return root | (format.LevelCount == 5 ? FiveLevels : 0)
            | (capabilities.SupervisorRequests ? WriteProtect : 0)
            | (capabilities.ExecuteRequests ? NoExecute : 0);
    }
}
