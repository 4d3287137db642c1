using Explorer.Oracles;
using Explorer.Scheduling;
using IommuSim;
using Platform;

namespace Explorer.Machines;

/// <summary>
/// What the IOMMU does of its own accord, as one more agent: it fetches translations that nobody has asked for, and drops some of
/// what it caches. The schedule decides what, and when each step of it comes.
/// </summary>
/// <param name="attempt">Where it is noted.</param>
/// <param name="iommu">The hardware.</param>
/// <param name="device">For which device it fetches.</param>
/// <param name="pages">What it may fetch.</param>
public sealed class EagerHardware(Attempt attempt, VtdIommu<ControlledMemory, ControlledSteps> iommu, StreamId device, params Iova[] pages)
{
    /// <summary>Its lane.</summary>
    public const string Agent = "ahead";

    /// <summary>A translation was there to be fetched.</summary>
    public const string Fetched = "a translation was fetched ahead";

    private const ulong Seeds = 4;

    /// <summary>Does so many things.</summary>
    public void Run(int count)
    {
        for (int i = 0; i < count; i++)
        {
            int choice = Controlled.Choose(2 * pages.Length + 1);
            if (choice == 2 * pages.Length) iommu.Evict(1 + (ulong)Controlled.Choose((int)Seeds));
            else
            {
                attempt.Watcher?.Accesses(device, new(pages[choice / 2].Value & ~(Ledger.PageBytes - 1)));
                attempt.Races?.BeginAccess(isOfCore: false);
                if (iommu.Prefetch(device, pages[choice / 2])) attempt.Reach(Fetched);
                attempt.Races?.EndAccess();
            }
        }
    }
}
