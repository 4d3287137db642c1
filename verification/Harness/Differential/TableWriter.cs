using System.Collections.Immutable;
using CsCheck;

namespace Harness.Differential;

/// <summary>Writes the tables of a case, and knows what is where.</summary>
internal sealed partial class TableWriter(PCG pcg, bool isScalable, bool hasFirstStage = false)
{
    private const ulong Rw = 3, PageSize = 1 << 7;
    private const ulong Ignored = 0xBFFUL << 52 | 0x77C;
    private static readonly ulong[] Indices = [0, 1, 2, 511];

    private readonly Dictionary<ulong, ulong> _memory = [];
    private readonly List<Tree> _trees = [];
    private readonly List<(ulong Address, int Level)> _entries = [];
    private readonly int[] _usedTables = new int[5];
    private readonly int[] _treeOfDevice = new int[Ground.DeviceCount];
    private ulong _freshDomain = 0x100;

    /// <summary>Tables of one domain.</summary>
    private sealed record Tree(ulong Root, int Levels, ulong Domain)
    {
        public List<ulong> Iovas { get; } = [];

        /// <summary>Of first-stage tables, by which they are reached.</summary>
        public ulong Pasid { get; init; }
    }

    public bool IsScalable => isScalable;

    /// <summary>Whether the tables are first-stage ones.</summary>
    public bool HasFirstStage => hasFirstStage;

    public ImmutableArray<FuzzStep>.Builder Steps { get; } = ImmutableArray.CreateBuilder<FuzzStep>();

    public ulong GoodRoot => Ground.Root | (isScalable ? 1UL << 10 : 0);

    public ulong AnyDomain() => pcg.Next(4) == 0 ? pcg.Next(0x10000) : Pick(_trees).Domain;

    public ulong AnyRoot() => pcg.Next(6) switch
    {
        0 => Ground.Nowhere | (GoodRoot & 0xFFF),
        1 => GoodRoot | 3UL << 10,
        2 => GoodRoot ^ 1UL << 10,
        3 => Ground.Contexts | (GoodRoot & 0xFFF),
        4 => GoodRoot | 1UL << (int)pcg.Next(10),
        _ => GoodRoot,
    };

    public void Build()
    {
        int trees = 1 + (int)pcg.Next(3);
        for (int i = 0; i < trees; i++)
        {
            int levels = !hasFirstStage && pcg.Next(4) == 0 ? 3 : 4;
            var tree = new Tree(NewTable(levels), levels, (ulong)i + 1);
            _trees.Add(tree);
            Fill(tree, tree.Root, levels, 0);
            if (tree.Iovas.Count == 0) tree.Iovas.Add(0);
        }

        for (int device = 0; device < Ground.DeviceCount; device++) _treeOfDevice[device] = (int)pcg.Next((uint)trees);
        if (isScalable) BuildScalable();
        else BuildLegacy();
    }

    /// <summary>An address: mostly one that the device's tables say something of.</summary>
    public ulong AnyIova(int device)
    {
        Tree tree = pcg.Next(8) == 0 ? Pick(_trees) : _trees[_treeOfDevice[device]];
        ulong word = pcg.Next(1024) * 4;
        return pcg.Next(24) switch
        {
            0 => (pcg.Next64() & ~3UL),
            1 => (1UL << 48) + pcg.Next(2) * 0x1000 + word,
            2 => 0xFFFF_FFFF_F000 + word,
            3 => (1UL << 39) - 0x1000 * pcg.Next(3) + word,
            4 => 0xFEE0_0000 + pcg.Next(256) * 0x1000 + word,
            5 => Ground.Data + pcg.Next(Ground.FrameCount) * 0x1000 + word,
            6 or 7 => unchecked(Pick(tree.Iovas) + 0x1000) + word,
            8 => unchecked(Pick(tree.Iovas) - 0x1000) + word,
            9 => unchecked(Pick(tree.Iovas) + (ulong)pcg.Next(512) * 0x1000) + word,
            _ => Pick(tree.Iovas) + word,
        };
    }

    /// <summary>Changes one entry of any kind.</summary>
    public void Mutate() => Mutate(out _, out _);

    /// <summary>Changes one entry, and says what makes it count; null: everything must be invalidated.</summary>
    public FuzzStep.Cover? MutateAndCover()
    {
        Mutate(out ulong[] changed, out ulong[] old);
        return CoverOf(changed, old);
    }

