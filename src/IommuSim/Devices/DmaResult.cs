using Platform;

namespace IommuSim;

/// <summary>What a device's transfer came to.</summary>
/// <param name="Ok">Whether every byte was transferred.</param>
/// <param name="BytesDone">How many bytes were, from the first on.</param>
/// <param name="Fault">
/// Why the transfer was blocked, in the unit's numbers; 0 where no unit stopped it but no memory answered. Behind a VT-d
/// <see cref="VtdReasons"/> gives it its name.
/// </param>
/// <param name="FaultAddress">The first address that was not transferred; meaningless if <paramref name="Ok"/>.</param>
public readonly record struct DmaResult(bool Ok, ulong BytesDone, FaultCode Fault, Iova FaultAddress);

/// <summary>What the PASID prefix of a request says.</summary>
/// <param name="Pasid">Whose address space.</param>
/// <param name="Privileged">Privileged mode requested: the request is made with supervisor privilege.</param>
/// <param name="Execute">Execute requested; it means something for reads only.</param>
/// <remarks><b>Source.</b> PCI Express Base Specification, PASID TLP Prefix.</remarks>
public readonly record struct PasidPrefix(Pasid Pasid, bool Privileged = false, bool Execute = false);
