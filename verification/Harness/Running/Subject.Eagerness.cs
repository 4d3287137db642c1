using Harness.Foreign;
using Platform;
using Vcmm.Spec;

namespace Harness.Running;

// What the hardware does of its own accord.
public sealed partial class Subject
{
    /// <summary>The part of the hardware that does so; null: none.</summary>
    public EagerHardware? Eager => (Machine as SimulatedVtd)?.Eager;

    /// <summary>The address spaces that the IOMMU has had, as it knows them.</summary>
    public IEnumerable<HardwareSpace> HardwareSpaces(World world) =>
        from space in world.Spaces
        where space.Device.Kind == ObjectKind.Device && world.ModelOf(space.Device).IsTranslated
        select new HardwareSpace(Machine.Devices[space.Device.Number].Id, space.Pasid is { } pasid ? new(new(pasid)) : null);

    private static IPhysicalMemory MemoryOfDriver(IVtdMachine machine) =>
        (machine as SimulatedVtd)?.Eager?.Watch(machine.Memory) ?? machine.Memory;
}
