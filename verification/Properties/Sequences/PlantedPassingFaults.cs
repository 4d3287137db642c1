using Harness.Passing;
using Harness.Running;
using Harness.Scenarios;
using Platform;
using Vcmm;
using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>What can be wrong where devices are let through untranslated.</summary>
internal static class PlantedPassingFaults
{
    private static readonly Topology Legacy = new() { Devices = 2 };

    private static readonly Topology Scalable = new() { Mode = RemappingMode.Scalable, Devices = 2 };

    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        new("a device that is let through no more and is", Invariant.Isolation, 2, new() { Iommu = static iommu => new StaysThrough(iommu) }) { Topology = Legacy },
        new("a device that is let through no more, of which the hardware is told nothing", Invariant.Isolation, 4, SubjectParts.Own)
        {
            Topology = Legacy,
            Bench = static bench => ForgettingEnds(bench, static (address, value) => address.Value % 16 == 0 && value == (TypePassThrough | Present), ContextCache),
        },
        new("a PASID that is let through no more, of which the hardware is told nothing", Invariant.Isolation, 6, SubjectParts.Own)
        {
            Topology = Scalable,
            Bench = static bench => ForgettingEnds(bench, static (address, value) => address.Value % 64 == 0 && (value & (Present | PasidTypes)) == (Present | PasidPassThrough), PasidCache),
        },
        new("a device that is let through and translated", Invariant.Isolation, 1, SubjectParts.Own)
        {
            Topology = Legacy,
            Bench = static bench => new EditsMemory(bench, static (address, value) => address.Value % 16 == 0 && value == (TypePassThrough | Present) ? Present : value),
        },
        new("another device that is let through", Invariant.Isolation, 1, new() { Iommu = static iommu => new Another(iommu) }) { Topology = Legacy },
        new("an address space that is let through for all of a device's PASIDs", Invariant.Isolation, 1, new() { Iommu = static iommu => new AllSpaces(iommu) }) { Topology = Scalable },
        new("a device that is let through under a region's domain id", Invariant.Isolation, 5, new() { Iommu = static iommu => new SharesDomain(iommu) }) { Topology = Legacy },
    ];

    // VT-d specification, "Context Entry": P is bit 0, TT is bits 3:2, 10b of which is pass-through.
    private const ulong Present = 1, TypePassThrough = 2 << 2;

    // VT-d specification, "Queued Invalidation Interface": the type is in bits 3:0.
    private const ulong ContextCache = 1, PasidCache = 7;

    // "Scalable-Mode PASID Table Entry": PGTT is bits 8:6, 100b of which is pass-through.
    private const ulong PasidTypes = 7 << 6, PasidPassThrough = 4 << 6;

    /// <summary>Machines whose queue loses a command where an entry that let a device through has just gone; not where a region's has.</summary>
    /// <param name="inner">The machines.</param>
    /// <param name="isPassing">Whether a word is the first of such an entry.</param>
    /// <param name="type">Of the commands that are lost.</param>
    private static EditsMemory ForgettingEnds(IBench inner, Func<PhysAddr, ulong, bool> isPassing, ulong type)
    {
        var passing = new HashSet<PhysAddr>();
        bool hasEnded = false;
        return new(
            EditsCommands.Forgetting(inner, (low, _) =>
            {
                bool isLost = hasEnded && (low & 0xF) == type;
                hasEnded &= !isLost;
                return isLost;
            }),
            (address, value) =>
            {
                if (isPassing(address, value)) passing.Add(address);
                else if ((value & Present) == 0) hasEnded |= passing.Remove(address);
                return value;
            });
    }

    /// <summary>Knows which domain ids are of those that are let through.</summary>
    private abstract class Knows(IIommu inner) : PassingIommu(inner)
    {
        protected HashSet<DomainId> Passing { get; } = [];

        public override VcmmError AttachPassThrough(StreamId device, Platform.Pasid? pasid, DomainId domain)
        {
            VcmmError error = Inner.AttachPassThrough(device, pasid, domain);
            if (error == VcmmError.None) Passing.Add(domain);
            return error;
        }

        public override void ReleaseDomain(DomainId domain)
        {
            Passing.Remove(domain);
            Inner.ReleaseDomain(domain);
        }
    }

    private sealed class StaysThrough(IIommu inner) : Knows(inner)
    {
        public override VcmmError Detach(StreamId device, Platform.Pasid? pasid, DomainId domain) => Passing.Contains(domain) ? VcmmError.None : Inner.Detach(device, pasid, domain);
    }

    /// <summary>The requests without a PASID of a device one of whose PASIDs is let through are, too.</summary>
    private sealed class AllSpaces(IIommu inner) : Knows(inner)
    {
        public override VcmmError AttachPassThrough(StreamId device, Platform.Pasid? pasid, DomainId domain)
        {
            VcmmError error = base.AttachPassThrough(device, pasid, domain);
            if (error == VcmmError.None && pasid is not null) Inner.AttachPassThrough(device, null, domain);
            return error;
        }
    }

    private sealed class SharesDomain(IIommu inner) : PassingIommu(inner)
    {
        private DomainId? _regions;

        public override VcmmError Attach(StreamId device, Platform.Pasid? pasid, DomainId domain, Vcmm.Tables.IPageTable table)
        {
            _regions = domain;
            return Inner.Attach(device, pasid, domain, table);
        }

        public override VcmmError AttachPassThrough(StreamId device, Platform.Pasid? pasid, DomainId domain) => Inner.AttachPassThrough(device, pasid, _regions ?? domain);
    }

    /// <summary>The one with the next requester id.</summary>
    private sealed class Another(IIommu inner) : PassingIommu(inner)
    {
        private const uint Functions = 8;

        public override VcmmError AttachPassThrough(StreamId device, Platform.Pasid? pasid, DomainId domain) => Inner.AttachPassThrough(new(device.Value ^ Functions), pasid, domain);
    }
}
