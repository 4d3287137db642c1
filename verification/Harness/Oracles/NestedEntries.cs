using Platform;
using Vcmm.Spec;

namespace Harness.Oracles;

/// <summary>What may be kept of translations through a guest's table and the region's behind it.</summary>
internal static class NestedEntries
{
    /// <summary>
    /// Whether each page of what is kept is a way that the guest's table, as it says or has said and not told, and the region's lead, with no more rights. Where others have
    /// something in the place of the guest's tables it is enough that the region has it.
    /// </summary>
    public static bool IsLawful(Look look, AssociationState association, IovaRange range, PhysAddr first, bool reads, bool writes)
    {
        for (ulong offset = 0; offset < range.ByteCount; offset += World.PageBytes)
        {
            ulong address = range.First.Value + offset, target = first.Value + offset;
            bool isLawful = look.World.HasForeignTables(association)
                ? look.MappingsOf(association.Vcm).Concat(look.World.StaleOf(association.Vcm)).Any(mapping => IsBehind(mapping, target, reads, writes))
                : look.World.SeenThroughGuest(association, address).Any(seen => seen.Target == target && (seen.Read || !reads) && (seen.Write || !writes));
            if (!isLawful) return false;
        }

        return true;
    }

    /// <summary>What is lawful, for who reads of what is not.</summary>
    public static string Text(Look look, AssociationState association, IovaRange range)
    {
        string[] seen = [.. look.World.SeenThroughGuest(association, range.First.Value).Select(static seen => seen.ToString()).Distinct()];
        return seen.Length == 0 ? "nothing" : string.Join(" or ", seen);
    }

    private static bool IsBehind(Mapping mapping, ulong target, bool reads, bool writes) =>
        target >= mapping.Translation.Target && target - mapping.Translation.Target <= mapping.Range.Last - mapping.Range.First && (mapping.Translation.Read || !reads) && (mapping.Translation.Write || !writes);
}
