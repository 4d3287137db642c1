using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Cpu;
using Vcmm.Dma;
using Vcmm.Invalidations;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>The parts that need no manager, each with something in it, and what of each is over or somebody else's.</summary>
internal sealed class ThinHostileWorld
{
    public const ulong Page = VcmManager.PageBytes;
    public const ulong Large = 2UL << 20;

    /// <summary>Numbers that nobody should say, and some that make sense.</summary>
    public static readonly ulong[] Numbers =
        [Page, 0, 1, 4095, 4097, 2 * Page, 16 * Page, 17 * Page, Large, Large + Page, 1UL << 31, 1UL << 47, 1UL << 48, 1UL << 52, 1UL << 63, (1UL << 63) - Page, ulong.MaxValue - 4095, ulong.MaxValue];

    public static readonly (ulong First, ulong Last)[] Pairs =
    [
        (0, Page - 1), (0, 0), (1, Page), (Page, 2 * Page), (16 * Page, 17 * Page - 1), (16 * Page, 20 * Page - 1), (18 * Page, 40 * Page - 1), (Large + Page, Large + 2 * Page - 1),
        (Large, 2 * Large - 1), (0, (1UL << 47) - 1), (0, (1UL << 48) - 1), (1UL << 47, (1UL << 48) - 1), (1UL << 48, (1UL << 48) + Page - 1), ((1UL << 48) - Page, (1UL << 48) + Page - 1),
        ((1UL << 52) - Page, (1UL << 52) + Page - 1), (1UL << 63, ulong.MaxValue), (ulong.MaxValue << 47, ulong.MaxValue), (ulong.MaxValue - 4095, ulong.MaxValue), (ulong.MaxValue, ulong.MaxValue), (0, ulong.MaxValue),
    ];

    public static readonly MappingAttributes[] Attributes =
        [Access.ReadWrite, Access.Read, Access.None, (Access)8, (Access)255, Access.Execute, new(Access.Read, SupervisorOnly: true), new(Access.Read, Secure: true), new(Access.Read, Cache: (CachePolicy)255)];

    private readonly List<Look> _looks = [];

    public ThinHostileWorld(RamBlock ram)
    {
        Memory = ram.Port;
        Spare = ram.Range.First;
        ulong half = ram.Range.First.Value + ram.Range.ByteCount / 2;
        Banks = [new(new(Spare + 16 * Page, new(half - 1)), new("near"), true), new(new(new(half), ram.Range.Last), new("far"), false)];
        Frames = new(Banks);
        Iommu = new(Memory, new Fuse(), LedgerIommu.SecondStage, LedgerIommu.FirstStage) { ReservedRegions = [IovaRange.FromLength(new(40 * Page), 2 * Page)] };
        Domains = [Create(LedgerIommu.SecondStage), Create(LedgerIommu.FirstStage), IommuDomain.Create(new NoIommu(), Frames)];
        Ended = Create(LedgerIommu.SecondStage);
        EndedGather = Ended.CreateGather();
        Ended.Free();
        for (int i = 0; i < 3; i++)
        {
            IommuDomain domain = Domains[i];
            if (i < 2) domain.Attach(new((uint)i + 1));
            // One-to-one in all of them.
            domain.Map(new(16 * Page), PhysRange.FromLength(new(16 * Page), 4 * Page), Access.ReadWrite);
            domain.Map(new(Large), PhysRange.FromLength(new(Large), Large), Access.ReadWrite);
            if (i < 2) _looks.Add(new($"domain {i}", Iommu.AdoptTable(domain.Format, domain.Root), Memory));
        }

        Gather = Domains[0].CreateGather();
        ForeignGather = Domains[1].CreateGather();
        HeldGather = Domains[0].CreateGather();
        Domains[0].Map(new(50 * Page), PhysRange.FromLength(new(0), Page), Access.Read);
        Domains[0].TryUnmap(IovaRange.FromLength(new(50 * Page), Page), HeldGather);
        Domains[0].TryDefer(HeldGather, Queue);

        var addresses = new RangeAllocator(IovaRange.FromLength(new(64 * Page), 64 * Page));
        Mapping = new(Domains[0], addresses, Memory, Frames);
        Buffer = Mapping.MapSingle(new(7 * Page + 5), 100, DmaDirection.ToDevice);
        Coherent = Mapping.AllocateCoherent(3 * Page).Address;
        Mapping.Unmap(Mapping.MapSingle(new(0), Page, DmaDirection.ToDevice), Page);

        Cpu = new(Port, Memory);
        Cpu.TryCreateDomain(out DomainId tag);
        Tag = tag;
        CpuTable = Create(Cpu);
        Tables = [CreateTable(LedgerIommu.SecondStage), CreateTable(LedgerIommu.FirstStage), new IdentityTable()];
        foreach (IPageTable table in Tables)
        {
            MapInto(table, 16 * Page, 4 * Page);
            MapInto(table, Large, Large);
            _looks.Add(new(table.Format.ToString(), table, Memory));
        }

        Ranges = new(new RangeAllocator(IovaRange.FromLength(new(Page), 64 * Page)), slotCount: 1);
        Ranges.TryAllocateAt(IovaRange.FromLength(new(16 * Page), Page));
        Ranges.TryAllocate(Page, Page, out IovaRange given);
        Ranges.TryFree(given);
        Pool = new();
    }

    public Ram Memory { get; }

    /// <summary>64 KiB that are in no bank.</summary>
    public PhysAddr Spare { get; }

