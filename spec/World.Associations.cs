namespace Vcmm.Spec;

// Associations, look-ups, and what devices see.
public sealed partial record World
{
    private Verdict<World> Judge(Associate associate, Observation seen, Surroundings surroundings)
    {
        if (TableFor(associate) is not { } table)
            return new Refusals().Must(Outcome.Invalid, true, Invariant.TablesAreTruth, "no such tables are walked for it").Decide(this, seen.Outcome) ?? Accept(this);
        IEnumerable<AssociationState> others = Associations.Values.Where(association => !association.IsDropped && association.Vcm == associate.Vcm);
        return WhyNotJoined(associate, table, others, surroundings).Decide(this, seen.Outcome)
            ?? Accept(With(associate.Association, new AssociationState(associate.Vcm, associate.Device) { Kind = table.Kind, Pasid = associate.Pasid, Guest = associate.Guest }));
    }

    private Verdict<World> Judge(ChangeAssociation change, Observation seen, Surroundings surroundings)
    {
        AssociationState association = Associations[change.Association];
        Associate asked = Asked(change, association);
        Refusals refusals = TableFor(asked) is { } table
            ? WhyNotJoined(asked, table, OthersOf(change.Association, association.Vcm), surroundings)
            : new Refusals().Must(Outcome.Invalid, true, Invariant.TablesAreTruth, "no such tables are walked for it");
        return refusals
            .Must(Outcome.Invalid, association.IsDropped, Invariant.Isolation, "the association was dropped")
            .Must(Outcome.Busy, association.IsActive, Invariant.Isolation, "the association is active")
            .Decide(this, seen.Outcome)
            ?? Accept(With(change.Association, association with { Kind = TableFor(asked)!.Kind, Pasid = change.Pasid, Guest = change.Guest }));
    }

    /// <summary>The association that would come to the same.</summary>
    private static Associate Asked(ChangeAssociation change, AssociationState association) => new(change.Association, association.Vcm, association.Device)
    {
        Kind = change.Kind,
        Pasid = change.Pasid,
        Base = change.Base,
        Split = change.Split,
        Guest = change.Guest,
    };

    private IEnumerable<AssociationState> OthersOf(ObjectId id, ObjectId vcm) =>
        from other in Associations
        where other.Key != id && !other.Value.IsDropped && other.Value.Vcm == vcm
        select other.Value;

    private Refusals WhyNotJoined(Associate associate, TableModel table, IEnumerable<AssociationState> others, Surroundings surroundings)
    {
        VcmState vcm = Vcms[associate.Vcm];
        TableKind kind = table.Kind;
        bool isDirect = !ModelOf(associate.Device).IsTranslated, isBehindIommu = IsBehindIommu(associate.Device);
        ulong tables = (isDirect ? 0 : 1UL) + ReservationsOf(associate.Vcm).Where(reservation => reservation.IsBacked)
            .Aggregate(0UL, (sum, reservation) => sum + MostTables(table, reservation.Range));
        return new Refusals()
            .Must(Outcome.Invalid, vcm.IsFreed, Invariant.Isolation, "the region was freed")
            .Must(Outcome.Invalid, associate.Base != TableBase.Only || associate.Split is not null, Invariant.TablesAreTruth, "no tables have two bases")
            .Must(Outcome.Invalid, associate.Pasid == 0, Invariant.Isolation, "PASID 0 is kept for requests without one")
            .Must(Outcome.Invalid, associate.Pasid >= (isBehindIommu ? Iommu.PasidCount : 0), Invariant.Isolation, "the IOMMU does not tell so many PASIDs apart")
            .Must(Outcome.Invalid, isDirect && vcm.Kind != VcmKind.OneToOne, Invariant.TablesAreTruth, "the device has no IOMMU, and the region is not one-to-one")
            .Must(Outcome.Invalid, associate.Guest is not null && !(isBehindIommu && Iommu.Nests && kind == TableKind.SecondStage), Invariant.TablesAreTruth, "nothing is nested in such tables")
            .Must(Outcome.Invalid, associate.Guest is { } guest && !vcm.Range.Contains(new AddressRange(Guests[guest].Root, Guests[guest].Root + (PageBytes - 1))), Invariant.TablesAreTruth, "the guest's table is not in the region")
            .Must(Outcome.Invalid, vcm.Adopted is { } adopted && adopted.Kind != kind, Invariant.SharedTable, "the region is prebuilt, of another format")
            .Must(Outcome.Invalid, vcm.Range.Last > table.LastAddress, Invariant.TablesAreTruth, "the region reaches beyond what the tables translate")
            .Must(Outcome.Invalid, isBehindIommu && HeldNow(associate.Vcm).Any(IsUntranslated), Invariant.TablesAreTruth, "a reservation or bound lies where the IOMMU does not translate")
            .Must(Outcome.Invalid, ReservationsOf(associate.Vcm).Any(reservation => !table.Protects(reservation.Attributes)), Invariant.Permission, "a reservation has attributes that the tables cannot say")
            .Must(Outcome.Invalid, ReservationsOf(associate.Vcm).Any(reservation => reservation.Parts.Any(part => IsBeyond(table, Memories[part.Memory]))), Invariant.TablesAreTruth, "memory lies beyond what the tables lead to")
            .Must(Outcome.Busy, others.Any(association => association.Device == associate.Device && association.Pasid == associate.Pasid), Invariant.SharedTable, "the two are associated under that PASID")
            .May(Outcome.NoMemory, surroundings.MemoryFails || surroundings.FreeBytes < tables * PageBytes)
            // What waits for a flush there is flushed first.
            .May(Outcome.HardwareFailure, isBehindIommu && surroundings.HardwareFails && HeldBack(associate.Vcm).Any(IsUntranslated));
    }

