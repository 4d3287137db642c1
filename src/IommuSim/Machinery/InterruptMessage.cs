using Platform;

namespace IommuSim;

/// <summary>An interrupt that a unit itself sends: a message signaled one, a write of a word to an address.</summary>
/// <param name="Address">Where to: of the event's address registers, a multiple of 4. It is never remapped.</param>
/// <param name="Data">What: of the event's data register.</param>
/// <remarks><b>Source.</b> Intel VT-d specification, Fault Event, Invalidation Event and Page Request Event Registers; Arm SMMUv3 architecture
/// specification (IHI 0070), 3.18 Interrupts and notifications; RISC-V IOMMU specification 1.0, <c>msi_cfg_tbl</c>.</remarks>
public readonly record struct InterruptMessage(PhysAddr Address, uint Data);
