using System.Collections.Immutable;

namespace Vcmm.Spec;

/// <summary>What an entry of a guest's table says.</summary>
/// <param name="Target">A page of the region.</param>
/// <param name="MayWrite">Whether devices may write there, and not only read.</param>
public readonly record struct GuestEntry(ulong Target, bool MayWrite);

/// <summary>What an entry of a guest's table said, and what devices were not told of since.</summary>
/// <param name="Page">Which of <see cref="World.GuestPages"/>.</param>
/// <param name="Entry">What it said; null: nothing.</param>
public readonly record struct UntoldEntry(int Page, GuestEntry? Entry);

/// <summary>A guest.</summary>
/// <param name="Vcm">The region.</param>
/// <param name="Root">Where its root is, as an address of the region; the other tables are behind it.</param>
/// <param name="Frames">The frames that it has written its tables to.</param>
/// <param name="Memories">Whose frames these are.</param>
public sealed record GuestState(ObjectId Vcm, ulong Root, ImmutableArray<ulong> Frames, ImmutableArray<ObjectId> Memories)
{
    /// <summary>What the last level says of each page; null: nothing.</summary>
    public ImmutableArray<GuestEntry?> Entries { get; init; } = [.. new GuestEntry?[World.GuestPages]];
}

// Guests: a device's addresses go through the guest's table, and what that yields through the region's. What the region says holds at once (I4); of what the guest
// says a device may have kept anything that was so since the guest has told it last, and what it has kept goes through what the region says now. A device may do
// what both grant. The guest's tables lie in the region: what the region has taken away there leads nowhere, and of what others have there nothing is said.
public sealed partial record World
{
    /// <summary>How many pages a guest's devices have.</summary>
    public const int GuestPages = 4;

    /// <summary>How many tables a guest has: one of each level.</summary>
    public const int GuestTables = 4;

    /// <summary>The first address of a guest's devices: no address of a region, and in no table the first entry, nor one that devices write to.</summary>
    public const ulong GuestFirst = 0x5A5A_4020_4000;

    private static readonly AddressRange GuestRange = new(GuestFirst, GuestFirst + (GuestPages * PageBytes) - 1);

    /// <summary>The guests.</summary>
    public ObjectMap<GuestState> Guests { get; internal init; } = ObjectMap<GuestState>.Empty;

    /// <summary>Whether others have something where the tables of an association's guest are, of which nothing is known.</summary>
    public bool HasForeignTables(AssociationState association) => association.Guest is { } guest && TablesIn(association.Vcm, Guests[guest]).AreForeign;

    /// <summary>What a device may see at an address through the table of its guest, as that says now or has said and not told, and the region's, as that says now or may still be seen; no order.</summary>
    /// <param name="association">It has a guest.</param>
    /// <param name="address">An address of the device.</param>
    public IEnumerable<Translation> SeenThroughGuest(AssociationState association, ulong address) =>
        WaysThroughGuest(association, address).OfType<NestedWay>().Select(static way => way.Translation);

    private readonly record struct NestedWay(ulong RegionAddress, Translation Translation);

    /// <summary>Every way that an access may go; null among them: it may be blocked.</summary>
    private IEnumerable<NestedWay?> WaysThroughGuest(AssociationState association, ulong address)
    {
        GuestState guest = Guests[association.Guest!.Value];
        (bool areCertain, bool arePossible, _) = TablesIn(association.Vcm, guest);
        if (!areCertain || !GuestRange.Contains(address)) yield return null;
        if (!arePossible || !GuestRange.Contains(address)) yield break;
        int page = (int)((address - GuestFirst) / PageBytes);
        foreach (GuestEntry? said in association.Untold.Where(untold => untold.Page == page).Select(static untold => untold.Entry).Append(guest.Entries[page]))
        {
            if (said is not { } entry)
            {
                yield return null;
                continue;
            }

            ulong target = entry.Target + (address % PageBytes);
            yield return MeaningOf(association.Vcm, target) is { } meaning ? new NestedWay(target, Both(entry, meaning)) : null;
            foreach (Mapping stale in StaleOf(association.Vcm))
            {
                if (stale.Range.Contains(target)) yield return new NestedWay(target, Both(entry, stale.At(target)));
            }
        }
    }

