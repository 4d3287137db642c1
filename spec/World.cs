using System.Collections.Immutable;

namespace Vcmm.Spec;

/// <summary>What the model must know of the hardware.</summary>
/// <param name="LastAddress">The last device address that is translated.</param>
/// <param name="Untranslated">Device addresses that are never translated, whatever the tables say.</param>
public sealed record IommuModel(ulong LastAddress, ImmutableArray<AddressRange> Untranslated)
{
    /// <summary>The tables besides those of the second stage, of which the other properties tell.</summary>
    public ImmutableArray<TableModel> OtherTables { get; init; } = [];

    /// <summary>Whether the hardware notes in second-stage tables what devices use and write to.</summary>
    public bool NotesUse { get; init; }

    /// <summary>Whether it can let a device's accesses through untranslated.</summary>
    public bool PassesThrough { get; init; }

    /// <summary>Whether it translates through a guest's first-stage table and a second-stage one behind it.</summary>
    public bool Nests { get; init; }

    /// <summary>Whether it keeps that something is absent, so that also what a guest adds must be told.</summary>
    public bool CachesAbsent { get; init; }

    /// <summary>How many PASIDs it tells apart.</summary>
    public uint PasidCount { get; init; }

    /// <summary>What tables can grant, no more and no less. Anything else can be reserved only where there is no table.</summary>
    public ImmutableArray<Permissions> Grantable { get; init; } = [Permissions.Read, Permissions.Write, Permissions.ReadWrite];

    /// <summary>The last physical address that tables can lead to. Memory beyond can back only where there is no table.</summary>
    public ulong LastTarget { get; init; } = (1UL << 52) - 1;

    /// <summary>The most memory that it takes, besides tables, to let a device translate.</summary>
    public ulong MostAttachBytes { get; init; } = World.PageBytes;

    /// <summary>What each device is, in the order of their numbers; those that are not named are as <see cref="DeviceModel"/> is made.</summary>
    public ImmutableArray<DeviceModel> Devices { get; init; } = [];

    /// <summary>Where there is physical memory. What is wrapped elsewhere can be mapped, and not copied.</summary>
    public AddressRange Memory { get; init; } = AddressRange.All;

    /// <summary>The tables of a kind; null: it walks none such.</summary>
    public TableModel? Find(TableKind kind) => kind == TableKind.SecondStage
        ? new(kind, LastAddress) { Grantable = Grantable, LastTarget = LastTarget, NotesUse = NotesUse }
        : OtherTables.FirstOrDefault(table => table.Kind == kind);
}

/// <summary>What the model must know of how the library was set up.</summary>
public sealed record Setup
{
    /// <summary>What bounds the quarantine of deferred regions.</summary>
    public FlushBounds Flush { get; init; } = new(1024, 256, 10);

    /// <summary>Whether what is taken anywhere lies at the lowest place that fits, top-down at the highest. Otherwise the library is free.</summary>
    public bool PlacesExactly { get; init; }

    /// <summary>Whether the hardware records every blocked access, or says that it lost some. Not all that is called hardware does.</summary>
    public bool FaultsAreExact { get; init; } = true;

    /// <summary>The banks of memory; none: memory is not told apart.</summary>
    public ImmutableArray<Bank> Banks { get; init; } = [];
}

/// <summary>
/// The model: all objects, as a value. <see cref="Judge(Operation, Observation, Surroundings)"/> is given an operation and what was seen of it, and accepts it with
/// the world that follows, or refuses it with the invariant that it breaks.
/// </summary>
/// <remarks>
/// <para><b>Freedom.</b> Which address a reservation gets and which frames an allocation gets is not the model's to say: it
/// takes what was seen, if it is lawful.</para>
/// <para><b>Time.</b> One operation at a time. When it returns, devices see one thing only, but for what was unbacked in a deferred
/// region: until a flush they see that or nothing.</para>
/// </remarks>
public sealed partial record World
{
    /// <summary>The smallest page.</summary>
    public const ulong PageBytes = 4096;

