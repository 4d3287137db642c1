using BenchmarkDotNet.Attributes;
using Workloads;

namespace Bench;

/// <summary>Row <c>E1 bulk</c>.</summary>
public class BulkBenchmark() : RowBenchmark("E1 bulk", BulkMap.Operations)
{
    [Benchmark(OperationsPerInvoke = BulkMap.Operations)]
    public void Library() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = BulkMap.Operations)]
    public void Bare() => Baseline.Batch();
}

/// <summary>Row <c>E2 page</c>.</summary>
public class PageBenchmark() : RowBenchmark("E2 page", SinglePage.Operations)
{
    [Benchmark(OperationsPerInvoke = SinglePage.Operations)]
    public void Library() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = SinglePage.Operations)]
    public void Bare() => Baseline.Batch();
}

/// <summary>Row <c>E3 domain</c>.</summary>
public class DomainBenchmark() : RowBenchmark("E3 domain", SinglePage.Operations)
{
    [Benchmark(OperationsPerInvoke = SinglePage.Operations)]
    public void Library() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = SinglePage.Operations)]
    public void Bare() => Baseline.Batch();
}

/// <summary>Row <c>E4 cycle</c>.</summary>
public class CycleBenchmark() : RowBenchmark("E4 cycle", FourCalls.Operations)
{
    [Benchmark(OperationsPerInvoke = FourCalls.Operations)]
    public void Library() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = FourCalls.Operations)]
    public void Bare() => Baseline.Batch();
}

/// <summary>Row <c>E5 walk</c>.</summary>
public class WalkBenchmark() : RowBenchmark("E5 walk", WalkTable.Operations)
{
    [Benchmark(OperationsPerInvoke = WalkTable.Operations)]
    public void Library() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = WalkTable.Operations)]
    public void Bare() => Baseline.Batch();
}

/// <summary>Row <c>E5 translate</c>.</summary>
public class TranslateBenchmark() : RowBenchmark("E5 translate", Translate.Operations)
{
    [Benchmark(OperationsPerInvoke = Translate.Operations)]
    public void Library() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = Translate.Operations)]
    public void Bare() => Baseline.Batch();
}

/// <summary>Row <c>E6 ranges 10</c>.</summary>
public class Ranges10Benchmark() : RowBenchmark("E6 ranges 10", Ranges.Operations)
{
    [Benchmark(OperationsPerInvoke = Ranges.Operations)]
    public void Library() => Workload.Batch();
}

/// <summary>Row <c>E6 ranges 1k</c>.</summary>
public class Ranges1kBenchmark() : RowBenchmark("E6 ranges 1k", Ranges.Operations)
{
    [Benchmark(OperationsPerInvoke = Ranges.Operations)]
    public void Library() => Workload.Batch();
}

/// <summary>Row <c>E6 ranges 100k</c>.</summary>
public class Ranges100kBenchmark() : RowBenchmark("E6 ranges 100k", Ranges.Operations)
{
    [Benchmark(OperationsPerInvoke = Ranges.Operations)]
    public void Library() => Workload.Batch();
}

/// <summary>Row <c>E6 ranges 1M</c>.</summary>
public class Ranges1MBenchmark() : RowBenchmark("E6 ranges 1M", Ranges.Operations)
{
    [Benchmark(OperationsPerInvoke = Ranges.Operations)]
    public void Library() => Workload.Batch();
}

/// <summary>Row <c>E6 hits</c>.</summary>
public class CacheHitsBenchmark() : RowBenchmark("E6 hits", CacheHits.Operations)
{
    [Benchmark(OperationsPerInvoke = CacheHits.Operations)]
    public void Library() => Workload.Batch();
}

/// <summary>Row <c>E6 cached 10</c>.</summary>
public class Cached10Benchmark() : RowBenchmark("E6 cached 10", Ranges.Operations)
{
    [Benchmark(OperationsPerInvoke = Ranges.Operations)]
    public void Library() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = Ranges.Operations)]
    public void Bare() => Baseline.Batch();
}

/// <summary>Row <c>E6 cached 1k</c>.</summary>
public class Cached1kBenchmark() : RowBenchmark("E6 cached 1k", Ranges.Operations)
{
    [Benchmark(OperationsPerInvoke = Ranges.Operations)]
    public void Library() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = Ranges.Operations)]
    public void Bare() => Baseline.Batch();
}