    private static Translation Both(GuestEntry entry, Translation meaning) => meaning with { Write = meaning.Write && entry.MayWrite };

    /// <summary>Whether the hardware finds a guest's tables: surely; perhaps; or finds something else there.</summary>
    private (bool AreCertain, bool ArePossible, bool AreForeign) TablesIn(ObjectId vcm, GuestState guest)
    {
        bool areCertain = true, arePossible = true, areForeign = false;
        for (int table = 0; table < GuestTables; table++)
        {
            ulong address = guest.Root + ((ulong)table * PageBytes), frame = guest.Frames[table];
            Translation? now = MeaningOf(vcm, address);
            bool isStale = false;
            foreach (Mapping stale in StaleOf(vcm))
            {
                if (!stale.Range.Contains(address)) continue;
                isStale |= stale.At(address).Read;
                areForeign |= stale.At(address).Target != frame;
            }

            areForeign |= now is { } meaning && (meaning.Target != frame || guest.Memories.Any(memory => Memories[memory].IsFreed));
            // Hardware sets flags in the entries, for which it needs to write; where they are set already it need not.
            areCertain &= now is { Read: true, Write: true } && !isStale;
            arePossible &= now is { Read: true } || isStale;
        }

        return (areCertain, arePossible, areForeign);
    }

    /// <summary>What a device sees through its guest's table and the region's, as both say now; null: nothing.</summary>
    private Translation? SeesThroughGuest(AssociationState association, ulong address)
    {
        GuestState guest = Guests[association.Guest!.Value];
        if (!GuestRange.Contains(address) || TablesIn(association.Vcm, guest) is { ArePossible: false } or { AreForeign: true }) return null;
        return guest.Entries[(int)((address - GuestFirst) / PageBytes)] is { } entry && MeaningOf(association.Vcm, entry.Target + (address % PageBytes)) is { } meaning ? Both(entry, meaning) : null;
    }

    private bool IsDefined(CreateGuest create)
    {
        ReservationState reservation = Reservations[create.Reservation];
        if (reservation.IsEnded || reservation.Range.First % PageBytes != 0 || IsTaken(reservation.Vcm, reservation.Range.First)) return false;
        ulong[] frames = [.. TablesBehind(create.Reservation)];
        return frames.Distinct().Count() == GuestTables
            && frames.All(frame => frame % PageBytes == 0 && Iommu.Memory.Contains(new AddressRange(frame, frame + (PageBytes - 1))) && !IsGuests(frame))
            && reservation.Attributes.Permissions.HasFlag(Permissions.ReadWrite)
            && MemoriesBehind(reservation).All(memory => !Memories[memory].IsWrapped);
    }

    /// <summary>Whether there was a guest's table already, or some association of the region has one there, so that a new one would be taken for it.</summary>
    private bool IsTaken(ObjectId vcm, ulong root) => Guests.Values.Any(guest => guest.Vcm == vcm && guest.Root == root)
        || Associations.Values.Any(association => !association.IsDropped && OwnerOf(association.Vcm) == vcm && association.Guest is { } guest && Guests[guest].Root == root);

    /// <summary>Whether a guest's table is known by its address: another guest's may be at the same in another region.</summary>
    private bool IsDefined(ObjectId? guest, ObjectId vcm) => guest is not { } id || Guests[id].Vcm == OwnerOf(vcm) || !Guests.Values.Any(other => other.Vcm == OwnerOf(vcm) && other.Root == Guests[id].Root);

    private IEnumerable<ulong> TablesBehind(ObjectId reservation) => Behind(reservation, 0, GuestTables * PageBytes).SelectMany(static run => Pages(run));

    private static IEnumerable<ulong> Pages(AddressRange run)
    {
        for (ulong page = run.First; page < run.Last; page += PageBytes) yield return page;
    }

    private static IEnumerable<ObjectId> MemoriesBehind(ReservationState reservation) =>
        reservation.Parts.Where(static part => part.Offset < GuestTables * PageBytes).Select(static part => part.Memory).Distinct();

    /// <summary>Whether the tables of a guest are in a frame.</summary>
    private bool IsGuests(ulong frame) => Guests.Values.Any(guest => guest.Frames.Contains(frame) && guest.Memories.All(memory => !Memories[memory].IsFreed));

