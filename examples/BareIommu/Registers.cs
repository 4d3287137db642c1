namespace BareIommu;

/// <summary>The registers that the tour uses, and their bits.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, Register Descriptions.</remarks>
internal static class Registers
{
    public const uint CAP = 0x08, GCMD = 0x18, GSTS = 0x1C, RTADDR = 0x20, FSTS = 0x34, FECTL = 0x38, FEDATA = 0x3C, FEADDR = 0x40, IQT = 0x88, IQA = 0x90, IQERCD = 0xB0;
    public const uint PQH = 0xC0, PQT = 0xC8, PQA = 0xD0, PRS = 0xDC;

    /// <summary>GCMD and GSTS: translation, root table pointer, queued invalidation.</summary>
    public const uint TE = 1u << 31, SRTP = 1u << 30, QIE = 1u << 26;
}
