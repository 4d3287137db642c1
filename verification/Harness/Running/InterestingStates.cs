using IommuSim;
using Vcmm.Spec;
using Vcmm.Tables;

namespace Harness.Running;

/// <summary>Sees what is worth having met: beside each law stands how often what it is about came to pass.</summary>
/// <param name="counts">Where it is counted.</param>
public sealed partial class InterestingStates(RunCounts counts)
{
    /// <summary>What can only be seen before an operation.</summary>
    /// <param name="CutsLargeLeaf">Whether a large leaf lies across an edge of the part that is to be unbacked.</param>
    /// <param name="IsCached">Whether the IOTLB holds what is to be changed.</param>
    /// <param name="IsInDeviceTlb">Whether a device's TLB holds some of it.</param>
    public readonly record struct Before(bool CutsLargeLeaf, bool IsCached, bool IsInDeviceTlb)
    {
        /// <summary>Whether the hardware is told to forget by registers.</summary>
        public bool HasNoQueue { get; init; }
    }

    /// <summary>Looks, before an operation.</summary>
    public Before Look(Subject subject, World world, Operation operation) =>
        LookAt(subject, world, operation) with { HasNoQueue = !subject.Options.QueuedInvalidation };

    private static Before LookAt(Subject subject, World world, Operation operation)
    {
        bool isInDeviceTlb = IsInDeviceTlb(subject, world, operation);
        (ObjectId Id, ulong Offset, ulong ByteCount)? part = operation switch
        {
            UnbackPart o => (o.Reservation, o.Offset, o.ByteCount),
            SetAttributes o => (o.Reservation, 0, world.Reservations[o.Reservation].ByteCount),
            _ => null,
        };
        if (part is not var (id, offset, byteCount) || world.Reservations[id] is not { IsBacked: true, IsEnded: false } reservation) return new(false, false, isInDeviceTlb);
        if (byteCount == 0 || offset >= reservation.ByteCount || byteCount > reservation.ByteCount - offset) return new(false, false, isInDeviceTlb);
        var range = new AddressRange(reservation.Range.First + offset, reservation.Range.First + (offset + byteCount - 1));
        return new(CutsLargeLeaf(subject, world, reservation.Vcm, range), subject.Insides?.Iotlb.Any(entry => IsOf(entry, world, reservation.Vcm, range)) == true, isInDeviceTlb);
    }

