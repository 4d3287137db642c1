using Harness.Passing;
using Platform;

namespace Explorer.Faults;

/// <summary>The driver's memory, in which the descriptors that invalidate the TLBs of devices become such that do nothing.</summary>
/// <remarks>
/// <b>Source.</b> VT-d specification, "Device-TLB Invalidate Descriptor", "PASID-based-Device-TLB Invalidate Descriptor", "Invalidation Wait Descriptor": a wait
/// that neither writes a status nor interrupts.
/// </remarks>
/// <param name="inner">The memory as it should be.</param>
/// <param name="isQueue">Whether a word is one of the command queue.</param>
internal sealed class NoDeviceTlbs(IPhysicalMemory inner, Func<PhysAddr, bool> isQueue) : PassingMemory(inner)
{
    private const ulong TypeMask = 0xf, DeviceTlb = 3, PasidDeviceTlb = 8, Wait = 5, FirstWordMask = 0xf;

    private PhysAddr? _rest;

    public override void Write64(PhysAddr address, ulong value)
    {
        // The driver writes one descriptor after the other, the first word of each first.
        bool isOfOne = _rest == address;
        _rest = null;
        if (isOfOne) value = 0;
        else if ((address.Value & FirstWordMask) == 0 && isQueue(address) && (value & TypeMask) is DeviceTlb or PasidDeviceTlb)
        {
            value = Wait;
            _rest = address + sizeof(ulong);
        }

        Inner.Write64(address, value);
    }
}
