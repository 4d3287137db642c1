using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library;

/// <summary>Faults that a manager hands to the hooks of its devices, whatever these and the IOMMUs throw.</summary>
public sealed class FaultDispatchLaws
{
    private readonly VcmManager _manager = new(new FrameAllocator(PhysRange.FromLength(new(0), 16 * VcmManager.PageBytes)));

    [Fact]
    public void Of_what_hooks_throw_the_first_comes_out_when_all_have_had_their_turn()
    {
        var iommu = new FaultyIommu();
        var called = new List<uint>();
        for (uint id = 1; id <= 4; id++)
        {
            _manager.AddDevice(iommu, new(id)).FaultHook = fault =>
            {
                called.Add(fault.Device.Value);
                return fault.Device.Value is 2 or 3 ? throw new InvalidOperationException($"of {fault.Device.Value}") : FaultAnswer.Refuse;
            };
            iommu.Faults.Enqueue(new(new(id), null, new(0), Access.Read, 0));
        }

        Assert.Equal("of 2", Assert.Throws<InvalidOperationException>(() => _manager.DispatchFaults()).Message);
        Assert.Equal([1U, 2U, 3U, 4U], called);
        Assert.Equal(0, _manager.DispatchFaults());
    }

    [Fact]
    public void Of_what_IOMMUs_throw_the_first_comes_out_before_what_a_hook_throws()
    {
        FaultyIommu first = new() { Ends = "first" }, second = new() { Ends = "second" };
        int calls = 0;
        foreach (FaultyIommu iommu in (FaultyIommu[])[first, second])
        {
            _manager.AddDevice(iommu, new(1)).FaultHook = _ => ++calls > 0 ? throw new InvalidOperationException("a hook") : FaultAnswer.Refuse;
            iommu.Faults.Enqueue(new(new(1), null, new(0), Access.Read, 0));
        }

        Assert.Equal("first", Assert.Throws<InvalidOperationException>(() => _manager.DispatchFaults()).Message);
        Assert.Equal(2, calls);
    }

    /// <summary>Gives faults, and then throws or has none.</summary>
    private sealed class FaultyIommu() : PassingIommu(new NoIommu())
    {
        public Queue<DeviceFault> Faults { get; } = new();

        public string? Ends { get; init; }

        public override bool TryTakeFault(out DeviceFault fault) =>
            Faults.TryDequeue(out fault) || (Ends is null ? false : throw new InvalidOperationException(Ends));
    }
}
