using Harness.Passing;
using Harness.Running;
using Platform;
using Vcmm;
using Vcmm.Spec;
using Vcmm.Tables;

namespace Properties.Sequences;

/// <summary>What can be wrong in how often the hardware is told something, and in how a call comes back.</summary>
internal static class CallFaults
{
    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        new("an unback that waits twice", Invariant.Frugal, 8, new() { Iommu = static iommu => new WaitsTwice(iommu) }),
        new("an unback that invalidates page by page", Invariant.Frugal, 8, new() { Iommu = static iommu => new PageByPage(iommu) }),
        new("hardware that stays broken once it has failed", Invariant.Progress, 8, new() { Iommu = static iommu => new StaysBroken(iommu) }),
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

    private sealed class PageByPage(IIommu inner) : PassingIommu(inner)
    {
        public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands) => Inner.Invalidate([.. commands.ToArray().SelectMany(PagesOf)]);

        private static IEnumerable<Invalidation> PagesOf(Invalidation command)
        {
            for (ulong offset = 0; offset < command.Range.ByteCount; offset += World.PageBytes) yield return command with { Range = IovaRange.FromLength(command.Range.First + offset, World.PageBytes) };
        }
    }

    private sealed class StaysBroken(IIommu inner) : PassingIommu(inner)
    {
        private bool _isBroken;

        public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands) => Note(_isBroken ? VcmmError.HardwareFailure : Inner.Invalidate(commands));

        public override VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table) => _isBroken ? VcmmError.HardwareFailure : Note(Inner.Attach(device, pasid, domain, table));

        public override VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain) => Note(Inner.Detach(device, pasid, domain));

        private VcmmError Note(VcmmError error)
        {
            _isBroken |= error == VcmmError.HardwareFailure;
            return error;
        }
    }

    private sealed class CachesAbsentItSays(IIommu inner) : PassingIommu(inner)
    {
        public override bool CachesAbsent => true;
    }
}
