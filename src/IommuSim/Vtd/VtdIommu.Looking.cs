using IommuSim.Machinery;
using Platform;

namespace IommuSim;

public sealed partial class VtdIommu<TMemory, TSteps>
{
    /// <summary>What the IOTLB holds as it stands, for whoever looks on: a debugger, or the picture of a schedule.</summary>
    /// <returns>The entries. In the midst of an invalidation those that it has not dropped yet are among them.</returns>
    /// <remarks>
    /// <para><b>Threads.</b> Any; it takes no lock and waits for nobody, which <see cref="Iotlb"/> may. Where others run meanwhile an entry may be torn.</para>
    /// </remarks>
    public IReadOnlyList<IotlbEntry> PeekIotlb()
    {
        var entries = new List<IotlbEntry>();
        foreach (ref readonly CacheLine line in _caches.Iotlb.Lines)
        {
            if (line.Valid) entries.Add(ToEntry(line));
        }

        return entries;
    }
}