    private bool IsUntranslated(AddressRange range) => Iommu.Untranslated.Any(range.Overlaps);

    private Verdict<World> Judge(Deassociate deassociate, Observation seen)
    {
        AssociationState association = Associations[deassociate.Association];
        return new Refusals()
            .Must(Outcome.Invalid, association.IsDropped, Invariant.Conservation, "the association was dropped before")
            .Must(Outcome.Busy, association.IsActive, Invariant.Isolation, "the association is active")
            .Decide(this, seen.Outcome)
            ?? Accept(With(deassociate.Association, association with { IsDropped = true }));
    }

    private Verdict<World> Judge(Activate activate, Observation seen, Surroundings surroundings)
    {
        AssociationState association = Associations[activate.Association];
        return new Refusals()
            .Must(Outcome.Invalid, association.IsDropped, Invariant.Isolation, "the association was dropped")
            .Must(Outcome.Busy, !association.IsDropped && ActiveVcmOf(association.Device, association.Pasid) is not null, Invariant.Isolation, "the device's address space is active")
            .Must(Outcome.Busy, !association.IsDropped && PassesThrough(association.Device, association.Pasid), Invariant.Isolation, "the device's address space is let through untranslated")
            .May(Outcome.NoMemory, ModelOf(association.Device).IsTranslated && (surroundings.MemoryFails || surroundings.FreeBytes < Iommu.MostAttachBytes))
            .May(Outcome.HardwareFailure, surroundings.HardwareFails)
            .Decide(this, seen.Outcome)
            ?? Accept(With(activate.Association, association with { IsActive = true, Untold = UntoldTo(association) }));
    }

    private Verdict<World> Judge(Deactivate deactivate, Observation seen, Surroundings surroundings)
    {
        AssociationState association = Associations[deactivate.Association];
        World meanwhile = this;
        foreach (AccessSeen made in seen.Meanwhile)
        {
            Verdict<World> verdict = meanwhile.JudgeMeanwhile(deactivate, association, made, seen.Outcome);
            if (!verdict.IsAccepted) return verdict;
            meanwhile = verdict.Next;
        }

        return meanwhile.JudgeDeactivate(deactivate, association, seen, surroundings);
    }