/// <summary>Row <c>E6 cached 100k</c>.</summary>
public class Cached100kBenchmark() : RowBenchmark("E6 cached 100k", Ranges.Operations)
{
    [Benchmark(OperationsPerInvoke = Ranges.Operations)]
    public void Library() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = Ranges.Operations)]
    public void Bare() => Baseline.Batch();
}

/// <summary>Row <c>E6 cached 1M</c>.</summary>
public class Cached1MBenchmark() : RowBenchmark("E6 cached 1M", Ranges.Operations)
{
    [Benchmark(OperationsPerInvoke = Ranges.Operations)]
    public void Library() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = Ranges.Operations)]
    public void Bare() => Baseline.Batch();
}

/// <summary>Row <c>E6 frame</c>.</summary>
public class FrameBenchmark() : RowBenchmark("E6 frame", SingleFrame.Operations)
{
    [Benchmark(OperationsPerInvoke = SingleFrame.Operations)]
    public void Library() => Workload.Batch();
}

/// <summary>Row <c>E6 blocks</c>.</summary>
public class BlocksBenchmark() : RowBenchmark("E6 blocks", MixedBlocks.Operations)
{
    [Benchmark(OperationsPerInvoke = MixedBlocks.Operations)]
    public void Library() => Workload.Batch();
}

/// <summary>Row <c>E7 two bare</c>.</summary>
public class TwoBareBenchmark() : RowBenchmark("E7 two bare", 2 * TwoThreads.BareOperationsOfEach, TwoThreads.BareOperationsOfEach)
{
    [Benchmark(OperationsPerInvoke = 2 * TwoThreads.BareOperationsOfEach)]
    public void Both() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = TwoThreads.BareOperationsOfEach)]
    public void OneThread() => Baseline.Batch();
}

/// <summary>Row <c>E7 cache</c>.</summary>
public class TwoOnCacheBenchmark() : RowBenchmark("E7 cache", 2 * TwoThreads.OperationsOfEach, TwoThreads.OperationsOfEach)
{
    [Benchmark(OperationsPerInvoke = 2 * TwoThreads.OperationsOfEach)]
    public void Both() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = TwoThreads.OperationsOfEach)]
    public void OneThread() => Baseline.Batch();
}

/// <summary>Row <c>E7 regions back</c>.</summary>
public class RegionsBackBenchmark() : RowBenchmark("E7 regions back", 2 * TwoThreads.OperationsOfEach, TwoThreads.OperationsOfEach)
{
    [Benchmark(OperationsPerInvoke = 2 * TwoThreads.OperationsOfEach)]
    public void Both() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = TwoThreads.OperationsOfEach)]
    public void OneThread() => Baseline.Batch();
}

/// <summary>Row <c>E7 regions cycle</c>.</summary>
public class RegionsCycleBenchmark() : RowBenchmark("E7 regions cycle", 2 * TwoThreads.OperationsOfEach, TwoThreads.OperationsOfEach)
{
    [Benchmark(OperationsPerInvoke = 2 * TwoThreads.OperationsOfEach)]
    public void Both() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = TwoThreads.OperationsOfEach)]
    public void OneThread() => Baseline.Batch();
}

/// <summary>Row <c>E7 ranges back</c>.</summary>
public class RangesBackBenchmark() : RowBenchmark("E7 ranges back", 2 * TwoThreads.OperationsOfEach, TwoThreads.OperationsOfEach)
{
    [Benchmark(OperationsPerInvoke = 2 * TwoThreads.OperationsOfEach)]
    public void Both() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = TwoThreads.OperationsOfEach)]
    public void OneThread() => Baseline.Batch();
}

/// <summary>Row <c>E7 ranges cycle</c>.</summary>
public class RangesCycleBenchmark() : RowBenchmark("E7 ranges cycle", 2 * TwoThreads.OperationsOfEach, TwoThreads.OperationsOfEach)
{
    [Benchmark(OperationsPerInvoke = 2 * TwoThreads.OperationsOfEach)]
    public void Both() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = TwoThreads.OperationsOfEach)]
    public void OneThread() => Baseline.Batch();
}

/// <summary>Row <c>S1 hit</c>.</summary>
public class SimulatorHitBenchmark() : RowBenchmark("S1 hit", Translations.Operations)
{
    [Benchmark(OperationsPerInvoke = Translations.Operations)]
    public void Simulator() => Workload.Batch();
}

