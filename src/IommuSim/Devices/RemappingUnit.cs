using IommuSim.Devices;
using IommuSim.Machinery;
using Platform;

namespace IommuSim;

/// <summary>
/// A unit of any interface that stands between devices and memory, as the devices see it: something that lets an access through to an
/// address, or does not.
/// </summary>
/// <remarks>
/// <para>A device asks for one page at a time; the access is in flight until the device says that its bytes have been moved, so that an
/// invalidation can drain it.</para>
/// <para><b>Threads.</b> Any number at once.</para>
/// </remarks>
/// <typeparam name="TSteps">The interleaving seam.</typeparam>
public abstract class RemappingUnit<TSteps>
    where TSteps : struct, ISteps
{
    // Those of this room are known: what a device does with a unit is no promise to others yet.
    private protected RemappingUnit()
    {
    }

    /// <summary>The interleaving seam, which devices announce their own steps to.</summary>
    internal abstract TSteps Steps { get; }

    /// <summary>The largest id that a requester can have.</summary>
    internal abstract uint LargestSource { get; }

    /// <summary>Translates one access to one page. If it goes on it is in flight until <see cref="EndAccess"/>.</summary>
    /// <param name="source">Whose.</param>
    /// <param name="address">Where the device wants to go.</param>
    /// <param name="access">Read or write.</param>
    /// <param name="prefix">The PASID prefix.</param>
    /// <param name="passage">Where the access goes, or why it does not.</param>
    /// <returns>Whether it goes on.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The requester id or the PASID has more bits than there are.</exception>
    internal abstract bool TryBegin(StreamId source, Iova address, DeviceAccess access, in PasidPrefix? prefix, out Passage passage);

    /// <summary>The access is over.</summary>
    internal abstract void EndAccess(int slot);
}

/// <summary>Why a unit has blocked an access, by the number that its interface has for it: VT-d's fault reason, another's event or cause.</summary>
/// <param name="Value">0: the unit has blocked nothing.</param>
public readonly record struct FaultCode(ushort Value);