    /// <summary>While the call is under way the device sees what it saw before, or nothing any more.</summary>
    private Verdict<World> JudgeMeanwhile(Deactivate deactivate, AssociationState association, AccessSeen made, Outcome outcome)
    {
        var access = new DeviceAccess(association.Device, deactivate.Meanwhile!.Value.Address, deactivate.Meanwhile.Value.Kind) { Pasid = association.Pasid, MayAsk = false };
        bool mayBeOut = outcome is Outcome.None or Outcome.HardwareFailure;
        if (made is { Outcome: Outcome.Fault, Reached: null } && mayBeOut) return Accept(Blocked(access, FaultCauses.NotAttached).Noted(access, isDone: false));
        Verdict<World> verdict = Judge(access, new(made.Outcome) { Reached = made.Reached });
        return verdict.IsAccepted ? verdict : Refuse(verdict.Broken, $"while {deactivate.Association} was being deactivated {verdict.Sentence}");
    }

    private Verdict<World> JudgeDeactivate(Deactivate deactivate, AssociationState association, Observation seen, Surroundings surroundings)
    {
        return new Refusals()
            .Must(Outcome.Invalid, association.IsDropped, Invariant.Isolation, "the association was dropped")
            .Must(Outcome.NotFound, !association.IsDropped && !association.IsActive, Invariant.Isolation, "the association is not active")
            .May(Outcome.HardwareFailure, surroundings.HardwareFails)
            .Decide(this, seen.Outcome)
            ?? Accept(
                Remember(association.Vcm, Vcms[association.Vcm].Range, [(association.Device, association.Pasid)])
                    .With(deactivate.Association, association with { IsActive = false, Untold = [] })
                    .Forget(association.Vcm));
    }

    private Verdict<World> Judge(Translate translate, Observation seen)
    {
        Translation? expected = HasTable(translate.Vcm) ? MeaningOf(translate.Vcm, translate.Address) : null;
        // Of caches a table says what it can; which of the region's is read is the library's choice.
        bool isRight = expected is not { } meaning
            ? seen.Outcome == Outcome.Fault
            : seen.Outcome == Outcome.None && TableModelsOf(translate.Vcm).Any(table => seen.Translation == table.Says(meaning));
        return isRight
            ? Accept(this)
            : Refuse(Invariant.TablesAreTruth, $"0x{translate.Address:x} was said to mean {seen}; it means {expected?.ToString() ?? "nothing"}", this);
    }

    private Verdict<World> Judge(TranslateTo translate, Observation seen)
    {
        // What a prebuilt region maps is read from its table, which it looks at while it has an association.
        Translation? meaning = IsPrebuilt(translate.Vcm) && !HasTable(translate.Vcm) ? null : MeaningOf(translate.Vcm, translate.Address);
        ulong? expected = meaning is { } at ? PlacesOf(at.Target).Where(place => Reservations[place.Reservation].Vcm == translate.Other).Min(place => (ulong?)place.Address) : null;
        bool isRight = seen.Outcome == (meaning is null ? Outcome.Fault : expected is null ? Outcome.NotFound : Outcome.None) && (expected is null || seen.Address == expected);
        return isRight
            ? Accept(this)
            : Refuse(Invariant.TablesAreTruth, $"0x{translate.Address:x} was said to be {seen} in {translate.Other}; it means {meaning?.ToString() ?? "nothing"}, which is at {(expected is { } address ? $"0x{address:x}" : "no address")} there", this);
    }

    private Verdict<World> Judge(DeviceAccess access, Observation seen)
    {
        access = Sent(access);
        if (!ModelOf(access.Device).IsTranslated) return JudgeUntranslated(access, seen);
        bool isDivided = seen.ReachedNext is not null || (seen.Outcome == Outcome.Fault && seen.Reached is not null);
        return isDivided && access.Kind == Permissions.Write && ModelOf(access.Device).WritesInHalves ? JudgeHalves(access, seen) : JudgeUndivided(access, seen);
    }

