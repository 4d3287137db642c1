using Harness.Running;
using IommuSim;
using Vcmm.Spec;
using Vcmm.Tables;

namespace Harness.Oracles;

/// <summary>I3 and I8: the devices that are active in a region walk its one table under one domain id, and no other device walks anything.</summary>
public sealed class SharedTableOracle : IOracle
{
    /// <inheritdoc/>
    public Violation? Check(Look look)
    {
        var domains = new Dictionary<VtdDomainId, ObjectId>();
        for (int number = 0; number < look.World.Devices.Length; number++)
        {
            ObjectId device = look.World.Devices[number];
            look.Counts.Check(Invariant.Isolation);
            List<DecodedSpace> spaces = look.SpacesOf(number);
            foreach (DecodedSpace space in spaces)
            {
                if (space.Pasid is not null || look.World.ActiveVcmOf(device) is null)
                    return new(Invariant.Isolation, $"{device} walks the table at {space.Translation.Root}", $"{device} is not active: no entry leads to a table");
            }

            if (look.World.ActiveVcmOf(device) is not { } vcm) continue;
            look.Counts.Check(Invariant.SharedTable);
            if (spaces.Count == 0) return new(Invariant.SharedTable, $"{device} has no usable entry", $"{device} is active in {vcm}");
            DecodedTranslation entry = spaces[0].Translation;
            look.Subject.Region(vcm).TryGetTable(look.Subject.Driver.Formats[0], out IPageTable? table);
            if (entry.Root != table!.Root || entry.Stage != TranslationStage.SecondStage || entry.Levels != table.Format.LevelCount)
                return new(Invariant.SharedTable, $"{device} walks the table at {entry.Root}, {entry.Levels} levels", $"{vcm}'s table at {table.Root}, {table.Format.LevelCount} levels");
            if (domains.TryGetValue(entry.Domain, out ObjectId other) && other != vcm)
                return new(Invariant.Isolation, $"{vcm} and {other} share {entry.Domain}", "a domain id is one region's: caches are tagged with it");
            if (!domains.TryAdd(entry.Domain, vcm)) look.Counts.Reach("two devices share a table");
            if (domains.Any(pair => pair.Value == vcm && pair.Key != entry.Domain))
                return new(Invariant.SharedTable, $"{vcm} has more than one domain id", "one for each region and IOMMU");
        }

        return null;
    }
}
