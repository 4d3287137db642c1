using IommuSim.Cpu;
using Platform;
using Workloads.Fixtures;

namespace Workloads;

/// <summary>Translates accesses of one simulated core to pages in no simple order.</summary>
public sealed class CoreTranslations : IWorkload
{
    /// <summary>Accesses in a batch.</summary>
    public const int Operations = 4096;

    private readonly SimulatedCores _cores;
    private readonly int _pageMask;

    /// <summary>On a core of its own.</summary>
    /// <param name="options">Its caches.</param>
    /// <param name="pages">How many pages are used: a power of two to 512.</param>
    public CoreTranslations(CpuOptions options, int pages)
    {
        _cores = new(options with { CoreCount = 1 });
        _pageMask = pages - 1;
    }

    /// <inheritdoc/>
    public int OperationsPerBatch => Operations;

    private CpuCore<Ram, IommuSim.NoSteps> Core => _cores.Cluster.Cores[0];

    /// <summary>Everything that is used fits into the TLB.</summary>
    public static CoreTranslations Hits() => new(CpuOptions.Default, 64);

    /// <summary>No TLB and no paging-structure cache: four reads.</summary>
    public static CoreTranslations Walks() => new(CpuOptions.Default with { TlbSets = 0, PagingStructureEntriesPerLevel = 0 }, SimulatedCores.PageCount);

    /// <inheritdoc/>
    public void Batch()
    {
        for (int i = 0; i < Operations; i++) Require.That(Core.Translate(SimulatedCores.PageAt(PageOf(i)), AccessOf(i)).Ok, "the access goes on");
    }

    /// <inheritdoc/>
    public void Check()
    {
        for (int i = 0; i < Operations; i++)
        {
            CpuTranslation result = Core.Translate(SimulatedCores.PageAt(PageOf(i)) + 8, AccessOf(i));
            Require.That(result.Ok && result.Address == SimulatedCores.FrameAt(PageOf(i)) + 8, "each page has its frame");
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _cores.Dispose();

    // An odd factor: every page once before the first again.
    private int PageOf(int operation) => operation * 37 & _pageMask;

    private static CpuAccess AccessOf(int operation) => (operation & 4) == 0 ? CpuAccess.Read : CpuAccess.Write;
}

/// <summary>Shootdowns of one page, of cores that execute nothing, so that each is over when the call returns.</summary>
public sealed class Shootdowns : IWorkload
{
    /// <summary>Shootdowns in a batch.</summary>
    public const int Operations = 512;

    private readonly SimulatedCores _cores;

    /// <summary>Of a number of cores.</summary>
    /// <param name="coreCount">1 … 64.</param>
    /// <param name="method">How they are made to forget.</param>
    public Shootdowns(int coreCount, ShootdownMethod method) => _cores = new(CpuOptions.Default with { CoreCount = coreCount, Shootdown = method });

    /// <inheritdoc/>
    public int OperationsPerBatch => Operations;

    /// <inheritdoc/>
    public void Batch()
    {
        for (int i = 0; i < Operations; i++) Require.That(Forget(i % SimulatedCores.PageCount).IsComplete, "the shootdown is over");
    }

    /// <inheritdoc/>
    public void Check()
    {
        for (int page = 0; page < 4; page++)
        {
            CpuStatistics before = _cores.Cluster.Statistics;
            foreach (CpuCore<Ram, IommuSim.NoSteps> core in _cores.Cluster.Cores)
            {
                core.Translate(SimulatedCores.PageAt(page), CpuAccess.Read);
                Require.That(Holds(core, page), "the TLB has the page");
            }

            Require.That(Forget(page).IsComplete, "the shootdown is over");
            Require.That(!_cores.Cluster.Cores.Any(core => Holds(core, page)), "no TLB has it any more");
            CpuStatistics after = _cores.Cluster.Statistics;
            long reached = after.Interrupts + after.Broadcasts - before.Interrupts - before.Broadcasts;
            Require.That(reached == _cores.Cluster.Cores.Count, "each core was reached once");
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _cores.Dispose();

    private static bool Holds(CpuCore<Ram, IommuSim.NoSteps> core, int page) => core.Tlb.Any(entry => entry.Range.Contains(SimulatedCores.PageAt(page)));

    private CpuShootdown Forget(int page) =>
        _cores.Cluster.Send([new TlbFlush(SimulatedCores.Tag, IovaRange.FromLength(SimulatedCores.PageAt(page), SimulatedCores.PageBytes), LeavesOnly: true)]);
}
