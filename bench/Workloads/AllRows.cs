using System.Globalization;
using IommuSim.Cpu;
using Vcmm.Allocation;
using Workloads.Bare;

namespace Workloads;

/// <summary>Every promise of speed and size. <c>docs/bench.md</c> explains them.</summary>
public static class AllRows
{
    private const string TwoOverOne = "the same on one thread";
    private const string FourLoads = "four bare loads";

    // What the call answers with, which tells when the cores have forgotten, and the flush in it.
    private const int BytesOfShootdown = 160;

    /// <summary>All of them, in the order to show.</summary>
    public static IReadOnlyList<Row> All { get; } =
    [
        new TimedRow("E1 bulk", "map and unmap 1 GiB as 4 KiB pages, a page", static () => new BulkMap())
        {
            Baseline = static () => new BareStores(), BaselineWhat = "store and clear an entry", LimitNanoseconds = 1.5, RatioLimit = 2,
        },
        new TimedRow("E2 page", "map and unmap one 4 KiB page", static () => new SinglePage())
        {
            Baseline = static () => new BarePage(), BaselineWhat = "walk, store, fence, twice", LimitNanoseconds = 20,
        },
        new TimedRow("E3 domain", "map and unmap one 4 KiB page, IommuDomain", static () => new DomainPage())
        {
            Baseline = static () => new SinglePage(), BaselineWhat = "the engine's part of it", LimitNanoseconds = 80,
        },
        new TimedRow("E4 cycle", "reserve, back, unback, unreserve 64 KiB", static () => new FourCalls())
        {
            Baseline = static () => new EngineRange(), BaselineWhat = "the engine's part of it", LimitNanoseconds = 500,
        },
        new TimedRow("E5 walk", "look an address up in a table", static () => new WalkTable())
        {
            Baseline = static () => new BareWalk(), BaselineWhat = FourLoads, LimitNanoseconds = 8,
        },
        new TimedRow("E5 translate", "look an address of a region up", static () => new Translate())
        {
            Baseline = static () => new BareWalk(), BaselineWhat = FourLoads, LimitNanoseconds = 15,
        },
        RangesRow("E6 ranges 10", 10, null),
        RangesRow("E6 ranges 1k", 1000, 80),
        RangesRow("E6 ranges 100k", 100_000, 80),
        RangesRow("E6 ranges 1M", 1_000_000, 250),
        new TimedRow("E6 hits", "free and allocate a range, cached, all hits", static () => new CacheHits()) { LimitNanoseconds = 25 },
        CachedRow("E6 cached 10", 10),
        CachedRow("E6 cached 1k", 1000),
        CachedRow("E6 cached 100k", 100_000),
        CachedRow("E6 cached 1M", 1_000_000),
        new TimedRow("E6 frame", "allocate and free a 4 KiB frame", static () => new SingleFrame()),
        new TimedRow("E6 blocks", "free and allocate a block of memory, 1,000 live", static () => new MixedBlocks()),
        new WeighedRow("E6 memory", "allocator's memory a live range, 1M live", static () => Ranges.BytesPerRange(1_000_000, Allocator), 64),
        new TimedRow("E7 two bare", "two threads on bare tables", TwoThreads.OnBareTables)
        {
            Baseline = static () => new BarePage(TwoThreads.BareOperationsOfEach), BaselineWhat = TwoOverOne, RatioKind = RatioKind.SpeedUp,
        },
        TwoRow("E7 cache", "two threads free and allocate, one cache", TwoThreads.OnOneCache, static () => new CacheHits(TwoThreads.OperationsOfEach), 1.5),
        TwoRow("E7 regions back", "two threads back and unback, a region each", TwoThreads.BackInTwoRegions, OneBack, 1.8),
        TwoRow("E7 regions cycle", "two threads do E4, a region each", TwoThreads.CallInTwoRegions, OneCall, 1.8),
        TwoRow("E7 ranges back", "two threads back and unback, one region", TwoThreads.BackInOneRegion, OneBack, 1.5),
        TwoRow("E7 ranges cycle", "two threads do E4, one region", TwoThreads.CallInOneRegion, OneCall, 1.5),
        new TimedRow("S1 hit", "simulator: an access that the IOTLB knows", Translations.Hits) { LimitNanoseconds = 12 },
        new TimedRow("S2 warm walk", "simulator: a walk, paging-structure caches warm", Translations.WarmWalks) { LimitNanoseconds = 40 },
        new TimedRow("S2 fill", "simulator: a warm walk that fills the IOTLB", Translations.Fills),
        new TimedRow("S2 walk", "simulator: a walk of four levels, no caches", Translations.Walks) { LimitNanoseconds = 80 },
        new TimedRow("S3 dma", "simulator: a device reads 4 KiB", static () => new PageDma())
        {
            Baseline = static () => new PageDma(isBare: true), BaselineWhat = "translation and a bare copy", RatioLimit = 1.2,
        },
        new TimedRow("S4 sync", "simulator: 100 page invalidations and a wait", static () => new Syncs()) { LimitNanoseconds = 5000 },
        TwoRow("S5 devices", "simulator: two threads, a device each, one unit", Translations.OnTwoThreads, Translations.OfOneDevice, 1.7),
        new TimedRow("C1 hit", "simulator: an access that a core's TLB knows", CoreTranslations.Hits)
        {
            Baseline = static () => new BareTlb(), BaselineWhat = "one look into an array of tags",
        },
        new TimedRow("C2 walk", "simulator: a core walks four levels, no caches", CoreTranslations.Walks)
        {
            Baseline = static () => new BareCoreWalk(), BaselineWhat = FourLoads,
        },
        ShootdownRow("C3 interrupt 2", 2, ShootdownMethod.Interrupt),
        ShootdownRow("C3 interrupt 16", 16, ShootdownMethod.Interrupt),
        ShootdownRow("C3 broadcast 2", 2, ShootdownMethod.Broadcast),
        ShootdownRow("C3 broadcast 16", 16, ShootdownMethod.Broadcast),
    ];

