using Harness.Running;
using IommuSim;
using Vcmm.Spec;

namespace Harness.Oracles;

/// <summary>I2: the bytes of each table, decoded as the hardware does, map what the model maps and nothing else.</summary>
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
            List<Mapping> found = Merge(table.Leaves.Select(ToMapping));
            List<Mapping> expected = Merge(look.World.MappingsOf(vcm));
            if (!found.SequenceEqual(expected)) return new(Invariant.TablesAreTruth, $"the table of {vcm} maps [{Text(found)}]", $"[{Text(expected)}]");
            foreach (MalformedEntry entry in table.Malformed)
                return new(Invariant.TablesAreTruth, $"the table of {vcm} has at {entry.EntryAddress} an entry of level {entry.Level} that the hardware refuses: {entry.Reason}", "none");
        }

        return null;
    }

    private static Mapping ToMapping(DecodedLeaf leaf) =>
        new(new(leaf.First.Value, leaf.First.Value + (leaf.ByteCount - 1)), new(leaf.Address.Value, leaf.Read, leaf.Write));

    /// <summary>Neighbours that continue each other, as one: how a mapping is cut into leaves is not the model's.</summary>
    private static List<Mapping> Merge(IEnumerable<Mapping> mappings)
    {
        var merged = new List<Mapping>();
        foreach (Mapping mapping in mappings)
        {
            if (merged.Count != 0 && merged[^1] is var last && last.Range.Last + 1 == mapping.Range.First
                && last.Translation.Advance(mapping.Range.First - last.Range.First) == mapping.Translation)
                merged[^1] = new(new(last.Range.First, mapping.Range.Last), last.Translation);
            else merged.Add(mapping);
        }

        return merged;
    }

    private static string Text(IEnumerable<Mapping> mappings) => string.Join(", ", mappings.Select(mapping => $"{mapping.Range} -> {mapping.Translation}"));
}
