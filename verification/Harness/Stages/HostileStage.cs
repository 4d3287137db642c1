using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Harness.Failures;
using Harness.Hostile;
using Platform;
using Vcmm.Spec;

namespace Harness.Stages;

/// <summary>
/// Anything in every entry, every register and every descriptor of the simulator, at any time: each access must end as the
/// architecture says, and the unit must be usable again afterwards.
/// </summary>
public sealed class HostileStage : IStage, IReplayer
{
    private const int ShownActions = 20;

    /// <inheritdoc/>
    public string Name => "hostile";

    /// <inheritdoc/>
    public string? Missing => null;

    /// <inheritdoc/>
    public StageReport Run(StageContext context) => Run(context, (uint)Math.Min(context.Most ?? uint.MaxValue, uint.MaxValue), new());

    /// <summary>The same for so many worlds at most.</summary>
    internal StageReport Run(StageContext context, uint count, HostileCounts counts)
    {
        long start = context.Time.GetTimestamp();
        using var ram = new RamBlock(PhysRange.FromLength(default, HostileWorld.MemoryBytes));
        var failures = new List<StageFailure>();
        var muted = new Dictionary<Invariant, long>();
        uint world = 0;
        for (; world < count && failures.Count == 0 && !context.Stop.IsCancellationRequested; world++)
        {
            TimeSpan elapsed = context.Time.GetElapsedTime(start);
            if (elapsed >= context.Budget) break;
            if (world % 16 == 0) context.Progress(new(elapsed / context.Budget, $"{counts.Accesses} accesses"));
            if (Try(context.Seed, world, ram, counts, null) is null) continue;
            // It has no other invariant: with that muted it tells nothing.
            if (context.Muted.Contains(Invariant.Progress)) muted[Invariant.Progress] = muted.GetValueOrDefault(Invariant.Progress) + 1;
            else failures.Add(Describe(context.Seed, world, ram)!);
        }

        long blocked = counts.Reasons.Where(pair => pair.Key != IommuSim.VtdFaultReason.None).Sum(pair => pair.Value);
        return new()
        {
            Name = Name,
            Elapsed = context.Time.GetElapsedTime(start),
            Ran =
            [
                ("units", world), ("device accesses", counts.Accesses), ("hostile stores", counts.Stores), ("register writes", counts.RegisterWrites), ("commands", counts.Commands),
            ],
            Checks = new Dictionary<Invariant, long> { [Invariant.FaultExact] = blocked, [Invariant.Progress] = counts.Accesses },
            Muted = muted,
            Failures = failures,
        };
    }

    /// <inheritdoc/>
    public StageFailure? Replay(FailureFile file)
    {
        using var ram = new RamBlock(PhysRange.FromLength(default, HostileWorld.MemoryBytes));
        try
        {
            return Describe((ulong)file.Scenario["seed"]!, (uint)file.Scenario["unit"]!, ram);
        }
        catch (Exception e) when (e is NullReferenceException or InvalidOperationException or FormatException)
        {
            throw new BadInputException("scenario: expected seed and unit, both whole numbers");
        }
    }

    private StageFailure? Describe(ulong seed, uint index, RamBlock ram)
    {
        var log = new List<string>();
        if (Try(seed, index, ram, new(), log) is not { } broken) return null;
        string observed = $"{(broken.Error is BrokenMachineException ? "" : $"{broken.Error.GetType().Name}: ")}{broken.Error.Message.ReplaceLineEndings(" ")}";
        const string expected = "whatever is in memory and registers, an access ends in a transfer or a fault, and the unit can be put right";
        var file = new FailureFile
        {
            Format = FailureFile.Magic,
            Stage = Name,
            Invariant = Invariant.Progress,
            Observed = observed,
            Expected = expected,
            Scenario = new JsonObject { ["seed"] = seed, ["unit"] = index },
        };
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{Invariant.Progress.Label()} is broken\nmachine: simulator: {broken.World}; seed {seed}, unit {index}\n\n");
        int first = Math.Max(0, log.Count - ShownActions);
        if (first > 0) text.Append(CultureInfo.InvariantCulture, $"      ({first} actions before)\n");
        for (int i = first; i < log.Count; i++) text.Append(CultureInfo.InvariantCulture, $"{i + 1,6}  {log[i]}\n");
        text.Append(CultureInfo.InvariantCulture, $"\nobserved: {observed}\nexpected: {expected}\n");
        return new(Invariant.Progress, $"observed: {observed}", text.ToString(), file.ToString());
    }

    private static (string World, Exception Error)? Try(ulong seed, uint index, RamBlock ram, HostileCounts counts, List<string>? log)
    {
        using var world = new HostileWorld(seed, index, ram, counts, log);
        try
        {
            world.Run();
            return null;
        }
        catch (Exception e)
        {
            // Whatever a simulated unit throws is what the stage looks for: it is reported.
            return (world.ToString(), e);
        }
    }
}
