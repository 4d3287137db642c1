using Platform;

namespace Vcmm;

/// <summary>One place where physical memory is mapped.</summary>
/// <param name="Reservation">The reservation that it backs.</param>
/// <param name="Address">The device address, in the reservation's region.</param>
public readonly record struct Mapping(Reservation Reservation, Iova Address);

/// <summary>A reservation and the memory made for it.</summary>
/// <param name="Reservation">The reservation, backed by all of the memory.</param>
/// <param name="Memory">The memory.</param>
public readonly record struct Binding(Reservation Reservation, PhysicalAllocation Memory);
