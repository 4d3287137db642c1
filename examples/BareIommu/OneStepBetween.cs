using IommuSim;
using Platform;

namespace BareIommu;

/// <summary>Called before each step of the simulated hardware: whatever it does happens in between.</summary>
internal readonly struct Between(Action<SimStep, ulong> agent) : ISteps
{
    public void At(SimStep step, ulong detail) => agent(step, detail);
}

/// <summary>The seam: software acts between two steps of an access, on one thread, the same way each time.</summary>
internal static class OneStepBetween
{
    public static void Run(TextWriter output)
    {
        ScalableUnit<Between>? machine = null;
        bool isArmed = false, wasOver = false;
        void Agent(SimStep step, ulong detail)
        {
            if (!isArmed || step != SimStep.IotlbFill) return;
            isArmed = false;
            machine!.SetSecond(page: 1, 0);
            machine.InvalidateSecond(page: 1);
            wasOver = machine.Wait();
        }

        using var owner = machine = new ScalableUnit<Between>(VtdOptions.Scalable, new Between(Agent));
        machine.SetSecond(page: 1, ScalableUnit<Between>.FrameAt(0) | ScalableUnit<Between>.ReadWrite);
        var device = new BusMaster<Ram, Between>(machine.Unit, machine.Memory, ScalableUnit<Between>.Device);

        // The walk has read the entry and not yet filled the IOTLB when software takes the page away.
        isArmed = true;
        DmaResult result = device.Write(new Iova(0x1000), [1]);
        VtdStatistics counts = machine.Unit.Statistics;
        output.WriteLine($"the page goes between the walk and the fill: the write {(result.Ok ? "is done" : "is blocked")}, {counts.DiscardedFills} fill is discarded");
        output.WriteLine($"while it was under way the wait was {(wasOver ? "over" : "held")}, when it had ended it was {(machine.IsWaitOver ? "over" : "held")}");
        output.WriteLine($"the next write {(device.Write(new Iova(0x1000), [1]).Ok ? "is done" : "is blocked")}");
    }
}
