using Platform;
using Vcmm;
using Vcmm.Dma;
using Vcmm.Invalidations;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>Look-ups wait for nobody: whatever operation is under way and held up by the hardware, with its locks held, each returns at once.</summary>
public sealed class LookUpLaws : IDisposable
{
    private const ulong Page = SmallSystem.Page;

    // What takes no lock held by others is there within a millisecond; only a look-up that does wait is waited for so long.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private readonly SmallSystem _system = new();

    public enum HeldUp
    {
        Back,
        Unback,
        SetAttributes,
        Activate,
        Deactivate,
        Flush,
    }

    public void Dispose() => _system.Dispose();

    [Theory]
    [InlineData(HeldUp.Back)]
    [InlineData(HeldUp.Unback)]
    [InlineData(HeldUp.SetAttributes)]
    [InlineData(HeldUp.Activate)]
    [InlineData(HeldUp.Deactivate)]
    [InlineData(HeldUp.Flush)]
    public void A_region_is_looked_up_while_an_operation_of_it_waits_for_the_hardware(HeldUp operation)
    {
        RecordingIommu iommu = _system.AddIommu();
        iommu.CachesAbsent = true;
        FlushQueue? queue = operation == HeldUp.Flush ? new(new() { FlushAtAge = TimeSpan.MaxValue }) : null;
        Vcm vcm = _system.Manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30), new() { FlushQueue = queue });
        Association association = _system.Activate(vcm, iommu);
        Association idle = vcm.Associate(_system.AddDevice(iommu));
        Vcm other = _system.CreateVcm();
        _system.Activate(other, iommu);
        PhysicalAllocation memory = _system.Manager.Allocate(2 * Page);
        Reservation reservation = vcm.Reserve(4 * Page);
        reservation.Back(0, memory, 0, 2 * Page);
        Reservation elsewhere = other.Reserve(2 * Page);
        elsewhere.Back(memory);
        // Page 0 stays as it is; what is done is done to the next, or to the devices.
        Iova stays = reservation.Range.First;
        Iova elsewhereFirst = elsewhere.Range.First;
        if (operation == HeldUp.Flush) reservation.Unback(Page, Page);

        var seen = new List<string>();
        void Look()
        {
            PhysAddr target = memory.Segments[0].First;
            seen.Add($"{vcm.TryTranslate(stays, out Translation translation)} {translation.Address == target}");
            seen.Add($"{vcm.TryFindReservation(stays, out Reservation found)} {found == reservation}");
            var mappings = new List<Mapping>();
            seen.Add($"{_system.Manager.TryFindMappings(target, mappings)} {mappings.Count}");
            seen.Add($"{vcm.TryTranslate(stays, other, out Iova there)} {there == elsewhereFirst}");
            seen.Add($"{other.TryTranslate(elsewhereFirst, vcm, out Iova here)} {here == stays}");
            // Before or after: the look-up itself must come back.
            vcm.TryTranslate(stays + Page, out Translation _);
            vcm.TryTranslate(stays + Page, other, out _);
            seen.Add("done");
        }

        int heldUp = 0;
        bool hasWaited = false;
        var looker = new Thread(Look) { IsBackground = true };
        iommu.OnCall = _ =>
        {
            iommu.OnCall = static _ => VcmmError.None;
            heldUp++;
            looker.Start();
            hasWaited = !looker.Join(Patience);
            return VcmmError.None;
        };
        switch (operation)
        {
            case HeldUp.Back:
                reservation.Back(2 * Page, memory, Page, Page);
                break;
            case HeldUp.Unback:
                reservation.Unback(Page, Page);
                break;
            case HeldUp.SetAttributes:
                elsewhere.SetAttributes(Access.Read);
                break;
            case HeldUp.Activate:
                idle.Activate();
                break;
            case HeldUp.Deactivate:
                association.Deactivate();
                break;
            case HeldUp.Flush:
                vcm.Flush();
                break;
        }

        Assert.Equal(1, heldUp);
        looker.Join();
        Assert.False(hasWaited, "a look-up waits for an operation that waits for the hardware");
        Assert.Equal(["None True", "True True", "None 2", "None True", "None True", "done"], seen);
    }

    [Fact]
    public void An_address_space_is_looked_up_while_an_unmap_waits_for_the_hardware()
    {
        RecordingIommu iommu = _system.AddIommu();
        IommuDomain domain = IommuDomain.Create(iommu, _system.Frames);
        domain.Attach(new(1));
        domain.Map(new(0), PhysRange.FromLength(new(0), 2 * Page), Access.Read);
        var seen = new List<VcmmError>();
        bool hasWaited = false;
        var looker = new Thread(() => seen.AddRange([domain.TryTranslate(new(0), out Translation _), domain.TryTranslate(new(Page), out Translation _)])) { IsBackground = true };
        iommu.OnCall = _ =>
        {
            looker.Start();
            hasWaited = !looker.Join(Patience);
            return VcmmError.None;
        };
        domain.Unmap(IovaRange.FromLength(new(0), Page));
        looker.Join();
        Assert.False(hasWaited, "a look-up waits for an unmap that waits for the hardware");
        Assert.Equal([VcmmError.Fault, VcmmError.None], seen);
    }
}