    /// <summary>Whether the guest's tables can be written to: they are where they were, though the region may have taken them away.</summary>
    private bool IsDefined(ObjectId guest, int page) => page is >= 0 and < GuestPages && Guests[guest].Memories.All(memory => !Memories[memory].IsFreed);

    private bool IsDefined(Copy copy) => Guests.Count == 0
        || !Behind(copy.Source, copy.SourceOffset, copy.ByteCount).Concat(Behind(copy.Destination, copy.DestinationOffset, copy.ByteCount))
            .Any(run => Pages(new(run.First & ~(PageBytes - 1), run.Last)).Any(IsGuests));

    /// <summary>Of accesses through tables of which nothing is known nothing is said, nor do devices wait for what a guest has not mapped.</summary>
    private bool IsDefinedThroughGuest(DeviceAccess access) =>
        ActiveAssociationOf(access.Device, access.Pasid) is not { Guest: not null } association || (!HasForeignTables(association) && !(access.MayAsk && ModelOf(access.Device).AsksForPages));

    private Verdict<World> Judge(CreateGuest create, Observation seen) => new Refusals()
        .Decide(this, seen.Outcome)
        ?? Accept(this with
        {
            Guests = Guests.Add(create.Guest, new(Reservations[create.Reservation].Vcm, Reservations[create.Reservation].Range.First, [.. TablesBehind(create.Reservation)], [.. MemoriesBehind(Reservations[create.Reservation])])),
        });

    private Verdict<World> Judge(GuestMap map, Observation seen) => new Refusals()
        .Decide(this, seen.Outcome)
        ?? Accept(WithEntry(map.Guest, map.Page, new(map.Target, map.Permissions.HasFlag(Permissions.Write))));

    private Verdict<World> Judge(GuestUnmap unmap, Observation seen) => new Refusals()
        .Decide(this, seen.Outcome)
        ?? Accept(WithEntry(unmap.Guest, unmap.Page, null));

    /// <summary>The world in which an entry has changed. Devices may have kept what it said; that it said nothing is kept where the hardware caches what is absent.</summary>
    private World WithEntry(ObjectId id, int page, GuestEntry? entry)
    {
        GuestState guest = Guests[id];
        var former = new UntoldEntry(page, guest.Entries[page]);
        bool isKept = former.Entry is not null || Iommu.CachesAbsent;
        return this with
        {
            Guests = Guests.SetItem(id, guest with { Entries = guest.Entries.SetItem(page, entry) }),
            Associations = isKept
                ? WithEach(association => association.IsActive && association.Guest == id && !association.Untold.Contains(former) ? association with { Untold = association.Untold.Add(former) } : association)
                : Associations,
        };
    }

    private ObjectMap<AssociationState> WithEach(Func<AssociationState, AssociationState> change) =>
        ObjectMap<AssociationState>.Of(Associations.Select(pair => KeyValuePair.Create(pair.Key, change(pair.Value))));

    private Verdict<World> Judge(GuestInvalidate invalidate, Observation seen, Surroundings surroundings)
    {
        AssociationState told = Associations[invalidate.Association];
        return new Refusals()
            .Must(Outcome.Invalid, told.Guest is null, Invariant.NoStaleAccess, "nothing is nested in the region for it")
            .Must(Outcome.Invalid, !IsWholePages(invalidate.Range), Invariant.NoStaleAccess, "the device addresses are not whole pages")
            .Must(Outcome.Invalid, told.IsDropped, Invariant.Isolation, "the association was dropped")
            .May(Outcome.HardwareFailure, surroundings.HardwareFails)
            .Decide(this, seen.Outcome)
            ?? Accept(Forget(told, invalidate.Range));
    }

    /// <summary>The world in which the devices that have a guest's table in a region have forgotten what it said of a range.</summary>
    private World Forget(AssociationState told, AddressRange range)
    {
        IEnumerable<(ObjectId, uint?)> spaces = Associations.Values.Where(other => other.IsActive && other.Vcm == told.Vcm && other.Guest == told.Guest).Select(static other => (other.Device, other.Pasid));
        World remembered = Remember(told.Vcm, AddressRange.All, spaces);
        return remembered with
        {
            Associations = WithEach(association => association.Untold.IsEmpty || association.Vcm != told.Vcm || association.Guest != told.Guest
                ? association
                : association with { Untold = association.Untold.RemoveAll(untold => range.Contains(GuestFirst + ((ulong)untold.Page * PageBytes))) }),
        };
    }