    public MemoryBank[] Banks { get; }

    public BankedFrames Frames { get; }

    public LedgerIommu Iommu { get; }

    /// <summary>Second stage, first stage, one-to-one.</summary>
    public IommuDomain[] Domains { get; }

    public IommuDomain Ended { get; }

    public UnmapGather Gather { get; }

    public UnmapGather ForeignGather { get; }

    /// <summary>In the queue.</summary>
    public UnmapGather HeldGather { get; }

    public UnmapGather EndedGather { get; }

    public FlushQueue Queue { get; } = new(new() { Time = new Cli.FakeClock() });

    public DmaMapping<Ram> Mapping { get; }

    public Iova Buffer { get; }

    public Iova Coherent { get; }

    public AcceptingCpus Port { get; } = new();

    public CpuMmu<X86FirstStage, Ram> Cpu { get; }

    public DomainId Tag { get; }

    public IPageTable CpuTable { get; }

    /// <summary>The engine with two formats, and the table that has no bytes.</summary>
    public IPageTable[] Tables { get; }

    public CachedRangeAllocator Ranges { get; }

    public TablePagePool Pool { get; }

    /// <summary>Everything that a refusal must not change.</summary>
    public string Picture => string.Join(
        Environment.NewLine,
        // The third domain's table is in no memory.
        string.Join(' ', ((ulong[])[0, 16 * Page, 17 * Page, 19 * Page, 20 * Page, 32 * Page, Large, Large + Page, 2 * Large - 1, 2 * Large]).Select(at => Domains[2].TryTranslate(new(at), out Translation found) == VcmmError.None ? $"{found}" : "-")),
        string.Join(Environment.NewLine, Looks));

    private IEnumerable<string> Looks =>
        _looks.Select(look => look.Text)
            .Append($"free {string.Join(' ', Banks.Select(bank => Frames.FreeBytesOf(bank)))}; {Iommu}; {Queue.Count} wait, {Gather.Count} gathered, {Mapping.Count} buffers; {string.Join(' ', Port.Loaded)}; {Pool.Count} pages");

    /// <summary>Fills a pool with what a map needs.</summary>
    public TablePagePool PoolFor(IPageTable table, Iova first, ReadOnlySpan<PhysRange> segments)
    {
        var pool = new TablePagePool();
        Assert.Equal(VcmmError.None, pool.TryFill(Frames, Page, table.CountMissingTables(first, segments)));
        return pool;
    }

    private void MapInto(IPageTable table, ulong first, ulong byteCount)
    {
        PhysRange[] segments = [PhysRange.FromLength(new(first), byteCount)];
        table.Map(new(first), segments, Access.ReadWrite, PoolFor(table, new(first), segments));
    }

    private IommuDomain Create(TableFormat format) => IommuDomain.Create(Iommu, format, Frames);

    private IPageTable CreateTable(TableFormat format) => Create(Iommu, format);

    private IPageTable Create(IIommu iommu, TableFormat? format = null)
    {
        Assert.Equal(VcmmError.None, iommu.TryCreateTable(format ?? iommu.Formats[0], Frames, out IPageTable? table));
        return table!;
    }

    /// <summary>What a table says. Read anew only if a word of one of its pages is another: most calls are refused, and leave all as they are.</summary>
    private sealed class Look(string name, IPageTable table, Ram memory)
    {
        private PhysAddr[] _pages = [];
        private ulong[] _words = [];
        private string? _text;

        public string Text
        {
            get
            {
                if (_text is null || !IsAsItWas()) Read();
                return _text!;
            }
        }

        private void Read()
        {
            _text = $"{name}: {string.Join(' ', RegionPicture.Joined(table.Leaves()))}";
            _pages = [.. table.TablePages()];
            _words = [.. _pages.SelectMany(page => WordsOf(page).ToArray())];
        }

        // A table that is in no memory has no pages.
        private bool IsAsItWas()
        {
            Span<ulong> words = _words;
            foreach (PhysAddr page in _pages)
            {
                Span<ulong> now = WordsOf(page);
                if (!now.SequenceEqual(words[..now.Length])) return false;
                words = words[now.Length..];
            }

            return _pages.Length != 0;
        }

        private Span<ulong> WordsOf(PhysAddr page)
        {
            Assert.True(memory.TryGetWords(page, (int)(Page / sizeof(ulong)), out Span<ulong> words));
            return words;
        }
    }

    /// <summary>Cores that take whatever they are told.</summary>
    internal sealed class AcceptingCpus : ICpuPort
    {
        public SortedSet<uint> Loaded { get; } = [];

        public int CoreCount => 1;

        public TableFormat Format => LedgerIommu.FirstStage;

        public uint AddressSpaceCount => 4;

        public uint TagCount => 4;

        public uint HardwareVersion => 1;

        public VcmmError LoadRoot(StreamId addressSpace, DomainId tag, PhysAddr root)
        {
            Assert.True(addressSpace.Value < AddressSpaceCount, $"{addressSpace} came through");
            Loaded.Add(addressSpace.Value);
            return VcmmError.None;
        }

        public VcmmError UnloadRoot(StreamId addressSpace, DomainId tag)
        {
            Assert.True(addressSpace.Value < AddressSpaceCount, $"{addressSpace} came through");
            Loaded.Remove(addressSpace.Value);
            return VcmmError.None;
        }

        public VcmmError Shootdown(ReadOnlySpan<CpuFlush> flushes) => VcmmError.None;
    }
}
