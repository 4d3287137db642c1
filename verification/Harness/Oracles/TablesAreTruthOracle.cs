using Harness.Operations;
using Harness.Running;
using IommuSim;
using Vcmm.Spec;
using BackedPart = Vcmm.Spec.BackedPart;
using Mapping = Vcmm.Spec.Mapping;
using Reservation = Vcmm.Reservation;

namespace Harness.Oracles;

/// <summary>
/// I2: the bytes of each table, decoded as the hardware does, map what the model maps and nothing else; and what the library says
/// of its reservations, which is an index of that, says the same. Where one of a region's tables is right and another is not, that is
/// I3: tables of different formats agree page by page.
/// </summary>
public sealed class TablesAreTruthOracle : IOracle
{
    /// <inheritdoc/>
    public IEnumerable<Violation> Check(Look look)
    {
        foreach (ObjectId vcm in look.RegionsWithTable)
        {
            Violation? wrong = null;
            int right = 0, tables = 0;
            foreach (TableKind kind in look.World.TablesOf(vcm))
            {
                tables++;
                Violation? found = CheckTable(look, vcm, kind);
                if (found is null) right++;
                wrong ??= found;
            }

            if (wrong is not null)
            {
                yield return right == 0 ? wrong : wrong with { Invariant = Invariant.SharedTable };
                continue;
            }

            if (tables == 1) continue;
            look.Counts.Check(Invariant.SharedTable);
            look.Counts.Reach("a region had tables of several formats");
        }

        foreach ((ObjectId id, ReservationState reservation) in look.World.Reservations)
        {
            if (!reservation.IsEnded && CheckIndex(look, id, reservation) is { } wrong) yield return wrong;
        }
    }

    private static Violation? CheckTable(Look look, ObjectId vcm, TableKind kind)
    {
        look.Counts.Check(Invariant.TablesAreTruth);
        string name = $"the {OperationText.Write(kind)} table of {vcm}";
        if (look.TableOf(vcm, kind) is not { } table) return new(Invariant.TablesAreTruth, $"{name} is not there", "a region has one for each format of its associations");
        if (table.Leaves.Any(leaf => leaf.ByteCount > World.PageBytes)) look.Counts.Reach("a large leaf is in a table");
        List<Mapping> found = Look.Merge(table.Leaves.Select(leaf => ToMapping(leaf, kind)));
        IReadOnlyList<Mapping> expected = look.MappingsOf(vcm, kind);
        if (expected.Any(static mapping => mapping.Translation.SupervisorOnly)) look.Counts.Reach("a supervisor-only page is in a table");
        if (expected.Any(static mapping => mapping.Translation.Cache != default)) look.Counts.Reach("a cache policy is in a table");
        if (!found.SequenceEqual(expected)) return new(Invariant.TablesAreTruth, $"{name} maps [{Text(found)}]", $"[{Text(expected)}]");
        foreach (MalformedEntry entry in table.Malformed)
            return new(Invariant.TablesAreTruth, $"{name} has at {entry.EntryAddress} an entry of level {entry.Level} that the hardware refuses: {entry.Reason}", "none");
        return null;
    }

    private static Violation? CheckIndex(Look look, ObjectId id, ReservationState reservation)
    {
        Reservation handle = look.Subject.Reservation(id, reservation);
        if (!handle.IsAlive) return new(Invariant.TablesAreTruth, $"{id} has ended", $"{id} is {reservation.Range}");
        Attributes attributes = Subject.Seen(handle.Attributes);
        if (attributes != reservation.Attributes) return new(Invariant.TablesAreTruth, $"{id} says that it grants {OperationText.Write(attributes)}", OperationText.Write(reservation.Attributes));
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

    /// <summary>Second-stage tables say nothing of execution, nor of privilege and caches.</summary>
    private static Mapping ToMapping(DecodedLeaf leaf, TableKind kind) => new(
        new(leaf.First.Value, leaf.First.Value + (leaf.ByteCount - 1)),
        new(leaf.Address.Value, leaf.Read, leaf.Write, leaf.Execute && kind != TableKind.SecondStage, !leaf.User, TableKinds.CacheOf(leaf.PatIndex)));

    private static string Text(IEnumerable<Mapping> mappings) => string.Join(", ", mappings.Select(mapping => $"{mapping.Range} -> {mapping.Translation}"));
}
