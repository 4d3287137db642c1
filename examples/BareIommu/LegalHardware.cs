using IommuSim;
using Platform;
using Scalable = BareIommu.ScalableUnit<IommuSim.NoSteps>;

namespace BareIommu;

/// <summary>What hardware may do of its own accord, and what it may be built like.</summary>
internal static class LegalHardware
{
    public static void Run(TextWriter output)
    {
        // Eager: it fetches what software has made reachable, and drops what it likes.
        using (var machine = new Scalable(VtdOptions.Scalable))
        {
            var device = new BusMaster<Ram, NoSteps>(machine.Unit, machine.Memory, Scalable.Device);
            machine.SetSecond(page: 1, Scalable.FrameAt(0) | Scalable.ReadWrite);
            machine.Unit.Prefetch(Scalable.Device, new Iova(0x1000));
            machine.SetSecond(page: 1, 0);
            output.WriteLine($"never used, fetched ahead, taken away without a command: {Outcome(device)}");
            for (ulong seed = 0; machine.Unit.Iotlb.Count != 0; seed++) machine.Unit.Evict(seed);
            output.WriteLine($"and when the hardware has dropped it: {Outcome(device)}");
        }

        // Caching mode: what is absent is cached, too, so that a new mapping needs a command.
        using (var machine = new Scalable(VtdOptions.Scalable with { CachingMode = true }))
        {
            var device = new BusMaster<Ram, NoSteps>(machine.Unit, machine.Memory, Scalable.Device);
            device.Read(new Iova(0x1000), new byte[1]);
            machine.SetSecond(page: 1, Scalable.FrameAt(0) | Scalable.ReadWrite);
            string before = Outcome(device);
            machine.InvalidateSecond(page: 1);
            machine.Wait();
            output.WriteLine($"caching mode, mapped after an access: {before}; after an invalidation: {Outcome(device)}");
        }

        // Small: one line in the IOTLB, so that nearly every access walks.
        using (var machine = new Scalable(VtdOptions.Scalable with { IotlbSets = 1, IotlbWays = 1, WalkCacheEntriesPerLevel = 0 }))
        {
            var device = new BusMaster<Ram, NoSteps>(machine.Unit, machine.Memory, Scalable.Device);
            for (int page = 1; page <= 4; page++) machine.SetSecond(page, Scalable.FrameAt(page) | Scalable.ReadWrite);
            for (int i = 0; i < 8; i++) device.Read(new Iova((ulong)(1 + i % 4) * 4096), new byte[1]);
            output.WriteLine($"one line, eight accesses to four pages in turn: {machine.Unit.Statistics.Walks} walks");
        }
    }

    private static string Outcome(BusMaster<Ram, NoSteps> device) => device.Read(new Iova(0x1000), new byte[1]).Ok ? "it goes through" : "it is blocked";
}
