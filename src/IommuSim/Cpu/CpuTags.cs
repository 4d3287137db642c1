using IommuSim.Machinery;

namespace IommuSim.Cpu;

/// <summary>What a core tags cached translations with: the PCID; global ones, which are found under each, have a tag of their own.</summary>
/// <remarks><b>Source.</b> Intel SDM, volume 3A, "Process-Context Identifiers (PCIDs)", "Global Pages".</remarks>
internal static class CpuTags
{
    private const ulong PcidMask = 0xFFF;

    /// <summary>Of global translations.</summary>
    public static CacheTag Global => new(PcidMask + 1);

    /// <summary>Every line that is not global.</summary>
    public static LineFilter NotGlobal => new(default, PcidMask + 1);

    public static CacheTag Of(ushort pcid) => new(pcid);

    public static Pcid PcidOf(CacheTag tag) => new((ushort)(tag.Value & PcidMask));
}
