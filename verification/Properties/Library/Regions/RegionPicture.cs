using System.Text;
using Platform;
using Vcmm;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>What can be seen of regions from outside, as text that two moments can be compared by.</summary>
internal sealed class RegionPicture
{
    private readonly List<PhysicalAllocation> _memories = [];
    private readonly StringBuilder _text = new();

    private RegionPicture()
    {
    }

    /// <summary>Reservations, bounds, backings and attributes, in the order of addresses; memory by the order in which it appears.</summary>
    public static string Of(IEnumerable<Vcm> regions, IEnumerable<PhysicalAllocation> memories)
    {
        var picture = new RegionPicture();
        picture._memories.AddRange(memories);
        foreach (Vcm vcm in regions) picture.Add(vcm);
        return picture._text.ToString();
    }

    /// <summary>
    /// Every table of the region, decoded from memory, says what the backings say, no more and no less, and every backed part is
    /// found from its memory.
    /// </summary>
    /// <returns>How many pages the tables are made of.</returns>
    public static int AssertTablesAgree(VcmManager manager, Vcm vcm, IEnumerable<TableFormat> formats)
    {
        Leaf[] expected = Joined(vcm.Reservations.SelectMany(LeavesOf));
        int pages = 0;
        foreach (TableFormat format in formats)
        {
            if (!vcm.TryGetTable(format, out IPageTable? table)) continue;
            TableAudit audit = table!.Audit();
            Assert.Empty(audit.Malformed);
            Leaf[] mapped = Joined(audit.Mapping.Select(static leaf => leaf with { Attributes = Protection(leaf.Attributes) }));
            if (!expected.SequenceEqual(mapped)) Assert.Fail($"{format}: the table says {string.Join(", ", mapped)}, the backings say {string.Join(", ", expected)}");
            pages += audit.TablePages.Count;
        }

        foreach (Reservation reservation in vcm.Reservations) AssertFoundFromMemory(manager, reservation);
        return pages;
    }

    /// <summary>What the backed parts of a reservation should be in a table.</summary>
    public static IEnumerable<Leaf> LeavesOf(Reservation reservation)
    {
        Iova first = reservation.Range.First;
        MappingAttributes attributes = Protection(reservation.Attributes);
        foreach (BackedPart part in reservation.BackedParts)
        {
            for (ulong done = 0; done < part.ByteCount; done += VcmManager.PageBytes)
            {
                IovaRange page = IovaRange.FromLength(first + (part.Offset + done), VcmManager.PageBytes);
                yield return new(page, part.Memory.AddressAt(part.MemoryOffset + done), attributes);
            }
        }
    }

    /// <summary>Leaves that continue each other are one.</summary>
    public static Leaf[] Joined(IEnumerable<Leaf> leaves)
    {
        var joined = new List<Leaf>();
        foreach (Leaf leaf in leaves)
        {
            bool continues = joined.Count != 0
                && joined[^1].Range.Last.Value + 1 == leaf.Range.First.Value
                && joined[^1].First.Value + joined[^1].Range.ByteCount == leaf.First.Value
                && joined[^1].Attributes == leaf.Attributes;
            if (continues) joined[^1] = joined[^1] with { Range = new(joined[^1].Range.First, leaf.Range.Last) };
            else joined.Add(leaf);
        }

        return [.. joined];
    }

    /// <summary>A format need not be able to say a cache policy.</summary>
    private static MappingAttributes Protection(MappingAttributes attributes) => attributes with { Cache = default };

    private static void AssertFoundFromMemory(VcmManager manager, Reservation reservation)
    {
        foreach (BackedPart part in reservation.BackedParts)
        {
            foreach (ulong at in (ulong[])[0, part.ByteCount - 1])
            {
                var mappings = new List<Mapping>();
                Assert.Equal(VcmmError.None, manager.TryFindMappings(part.Memory.AddressAt(part.MemoryOffset + at), mappings));
                Assert.Contains(new(reservation, reservation.Range.First + (part.Offset + at)), mappings);
                Assert.Distinct(mappings);
            }
        }
    }

    private void Add(Vcm vcm)
    {
        _text.AppendLine(vcm.ToString());
        foreach (Bound bound in vcm.Bounds) _text.AppendLine($"  {bound}");
        foreach (Reservation reservation in vcm.Reservations)
        {
            _text.Append($"  {reservation} in {reservation.Bound?.ToString() ?? "the region"}:");
            foreach (BackedPart part in reservation.BackedParts)
                _text.Append($" {part.ByteCount:x} at {part.Offset:x} by {NameOf(part.Memory)} at {part.MemoryOffset:x}");
            _text.AppendLine();
        }
    }

    private string NameOf(PhysicalAllocation memory)
    {
        if (!_memories.Contains(memory)) _memories.Add(memory);
        return $"m{_memories.IndexOf(memory)}";
    }
}
