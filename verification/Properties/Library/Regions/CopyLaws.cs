using Harness;
using Platform;
using Vcmm;

namespace Properties.Library.Regions;

/// <summary>What a copy between reservations holds: no lock out of order, and no memory afterwards.</summary>
public sealed class CopyLaws : IDisposable
{
    private const ulong Page = SmallSystem.Page;

    private readonly SmallSystem _system = new();
    private readonly VcmManager _manager;

    public CopyLaws() => _manager = new(_system.Frames, new() { Memory = _system.Memory });

    public void Dispose() => _system.Dispose();

    /// <summary>Else two that copy in opposite directions could wait for each other for ever. What was made first comes first.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Who_waits_for_the_first_of_two_reservations_does_not_hold_the_second(bool comesFromFirst)
    {
        RecordingIommu iommu = _system.AddIommu();
        iommu.CachesAbsent = true;
        Vcm vcm = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        vcm.Associate(_manager.AddDevice(iommu, new(1))).Activate();
        Reservation first = vcm.Reserve(2 * Page), second = vcm.Reserve(Page);
        PhysicalAllocation memory = _manager.Allocate(2 * Page);
        first.Back(0, memory, 0, Page);
        second.Back(_manager.Allocate(Page));
        SecondCall? copying = null;
        bool comesBack = false;
        iommu.OnCall = _ =>
        {
            iommu.OnCall = static _ => VcmmError.None;
            copying = new(() => comesFromFirst ? _manager.TryCopy(first, 0, second, 0, 8) : _manager.TryCopy(second, 0, first, 0, 8));
            copying.Begin();
            var acquiring = new SecondCall(second.TryAcquire);
            acquiring.Run();
            comesBack = !acquiring.HasWaited;
            return VcmmError.None;
        };
        first.Back(Page, memory, Page, Page);
        Assert.Equal(VcmmError.None, copying!.End());
        Assert.True(comesBack, "the second was held");
    }

    [Fact]
    public void All_of_a_reservation_is_copied_and_not_a_byte_more()
    {
        Vcm vcm = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        Reservation source = vcm.Bind(Page).Reservation, destination = vcm.Bind(Page).Reservation;
        Assert.Equal(VcmmError.None, _manager.TryCopy(source, 0, destination, 0, Page));
        Assert.Equal(VcmmError.Invalid, _manager.TryCopy(source, 0, destination, 0, Page + 1));
        Assert.Equal(VcmmError.Invalid, _manager.TryCopy(source, 1, destination, 0, Page));
        Assert.Equal(VcmmError.Invalid, _manager.TryCopy(source, 0, destination, 1, Page));
    }

    /// <summary>A buffer is 64 KiB.</summary>
    [Fact]
    public void Copies_one_after_the_other_use_one_buffer()
    {
        Vcm vcm = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        Reservation source = vcm.Bind(Page).Reservation, destination = vcm.Bind(Page).Reservation;
        _manager.Copy(source, 0, destination, 0, 8);
        Assert.InRange(
            Allocations.Of(() =>
            {
                for (int i = 0; i < 16; i++) _manager.Copy(source, 0, destination, 8, 8);
            }),
            0, 8 * (64 << 10));
    }
}
