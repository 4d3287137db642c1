using Platform;

namespace IommuSim.Devices;

/// <summary>What a page request message says.</summary>
/// <param name="Source">The requester id.</param>
/// <param name="Prefix">The PASID prefix; null for none.</param>
/// <param name="Page">The first address of the page.</param>
/// <param name="Read">R.</param>
/// <param name="Write">W.</param>
/// <param name="IsLast">L: the last request of its group, which is answered as a whole.</param>
/// <param name="Group">The page request group index, 0 … 511.</param>
/// <remarks><b>Source.</b> PCI Express Base Specification, Page Request Services, Page Request Message.</remarks>
internal readonly record struct PageRequest(
    StreamId Source, PasidPrefix? Prefix, Iova Page, bool Read, bool Write, bool IsLast, int Group);

/// <summary>The response code of a page group response.</summary>
/// <remarks><b>Source.</b> PCI Express Base Specification, Page Request Services, PRG Response Message.</remarks>
internal enum PageResponseCode : byte
{
    /// <summary>What could be done was done: the device asks for the translation again.</summary>
    Success = 0,

    /// <summary>A page of the group is not to be had.</summary>
    InvalidRequest = 1,

    /// <summary>Something is broken; the device stops to ask for pages. So are the codes that are reserved taken.</summary>
    ResponseFailure = 15,
}

/// <summary>The answer to a group of page requests: software's, or the unit's own.</summary>
internal readonly record struct PageGroupResponse(ushort Source, Pasid? Pasid, int Group, PageResponseCode Code);
