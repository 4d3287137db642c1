using Vcmm.Spec;

namespace Harness.Running;

// What devices that are not plain ones have met.
public sealed partial class InterestingStates
{
    /// <summary>Counts, after a device's access that the model accepted.</summary>
    public void Note(World world, DeviceAccess access, Observation seen)
    {
        if (world.ModelOf(access.Device).IsTranslated) return;
        if (world.ActiveVcmOf(access.Device) is { } vcm && world.Sees(access.Device, access.Address) is not null)
        {
            counts.Reach("a device without an IOMMU reached memory of its region");
            if (world.Associations.Values.Any(other => other.IsActive && other.Vcm == vcm && other.Kind != TableKind.Identity)) counts.Reach("devices with and without an IOMMU shared memory");
        }
        else if (seen.Outcome == Outcome.None)
        {
            counts.Reach("a device without an IOMMU reached what nobody gave it");
        }
    }
}