/// <summary>Row <c>S2 warm walk</c>.</summary>
public class SimulatorWarmWalkBenchmark() : RowBenchmark("S2 warm walk", Translations.Operations)
{
    [Benchmark(OperationsPerInvoke = Translations.Operations)]
    public void Simulator() => Workload.Batch();
}

/// <summary>Row <c>S2 fill</c>.</summary>
public class SimulatorFillBenchmark() : RowBenchmark("S2 fill", Translations.Operations)
{
    [Benchmark(OperationsPerInvoke = Translations.Operations)]
    public void Simulator() => Workload.Batch();
}

/// <summary>Row <c>S2 walk</c>.</summary>
public class SimulatorWalkBenchmark() : RowBenchmark("S2 walk", Translations.Operations)
{
    [Benchmark(OperationsPerInvoke = Translations.Operations)]
    public void Simulator() => Workload.Batch();
}

/// <summary>Row <c>S3 dma</c>.</summary>
public class SimulatorDmaBenchmark() : RowBenchmark("S3 dma", PageDma.Operations)
{
    [Benchmark(OperationsPerInvoke = PageDma.Operations)]
    public void Simulator() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = PageDma.Operations)]
    public void Bare() => Baseline.Batch();
}

/// <summary>Row <c>S4 sync</c>.</summary>
public class SimulatorSyncBenchmark() : RowBenchmark("S4 sync", Syncs.Operations)
{
    [Benchmark(OperationsPerInvoke = Syncs.Operations)]
    public void Simulator() => Workload.Batch();
}

/// <summary>Row <c>S5 devices</c>.</summary>
public class SimulatorDevicesBenchmark() : RowBenchmark("S5 devices", 2 * TwoThreads.BareOperationsOfEach, TwoThreads.BareOperationsOfEach)
{
    [Benchmark(OperationsPerInvoke = 2 * TwoThreads.BareOperationsOfEach)]
    public void Both() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = TwoThreads.BareOperationsOfEach)]
    public void OneThread() => Baseline.Batch();
}

/// <summary>Row <c>C1 hit</c>.</summary>
public class CoreHitBenchmark() : RowBenchmark("C1 hit", CoreTranslations.Operations)
{
    [Benchmark(OperationsPerInvoke = CoreTranslations.Operations)]
    public void Simulator() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = CoreTranslations.Operations)]
    public void Bare() => Baseline.Batch();
}

/// <summary>Row <c>C2 walk</c>.</summary>
public class CoreWalkBenchmark() : RowBenchmark("C2 walk", CoreTranslations.Operations)
{
    [Benchmark(OperationsPerInvoke = CoreTranslations.Operations)]
    public void Simulator() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = CoreTranslations.Operations)]
    public void Bare() => Baseline.Batch();
}

/// <summary>Row <c>C3 interrupt 2</c>.</summary>
public class Interrupt2Benchmark() : RowBenchmark("C3 interrupt 2", Shootdowns.Operations)
{
    [Benchmark(OperationsPerInvoke = Shootdowns.Operations)]
    public void Simulator() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = Shootdowns.Operations)]
    public void Bare() => Baseline.Batch();
}

/// <summary>Row <c>C3 interrupt 16</c>.</summary>
public class Interrupt16Benchmark() : RowBenchmark("C3 interrupt 16", Shootdowns.Operations)
{
    [Benchmark(OperationsPerInvoke = Shootdowns.Operations)]
    public void Simulator() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = Shootdowns.Operations)]
    public void Bare() => Baseline.Batch();
}

/// <summary>Row <c>C3 broadcast 2</c>.</summary>
public class Broadcast2Benchmark() : RowBenchmark("C3 broadcast 2", Shootdowns.Operations)
{
    [Benchmark(OperationsPerInvoke = Shootdowns.Operations)]
    public void Simulator() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = Shootdowns.Operations)]
    public void Bare() => Baseline.Batch();
}

/// <summary>Row <c>C3 broadcast 16</c>.</summary>
public class Broadcast16Benchmark() : RowBenchmark("C3 broadcast 16", Shootdowns.Operations)
{
    [Benchmark(OperationsPerInvoke = Shootdowns.Operations)]
    public void Simulator() => Workload.Batch();

    [Benchmark(Baseline = true, OperationsPerInvoke = Shootdowns.Operations)]
    public void Bare() => Baseline.Batch();
}
