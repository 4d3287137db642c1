using Harness.Passing;
using Harness.Running;
using Vcmm;
using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>What can be wrong in how often the hardware is told something, and in how a call comes back.</summary>
internal static class CallFaults
{
    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        new("an unback that waits twice", Invariant.Frugal, 8, new() { Iommu = static iommu => new WaitsTwice(iommu) }),
        new("a back that invalidates though nothing absent is cached", Invariant.Frugal, 7, new() { Iommu = static iommu => new CachesAbsentItSays(iommu) })
        {
            Topology = new() { CachingMode = false },
        },
        new("an unback that throws", Invariant.Linearizable, 6, new() { Around = Throw }),
    ];

    private static Observation Throw(Operation operation, Func<Operation, Observation> run)
    {
        Observation seen = run(operation);
        return operation is Unback && seen.Outcome == Outcome.None ? throw new InvalidOperationException("thrown") : seen;
    }

    private sealed class WaitsTwice(IIommu inner) : PassingIommu(inner)
    {
        public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
        {
            VcmmError error = Inner.Invalidate(commands);
            return error == VcmmError.None ? Inner.Invalidate(commands) : error;
        }
    }

    private sealed class CachesAbsentItSays(IIommu inner) : PassingIommu(inner)
    {
        public override bool CachesAbsent => true;
    }
}
