using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Invalidations;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>Objects of every kind, alive, ended, another manager's, and numbers that nobody should say.</summary>
internal sealed class HostileWorld
{
    private const ulong Page = VcmManager.PageBytes;

    private static readonly ulong[] Numbers =
        [Page, 0, 1, 4095, 4097, 2 * Page, 1UL << 31, 1UL << 63, ulong.MaxValue, ulong.MaxValue - 4095, (1UL << 63) - Page];

    private readonly LedgerIommu _iommu;
    private readonly FlushQueue _queue = new(new() { Time = new Cli.FakeClock() });
    private readonly List<Vcm> _regions = [];
    private readonly List<PhysicalAllocation> _memories = [];
    private readonly List<Association> _associations = [];

    public HostileWorld(RamBlock ram)
    {
        var none = new Fuse();
        Frames = new(ram.Range);
        Manager = new(Frames, new() { Memory = ram.Port });
        _iommu = new(ram.Port, none, LedgerIommu.SecondStage, LedgerIommu.FirstStage);
        Region = Manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30), new() { FlushQueue = _queue });
        Vcm oneToOne = Manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 40), new() { Kind = VcmKind.OneToOne });
        Vcm everything = Manager.CreateVcm(new(new(0), new(ulong.MaxValue)));
        Vcm ended = Manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 20));
        ended.Free();
        Device = Manager.AddDevice(_iommu, new(1));
        Association active = Region.Associate(Device);
        active.Activate();
        Association idle = Region.Associate(Manager.AddDevice(_iommu, new(2)), new() { Format = LedgerIommu.FirstStage, Pasid = new(3) });
        Association dropped = Region.Associate(Manager.AddDevice(_iommu, new(3)));
        dropped.Deassociate();
        // A deferred region's table is not adopted.
        Vcm owner = Manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        Association owned = owner.Associate(Manager.AddDevice(_iommu, new(5)));
        owner.TryGetTable(LedgerIommu.SecondStage, out IPageTable? table);
        Vcm prebuilt = Manager.AdoptVcm(IovaRange.FromLength(new(0), 1UL << 30), LedgerIommu.SecondStage, table!.Root);

        PhysicalAllocation backing = Manager.Allocate(4 * Page, ChunkSizes.Size4K, scattered: true);
        PhysicalAllocation unused = Manager.Allocate(2 * Page);
        PhysicalAllocation freed = Manager.Allocate(Page);
        freed.Free();
        PhysicalAllocation most = Manager.Wrap(new(new(Page), new(ulong.MaxValue)));
        PhysicalAllocation last = Manager.Wrap(new(new(ulong.MaxValue - Page + 1), new(ulong.MaxValue)));
        PhysicalAllocation nowhere = Manager.Wrap(PhysRange.FromLength(new(1UL << 41), 4 * Page));
        _memories.AddRange([backing, unused, most, last, nowhere]);

        Reservation free = Region.ReserveAt(new(64 * Page), 2 * Page);
        Reservation backed = Region.ReserveAt(new(16 * Page), 8 * Page);
        backed.Back(0, backing, Page, 2 * Page);
        backed.Back(4 * Page, backing, 0, Page);
        Reservation outside = Region.ReserveAt(new(32 * Page), 4 * Page);
        outside.Back(nowhere);
        Reservation whole = everything.ReserveAt(new(0), ulong.MaxValue - 4095);
        whole.Back(most);
        Reservation gone = Region.Reserve(Page);
        gone.Unreserve();
        Bound bound = Region.CreateBound(4 * Page);
        bound.Reserve(Page);
        Bound empty = Region.CreateBound(2 * Page);
        Bound freedBound = Region.CreateBound(2 * Page);
        freedBound.Free();
        Binding binding = Region.Bind(Page);
        _regions.AddRange([Region, oneToOne, everything, owner, prebuilt]);
        _associations.AddRange([active, idle, owned]);

        var foreign = new VcmManager(new FrameAllocator(ram.Range));
        Vcm foreignRegion = foreign.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        Binding foreignBinding = foreignRegion.Bind(2 * Page);
        Device foreignDevice = foreign.AddDevice(_iommu, new(9));

        var ranges = new RangeAllocator(IovaRange.FromLength(new(Page), 64 * Page));
        ranges.TryAllocateAt(IovaRange.FromLength(new(16 * Page), Page));

        Receivers = new()
        {
            [typeof(VcmManager)] = [Manager],
            [typeof(Vcm)] = [Region, oneToOne, everything, prebuilt, ended],
            [typeof(Bound)] = [bound, empty, freedBound],
            [typeof(Reservation)] = [free, backed, outside, whole, gone, default(Reservation)],
            [typeof(PhysicalAllocation)] = [unused, backing, freed, most, last, nowhere],
            [typeof(Association)] = [active, idle, dropped],
            [typeof(Device)] = [Device],
            [typeof(FrameAllocator)] = [Frames],
            [typeof(RangeAllocator)] = [ranges, new RangeAllocator(new(new(0), new(ulong.MaxValue)))],
            [typeof(CachedRangeAllocator)] = [new CachedRangeAllocator(ranges)],
        };
        Values = new()
        {
            [typeof(ulong)] = Boxed(Numbers),
            [typeof(Iova)] = Boxed(Numbers.Select(number => new Iova(number)).Append(new(17 * Page))),
            [typeof(PhysAddr)] = Boxed(Numbers.Select(number => new PhysAddr(number)).Append(backing.AddressAt(Page))),
            [typeof(IovaRange)] = Boxed(Pairs().Select(pair => new IovaRange(new(pair.First), new(pair.Last)))),
            [typeof(PhysRange)] = Boxed(Pairs().Select(pair => new PhysRange(new(pair.First), new(pair.Last)))),
            [typeof(StreamId)] = Boxed([new StreamId(5), new StreamId(1), new StreamId(0x10000), new StreamId(uint.MaxValue)]),
            [typeof(bool)] = [false, true],
            [typeof(Pasid?)] = [null, new Pasid(0), new Pasid(1), new Pasid(15), new Pasid(16), new Pasid(uint.MaxValue)],
            [typeof(Placement)] = Boxed([Placement.BottomUp, Placement.TopDown, (Placement)77]),
            [typeof(MappingAttributes)] = Attributes(),
            [typeof(MappingAttributes?)] = [.. Attributes(), null],
            [typeof(ChunkSizes)] = Boxed([ChunkSizes.All, ChunkSizes.None, ChunkSizes.Size4K, ChunkSizes.Size1G, (ChunkSizes)uint.MaxValue, (ChunkSizes)1]),
            [typeof(MemoryRequest)] = Boxed([default(MemoryRequest), new MemoryRequest(new MemoryType("no such")), new MemoryRequest(null, true), new MemoryRequest(default(MemoryType))]),
            [typeof(MemoryOptions)] = [MemoryOptions.Default, null, new MemoryOptions { Sizes = ChunkSizes.None }, new MemoryOptions { Sizes = ChunkSizes.Size64K, Scattered = true }, new MemoryOptions { From = new(new("no such")) }],
            [typeof(VcmOptions)] = [VcmOptions.Default, null, new VcmOptions { Kind = VcmKind.OneToOne }, new VcmOptions { Kind = VcmKind.Prebuilt }, new VcmOptions { Kind = (VcmKind)77 }, new VcmOptions { Placement = (Placement)77 }],
            [typeof(AssociationOptions)] = [AssociationOptions.Default, null, new AssociationOptions { Pasid = new(15) }, new AssociationOptions { Pasid = new(uint.MaxValue) }, new AssociationOptions { Format = default(TableFormat) }, new AssociationOptions { Format = new(VtdSecondStage.Encoding, 99, 0) }, new AssociationOptions { Format = IdentityTable.Format }, new AssociationOptions { Base = TableBase.Low }, new AssociationOptions { Base = (TableBase)77 }, new AssociationOptions { Split = new(0) }, new AssociationOptions { Base = TableBase.High, Split = new(ulong.MaxValue) }],
            [typeof(TableFormat)] = Boxed([LedgerIommu.SecondStage, LedgerIommu.FirstStage, default(TableFormat), new TableFormat("no such", int.MaxValue, uint.MaxValue), new TableFormat(VtdSecondStage.Encoding, -1, 0)]),
            [typeof(Vcm)] = [.. Receivers[typeof(Vcm)], foreignRegion, null],
            [typeof(Device)] = [Manager.AddDevice(_iommu, new(4)), Device, foreignDevice, null],
            [typeof(IIommu)] = [_iommu, new LedgerIommu(ram.Port, none, LedgerIommu.FirstStage), null],
            [typeof(PhysicalAllocation)] = [.. Receivers[typeof(PhysicalAllocation)], foreignBinding.Memory, null],
            [typeof(Reservation)] = [backed, .. Receivers[typeof(Reservation)], foreignBinding.Reservation],
            [typeof(Binding)] = Boxed<Binding>([binding, default, foreignBinding, new(free, unused), new(backed, backing), new(gone, freed), new(binding.Reservation, unused), new(binding.Reservation, null!), new(default, unused)]),
            [typeof(ICollection<IovaRange>)] = [new List<IovaRange>(), null],
            [typeof(ICollection<Mapping>)] = [new List<Mapping>(), null],
            [typeof(Func<DeviceFault, FaultAnswer>)] = [null, (DeviceFault _) => FaultAnswer.Retry],
        };
    }

    public FrameAllocator Frames { get; }

    public VcmManager Manager { get; }

    public Vcm Region { get; }

    public Device Device { get; }

    /// <summary>What calls are made on, by its type.</summary>
    public Dictionary<Type, object[]> Receivers { get; }

    /// <summary>What is handed in, by the parameter's type; the first makes sense.</summary>
    public Dictionary<Type, object?[]> Values { get; }

    /// <summary>Everything that a refusal must not change.</summary>
    public string Picture
    {
        get
        {
            string[] lines =
            [
                RegionPicture.Of(_regions, _memories),
                $"free {Frames.FreeBytes}; {_iommu}; hook {Device.FaultHook is not null}; waiting {_queue.Count}",
                .. _associations.Select(association => $"{association.Device} {association.Options} {association.IsActive}"),
            ];
            return string.Join(Environment.NewLine, lines);
        }
    }

    public void AssertSound() => RegionPicture.AssertTablesAgree(Manager, Region, _iommu.Formats);

    private static IEnumerable<(ulong First, ulong Last)> Pairs() =>
    [
        (0, Page - 1), (0, 0), (1, Page), (Page, 2 * Page - 1), (Page, 2 * Page), (0, ulong.MaxValue), (Page, ulong.MaxValue), (1UL << 63, ulong.MaxValue),
        (ulong.MaxValue - 4095, ulong.MaxValue), (ulong.MaxValue, ulong.MaxValue), (0, (1UL << 31) - 1), (1UL << 31, (1UL << 63) - 1), (16 * Page, 17 * Page - 1),
    ];

    private static object?[] Attributes() => Boxed<MappingAttributes>(
    [
        Access.ReadWrite, Access.Read, Access.None, (Access)8, (Access)255, new(Access.Read, SupervisorOnly: true), new(Access.Read, Secure: true),
        new(Access.Read, Cache: CachePolicy.NotCached), new MappingAttributes(Access.Read, Cache: (CachePolicy)255),
    ]);

    private static object?[] Boxed<T>(IEnumerable<T> values) => [.. values.Select(value => (object?)value)];
}