    private Verdict<World> JudgeUndivided(DeviceAccess access, Observation seen)
    {
        if (IsPassing(access)) return JudgePassing(access, seen);
        World next = seen.Outcome switch { Outcome.Fault => Blocked(access), Outcome.Waits => Asks(access), _ => this };
        if (seen.Outcome != Outcome.None && ActiveAssociationOf(access.Device, access.Pasid) is not { Guest: not null }) next = next.Noted(access, isDone: false);
        // Not an access of memory: a message to the interrupt logic, say. With a PASID it would be one.
        if (access.Pasid is null && access.Device.Kind == ObjectKind.Device && Iommu.Untranslated.Any(range => range.Contains(access.Address)) && seen.Reached is null) return Accept(next);
        if (ActiveAssociationOf(access.Device, access.Pasid) is { Guest: not null } nested) return JudgeNested(access, nested, seen, next);
        Translation? meaning = Sees(access.Device, access.Address, access.Pasid);
        bool isGranted = !access.IsPrivileged && meaning is { } granted && granted.Grants(access.Kind);
        ulong? expected = isGranted ? meaning!.Value.Target : null;
        if (seen.Reached == expected && (isGranted ? seen.Outcome == Outcome.None : IsDenial(access, seen.Outcome))) return Accept(isGranted ? next.Noted(access, isDone: true) : next);
        bool mayBeStale = !access.IsPrivileged && StaleAt(access.Device, access.Address, access.Pasid) is { } stale && stale.Grants(access.Kind) && seen.Reached == stale.Target;
        if (mayBeStale && seen.Outcome == Outcome.None) return Accept(next);
        string what = $"{access.Device} {(access.IsPrivileged ? "as supervisor " : "")}{(access.Pasid is { } pasid ? $"with PASID {pasid} " : "")}{(access.Kind switch { Permissions.Read => "read", Permissions.Write => "wrote", _ => "fetched" })} at 0x{access.Address:x}";
        if (seen.Reached is not { } reached)
        {
            if (!isGranted && seen.Outcome is Outcome.Fault or Outcome.Waits)
                return Refuse(Invariant.FaultExact, $"{what} and it came to {seen.Outcome}; {(seen.Outcome == Outcome.Waits ? "it cannot wait there" : "it asks for the page, and waits")}", next);
            return isGranted
                ? Refuse(Invariant.TablesAreTruth, $"{what} and {(seen.Outcome == Outcome.Waits ? "waits" : "was blocked")}; it is mapped to {meaning}", next)
                : Refuse(Invariant.Isolation, $"{what} and was let through to no memory that it could tell; nothing is mapped there for it", next);
        }

        string permitted = meaning is null ? "nothing is mapped there for it" : $"it is mapped to {meaning}";
        // Whoever is let in with a privilege that no device has.
        if (access.IsPrivileged && meaning?.Target == reached) return Refuse(Invariant.Permission, $"{what} and reached 0x{reached:x}; {permitted}, and no device has supervisor privilege", next.Noted(access, isDone: true));
        return Refuse(Name(access, reached, meaning), $"{what} and reached 0x{reached:x}; {permitted}", next.Noted(access, isDone: true));
    }

    /// <summary>Which invariant an access breaks that reached what it must not.</summary>
    private Invariant Name(DeviceAccess access, ulong reached, Translation? meaning)
    {
        bool wasOnce = Former.Exists(former =>
            former.Device == access.Device && former.Pasid == access.Pasid && former.Mapping.Range.Contains(access.Address) && former.Mapping.At(access.Address) is var then
            && then.Target == reached && then.Grants(access.Kind));
        if (meaning?.Target == reached) return wasOnce ? Invariant.NoStaleAccess : Invariant.Permission;
        if (wasOnce) return ActiveVcmOf(access.Device, access.Pasid) is null ? Invariant.Isolation : Invariant.NoStaleAccess;
        bool isItsOwn = ActiveVcmOf(access.Device, access.Pasid) is { } vcm
            && MappingsOf(vcm).Any(mapping => reached >= mapping.Translation.Target && reached - mapping.Translation.Target <= mapping.Range.Last - mapping.Range.First);
        return isItsOwn ? Invariant.TablesAreTruth : Invariant.Isolation;
    }

    private World With(ObjectId id, AssociationState association) => this with { Associations = Associations.SetItem(id, association) };
}