    /// <summary>Counts, after an operation that the model accepted.</summary>
    public void Note(World before, World after, Operation operation, Observation seen, Before looked)
    {
        NoteQuarantine(before, after, operation, seen);
        NoteWaiting(before, operation, seen);
        if (looked.IsInDeviceTlb && seen.Outcome == Outcome.None) counts.Reach("a device's TLB held what changed");
        if (looked.HasNoQueue) NoteRegisters(operation, seen);
        if (seen.Outcome != Outcome.None)
        {
            if (operation is Reserve { In.Kind: ObjectKind.Bound } && seen.Outcome == Outcome.NoSpace) counts.Reach("a bound was full");
            if (operation is Associate { Device.Kind: ObjectKind.Device } o && seen.Outcome == Outcome.Invalid && after.TableFor(o) is { } table
                && after.ReservationsOf(o.Vcm).Any(reservation => !table.Protects(reservation.Attributes)))
                counts.Reach("a table could not grant what was reserved");
            return;
        }

        NotePlacement(after, operation);
        NoteBanks(after, operation);
        switch (operation)
        {
            case Reserve { In.Kind: ObjectKind.Bound } or ReserveAt { In.Kind: ObjectKind.Bound }:
                counts.Reach("a bound was reserved from");
                break;
            case UnbackPart when looked.CutsLargeLeaf:
                counts.Reach("a large leaf was split");
                break;
            case SetAttributes set when Narrows(before.Reservations[set.Reservation].Attributes, set.Attributes):
                if (looked.IsCached) counts.Reach("a narrowing met a cached translation");
                break;
            case SetAttributes when looked.IsCached:
                counts.Reach("a widening met a cached translation");
                break;
            case DispatchFaults:
                if (!seen.Faults.IsEmpty) counts.Reach("a hook was given a fault");
                if (seen.Faults.DistinctBy(fault => fault.Hook).Count() > 1) counts.Reach("several hooks were given faults");
                if (seen.FaultsLost) counts.Reach("faults were lost");
                else if (seen.FaultCount > 1) counts.Reach("every fault was there");
                break;
            case Copy copy:
                NoteCopy(after, copy);
                break;
            case CollectUse { Use: Use.Written } collect when !seen.Ranges.IsEmpty:
                NoteWritten(after, collect, seen);
                break;
            case CloneVcm clone:
                if (after.BoundsOf(clone.Vcm).Any()) counts.Reach("a clone had bounds");
                if (after.MappingsOf(clone.Vcm).Any()) counts.Reach("a clone was backed");
                break;
            case Release release when !after.Reservations[release.Reservation].IsEnded:
                counts.Reach("an owner let go and others stayed");
                break;
            case Activate activate:
                if (after.Associations[activate.Association].Pasid is not null) counts.Reach("a device had an address space with a PASID");
                if (after.Vcms[after.Associations[activate.Association].Vcm].Adopted is not null) counts.Reach("a device walked a table of another region's");
                break;
            case Unback or UnbackPart or Unmap or Unbind when TakesFromAdopters(before, operation):
                counts.Reach("what devices of a prebuilt region had was taken away");
                break;
            case FindMappings when seen.Places.Length > 1:
                counts.Reach("memory was mapped at several places");
                break;
            case TranslateTo translate when translate.Vcm != translate.Other:
                counts.Reach("an address was translated into another region");
                break;
            case Back or BackPart or Map or Bind:
                NoteBacking(after, operation);
                break;
        }
    }

    private void NoteRegisters(Operation operation, Observation seen)
    {
        if (seen.Outcome == Outcome.HardwareFailure) counts.Reach("an IOMMU without a queue did not answer");
        if (seen.Outcome == Outcome.None && operation is Unback or UnbackPart or Unmap or Unbind or SetAttributes) counts.Reach("an IOMMU without a queue was told to forget");
    }

    private void NoteWritten(World world, CollectUse collect, Observation seen)
    {
        ReservationState reservation = world.Reservations[collect.Reservation];
        ulong first = reservation.Range.First + collect.Offset;
        RangeSet part = RangeSet.Empty.With(new(first, first + (collect.ByteCount - 1)));
        RangeSet told = RangeSet.Of(seen.Ranges);
        counts.Reach("what was written was told");
        if (part.FirstNotIn(told) is not null) counts.Reach("what nobody wrote to was not told");
        if (told.FirstNotIn(part) is not null) counts.Reach("a leaf was told as a whole");
    }

    private static bool Narrows(Attributes former, Attributes next) =>
        (former.Permissions & ~next.Permissions) != 0 || (next.SupervisorOnly && !former.SupervisorOnly);

    private void NoteBanks(World world, Operation operation)
    {
        BankRequest from = operation switch
        {
            AllocateMemory o => o.From,
            AllocateContiguous o => o.From,
            Bind o => o.From,
            _ => default,
        };
        if (from == default || world.Setup.Banks.Length < 2) return;
        counts.Reach(from.Admits(world.Setup.Banks[0]) ? "memory of a bank was asked for" : "memory of another than the first bank was asked for");
    }

    private void NotePlacement(World world, Operation operation)
    {
        ObjectId? vcm = operation switch
        {
            Reserve { In.Kind: ObjectKind.Vcm } o => o.In,
            Reserve o => world.Bounds[o.In].Vcm,
            CreateBound o => o.Vcm,
            _ => null,
        };
        if (vcm is not { } region) return;
        if (world.Vcms[region].IsTopDown) counts.Reach("a range was taken from the top");
        if (world.Setup.PlacesExactly) counts.Reach("a range was taken where it had to be");
    }

