using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>What can be wrong in how faults are told.</summary>
internal static class HookFaults
{
    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        new("a fault that is given to the hook of another device", Invariant.FaultExact, 5, new() { Iommu = static iommu => new OtherDevice(iommu) }),
        new("a fault that is given twice", Invariant.FaultExact, 5, new() { Iommu = static iommu => new Twice(iommu) }),
        new("a fault that is given to nobody", Invariant.FaultExact, 5, new() { Iommu = static iommu => new EverySecond(iommu) }),
        new("a fault that is told for another cause", Invariant.FaultExact, 5, new() { Iommu = static iommu => new OneCause(iommu) }),
    ];

    private sealed class OtherDevice(IIommu inner) : PassingIommu(inner)
    {
        private readonly List<StreamId> _known = [];

        public override bool CanIdentify(StreamId device)
        {
            _known.Add(device);
            return Inner.CanIdentify(device);
        }

        public override bool TryTakeFault(out DeviceFault fault)
        {
            if (!Inner.TryTakeFault(out fault)) return false;
            StreamId right = fault.Device;
            fault = fault with { Device = _known.Find(device => device != right) is { Value: not 0 } other ? other : right };
            return true;
        }
    }

    private sealed class Twice(IIommu inner) : PassingIommu(inner)
    {
        private DeviceFault? _last;

        public override bool TryTakeFault(out DeviceFault fault)
        {
            if (_last is { } again)
            {
                _last = null;
                fault = again;
                return true;
            }

            bool isThere = Inner.TryTakeFault(out fault);
            _last = isThere ? fault : null;
            return isThere;
        }
    }

    private sealed class OneCause(IIommu inner) : PassingIommu(inner)
    {
        public override bool TryTakeFault(out DeviceFault fault)
        {
            bool isThere = Inner.TryTakeFault(out fault);
            fault = fault with { Cause = FaultCause.NotPermitted };
            return isThere;
        }
    }

    private sealed class EverySecond(IIommu inner) : PassingIommu(inner)
    {
        public override bool TryTakeFault(out DeviceFault fault)
        {
            if (!Inner.TryTakeFault(out fault)) return false;
            if (Inner.TryTakeFault(out DeviceFault second)) fault = second;
            return true;
        }
    }
}