    private World(IommuModel iommu) => Iommu = iommu;

    /// <summary>The hardware.</summary>
    public IommuModel Iommu { get; }

    /// <summary>How the library is set up.</summary>
    public Setup Setup { get; internal init; } = new();

    /// <summary>The devices.</summary>
    public ImmutableArray<ObjectId> Devices { get; internal init; } = [];

    /// <summary>The regions, the freed ones too.</summary>
    public ObjectMap<VcmState> Vcms { get; internal init; } = ObjectMap<VcmState>.Empty;

    /// <summary>The bounds, the freed ones too.</summary>
    public ObjectMap<BoundState> Bounds { get; internal init; } = ObjectMap<BoundState>.Empty;

    /// <summary>The reservations, the ended ones too.</summary>
    public ObjectMap<ReservationState> Reservations { get; internal init; } = ObjectMap<ReservationState>.Empty;

    /// <summary>The memory, the freed too.</summary>
    public ObjectMap<MemoryState> Memories { get; internal init; } = ObjectMap<MemoryState>.Empty;

    /// <summary>The associations, the dropped ones too.</summary>
    public ObjectMap<AssociationState> Associations { get; internal init; } = ObjectMap<AssociationState>.Empty;

    /// <summary>What devices could see once: with it a violation is named, nothing is permitted by it.</summary>
    public ImmutableList<FormerMapping> Former { get; internal init; } = [];

    /// <summary>Invariants whose breaches are let pass where it is known what follows, to see what else tells of them. None, but where the judging itself is examined.</summary>
    public InvariantSet Overlooked { get; init; }

    /// <summary>A world with devices <c>d0</c> … and nothing else.</summary>
    /// <param name="iommu">The hardware.</param>
    /// <param name="deviceCount">How many devices.</param>
    /// <param name="setup">How the library is set up; null: as by default.</param>
    public static World Create(IommuModel iommu, int deviceCount, Setup? setup = null) =>
        new(iommu) { Devices = [.. Enumerable.Range(0, deviceCount).Select(number => new ObjectId(ObjectKind.Device, number))], Setup = setup ?? new() };

    /// <summary>A world with the same hardware and setup, in which nothing has been done.</summary>
    public World WithoutObjects() => new(Iommu) { Setup = Setup, Devices = Devices, Cpu = Cpu, Overlooked = Overlooked };

    /// <summary>The world when everybody has been told of what was blocked, or the hardware has lost it. What waits goes on to wait.</summary>
    public World WithoutFaults() => this with { Faults = [] };

    /// <summary>Whether the object was made. One whose making was refused is not there to be used.</summary>
    public bool Knows(ObjectId id) => id.Kind switch
    {
        ObjectKind.Vcm => Vcms.ContainsKey(id),
        ObjectKind.Bound => Bounds.ContainsKey(id),
        ObjectKind.Reservation => Reservations.ContainsKey(id),
        ObjectKind.Memory => Memories.ContainsKey(id),
        ObjectKind.Association => Associations.ContainsKey(id),
        ObjectKind.Device => Devices.Contains(id),
        ObjectKind.Process => id.Number < Cpu.ProcessCount,
        ObjectKind.Core => id.Number < Cpu.CoreCount,
        ObjectKind.Guest => Guests.ContainsKey(id),
        _ => false,
    };

    /// <summary>Accepts or refuses what was seen of an operation.</summary>
    /// <param name="operation">Its objects are known (<see cref="Knows"/>), the one that it makes is not.</param>
    /// <param name="seen">What was seen.</param>
    /// <param name="surroundings">What excuses a failure.</param>
    public Verdict<World> Judge(Operation operation, Observation seen, Surroundings surroundings)
    {
        Verdict<World> verdict = JudgeCall(operation, seen, surroundings);
        if (verdict.IsAccepted && seen.Outcome == Outcome.HardwareFailure) verdict = Accept(verdict.Next.NoteLostUse(operation));
        bool mayEnd = verdict.IsAccepted && operation is not DispatchFaults && (!Waiting.IsEmpty || !seen.Ended.IsEmpty);
        if (mayEnd) verdict = verdict.Next.JudgeWaiting(operation, seen);
        bool isSettled = !verdict.IsAccepted || (verdict.Next.Quarantine.IsEmpty && seen.Quarantined is null or 0);
        return isSettled ? verdict : verdict.Next.Settle(this, operation, seen, surroundings);
    }

