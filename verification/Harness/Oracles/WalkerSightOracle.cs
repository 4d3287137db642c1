using Harness.Foreign;
using Harness.Running;
using IommuSim;
using Platform;
using Vcmm.Spec;

namespace Harness.Oracles;

/// <summary>
/// I2: where walks are not coherent, the hardware reads of all that it can walk what the driver wrote there. What was not cleaned it reads as it
/// was before, and what a device meets then, such as a fault where it should have waited for a page, tells of the entry and not of the cause.
/// </summary>
public sealed class WalkerSightOracle : IOracle
{
    private const ulong Frame = ~0xFFFUL;

    /// <inheritdoc/>
    public IEnumerable<Violation> Check(Look look)
    {
        if (look.Subject.Machine is not SimulatedVtd { IsCoherent: false } machine) yield break;
        foreach ((PhysRange block, string what) in Walked(look))
        {
            look.Counts.Check(Invariant.TablesAreTruth);
            if (machine.FindUnseen(block) is not var (at, written, read)) continue;
            yield return new(Invariant.TablesAreTruth, $"the IOMMU reads 0x{read:x} at {at} in {what}, where 0x{written:x} was written and not cleaned", "walks are not coherent: what can be walked is cleaned before the call returns");
        }
    }

    /// <summary>What hardware can walk now, by the driver's own writes: from the root table on.</summary>
    private static IEnumerable<(PhysRange Block, string What)> Walked(Look look)
    {
        ulong root = Hardware.RootPointer(look.Subject);
        yield return (PageAt(new(root & Frame)), "the root table");
        foreach (PhysAddr table in DeviceStructures.ContextTables(look.Memory, root)) yield return (PageAt(table), "a context table");
        for (int device = 0; device < look.World.Devices.Length; device++)
        {
            if (DeviceStructures.Find(look.Memory, root, look.Subject.Machine.Devices[device].Id) is { } tree)
            {
                yield return (tree.Directory, $"the PASID directory of d{device}");
                foreach (PhysAddr table in tree.Tables) yield return (PageAt(table), $"a PASID table of d{device}");
            }

            foreach (DecodedSpace space in look.SpacesOf(device))
            {
                if (space.Translation.Stage == TranslationStage.PassThrough) continue;
                foreach (PhysAddr page in look.Subject.Tables.Read(space.Translation).Pages) yield return (PageAt(page), $"a page of the table that d{device} walks");
            }
        }
    }

    private static PhysRange PageAt(PhysAddr page) => PhysRange.FromLength(page, World.PageBytes);
}