    /// <summary>What others have kept that have the same table under the same id, a device that joins them has, too.</summary>
    private ImmutableArray<UntoldEntry> UntoldTo(AssociationState joining) => joining.Guest is null
        ? []
        : Associations.Values.FirstOrDefault(other => other.IsActive && other.Vcm == joining.Vcm && other.Guest == joining.Guest)?.Untold ?? [];

    /// <summary>What an address space sees of what a region maps: the mappings themselves, or what leads to them through a guest's table.</summary>
    private IEnumerable<Mapping> MappingsIn((ObjectId Device, uint? Pasid) space, Mapping mapping)
    {
        if (ActiveAssociationOf(space.Device, space.Pasid) is not { Guest: { } guest } association)
        {
            yield return mapping;
            yield break;
        }

        GuestState state = Guests[guest];
        foreach (UntoldEntry said in association.Untold.Concat(state.Entries.Select(static (entry, page) => new UntoldEntry(page, entry))))
        {
            if (said.Entry is not { } entry || !mapping.Range.Contains(entry.Target)) continue;
            ulong first = GuestFirst + ((ulong)said.Page * PageBytes);
            yield return new(new(first, first + (PageBytes - 1)), Both(entry, mapping.At(entry.Target)));
        }
    }

    private Verdict<World> JudgeNested(DeviceAccess access, AssociationState association, Observation seen, World next)
    {
        NestedWay?[] ways = [.. WaysThroughGuest(association, access.Address)];
        NestedWay[] granting = access.IsPrivileged ? [] : [.. ways.OfType<NestedWay>().Where(way => way.Translation.Grants(access.Kind))];
        bool mayBeBlocked = access.IsPrivileged || ways.Any(way => way is not { } led || !led.Translation.Grants(access.Kind));
        if (seen is { Outcome: Outcome.None, Reached: { } reached } && granting.Any(way => way.Translation.Target == reached))
        {
            ulong[] pages = [.. granting.Where(way => way.Translation.Target == reached).Select(static way => way.RegionAddress).Distinct()];
            // Of pages that mean the same memory nobody can tell which it was.
            return Accept(pages.Length == 1 ? next.Noted(access with { Address = pages[0] }, isDone: true) : next);
        }

        if (mayBeBlocked && seen.Reached is null && IsDenial(access, seen.Outcome)) return Accept(next);
        string what = $"{access.Device} {(access.IsPrivileged ? "as supervisor " : "")}{(access.Pasid is { } pasid ? $"with PASID {pasid} " : "")}{(access.Kind == Permissions.Read ? "read" : "wrote")} at 0x{access.Address:x} through {association.Guest}'s table";
        string permitted = granting.Length == 0 ? "that and the region let it reach nothing" : $"that and the region lead to {string.Join(" or ", granting.Select(static way => $"0x{way.Translation.Target:x}").Distinct())}";
        if (seen.Reached is { } other) return Refuse(NameNested(access, association, other), $"{what} and reached 0x{other:x}; {permitted}", next);
        if (seen.Outcome is Outcome.None) return Refuse(Invariant.Isolation, $"{what} and was let through to no memory that it could tell; {permitted}", next);
        return mayBeBlocked
            ? Refuse(Invariant.FaultExact, $"{what} and it came to {seen.Outcome}; it cannot wait there", next)
            : Refuse(Invariant.TablesAreTruth, $"{what} and was blocked; {permitted}", next);
    }

    private Invariant NameNested(DeviceAccess access, AssociationState association, ulong reached)
    {
        bool isThereWithout = WaysThroughGuest(association, access.Address).Any(way => way?.Translation.Target == reached);
        Translation? meaning = SeesThroughGuest(association, access.Address);
        return isThereWithout && Name(access, reached, meaning) != Invariant.NoStaleAccess ? Invariant.Permission : Name(access, reached, meaning);
    }
}