    private Verdict<World> JudgeCall(Operation operation, Observation seen, Surroundings surroundings) => operation switch
    {
        CreateVcm create => Judge(create, seen),
        CloneVcm clone => Judge(clone, seen),
        Adopt adopt => Judge(adopt, seen),
        FreeVcm free => Judge(free, seen),
        CreateBound create => Judge(create, seen),
        FreeBound free => Judge(free, seen),
        Reserve reserve => Judge(reserve, seen),
        ReserveAt reserve => Judge(reserve, seen),
        Unreserve unreserve => Judge(unreserve, seen),
        Acquire acquire => Judge(acquire, seen),
        Release release => Judge(release, seen),
        SetAttributes set => Judge(set, seen, surroundings),
        Map map => Judge(map, seen, surroundings),
        Unmap unmap => Judge(unmap, seen, surroundings),
        Bind bind => Judge(bind, seen, surroundings),
        Unbind unbind => Judge(unbind, seen, surroundings),
        FindReservation find => Judge(find, seen),
        ListReservations list => Judge(list, seen),
        AllocateMemory allocate => Judge(allocate, seen, surroundings),
        AllocateContiguous allocate => Judge(allocate, seen, surroundings),
        Wrap wrap => Judge(wrap, seen),
        FreeMemory free => Judge(free, seen),
        FindMappings find => Judge(find, seen),
        Back back => Judge(back, seen, surroundings),
        BackPart back => Judge(back, seen, surroundings),
        Unback unback => Judge(unback, seen, surroundings),
        UnbackPart unback => Judge(unback, seen, surroundings),
        Copy copy => Judge(copy, seen),
        CollectUse collect => Judge(collect, seen, surroundings),
        Associate associate => Judge(associate, seen, surroundings),
        ChangeAssociation change => Judge(change, seen, surroundings),
        Deassociate deassociate => Judge(deassociate, seen),
        Activate activate => Judge(activate, seen, surroundings),
        Deactivate deactivate => Judge(deactivate, seen, surroundings),
        PassThrough pass => Judge(pass, seen, surroundings),
        EndPassThrough end => Judge(end, seen, surroundings),
        CreateGuest create => Judge(create, seen),
        GuestMap map => Judge(map, seen),
        GuestUnmap unmap => Judge(unmap, seen),
        GuestInvalidate invalidate => Judge(invalidate, seen, surroundings),
        Translate translate => Judge(translate, seen),
        TranslateTo translate => Judge(translate, seen),
        DeviceAccess access => Judge(access, seen),
        CrossingAccess access => Judge(access, seen),
        CoreAccess access => Judge(access, seen),
        GoIdle idle => Judge(idle, seen),
        Flush flush => Judge(flush, seen, surroundings),
        PollFlush poll => Judge(poll, seen, surroundings),
        AdvanceTime advance => Judge(advance, seen),
        SetFaultHook set => Judge(set, seen),
        DispatchFaults dispatch => Judge(dispatch, seen, surroundings),
        _ => throw new ArgumentException($"{operation.GetType().Name} is not an operation of the model", nameof(operation)),
    };

    /// <summary>The reservations of a region that have not ended, in the order of their addresses.</summary>
    public IEnumerable<ReservationState> ReservationsOf(ObjectId vcm)
    {
        List<ReservationState>? found = null;
        foreach (ReservationState reservation in Reservations.Values)
        {
            if (reservation.Vcm == vcm && !reservation.IsEnded) (found ??= []).Add(reservation);
        }

        found?.Sort(static (one, other) => one.Range.First.CompareTo(other.Range.First));
        return found ?? [];
    }

