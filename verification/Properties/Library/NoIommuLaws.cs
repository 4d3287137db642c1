using Platform;
using Vcmm;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>Where there is no IOMMU nothing is asked of one, and nothing that only one could do is promised.</summary>
public sealed class NoIommuLaws
{
    private static readonly StreamId Device = new(0x20);

    private readonly IIommu _none = new NoIommu();

    [Fact]
    public void It_excludes_nothing_caches_nothing_and_has_no_address_spaces()
    {
        Assert.Empty(_none.ReservedRegions);
        Assert.False(_none.CachesAbsent);
        Assert.Equal((0U, 0U), (_none.PasidCount, _none.HardwareVersion));
        Assert.Equal([IdentityTable.Format], _none.Formats);
        Assert.True(_none.CanIdentify(Device));
        Assert.True(_none.CanTranslate(IdentityTable.Format, new(new(0), new(ulong.MaxValue))));
        Assert.False(_none.CanTranslate(new(VtdSecondStage.Encoding, 4, 0), new(new(0), new(0xFFF))));
        Assert.Equal(VcmmError.None, _none.TryCreateDomain(out DomainId domain));
        Assert.Equal(default, domain);
        Assert.Equal(VcmmError.None, _none.Invalidate([]));
        Assert.False(_none.TryTakeFault(out DeviceFault fault));
        Assert.Equal(default, fault);
        Assert.Throws<InvalidOperationException>(() => _none.EndFault(default, retry: true));
        Assert.Throws<InvalidOperationException>(() => _none.AdoptTable(IdentityTable.Format, new(0x1000)));
    }

    [Fact]
    public void A_device_is_attached_without_a_PASID_alone()
    {
        using var system = new SmallSystem();
        Assert.Equal(VcmmError.None, _none.TryCreateTable(IdentityTable.Format, system.Frames, out IPageTable? table));
        Assert.Equal(VcmmError.None, _none.Attach(Device, null, default, table!));
        Assert.Equal(VcmmError.Invalid, _none.Attach(Device, new Pasid(1), default, table!));
        Assert.Equal(VcmmError.None, _none.Detach(Device, null, default));
        Assert.Equal(VcmmError.Invalid, _none.Detach(Device, new Pasid(1), default));
    }
}
