using Harness.Operations;
using Harness.Running;
using IommuSim;
using Vcmm.Spec;
using Vcmm.Tables;

namespace Harness.Oracles;

/// <summary>
/// I3 and I8: the address spaces of devices that are active in a region walk its one table of their format, or that of the table's owner
/// if it is prebuilt, under one domain id; those that are let through walk nothing, each under a domain id of its own; and no other address space leads anywhere, least of all
/// one of a device without an IOMMU.
/// </summary>
public sealed class SharedTableOracle : IOracle
{
    /// <inheritdoc/>
    public IEnumerable<Violation> Check(Look look)
    {
        var domains = new Dictionary<VtdDomainId, DomainOwner>();
        for (int number = 0; number < look.World.Devices.Length; number++)
        {
            ObjectId device = look.World.Devices[number];
            look.Counts.Check(Invariant.Isolation);
            List<DecodedSpace> spaces = look.SpacesOf(number);
            foreach (AssociationState association in look.World.Associations.Values)
            {
                if (association.IsActive && association.Device == device && association.Kind != TableKind.Identity && !spaces.Exists(space => space.Pasid == association.Pasid))
                    yield return new(Invariant.SharedTable, $"{Name(device, association.Pasid)} has no usable entry", $"it is active in {association.Vcm}");
            }

            foreach (DeviceSpace space in look.World.Passing)
            {
                if (space.Device == device && !spaces.Exists(found => found.Pasid == space.Pasid && found.Translation.Stage == TranslationStage.PassThrough))
                    yield return new(Invariant.Isolation, $"{Name(device, space.Pasid)} has no entry that lets it through", "it is let through untranslated");
            }

            foreach (DecodedSpace space in spaces)
            {
                foreach (Violation wrong in CheckSpace(look, device, space, domains)) yield return wrong;
            }
        }
    }

    private static IEnumerable<Violation> CheckSpace(Look look, ObjectId device, DecodedSpace space, Dictionary<VtdDomainId, DomainOwner> domains)
    {
        string name = Name(device, space.Pasid);
        DecodedTranslation entry = space.Translation;
        if (entry.Stage == TranslationStage.PassThrough)
        {
            if (!look.World.PassesThrough(device, space.Pasid)) yield return new(Invariant.Isolation, $"{name} is let through to all memory", "nobody has said so, or he has taken it back");
            if (!domains.TryAdd(entry.Domain, new(device, default, null, device))) yield return new(Invariant.Isolation, $"{name}, which is let through, shares {entry.Domain} with {domains[entry.Domain].Vcm}", "it has a domain id of its own");
            yield break;
        }

        if (!look.World.ModelOf(device).IsTranslated) yield return new(Invariant.Isolation, $"{name} walks the table at {entry.Root}", $"{name} has no IOMMU");
        if (look.World.ActiveAssociationOf(device, space.Pasid) is not { } association)
        {
            yield return new(Invariant.Isolation, $"{name} walks the table at {entry.Root}", $"{name} is not active: no entry leads to a table");
            yield break;
        }

        look.Counts.Check(Invariant.SharedTable);
        (ObjectId vcm, TableKind kind) = (association.Vcm, association.Kind);
        look.Subject.Region(look.World.OwnerOf(vcm)).TryGetTable(look.Subject.FormatOf(kind), out IPageTable? table);
        if (association.Guest is { } guest)
        {
            look.Counts.Reach("a device walked a guest's table");
            if (CheckNested(look, entry, look.World.Guests[guest], table!) is { } wrong) yield return wrong with { Observed = $"{name} {wrong.Observed}" };
        }
        else if (entry.Root != table!.Root || entry.Stage != TableKinds.StageOf(kind) || entry.Levels != table.Format.LevelCount)
            yield return new(Invariant.SharedTable, $"{name} walks the {entry.Stage} table at {entry.Root}, {entry.Levels} levels", $"{vcm}'s {OperationText.Write(kind)} table at {table.Root}, {table.Format.LevelCount} levels");
        var own = new DomainOwner(vcm, kind, association.Guest is { } nested ? look.World.Guests[nested].Root : null, device);
        if (domains.TryGetValue(entry.Domain, out DomainOwner other) && !other.IsAs(own))
            yield return new(Invariant.Isolation, $"{vcm} and {other.Vcm} share {entry.Domain}", "a domain id is one table's, and that of what is nested in it: caches are tagged with it");
        if (!domains.TryAdd(entry.Domain, own)) look.Counts.Reach(other.Device == device ? "two PASIDs share a table" : "two devices share a table");
        if (domains.Any(pair => pair.Value.IsAs(own) && pair.Key != entry.Domain))
            yield return new(Invariant.SharedTable, $"the {OperationText.Write(kind)} table of {vcm} has more than one domain id", "one for each table and IOMMU");
    }

    /// <summary>A guest's root is an address of the region, whose table is that of the second stage.</summary>
    private static Violation? CheckNested(Look look, in DecodedTranslation entry, GuestState guest, IPageTable table)
    {
        look.Counts.Check(Invariant.SharedTable);
        bool isRight = entry.Stage == TranslationStage.Nested && entry.Root.Value == guest.Root && entry.Levels == World.GuestTables
            && entry.SecondStageRoot == table.Root && entry.SecondStageLevels == table.Format.LevelCount;
        return isRight
            ? null
            : new(Invariant.SharedTable, $"walks the {entry.Stage} table at {entry.Root}, {entry.Levels} levels, and the one at {entry.SecondStageRoot}", $"its guest's at 0x{guest.Root:x}, nested in the region's at {table.Root}");
    }

    /// <summary>Whose a domain id is: a table's, and that of what is nested in it.</summary>
    private readonly record struct DomainOwner(ObjectId Vcm, TableKind Kind, ulong? GuestRoot, ObjectId Device)
    {
        public bool IsAs(DomainOwner other) => (Vcm, Kind, GuestRoot) == (other.Vcm, other.Kind, other.GuestRoot);
    }

    private static string Name(ObjectId device, uint? pasid) => pasid is { } value ? $"{device} with PASID {value}" : device.ToString();
}
