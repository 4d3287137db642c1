using IommuSim.Machinery;
using Platform;

namespace IommuSim;

/// <summary>What VT-d tags cached translations with: the domain id in the lowest 16 bits, and above it the PASID.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, Caching Translation Information, Tagging of Cached Translations.</remarks>
internal static class VtdTags
{
    /// <summary>More than any PASID's 20 bits: none is part of the tag.</summary>
    public const uint NoPasid = uint.MaxValue;

    private const ulong DomainMask = 0xFFFF;
    private const int PasidShift = 16;

    public static CacheTag Of(VtdDomainId domain, uint pasid) => new(domain.Value | (ulong)pasid << PasidShift);

    public static VtdDomainId DomainOf(CacheTag tag) => new((ushort)(tag.Value & DomainMask));

    /// <summary>The PASID; null where none is part of the tag.</summary>
    public static Pasid? PasidOf(CacheTag tag) => (uint)(tag.Value >> PasidShift) is var pasid && pasid == NoPasid ? null : new(pasid);

    /// <summary>The lines of a domain, whatever the PASID.</summary>
    public static LineFilter OfDomain(VtdDomainId domain) => new(new(domain.Value), DomainMask);

    /// <summary>The lines of the domain that a tag names.</summary>
    public static LineFilter OfDomain(CacheTag tag) => OfDomain(DomainOf(tag));
}
