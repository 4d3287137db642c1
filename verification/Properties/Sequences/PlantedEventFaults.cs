using Harness.Running;
using Harness.Scenarios;
using Platform;
using Vcmm.Spec;

namespace Properties.Sequences;

/// <summary>What can be wrong in how interrupts of faults and page requests are asked for, and seen to.</summary>
internal static class PlantedEventFaults
{
    private static readonly Topology Dispatched = new() { Events = EventUse.Dispatched, FaultRecords = 1 };

    private static readonly Topology Handled = Dispatched with { Events = EventUse.Handled };

    private static readonly Topology Paging = new() { Mode = RemappingMode.Scalable, Devices = new(DeviceKind.Paging), Events = EventUse.Handled };

    // VT-d specification, "Register Descriptions": the mask is bit 31 of a control register; behind that are data and address.
    private const uint FaultStatus = 0x34, FaultControl = 0x38, FaultData = 0x3C, FaultAddress = 0x40, PageRequestStatus = 0xDC, PageRequestControl = 0xE0;
    private const uint Mask = 1u << 31, Overflow = 1, Pending = 1;

    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        Of("a page request interrupt whose status stays", Invariant.Progress, 8, Paging, static (offset, value) => offset == PageRequestStatus ? (offset, value & ~Pending) : (offset, value)),
        Of("a fault interrupt whose overflow stays", Invariant.Progress, 5, Handled, static (offset, value) => offset == FaultStatus ? (offset, value & ~Overflow) : (offset, value)),
        Of("an interrupt whose mask stays", Invariant.Progress, 2, Dispatched, static (offset, value) => offset == FaultControl ? (offset, value | Mask) : (offset, value)),
        Of("a page request interrupt whose mask stays", Invariant.Progress, 6, Paging, static (offset, value) => offset == PageRequestControl ? (offset, value | Mask) : (offset, value)),
        Of("an interrupt whose data and address change places", Invariant.FaultExact, 2, Dispatched, static (offset, value) => offset switch
        {
            FaultData => (FaultAddress, value),
            FaultAddress => (FaultData, value),
            _ => (offset, value),
        }),
        new("a start that leaves on what another had listened to", Invariant.FaultExact, 2, new() { Registers = static registers => new LeavesFormer(registers) }) { Topology = new() },
        new("a dispatch that takes one fault for each interrupt", Invariant.Progress, 6, new() { Iommu = static iommu => new TakesOne(iommu) })
        {
            Topology = Dispatched with { FaultRecords = 8 },
            // The model counts them, too.
            OrElse = Invariant.FaultExact,
        },
    ];

    private static PlantedFault Of(string name, Invariant caughtBy, int mostSteps, Topology topology, Func<uint, uint, (uint Offset, uint Value)> edit) =>
        new(name, caughtBy, mostSteps, new() { Registers = registers => new Edited(registers, edit) }) { Topology = topology };

    private sealed class Edited(IMmio inner, Func<uint, uint, (uint Offset, uint Value)> edit) : IMmio
    {
        public uint Read32(uint offset) => inner.Read32(offset);

        public ulong Read64(uint offset) => inner.Read64(offset);

        public void Write32(uint offset, uint value)
        {
            (uint Offset, uint Value) other = edit(offset, value);
            inner.Write32(other.Offset, other.Value);
        }

        public void Write64(uint offset, ulong value) => inner.Write64(offset, value);
    }

    /// <summary>What is masked before the root table is given is not.</summary>
    private sealed class LeavesFormer(IMmio inner) : IMmio
    {
        private const uint RootTableAddress = 0x20;
        private static readonly uint[] Controls = [0x38, 0xA0, 0xE0];
        private bool _hasStarted;

        public uint Read32(uint offset) => inner.Read32(offset);

        public ulong Read64(uint offset) => inner.Read64(offset);

        public void Write32(uint offset, uint value)
        {
            if (_hasStarted || !Controls.Contains(offset)) inner.Write32(offset, value);
        }

        public void Write64(uint offset, ulong value)
        {
            _hasStarted |= offset == RootTableAddress;
            inner.Write64(offset, value);
        }
    }

    /// <summary>Of what is there at once the first is taken.</summary>
    private sealed class TakesOne(Vcmm.IIommu inner) : Harness.Passing.PassingIommu(inner)
    {
        private bool _hasTaken;

        public override bool TryTakeFault(out Vcmm.DeviceFault fault)
        {
            fault = default;
            _hasTaken = !_hasTaken && Inner.TryTakeFault(out fault);
            return _hasTaken;
        }
    }
}
