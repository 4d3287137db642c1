using IommuSim.DeviceSide;
using IommuSim.Machinery;
using Platform;

namespace IommuSim;

// What hardware may do of its own accord. Software that is right is right whatever of it happens, and when.
public sealed partial class VtdIommu<TMemory, TSteps>
{
    /// <summary>
    /// Translates as if the device had read there, and keeps in the caches what is met on the way: hardware may do so at any time with
    /// all that software has made reachable. Nothing is accessed, no fault is recorded, and no accessed flag is set: a walk that would
    /// have to set one ends there.
    /// </summary>
    /// <param name="source">The requester id, 0 … 0xFFFF.</param>
    /// <param name="address">Which translation is fetched.</param>
    /// <param name="prefix">The PASID prefix of the requests that it is for; null for those without.</param>
    /// <returns>Whether a read would go on now.</returns>
    /// <remarks>
    /// <para><b>Source.</b> Intel VT-d specification, Caching Translation Information: translations and paging structures may be
    /// cached speculatively, whether or not a request needs them.</para>
    /// <para><b>Threads.</b> Any number at once. It takes the steps of an access, and is in flight meanwhile like one.</para>
    /// </remarks>
    /// <exception cref="ArgumentOutOfRangeException">The requester id has more than 16 bits, or the PASID more than 20.</exception>
    public bool Prefetch(StreamId source, Iova address, PasidPrefix? prefix = null)
    {
        CheckRequester(source, prefix);
        _steps.At(SimStep.ContextLookup, source.Value);
        int slot = _caches.InFlight.Begin(source, new(AccessPhase.Translating, DeviceAccess.Read, Translator: null, _caches.Epoch));
        TranslationResult result = CheckOrEnd(new(source, address, DeviceAccess.Read, prefix, slot) { Type = RequestType.Prefetch }, ref slot);
        if (slot != NoSlot) EndAccess(slot);
        return result.Ok;
    }

    /// <summary>Drops about half of what the caches hold, as hardware may do at any time, to make room or for no reason.</summary>
    /// <param name="seed">Decides which half.</param>
    /// <remarks><b>Threads.</b> Any number at once.</remarks>
    public void Evict(ulong seed)
    {
        lock (_gate) _caches.Evict(new Xorshift(seed));
    }
}
