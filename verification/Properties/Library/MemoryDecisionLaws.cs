using Platform;
using Vcmm;

namespace Properties.Library;

/// <summary>
/// Whether memory can end depends on what backs it: who asks in the middle of a call that may still come to nothing waits for what comes of it, and
/// nobody waits where the answer is known.
/// </summary>
public sealed class MemoryDecisionLaws : IDisposable
{
    private const ulong Page = SmallSystem.Page;

    private readonly SmallSystem _system = new();
    private readonly RecordingIommu _iommu;
    private readonly Vcm _vcm;

    public MemoryDecisionLaws()
    {
        _iommu = _system.AddIommu();
        // A back waits for the hardware, too.
        _iommu.CachesAbsent = true;
        _vcm = _system.CreateVcm();
        _system.Activate(_vcm, _iommu);
    }

    /// <summary>What keeps memory, beside a back of it that may still be refused.</summary>
    public enum Kept
    {
        ByTheOnlyOne,
        ByAnotherLater,
        ByAnotherBefore,
    }

    public void Dispose() => _system.Dispose();

    [Theory]
    [InlineData(VcmmError.None, VcmmError.Busy)]
    [InlineData(VcmmError.HardwareFailure, VcmmError.None)]
    public void Who_frees_memory_waits_for_what_comes_of_a_back(VcmmError back, VcmmError expected)
    {
        PhysicalAllocation memory = _system.Manager.Allocate(Page);
        Reservation reservation = _vcm.Reserve(Page);
        var free = new SecondCall(memory.TryFree);
        InTheMidst(free.Begin, back);
        Assert.Equal(back, reservation.TryBack(memory));
        Assert.True(free.HasWaited, "it did not wait");
        Assert.Equal(expected, free.End());
    }

    [Theory]
    [InlineData(VcmmError.None, VcmmError.Busy)]
    [InlineData(VcmmError.HardwareFailure, VcmmError.None)]
    public void Who_unbinds_memory_waits_for_what_comes_of_another_back(VcmmError back, VcmmError expected)
    {
        Binding binding = _vcm.Bind(Page);
        Reservation reservation = _vcm.Reserve(Page);
        var unbind = new SecondCall(() => _vcm.TryUnbind(binding));
        InTheMidst(unbind.Begin, back);
        Assert.Equal(back, reservation.TryBack(binding.Memory));
        Assert.True(unbind.HasWaited, "it did not wait");
        Assert.Equal(expected, unbind.End());
        Assert.Equal(expected == VcmmError.Busy, binding.Reservation.IsAlive);
    }

    [Theory]
    [InlineData(Kept.ByTheOnlyOne)]
    [InlineData(Kept.ByAnotherLater)]
    [InlineData(Kept.ByAnotherBefore)]
    public void Memory_that_is_kept_is_busy_whatever_comes_of_one_more_back(Kept kept)
    {
        PhysicalAllocation memory = _system.Manager.Allocate(Page);
        if (kept == Kept.ByAnotherBefore) _vcm.Map(memory);
        Reservation reservation = _vcm.Map(memory);
        if (kept == Kept.ByAnotherLater) _vcm.Map(memory);
        Reservation more = _vcm.Reserve(Page);
        var end = new SecondCall(kept == Kept.ByTheOnlyOne ? memory.TryFree : () => _vcm.TryUnbind(new(reservation, memory)));
        InTheMidst(end.Run, VcmmError.HardwareFailure);
        Assert.Equal(VcmmError.HardwareFailure, more.TryBack(memory));
        Assert.False(end.HasWaited, "it waited");
        Assert.Equal(VcmmError.Busy, end.End());
    }

    [Theory]
    [InlineData(VcmmError.None, VcmmError.Invalid)]
    [InlineData(VcmmError.HardwareFailure, VcmmError.None)]
    public void Who_backs_with_memory_waits_for_what_comes_of_an_unbind(VcmmError unbind, VcmmError expected)
    {
        Binding binding = _vcm.Bind(Page);
        Reservation reservation = _vcm.Reserve(Page);
        var back = new SecondCall(() => reservation.TryBack(binding.Memory));
        InTheMidst(back.Begin, unbind);
        Assert.Equal(unbind, _vcm.TryUnbind(binding));
        Assert.True(back.HasWaited, "it did not wait");
        Assert.Equal(expected, back.End());
        Assert.Equal(expected == VcmmError.None, reservation.IsBacked);
    }

    [Theory]
    [InlineData(VcmmError.None, VcmmError.Invalid)]
    [InlineData(VcmmError.HardwareFailure, VcmmError.Busy)]
    public void Who_frees_memory_waits_for_what_comes_of_an_unbind(VcmmError unbind, VcmmError expected)
    {
        Binding binding = _vcm.Bind(Page);
        var free = new SecondCall(binding.Memory.TryFree);
        InTheMidst(free.Begin, unbind);
        Assert.Equal(unbind, _vcm.TryUnbind(binding));
        Assert.True(free.HasWaited, "it did not wait");
        Assert.Equal(expected, free.End());
    }

    /// <summary>Does something in the middle of the next call, while it waits for the hardware.</summary>
    /// <param name="action">What.</param>
    /// <param name="outcome">What the hardware answers.</param>
    private void InTheMidst(Action action, VcmmError outcome) => _iommu.OnCall = _ =>
    {
        _iommu.OnCall = static _ => VcmmError.None;
        action();
        return outcome;
    };
}
