using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>
/// An IOMMU port without hardware behind it that walks several formats. It keeps account of domains and devices, holds the
/// library to the port's contract, and fails where a fuse says so.
/// </summary>
internal sealed class LedgerIommu(Ram memory, Fuse fuse, params TableFormat[] formats) : IIommu
{
    public static readonly TableFormat SecondStage = new(VtdSecondStage.Encoding, 4, VtdSecondStage.LeafLevels);

    public static readonly TableFormat FirstStage = new(X86FirstStage.Encoding, 4, X86FirstStage.LeafLevels);

    public static readonly TableFormat Odd = new(OddFormat.Encoding, 5, OddFormat.LeafLevels);

    private readonly SortedSet<uint> _domains = [];

    public SortedDictionary<(StreamId Device, uint Space), (DomainId Domain, PhysAddr Root)> Attached { get; } = [];

    /// <summary>The commands of each invalidation that was carried out.</summary>
    public List<Invalidation[]> Batches { get; } = [];

    /// <summary>Called before an invalidation is carried out.</summary>
    public Action OnInvalidate { get; set; } = static () => { };

    public IReadOnlyList<TableFormat> Formats => formats;

    public uint PasidCount { get; init; } = 16;

    public IReadOnlyList<IovaRange> ReservedRegions { get; init; } = [];

    public bool CachesAbsent { get; init; }

    public uint HardwareVersion => 0x20;

    public bool CanIdentify(StreamId device) => device.Value <= 0xFFFF;

    public bool CanTranslate(TableFormat format, IovaRange range) => range.Last.Value < format.Encoding switch
    {
        "odd" => 1UL << (12 + 2 * format.LevelCount),
        _ => 1UL << (11 + 9 * format.LevelCount),
    };

    public VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table) => format.Encoding switch
    {
        "odd" => Create<OddFormat>(format, frames, out table),
        "x86-first-stage" => Create<X86FirstStage>(format, frames, out table),
        _ => Create<VtdSecondStage>(format, frames, out table),
    };

    public IPageTable AdoptTable(TableFormat format, PhysAddr root) => format.Encoding switch
    {
        "odd" => PageTable<OddFormat, Ram>.Adopt(memory, format, root),
        "x86-first-stage" => PageTable<X86FirstStage, Ram>.Adopt(memory, format, root),
        _ => PageTable<VtdSecondStage, Ram>.Adopt(memory, format, root),
    };

    public VcmmError TryCreateDomain(out DomainId domain)
    {
        domain = default;
        if (fuse.Blows()) return VcmmError.NoSpace;
        uint id = 1;
        while (_domains.Contains(id)) id++;
        _domains.Add(id);
        domain = new(id);
        return VcmmError.None;
    }

    public void ReleaseDomain(DomainId domain)
    {
        Assert.DoesNotContain(Attached.Values, entry => entry.Domain == domain);
        Assert.True(_domains.Remove(domain.Value), $"{domain} is released and was not taken");
    }

    public VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table)
    {
        Assert.Contains(domain.Value, _domains);
        Assert.DoesNotContain((device, SpaceOf(pasid)), Attached.Keys);
        Assert.All(Attached.Values, entry => Assert.True(entry.Domain != domain || entry.Root == table.Root, "all tables of a domain are the same"));
        if (fuse.Blows()) return VcmmError.HardwareFailure;
        Attached.Add((device, SpaceOf(pasid)), (domain, table.Root));
        return VcmmError.None;
    }

    public bool CanPassThrough => true;

    public VcmmError AttachPassThrough(StreamId device, Pasid? pasid, DomainId domain)
    {
        Assert.Contains(domain.Value, _domains);
        Assert.DoesNotContain((device, SpaceOf(pasid)), Attached.Keys);
        Assert.DoesNotContain(Attached.Values, entry => entry.Domain == domain);
        if (fuse.Blows()) return VcmmError.HardwareFailure;
        Attached.Add((device, SpaceOf(pasid)), (domain, default));
        return VcmmError.None;
    }

    public VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain)
    {
        Assert.Equal(domain, Attached[(device, SpaceOf(pasid))].Domain);
        if (fuse.Blows()) return VcmmError.HardwareFailure;
        Attached.Remove((device, SpaceOf(pasid)));
        return VcmmError.None;
    }

    public VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        OnInvalidate();
        if (fuse.Blows()) return VcmmError.HardwareFailure;
        Batches.Add(commands.ToArray());
        return VcmmError.None;
    }

    public bool TryTakeFault(out DeviceFault fault)
    {
        fault = default;
        return false;
    }

    public VcmmError EndFault(in DeviceFault fault, bool retry) => throw new InvalidOperationException("nothing waits");

    /// <summary>Who is attached to what, and which domains are taken; roots are no part of it.</summary>
    public override string ToString() =>
        $"domains {string.Join(' ', _domains)}; attached {string.Join(' ', Attached.Select(entry => $"{entry.Key.Device}/{entry.Key.Space}:{entry.Value.Domain}"))}";

    private VcmmError Create<TFormat>(TableFormat format, IFrameSource frames, out IPageTable? table)
        where TFormat : struct, IPageTableFormat
    {
        VcmmError error = PageTable<TFormat, Ram>.TryCreate(memory, frames, format, out PageTable<TFormat, Ram>? created);
        table = created;
        return error;
    }

    private static uint SpaceOf(Pasid? pasid) => pasid is { } space ? space.Value + 1 : 0;
}