    private void Mutate(out ulong[] changed, out ulong[] old)
    {
        if (pcg.Next(4) == 0)
        {
            if (IsScalable) MutateScalable(out changed, out old);
            else MutateContext(out changed, out old);
            return;
        }

        (ulong address, int level) = Pick(_entries);
        ulong before = _memory.GetValueOrDefault(address);
        ulong value = pcg.Next(4) switch
        {
            0 => before ^ 1UL << (int)pcg.Next(64),
            1 => before ^ pcg.Next(4),
            _ => Entry(level, level > 1 && pcg.Next(2) == 0 ? before & 0xF_FFFF_FFFF_F000 : null),
        };
        Set(address, Tame(value, level));
        changed = [address];
        old = [before];
    }

    private void Set(ulong address, ulong value)
    {
        _memory[address] = value;
        Steps.Add(new FuzzStep.Set(address, value));
    }

    private T Pick<T>(IReadOnlyList<T> list) => list[(int)pcg.Next((uint)list.Count)];

    private ulong NewTable(int level)
    {
        (ulong first, int count) = level switch
        {
            4 => (Ground.Level4, Ground.TablesOfLevel),
            3 => (Ground.Level3, Ground.TablesOfLevel),
            2 => (Ground.Level2, Ground.TablesOfLevel),
            _ => (Ground.Level1, Ground.LastLevelTables),
        };
        return first + (ulong)(_usedTables[level]++ % count) * Ground.PageBytes;
    }

    private void Fill(Tree tree, ulong table, int level, ulong iova)
    {
        int shift = 12 + (level - 1) * 9;
        uint entries = level == 1 ? 2 + pcg.Next(4) : 1 + pcg.Next(2);
        for (uint i = 0; i < entries; i++)
        {
            ulong index = hasFirstStage ? FirstStageIndex(level, iova) : level == 1 && pcg.Next(3) != 0 ? pcg.Next(8) : Pick(Indices);
            ulong address = table + index * 8, first = iova | index << shift | (hasFirstStage ? SignOf(level, index) : 0);
            ulong? below = level > 1 ? NewTable(level - 1) : null;
            ulong value = Tame(Entry(level, below), level);
            Set(address, value);
            _entries.Add((address, level));
            bool isLeaf = level == 1 || (value & PageSize) != 0;
            if (isLeaf || pcg.Next(6) == 0) tree.Iovas.Add(isLeaf && level == 3 ? first + Ground.Data : first);
            if (!isLeaf && below is { } next && (value & 0xF_FFFF_FFFF_F000) == next) Fill(tree, next, level - 1, first);
        }
    }

    private ulong Tame(ulong entry, int level) => hasFirstStage ? Ground.TameFirstStage(entry, level) : Ground.Tame(entry);

    /// <summary>An entry of a table, mostly good.</summary>
    private ulong Entry(int level, ulong? below)
    {
        if (hasFirstStage) return FirstStageEntry(level, below);
        bool isLarge = level is 2 or 3 && pcg.Next(8) == 0;
        ulong target = level == 1 ? Ground.Data + pcg.Next(Ground.FrameCount) * Ground.PageBytes
            : isLarge ? (level == 2 ? Ground.Large : 0) | PageSize
            : below ?? AnyTable();
        return pcg.Next(100) switch
        {
            < 86 => target | Rw,
            < 88 => target | 1,
            < 90 => target | 2,
            90 => target & ~Rw | Ignored & pcg.Next64(),
            91 => 0,
            92 => target | Rw | (Ignored & pcg.Next64()),
            93 => target | Rw | 1UL << (int)(48 + pcg.Next(4)),
            94 => target | 1UL + pcg.Next(2) | (pcg.Next(3) switch { 0 => 1UL << 62, 1 => 1UL << 11, _ => PageSize }),
            95 => Ground.Nowhere | Rw | (pcg.Next(2) == 0 ? 0 : pcg.Next64() & 0x7FFF_0000_0000),
            96 => AnyTable() | Rw,
            97 => target | Rw | PageSize | pcg.Next(512) << 12,
            98 => target | Rw | 1UL << (int)pcg.Next(64),
            _ => pcg.Next64(),
        };
    }

    private ulong AnyTable() => hasFirstStage ? AnyFlaggedTable() : Ground.FirstTable + pcg.Next((uint)((Ground.Queue - Ground.FirstTable) / Ground.PageBytes)) * Ground.PageBytes;
}
