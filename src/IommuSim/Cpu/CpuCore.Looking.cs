using IommuSim.Machinery;

namespace IommuSim.Cpu;

public sealed partial class CpuCore<TMemory, TSteps>
{
    /// <summary>What the TLB holds as it stands, for whoever looks on: a debugger, or the picture of a schedule.</summary>
    /// <returns>The entries. In the midst of an invalidation those that it has not dropped yet are among them.</returns>
    /// <remarks>
    /// <para><b>Threads.</b> Any; it takes no lock and waits for nobody, which <see cref="Tlb"/> may. Where others run meanwhile an entry may be torn.</para>
    /// </remarks>
    public IReadOnlyList<TlbEntry> PeekTlb()
    {
        var entries = new List<TlbEntry>();
        foreach (ref readonly CacheLine line in _tlb.Lines)
        {
            if (line.Valid) entries.Add(ToEntry(line));
        }

        return entries;
    }
}