    /// <summary>What a region maps, in the order of device addresses: a mapping for each chunk of memory.</summary>
    public IEnumerable<Mapping> MappingsOf(ObjectId vcm) => ReservationsOf(OwnerOf(vcm)).SelectMany(MappingsOf);

    /// <summary>Whether the region has a table: an association, active or not.</summary>
    public bool HasTable(ObjectId vcm) => Associations.Values.Any(association => association.Vcm == vcm && !association.IsDropped);

    /// <summary>The region that an address space of a device is: that of its requests with the PASID, or of those without one.</summary>
    public ObjectId? ActiveVcmOf(ObjectId device, uint? pasid = null) => ActiveAssociationOf(device, pasid)?.Vcm;

    /// <summary>What a device sees at an address; null: it is blocked.</summary>
    public Translation? Sees(ObjectId device, ulong address, uint? pasid = null) => ActiveAssociationOf(device, pasid) switch
    {
        null => null,
        { Guest: not null } association => SeesThroughGuest(association, address),
        { Vcm: var vcm } => MeaningOf(vcm, address),
    };

    /// <summary>What an address of a region means; null: nothing.</summary>
    public Translation? MeaningOf(ObjectId vcm, ulong address)
    {
        ObjectId owner = OwnerOf(vcm);
        foreach (ReservationState reservation in Reservations.Values)
        {
            if (reservation.Vcm != owner || reservation.IsEnded || !reservation.Range.Contains(address)) continue;
            foreach (Mapping mapping in MappingsOf(reservation))
            {
                if (mapping.Range.Contains(address)) return mapping.At(address);
            }
        }

        return null;
    }

    /// <summary>What a reservation maps, in the order of device addresses.</summary>
    public IEnumerable<Mapping> MappingsOf(ReservationState reservation)
    {
        Attributes attributes = reservation.Attributes;
        Permissions granted = attributes.Permissions;
        foreach (BackedPart part in reservation.Parts)
        {
            ulong first = reservation.Range.First + part.Offset;
            foreach (AddressRange chunk in Slice(part.Memory, part.MemoryOffset, part.ByteCount))
            {
                ulong last = first + (chunk.Last - chunk.First);
                yield return new(
                    new(first, last),
                    new(chunk.First, granted.HasFlag(Permissions.Read), granted.HasFlag(Permissions.Write), granted.HasFlag(Permissions.Execute), attributes.SupervisorOnly, attributes.Cache));
                first = unchecked(last + 1);
            }
        }
    }

    /// <summary>The physical addresses of a part of memory, in the order in which they back a reservation.</summary>
    private IEnumerable<AddressRange> Slice(ObjectId memory, ulong offset, ulong byteCount)
    {
        ulong start = 0;
        foreach (AddressRange chunk in Memories[memory].Segments)
        {
            ulong end = start + (chunk.Last - chunk.First + 1);
            ulong first = Math.Max(offset, start), last = Math.Min(offset + byteCount, end);
            if (first < last) yield return new(chunk.First + (first - start), chunk.First + (last - start - 1));
            start = end;
        }
    }

    /// <summary>The world that remembers what the devices of a region, and of those that have adopted its tables, see in a range.</summary>
    private World Remember(ObjectId vcm, AddressRange range) => Remember(vcm, range, Spaces.Where(space => ActiveVcmOf(space.Device, space.Pasid) is { } active && OwnerOf(active) == vcm));

    private World Remember(ObjectId vcm, AddressRange range, IEnumerable<(ObjectId Device, uint? Pasid)> spaces) => this with
    {
        Former = Former.AddRange(
            from mapping in MappingsOf(vcm)
            where mapping.Range.Overlaps(range)
            from space in spaces
            from seen in MappingsIn(space, mapping)
            select new FormerMapping(space.Device, space.Pasid, seen)),
    };
}
