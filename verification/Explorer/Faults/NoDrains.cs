using Harness.Passing;
using Platform;

namespace Explorer.Faults;

/// <summary>The driver's memory, in which the descriptors that invalidate the IOTLB let accesses go on that are under way.</summary>
/// <remarks><b>Source.</b> VT-d specification, "IOTLB Invalidate Descriptor": DW and DR, bits 7:6.</remarks>
/// <param name="inner">The memory as it should be.</param>
/// <param name="isQueue">Whether a word is one of the command queue.</param>
internal sealed class NoDrains(IPhysicalMemory inner, Func<PhysAddr, bool> isQueue) : PassingMemory(inner)
{
    private const ulong TypeMask = 0xF, Iotlb = 2, Drains = 0xC0, FirstWordMask = 0xF;

    public override void Write64(PhysAddr address, ulong value) =>
        Inner.Write64(address, (address.Value & FirstWordMask) == 0 && isQueue(address) && (value & TypeMask) == Iotlb ? value & ~Drains : value);
}
