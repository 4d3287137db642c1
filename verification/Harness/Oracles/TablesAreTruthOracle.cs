using Harness.Running;
using IommuSim;
using Vcmm.Spec;
using BackedPart = Vcmm.Spec.BackedPart;
using Mapping = Vcmm.Spec.Mapping;
using Reservation = Vcmm.Reservation;

namespace Harness.Oracles;

/// <summary>
/// I2: the bytes of each table, decoded as the hardware does, map what the model maps and nothing else; and what the library says
/// of its reservations, which is an index of that, says the same.
/// </summary>
public sealed class TablesAreTruthOracle : IOracle
{
    /// <inheritdoc/>
    public Violation? Check(Look look)
    {
        foreach (ObjectId vcm in look.RegionsWithTable)
        {
            look.Counts.Check(Invariant.TablesAreTruth);
            if (look.TableOf(vcm) is not { } table) return new(Invariant.TablesAreTruth, $"{vcm} has no table", "a region with an association has one");
            if (table.Leaves.Any(leaf => leaf.ByteCount > World.PageBytes)) look.Counts.Reach("a large leaf is in a table");
            List<Mapping> found = Look.Merge(table.Leaves.Select(ToMapping));
            IReadOnlyList<Mapping> expected = look.MappingsOf(vcm);
            if (!found.SequenceEqual(expected)) return new(Invariant.TablesAreTruth, $"the table of {vcm} maps [{Text(found)}]", $"[{Text(expected)}]");
            foreach (MalformedEntry entry in table.Malformed)
                return new(Invariant.TablesAreTruth, $"the table of {vcm} has at {entry.EntryAddress} an entry of level {entry.Level} that the hardware refuses: {entry.Reason}", "none");
        }

        foreach ((ObjectId id, ReservationState reservation) in look.World.Reservations)
        {
            if (!reservation.IsEnded && CheckIndex(look, id, reservation) is { } wrong) return wrong;
        }

        return null;
    }

    private static Violation? CheckIndex(Look look, ObjectId id, ReservationState reservation)
    {
        Reservation handle = look.Subject.Reservation(id, reservation);
        if (!handle.IsAlive) return new(Invariant.TablesAreTruth, $"{id} has ended", $"{id} is {reservation.Range}");
        if ((Permissions)handle.Access != reservation.Permissions) return new(Invariant.TablesAreTruth, $"{id} says that it grants {handle.Attributes}", $"{reservation.Permissions}");
        List<BackedPart> found = Merge(handle.BackedParts.Select(part => new BackedPart(part.Offset, look.Subject.NameOf(part.Memory) ?? default, part.MemoryOffset, part.ByteCount)));
        List<BackedPart> expected = Merge(reservation.Parts);
        return found.SequenceEqual(expected)
            ? null
            : new(Invariant.TablesAreTruth, $"{id} says that it is backed by [{string.Join(", ", found)}]", $"[{string.Join(", ", expected)}]");
    }

    /// <summary>Parts that continue each other, as one.</summary>
    private static List<BackedPart> Merge(IEnumerable<BackedPart> parts)
    {
        var merged = new List<BackedPart>();
        foreach (BackedPart part in parts)
        {
            if (merged.Count != 0 && merged[^1] is var last && last.Memory == part.Memory && last.End == part.Offset && last.MemoryOffset + last.ByteCount == part.MemoryOffset)
                merged[^1] = last with { ByteCount = last.ByteCount + part.ByteCount };
            else merged.Add(part);
        }

        return merged;
    }

    private static Mapping ToMapping(DecodedLeaf leaf) =>
        new(new(leaf.First.Value, leaf.First.Value + (leaf.ByteCount - 1)), new(leaf.Address.Value, leaf.Read, leaf.Write));

    private static string Text(IEnumerable<Mapping> mappings) => string.Join(", ", mappings.Select(mapping => $"{mapping.Range} -> {mapping.Translation}"));
}