    private static RangeAllocator Allocator(Platform.IovaRange space) => new(space);

    private static CachedRangeAllocator Cached(Platform.IovaRange space) => new(new RangeAllocator(space));

    private static BackUnback OneBack() => new(TwoThreads.OperationsOfEach);

    private static FourCalls OneCall() => new(TwoThreads.OperationsOfEach);

    private static TimedRow RangesRow(string name, int liveCount, double? limit)
    {
        var row = new TimedRow(name, string.Create(CultureInfo.InvariantCulture, $"free and allocate a range, {liveCount:N0} live"), () => new Ranges(liveCount, Allocator)) { LimitNanoseconds = limit };
        return liveCount == 10 ? row : row with { Baseline = static () => new Ranges(10, Allocator), BaselineWhat = "the same, 10 live" };
    }

    private static TimedRow CachedRow(string name, int liveCount) =>
        new(name, string.Create(CultureInfo.InvariantCulture, $"free and allocate a range, cached, {liveCount:N0} live"), () => new Ranges(liveCount, Cached))
        {
            Baseline = () => new BareRanges(liveCount), BaselineWhat = "change a random entry of two tables", LimitNanoseconds = 25,
        };

    private static TimedRow ShootdownRow(string name, int coreCount, ShootdownMethod method) =>
        new(name, $"simulator: {coreCount} cores forget a page", () => new Shootdowns(coreCount, method))
        {
            Baseline = () => new BareShootdowns(coreCount), BaselineWhat = "a lock and a store for each core", AllocationLimitBytes = BytesOfShootdown,
        };

    private static TimedRow TwoRow(string name, string what, Func<IWorkload> two, Func<IWorkload> one, double least) =>
        new(name, what, two) { Baseline = one, BaselineWhat = TwoOverOne, RatioKind = RatioKind.SpeedUp, RatioLimit = least };
}
