using IommuSim.Devices;
using IommuSim.Machinery;
using Platform;

namespace IommuSim;

/// <summary>
/// A unit that devices with TLBs of their own may stand behind: it answers translation requests (ATS) and takes page requests (PRI).
/// Such a unit is what an <see cref="AtsDevice{TMemory,TSteps}"/> is made for.
/// </summary>
/// <remarks>
/// <para><b>Source.</b> PCI Express Base Specification, Address Translation Services. By which commands software reaches the devices'
/// TLBs, and in which queue it finds page requests, is each interface's own.</para>
/// <para><b>Threads.</b> As <see cref="RemappingUnit{TSteps}"/>.</para>
/// </remarks>
/// <typeparam name="TSteps">The interleaving seam.</typeparam>
public abstract class AtsUnit<TSteps> : RemappingUnit<TSteps>
    where TSteps : struct, ISteps
{
    private protected AtsUnit()
    {
    }

    /// <summary>Whether a page request would find that requests were lost.</summary>
    internal abstract bool AreRequestsDropped { get; }

    /// <summary>Whether a request without PASID to this address is made untranslated: no translation is ever asked for.</summary>
    internal abstract bool IsUntranslatedOnly(Iova address);

    /// <summary>Puts a device with a TLB behind the unit.</summary>
    /// <exception cref="ArgumentException">There is one with its requester id.</exception>
    internal abstract void Connect(DeviceTlb device);

    /// <summary>What the device's TLB holds, at one instant.</summary>
    internal abstract IReadOnlyList<DeviceTlbLine> LinesOf(DeviceTlb device);

    /// <summary>An access that the device translates itself, after asking where it has to.</summary>
    /// <param name="device">Whose.</param>
    /// <param name="address">Where the device wants to go.</param>
    /// <param name="access">Read or write.</param>
    /// <param name="prefix">The PASID prefix.</param>
    /// <param name="passage">Where it goes, or the reason why not.</param>
    /// <param name="tag">What the unit knows of the page by, for <see cref="AskForPage"/>.</param>
    internal abstract AtsOutcome BeginTranslated(
        DeviceTlb device, Iova address, DeviceAccess access, PasidPrefix? prefix, out Passage passage, out CacheTag? tag);

    /// <summary>An access of which the device says that its address is translated already.</summary>
    /// <param name="source">Whose: 16 bits.</param>
    /// <param name="address">Where it goes.</param>
    /// <param name="access">Read or write.</param>
    /// <param name="passage">Where it goes, or the reason why not.</param>
    /// <returns>Whether it goes on.</returns>
    internal abstract bool TryBeginTranslated(StreamId source, PhysAddr address, DeviceAccess access, out Passage passage);

    /// <summary>A device says that an invalidation of its TLB is complete which it was not sent.</summary>
    internal abstract void TakeCompletion(StreamId source);

    /// <summary>A page request, on its way to software.</summary>
    /// <returns>The unit's own answer; null if software has the request, or it was dropped and is not the last of its group.</returns>
    internal abstract PageResponseCode? AskForPage(in PageRequest page, CacheTag? tag);
}
