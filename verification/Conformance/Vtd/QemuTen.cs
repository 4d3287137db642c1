namespace Conformance.Vtd;

/// <summary>
/// The rows of the scalable mode that QEMU 10.0.2 does not do, and why. A row that it learns to do has to leave the list. None of them is the simulator's fault:
/// it does all of them.
/// </summary>
internal static class QemuTen
{
    private const string LegacyNumbers = "It numbers what is wrong with root and context entries as in legacy mode; the tables of the scalable mode have numbers of their own (Fault Conditions, Scalable Mode).";
    private const string OneStage = "A unit of it with first-stage tables has no second-stage ones, which the row is built of, and says so: 0x5B, or a refusal (Capability Registers).";

    private static readonly Dictionary<string, string> Why = new(StringComparer.Ordinal)
    {
        ["SRT.2, an absent half of the root entry"] = LegacyNumbers,
        ["SRT.3, a reserved bit of the root entry"] = LegacyNumbers,
        ["SCT.1, a context table where there is no memory"] = LegacyNumbers,
        ["SCT.2, an absent context entry"] = LegacyNumbers,
        ["SCT.3, a reserved bit of the context entry"] = LegacyNumbers,
        ["SCT.4.2, a PASID beyond the directory"] = "It looks beyond the directory and finds an absent entry there, 0x51 (Scalable-Mode Context Entry).",
        ["SPD.3, a reserved bit of the directory entry"] = OneStage,
        ["SPT.2, an absent PASID entry"] = OneStage,
        ["SPT.3, a reserved bit of the PASID entry"] = OneStage,
        ["SSS.1, a second-stage table where there is no memory"] = OneStage,
        ["SSS.2, an absent second-stage entry"] = OneStage,
        ["SSS.3, a reserved bit of a second-stage entry"] = OneStage,
        ["SSS.4, a first second-stage table where there is no memory"] = OneStage,
        ["SGN.6, a page that may not be written"] = OneStage,
        ["SGN.7, a page that may not be read"] = OneStage,
        ["A changed context entry is seen after an invalidation of the context cache"] = LegacyNumbers,
        ["A changed PASID entry is seen after an invalidation of the PASID cache"] =
            "It keeps no PASID entries, as hardware may, and reads the cleared one at the next access; then its type, 0, is refused before it is seen to be absent: 0x5B, not 0x59 (SPT.2).",
        ["Accessed and dirty flags of second-stage entries"] = OneStage,
        ["Accessed and dirty flags of first-stage entries"] = "It sets the accessed flag and, on a write through a cached translation, not the dirty one (First-Stage Accessed and Dirty Flags).",
        ["SGN.6, a first-stage page that may not be written"] = "It blocks a write through a cached read-only page without a fault record, as in legacy mode.",
        ["First-stage tables of five levels"] = "It has four levels with 48 bits of address width (FL5LP of the capabilities).",
    };

    /// <summary>Why a row is not done; null: it is.</summary>
    public static string? WhyNot(string row) => Why.GetValueOrDefault(row);

    /// <summary>The rows.</summary>
    public static IEnumerable<string> Rows => Why.Keys;
}
