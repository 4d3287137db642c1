namespace Vcmm.Spec;

// Prebuilt regions: whose tables they have.
public sealed partial record World
{
    /// <summary>
    /// Whether the contract says what the call comes to. It does not where the table of a prebuilt region ends before the region
    /// does, which is its owner's to see to; there is no table to adopt where no device walks one; and what a device without an
    /// IOMMU writes where it was given nothing stops nobody.
    /// </summary>
    /// <param name="operation">Its objects are known.</param>
    public bool IsDefined(Operation operation) => operation switch
    {
        Adopt adopt => adopt.Kind != TableKind.Identity && Associations.Values.Any(association => association.Vcm == adopt.Source && association.Kind == (adopt.Kind ?? TableKind.SecondStage) && association.IsActive),
        DeviceAccess access => IsDefined(access),
        CrossingAccess access => IsDefined(access),
        Deactivate { Meanwhile: not null } deactivate => !HasForeignTables(Associations[deactivate.Association]),
        CreateGuest create => IsDefined(create),
        GuestMap map => map.Permissions is Permissions.Read or Permissions.ReadWrite && map.Target % PageBytes == 0 && map.Target >> 48 == 0 && IsDefined(map.Guest, map.Page),
        GuestUnmap unmap => IsDefined(unmap.Guest, unmap.Page),
        Copy copy => IsDefined(copy),
        Deassociate deassociate => !EndsAdoptedTable(deassociate.Association),
        Associate associate => IsDefined(associate.Guest, associate.Vcm),
        ChangeAssociation { Guest: not null } change when !IsDefined(change.Guest, Associations[change.Association].Vcm) => false,
        ChangeAssociation change => !EndsAdoptedTable(change.Association) || TableFor(Asked(change, Associations[change.Association]))?.Kind == Associations[change.Association].Kind,
        _ => true,
    };

    /// <summary>The region whose backings the tables of a region have: itself, or the one that a prebuilt region was adopted from.</summary>
    public ObjectId OwnerOf(ObjectId vcm) => Vcms.TryGetValue(vcm, out VcmState? state) && state.Adopted is { } adopted ? adopted.Owner : vcm;

    private Verdict<World> Judge(Adopt adopt, Observation seen)
    {
        TableKind kind = adopt.Kind ?? TableKind.SecondStage;
        return new Refusals()
            .Must(Outcome.Invalid, Vcms[OwnerOf(adopt.Source)].IsDeferred, Invariant.NoStaleAccess, "the table is a deferred region's, whose flush nobody could be told of")
            .Decide(this, seen.Outcome)
            ?? Accept(this with
            {
                Vcms = Vcms.Add(adopt.Vcm, new(Vcms[adopt.Source].Range, VcmKind.Prebuilt) { Adopted = new(OwnerOf(adopt.Source), kind) }),
            });
    }

    private bool IsPrebuilt(ObjectId vcm) => Vcms[vcm].Kind == VcmKind.Prebuilt;

    private bool EndsAdoptedTable(ObjectId id)
    {
        AssociationState association = Associations[id];
        bool isAdopted = Vcms.Values.Any(vcm => !vcm.IsFreed && vcm.Adopted == new AdoptedTable(association.Vcm, association.Kind));
        return isAdopted && !Associations.Any(other => other.Key != id && other.Value.Vcm == association.Vcm && other.Value.Kind == association.Kind && !other.Value.IsDropped);
    }
}

/// <summary>A table that a prebuilt region has adopted.</summary>
/// <param name="Owner">The region that it is a table of.</param>
/// <param name="Kind">Which of its tables.</param>
public sealed record AdoptedTable(ObjectId Owner, TableKind Kind);
