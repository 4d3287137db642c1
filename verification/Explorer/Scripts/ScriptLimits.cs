using System.Collections.Immutable;
using Harness;
using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Explorer.Scripts;

/// <summary>What a script cannot say.</summary>
internal static class ScriptLimits
{
    /// <exception cref="BadInputException">The scenario is none that can run in controlled schedules.</exception>
    public static void Check(Scenario scenario)
    {
        Topology topology = scenario.Topology;
        if (topology.Devices.Any(static kind => kind is DeviceKind.Direct or DeviceKind.Paging))
            throw new BadInputException("topology: controlled schedules have devices behind the IOMMU that ask for no pages");
        foreach (Step step in scenario.Steps)
        {
            Check(step);
            if (step.Mishap is not null) throw Refused(step, "nothing is made to go wrong before the threads begin");
        }

        foreach (Step step in scenario.Threads.SelectMany(static thread => thread))
        {
            Check(step);
            if (step.Operation is Adopt) throw Refused(step, "a table is adopted before the threads begin");
        }

        // A core executes on one thread.
        ObjectId[] cores = [.. scenario.Threads.SelectMany(static thread => CoresOf(thread).Distinct())];
        if (cores.Length != cores.Distinct().Count()) throw new BadInputException("script.scenario.threads has a core that several threads play; expected one for each");
    }

    /// <summary>The cores that a thread plays.</summary>
    public static IEnumerable<ObjectId> CoresOf(ImmutableArray<Step> thread) =>
        thread.Select(static step => (step.Operation as CoreAccess)?.Core ?? (step.Operation as GoIdle)?.Core).OfType<ObjectId>();

    private static void Check(Step step)
    {
        if (step.Mishap is { Kind: MishapKind.Hardware }) throw Refused(step, "hardware is never silent in controlled schedules");
        if (step.Operation is CollectUse or SetFaultHook or DispatchFaults)
            throw Refused(step, "what it comes to depends on what devices do meanwhile, which no order of calls tells");
        if (step.Operation is Deactivate { Meanwhile: not null }) throw Refused(step, "what a device does meanwhile is a thread of its own");
    }

    private static BadInputException Refused(Step step, string why) => new($"step \"{step}\": {why}");
}
