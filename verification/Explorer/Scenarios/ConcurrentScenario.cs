using Explorer.Faults;
using Explorer.Machines;
using Explorer.Scheduling;
using Explorer.Scripts;
using Vcmm.Spec;

namespace Explorer.Scenarios;

/// <summary>A few threads, a few devices, a few operations each, and what must hold in every order of their steps.</summary>
/// <param name="Name">As on the command line.</param>
/// <param name="Summary">What runs beside what.</param>
/// <param name="Sometimes">States that must be reached in some schedules, or the scenario shows nothing.</param>
/// <param name="Prepare">Makes a machine for one schedule, with a fault planted in it or none, in one of the variants.</param>
public sealed record ConcurrentScenario(
    string Name, string Summary, IReadOnlyList<string> Sometimes, Func<Attempt, PlantedFault, int, Prepared> Prepare)
{
    /// <summary>How many variants there are; each schedule takes one.</summary>
    public int Variants { get; init; } = 1;

    /// <summary>The text, if it is written as data.</summary>
    public Script? Script { get; init; }

    /// <summary>All that are written as code.</summary>
    public static IReadOnlyList<ConcurrentScenario> All { get; } =
        [
            BackUnback.Scenario, DeactivateUnback.Scenario, Reserve.Scenario, Recycle.Scenario, LargeLeaf.Scenario, EagerUnback.Scenario, SharedProcess.Scenario,
            GuestUnback.Scenario, UnbackAccess.Scenario,
            BackUnback.OnWeakMemory, Recycle.OnWeakMemory,
        ];

    /// <summary>One schedule: only what the threads do is explored, not the setting up and tearing down.</summary>
    public void Run(Attempt attempt, PlantedFault fault)
    {
        int variant = fault.Variant ?? (Variants == 1 ? 0 : Controlled.Choose(Variants));
        Prepared? prepared = null;
        Controlled.Outside(() => prepared = Prepare(attempt, fault, variant));
        prepared!.Run();
        attempt.Passed(Invariant.Progress);
        Controlled.Outside(prepared.Finish);
    }

    /// <summary>The scenario of that name, written as code or as data, or null.</summary>
    public static ConcurrentScenario? Find(string name) => All.Concat(ScriptLibrary.All).FirstOrDefault(scenario => scenario.Name == name);
}

/// <summary>A machine whose threads are ready to run.</summary>
/// <param name="Run">Runs them all until they are done.</param>
/// <param name="Finish">Checks the end and takes everything down.</param>
public sealed record Prepared(Action Run, Action Finish)
{
    /// <summary>A machine whose threads are ready to run.</summary>
    public Prepared(Machine machine, Action finish)
        : this(machine.Run, finish)
    {
    }
}
