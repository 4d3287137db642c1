using System.Globalization;
using System.Text;
using Harness.Differential;
using Harness.Failures;
using Harness.Foreign;
using IommuSim;
using Vcmm.Spec;

namespace Harness.Stages;

/// <summary>
/// The simulator and QEMU's own VT-d side by side: the same random tables and commands, mostly right and some hostile, are written
/// to both, the same devices access both, and data, faults, records and the queue are compared.
/// </summary>
public sealed class DifferentialStage : IStage, IReplayer
{
    /// <summary>All that nobody should have written is compared after each of so many cases.</summary>
    private const uint LookEvery = 16;

    /// <inheritdoc cref="IStage.Name"/>
    public string Name => "differential";

    /// <inheritdoc cref="IStage.Missing"/>
    public string? Missing => QemuVtd.Missing;

    /// <summary>Makes the simulator otherwise, to see it found.</summary>
    internal Func<VtdOptions, VtdOptions>? Otherwise { get; init; }

    /// <summary>Makes cases otherwise, likewise.</summary>
    internal Func<FuzzCase, FuzzCase>? Rewrite { get; init; }

    /// <inheritdoc/>
    public StageReport Run(StageContext context)
    {
        var total = new CaseResult();
        return Run(context, (uint)Math.Min(context.Most ?? uint.MaxValue, uint.MaxValue), total);
    }

    /// <summary>The same for so many cases at most.</summary>
    internal StageReport Run(StageContext context, uint count, CaseResult total)
    {
        long start = context.Time.GetTimestamp();
        using var legacy = new DifferentialBench(isScalable: false, Otherwise) { Muted = context.Muted };
        using var scalable = new DifferentialBench(isScalable: true, Otherwise) { Muted = context.Muted };
        using var firstStage = new DifferentialBench(isScalable: true, Otherwise, hasFirstStage: true) { Muted = context.Muted };
        var failures = new List<StageFailure>();
        uint index = 0;
        for (; index < count && failures.Count == 0 && !context.Stop.IsCancellationRequested; index++)
        {
            TimeSpan elapsed = context.Time.GetElapsedTime(start);
            if (elapsed >= context.Budget) break;
            if (index % 16 == 0) context.Progress(new(elapsed / context.Budget, $"{total.Accesses} accesses"));
            FuzzCase fuzzed = CaseOf(context.Seed, index);
            DifferentialBench bench = fuzzed.HasFirstStage ? firstStage : fuzzed.IsScalable ? scalable : legacy;
            CaseResult result = new CaseRunner(bench, fuzzed).Run(index % LookEvery == 0);
            total.Add(result);
            if (result.Difference is null) continue;
            string origin = $"found in case {index} of seed {context.Seed}";
            if (context.IsBrief)
            {
                failures.Add(Describe(fuzzed, result, context.Muted, origin)!);
                continue;
            }

            (FuzzCase smallest, CaseResult shown) = new CaseShrinker(candidate => new CaseRunner(bench, candidate).Run(true), context.Stop).Shrink(fuzzed, result);
            failures.Add(Describe(smallest, shown, context.Muted, $"{origin}: {result.Difference.Observed}; shrunk")!);
        }

        return new()
        {
            Name = Name,
            Elapsed = context.Time.GetElapsedTime(start),
            Ran =
            [
                ("cases", index), ("device accesses", total.Accesses), ("DMA transfers", legacy.Transfers + scalable.Transfers + firstStage.Transfers), ("commands", total.Commands),
                ("queue errors", total.QueueErrors), ("known deviations met", total.Explained.Values.Sum()),
            ],
            Checks = new Dictionary<Invariant, long>
            {
                [Invariant.NoStaleAccess] = total.Unsettled, [Invariant.Isolation] = total.Transfers, [Invariant.Progress] = total.Commands, [Invariant.FaultExact] = total.Faults,
            },
            Muted = total.Muted,
            Failures = failures,
        };
    }

    /// <summary>Every third case is of the scalable mode, and every other one of these of first-stage tables if QEMU has them.</summary>
    private FuzzCase CaseOf(ulong seed, uint index)
    {
        FuzzCase fuzzed = CaseGen.Generate(seed, index, isScalable: index % 3 == 2, hasFirstStage: index % 6 == 5 && QemuVtd.KnowsFirstStage);
        return Rewrite is null ? fuzzed : Rewrite(fuzzed);
    }

    /// <inheritdoc/>
    public StageFailure? Replay(FailureFile file)
    {
        FuzzCase fuzzed = FuzzCase.FromJson(file.Scenario);
        if (fuzzed.HasFirstStage && !QemuVtd.KnowsFirstStage) throw new BadInputException($"scenario.mode is \"{fuzzed.Mode}\", which QEMU {QemuVtd.Version} has not");
        using var bench = new DifferentialBench(fuzzed.IsScalable, Otherwise, fuzzed.HasFirstStage) { Muted = file.MutedSet };
        return Describe(fuzzed, new CaseRunner(bench, fuzzed).Run(true), file.MutedSet);
    }

    private StageFailure? Describe(FuzzCase fuzzed, CaseResult result, InvariantSet muted, string? origin = null)
    {
        if (result.Difference is not { } difference) return null;
        var file = new FailureFile
        {
            Format = FailureFile.Magic,
            Stage = Name,
            Invariant = difference.Invariant,
            Observed = difference.Observed,
            Expected = difference.Wanted,
            Scenario = fuzzed.ToJson(),
            Muted = FailureFile.ToField(muted),
        };
        return new(difference.Invariant, $"{(origin is null ? "" : $"{origin}: ")}{difference.Observed}; expected: {difference.Wanted}", Report(fuzzed, difference), file.ToString());
    }

    private static string Report(FuzzCase fuzzed, Difference difference)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{difference.Invariant.Label()} is broken\n");
        text.Append(CultureInfo.InvariantCulture, $"machines: QEMU {QemuVtd.Version} and the simulator, VT-d in {(fuzzed.IsScalable ? "scalable" : "legacy")} mode{(fuzzed.HasFirstStage ? " with first-stage tables" : "")}, caches of the simulator {fuzzed.Caches}\n\n");
        for (int i = 0; i < fuzzed.Steps.Length; i++)
        {
            string line = fuzzed.Steps[i].ToString()!;
            string what = fuzzed.Steps[i] is FuzzStep.Set set ? Ground.Describe(set.Address, fuzzed.IsScalable) : "";
            text.Append(string.Create(CultureInfo.InvariantCulture, $"{i + 1,4}  {line,-42}{what}").TrimEnd()).Append('\n');
        }

        return text.Append(CultureInfo.InvariantCulture, $"\nobserved: {difference.Observed}\nexpected: {difference.Wanted}\n").ToString();
    }
}
