using Platform;
using Vcmm;
using Vcmm.Tables;

namespace Properties.Tables;

/// <summary>
/// The contract that every page-table format keeps with the engine. A format's own class adds what is typed from the
/// architecture's tables: rows of entries, and what each bit of an entry is.
/// </summary>
public abstract class FormatContract<TFormat>
    where TFormat : struct, IPageTableFormat
{
    private const int Seed = 0x5EED;

    /// <summary>A leaf: its address, level and attributes, and the entry.</summary>
    protected abstract IEnumerable<(ulong Address, int Level, MappingAttributes Attributes, ulong Entry)> LeafRows { get; }

    /// <summary>The address of a table, and the entry that points at it.</summary>
    protected abstract IEnumerable<(ulong Table, ulong Entry)> TableRows { get; }

    /// <summary>The accesses that a leaf can grant alone.</summary>
    protected abstract Access[] Accesses { get; }

    protected abstract bool CanBeSupervisorOnly { get; }

    /// <summary>
    /// What each bit of a leaf is, from bit 63 down to bit 0: <c>A</c> address, <c>m</c> has a meaning for kind or attributes,
    /// <c>u</c> set by hardware that uses it, <c>r</c> reserved, <c>i</c> ignored, or of no meaning to this library.
    /// </summary>
    protected abstract string LeafBits(int level);

    /// <summary>The same for an entry that points at a table.</summary>
    protected abstract string TableBits(int level);

    [Fact]
    public void Leaves_are_the_entries_of_the_architecture()
    {
        Assert.NotEmpty(LeafRows);
        foreach ((ulong address, int level, MappingAttributes attributes, ulong entry) in LeafRows)
        {
            Assert.Equal($"0x{entry:x16}", $"0x{TFormat.EncodeLeaf(new(address), level, attributes):x16}");
            Assert.Equal(EntryKind.Leaf, TFormat.Classify(entry, level));
            Assert.Equal(new PhysAddr(address), TFormat.LeafAddress(entry, level));
            Assert.Equal(attributes, TFormat.AttributesOf(entry, level));
        }
    }

    [Fact]
    public void Pointers_to_tables_are_the_entries_of_the_architecture()
    {
        Assert.NotEmpty(TableRows);
        foreach ((ulong table, ulong entry) in TableRows)
        {
            Assert.Equal($"0x{entry:x16}", $"0x{TFormat.EncodeTable(new(table)):x16}");
            Assert.Equal(new PhysAddr(table), TFormat.TableAddress(entry));
            for (int level = 2; level <= TFormat.MaxLevelCount; level++) Assert.Equal(EntryKind.Table, TFormat.Classify(entry, level));
        }
    }

    [Fact]
    public void Every_bit_of_a_leaf_is_what_the_architecture_says()
    {
        foreach (int level in Levels())
        {
            ulong leaf = TFormat.EncodeLeaf(default, level, Access.ReadWrite);
            MappingAttributes attributes = TFormat.AttributesOf(leaf, level);
            string bits = LeafBits(level);
            Assert.Equal(64, bits.Length);
            for (int bit = 0; bit < 64; bit++)
            {
                ulong mask = 1UL << bit;
                ulong entry = leaf ^ mask;
                bool sameKind = TFormat.Classify(entry, level) == EntryKind.Leaf;
                bool sameAttributes = sameKind && TFormat.AttributesOf(entry, level) == attributes;
                bool isAddress = TFormat.LeafAddress(entry, level).Value == mask;
                bool isReserved = (TFormat.ReservedBits(EntryKind.Leaf, level) & mask) != 0;
                bool isUsed = ((TFormat.AccessedBit | TFormat.DirtyBit) & mask) != 0;
                char kind = bits[63 - bit];
                string what = $"bit {bit} of a leaf at level {level} is {kind}";
                Assert.True((kind == 'm') != sameAttributes, what);
                Assert.True((kind == 'A') == isAddress && (isAddress || TFormat.LeafAddress(entry, level) == default), what);
                Assert.True((kind == 'r') == isReserved, what);
                Assert.True((kind == 'u') == isUsed, what);
            }
        }
    }

    [Fact]
    public void Every_bit_of_a_pointer_to_a_table_is_what_the_architecture_says()
    {
        for (int level = 2; level <= TFormat.MaxLevelCount; level++)
        {
            ulong pointer = TFormat.EncodeTable(default);
            string bits = TableBits(level);
            Assert.Equal(64, bits.Length);
            for (int bit = 0; bit < 64; bit++)
            {
                ulong mask = 1UL << bit;
                ulong entry = pointer ^ mask;
                char kind = bits[63 - bit];
                string what = $"bit {bit} of a pointer at level {level} is {kind}";
                Assert.True((kind == 'm') != (TFormat.Classify(entry, level) == EntryKind.Table), what);
                Assert.True(TFormat.TableAddress(entry).Value == (kind == 'A' ? mask : 0), what);
                Assert.True((kind == 'r') == ((TFormat.ReservedBits(EntryKind.Table, level) & mask) != 0), what);
            }
        }
    }

    [Fact]
    public void A_leaf_is_read_as_it_was_written_and_has_no_bit_that_is_not_its_own()
    {
        var random = new Random(Seed);
        MappingAttributes[] all = [.. Expressible()];
        int[] levels = [.. Levels()];
        for (int i = 0; i < 4000; i++)
        {
            int level = levels[random.Next(levels.Length)];
            ulong size = Size(level);
            MappingAttributes attributes = all[random.Next(all.Length)];
            var address = new PhysAddr((ulong)random.NextInt64() & TFormat.LastPhysAddr.Value & ~(size - 1));
            ulong entry = TFormat.EncodeLeaf(address, level, attributes);
            Assert.Equal(EntryKind.Leaf, TFormat.Classify(entry, level));
            Assert.Equal(address, TFormat.LeafAddress(entry, level));
            Assert.Equal(0UL, entry & (TFormat.ReservedBits(EntryKind.Leaf, level) | TFormat.AccessedBit | TFormat.DirtyBit));

            MappingAttributes read = TFormat.AttributesOf(entry, level);
            // What protects is never lost; a cache policy may become another, which then stays.
            Assert.Equal(attributes with { Cache = default }, read with { Cache = default });
            Assert.Equal(entry, TFormat.EncodeLeaf(address, level, read));
            // The engine counts from one leaf to the next.
            ulong step = unchecked(TFormat.EncodeLeaf(new(size), level, attributes) - TFormat.EncodeLeaf(default, level, attributes));
            if (address.Value + size < TFormat.LastPhysAddr.Value)
                Assert.Equal(unchecked(entry + step), TFormat.EncodeLeaf(address + size, level, attributes));
        }
    }

    [Fact]
    public void Different_attributes_have_different_entries()
    {
        foreach (int level in Levels())
        {
            var read = new Dictionary<ulong, MappingAttributes>();
            foreach (MappingAttributes attributes in Expressible())
            {
                ulong entry = TFormat.EncodeLeaf(default, level, attributes);
                MappingAttributes expected = attributes with { Cache = TFormat.AttributesOf(entry, level).Cache };
                if (read.TryGetValue(entry, out MappingAttributes other)) Assert.Equal(other, expected);
                read[entry] = expected;
            }

            Assert.True(read.Count >= Accesses.Length * (CanBeSupervisorOnly ? 2 : 1));
        }
    }

    [Fact]
    public void What_can_be_expressed_is_what_the_architecture_can_protect()
    {
        foreach (MappingAttributes attributes in AllAttributes())
        {
            bool expected = Accesses.Contains(attributes.Access) && (CanBeSupervisorOnly || !attributes.SupervisorOnly) && !attributes.Secure;
            Assert.True(expected == TFormat.CanExpress(attributes), $"{attributes}");
        }
    }

    [Fact]
    public void Nothing_is_absent_and_a_table_is_none_at_the_lowest_level()
    {
        for (int level = 1; level <= TFormat.MaxLevelCount; level++) Assert.Equal(EntryKind.Absent, TFormat.Classify(0, level));
        Assert.True((TFormat.LeafLevels & 0b10) != 0);
        Assert.InRange(TFormat.MinLevelCount, 1, TFormat.MaxLevelCount);
        Assert.Equal(0UL, (TFormat.AccessedBit | TFormat.DirtyBit) & TFormat.EncodeTable(new(TFormat.LastPhysAddr.Value & ~0xFFFUL)));
    }

    /// <summary>All attributes that the engine may be given.</summary>
    internal static IEnumerable<MappingAttributes> Expressible() => AllAttributes().Where(TFormat.CanExpress);

    private static IEnumerable<MappingAttributes> AllAttributes() =>
        from access in Enumerable.Range(1, 7)
        from supervisorOnly in new[] { false, true }
        from secure in new[] { false, true }
        from cache in Enum.GetValues<CachePolicy>()
        select new MappingAttributes((Access)access, supervisorOnly, secure, cache);

    private static IEnumerable<int> Levels() => Enumerable.Range(1, TFormat.MaxLevelCount).Where(level => (TFormat.LeafLevels >> level & 1) != 0);

    private static ulong Size(int level) => 1UL << (TFormat.GranuleLog2 + TFormat.IndexBits * (level - 1));
}