    private void NoteQuarantine(World before, World after, Operation operation, Observation seen)
    {
        if (before.Quarantine.IsEmpty && after.Quarantine.IsEmpty) return;
        if (operation is ReserveAt reserve && seen.Outcome == Outcome.NoSpace && before.Quarantine.Exists(waiting =>
            before.Reservations[waiting.Reservation] is { IsEnded: true } ended && ended.Range.Contains(reserve.First)))
            counts.Reach("a range that waits for a flush was refused");
        if (after.Vcms.Any(vcm => vcm.Value.IsFreed && after.Quarantine.Exists(waiting => after.Reservations[waiting.Reservation].Vcm == vcm.Key)))
            counts.Reach("a region ended before its quarantine");
        bool isFlushed = !before.Quarantine.IsEmpty && (after.Quarantine.IsEmpty || after.Quarantine[0].Number != before.Quarantine[0].Number);
        if (!isFlushed) return;
        counts.Reach(operation switch
        {
            Flush => "a flush on demand",
            PollFlush => "a flush by age",
            Back or BackPart => "a flush before addresses were backed again",
            _ => "a flush by count, or by age, in an unback",
        });
        if (before.Memories.Keys.Any(memory => before.IsInQuarantine(memory))) counts.Reach("a flush gave memory back");
    }

    private static bool TakesFromAdopters(World before, Operation operation)
    {
        ObjectId owner = before.Reservations[operation.Uses.First(static id => id.Kind == ObjectKind.Reservation)].Vcm;
        return before.Associations.Values.Any(association => association.IsActive && association.Vcm != owner && before.OwnerOf(association.Vcm) == owner);
    }

    private void NoteCopy(World world, Copy copy)
    {
        AddressRange[] sources = [.. world.Behind(copy.Source, copy.SourceOffset, copy.ByteCount)];
        AddressRange[] destinations = [.. world.Behind(copy.Destination, copy.DestinationOffset, copy.ByteCount)];
        if (sources.Any(source => destinations.Any(destination => source.Overlaps(destination) && source.First != destination.First)))
            counts.Reach("a copy overlapped");
    }

    private void NoteBacking(World world, Operation operation)
    {
        ReservationState reservation = world.Reservations[operation.Uses.Concat(operation.Makes).First(id => id.Kind == ObjectKind.Reservation)];
        if (world.Vcms[reservation.Vcm].Kind == VcmKind.OneToOne) counts.Reach("a one-to-one region was backed");
        if (reservation.Parts.Any(part => world.Memories[part.Memory].IsWrapped)) counts.Reach("wrapped memory was backed");
        if (reservation.Parts.Length > 1) counts.Reach("a reservation had several parts");
    }

    private static bool CutsLargeLeaf(Subject subject, World world, ObjectId vcm, AddressRange range) => world.TablesOf(vcm).Any(kind =>
        subject.Region(vcm).TryGetTable(subject.FormatOf(kind), out IPageTable? table)
        && kind != TableKind.Identity && subject.Tables.Read(table!.Root, TableKinds.StageOf(kind), table.Format.LevelCount).Leaves.Any(leaf =>
            leaf.ByteCount > World.PageBytes
            && new AddressRange(leaf.First.Value, leaf.First.Value + (leaf.ByteCount - 1)) is var whole
            && whole.Overlaps(range) && !range.Contains(whole)));

    private static bool IsOf(IotlbEntry entry, World world, ObjectId vcm, AddressRange range) =>
        entry.Fault == VtdFaultReason.None
        && range.Overlaps(new(entry.Range.First.Value, entry.Range.Last.Value))
        && world.MeaningOf(vcm, entry.Range.First.Value)?.Target == entry.Address.Value;
}
