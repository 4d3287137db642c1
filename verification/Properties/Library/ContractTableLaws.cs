using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library;

/// <summary>The refusals of each object's operations, one by one: each is provoked, has its code, and changes nothing.</summary>
public sealed class ContractTableLaws
{
    private const ulong Page = VcmManager.PageBytes;

    private static readonly SortedDictionary<string, (VcmmError Expected, Func<World, VcmmError> Call)> Rows = new(StringComparer.Ordinal)
    {
        ["region: made below the smallest page"] = (VcmmError.Invalid, static world => world.Manager.TryCreateVcm(IovaRange.FromLength(new(0), Page / 2), out _)),
        ["region: made off a page"] = (VcmmError.Invalid, static world => world.Manager.TryCreateVcm(IovaRange.FromLength(new(8), Page), out _)),
        ["region: beyond what a format can address"] = (VcmmError.Invalid, static world => world.Wide.TryAssociate(world.Other, out _)),
        ["region: freed with reservations"] = (VcmmError.Busy, static world => world.WithReservation.TryFree()),
        ["region: freed with bounds"] = (VcmmError.Busy, static world => world.WithBound.TryFree()),
        ["region: freed with associations"] = (VcmmError.Busy, static world => world.WithAssociation.TryFree()),
        ["region: cloned after its end"] = (VcmmError.Invalid, static world => world.Ended.TryClone(out _)),
        ["region: no reservation at an address"] = (VcmmError.NotFound, static world => world.Region.TryFindReservation(new(1UL << 29), out _) ? VcmmError.None : VcmmError.NotFound),
        ["bound: made with length 0"] = (VcmmError.Invalid, static world => world.Region.TryCreateBound(0, Page, out _)),
        ["bound: no room"] = (VcmmError.NoSpace, static world => world.Region.TryCreateBound(1UL << 40, Page, out _)),
        ["bound: freed with reservations"] = (VcmmError.Busy, static world => world.Bound.TryFree()),
        ["bound: full"] = (VcmmError.NoSpace, static world => world.Bound.TryReserve(2 * Page, Access.Read, Page, out _)),
        ["bound: a reservation beside it"] = (VcmmError.NoSpace, static world => world.Region.TryReserveAt(world.Bound.Range.First + Page, Page, Access.Read, out _)),
        ["bound: an address outside it"] = (VcmmError.Invalid, static world => world.Bound.TryReserveAt(new(1UL << 29), Page, Access.Read, out _)),
        ["reservation: length 0"] = (VcmmError.Invalid, static world => world.Region.TryReserve(0, Access.Read, Page, out _)),
        ["reservation: less than a page"] = (VcmmError.Invalid, static world => world.Region.TryReserve(Page / 2, Access.Read, Page, out _)),
        ["reservation: alignment below a page"] = (VcmmError.Invalid, static world => world.Region.TryReserve(Page, Access.Read, Page / 2, out _)),
        ["reservation: alignment above 1 GiB"] = (VcmmError.Invalid, static world => world.Region.TryReserve(Page, Access.Read, 2UL << 30, out _)),
        ["reservation: alignment no power of two"] = (VcmmError.Invalid, static world => world.Region.TryReserve(Page, Access.Read, 3 * Page, out _)),
        ["reservation: address off a page"] = (VcmmError.Invalid, static world => world.Region.TryReserveAt(new(1UL << 29 | 8), Page, Access.Read, out _)),
        ["reservation: range wraps"] = (VcmmError.Invalid, static world => world.Region.TryReserveAt(new(ulong.MaxValue - Page + 1), 2 * Page, Access.Read, out _)),
        ["reservation: range outside the region"] = (VcmmError.Invalid, static world => world.Region.TryReserveAt(new(1UL << 30), Page, Access.Read, out _)),
        ["reservation: grants nothing"] = (VcmmError.Invalid, static world => world.Region.TryReserve(Page, Access.None, Page, out _)),
        ["reservation: attributes that a table cannot say"] = (VcmmError.Invalid, static world => world.Region.TryReserve(Page, new(Access.Read, Secure: true), Page, out _)),
        ["reservation: set to attributes that a table cannot say"] = (VcmmError.Invalid, static world => world.Backed.TrySetAttributes(new(Access.Read, SupervisorOnly: true))),
        ["reservation: no room"] = (VcmmError.NoSpace, static world => world.Region.TryReserve(1UL << 30, Access.Read, Page, out _)),
        ["reservation: addresses that another has"] = (VcmmError.NoSpace, static world => world.Region.TryReserveAt(world.Free.Range.First, Page, Access.Read, out _)),
        ["reservation: unreserved while backed"] = (VcmmError.Busy, static world => world.Backed.TryUnreserve()),
        ["reservation: unreserved while others own it"] = (VcmmError.Busy, static world => world.Shared.TryUnreserve()),
        ["reservation: the last owner of what is backed"] = (VcmmError.Busy, static world => world.Backed.TryRelease()),
        ["reservation: used after its end"] = (VcmmError.Invalid, static world => world.Gone.TryAcquire()),
        ["reservation: copied from beyond it"] = (VcmmError.Invalid, static world => world.Manager.TryCopy(world.Backed, Page, world.Backed, 0, 2 * Page)),
        ["reservation: copied to where nothing is backed"] = (VcmmError.Fault, static world => world.Manager.TryCopy(world.Backed, 0, world.Free, 0, 8)),
        ["reservation: asked what wrote to it where nobody notes that"] = (VcmmError.Invalid, static world => world.Backed.TryCollectDirty(0, Page, clear: false, [])),
        ["memory: of no chunk size"] = (VcmmError.Invalid, static world => world.Manager.TryAllocate(3 * Page, ChunkSizes.Size64K, scattered: false, out _)),
        ["memory: more than there is"] = (VcmmError.NoMemory, static world => world.Manager.TryAllocate(1UL << 30, ChunkSizes.All, scattered: false, out _)),
        ["memory: more in one piece than there is"] = (VcmmError.NoMemory, static world => world.Manager.TryAllocateContiguous(1UL << 30, Page, default, out _)),
        ["memory: of a type that there is not"] = (VcmmError.NotFound, static world => world.Manager.TryAllocate(Page, new() { From = new(new MemoryType("no such")) }, out _)),
        ["memory: wrapped off a page"] = (VcmmError.Invalid, static world => world.Manager.TryWrap(PhysRange.FromLength(new(1UL << 40 | 8), Page), out _)),
        ["memory: freed while it backs"] = (VcmmError.Busy, static world => world.Memory.TryFree()),
        ["memory: freed twice"] = (VcmmError.Invalid, static world => world.Freed.TryFree()),
        ["memory: mapped nowhere"] = (VcmmError.NotFound, static world => world.Manager.TryFindMappings(world.Unused.AddressAt(0), [])),
        ["back: lengths differ"] = (VcmmError.Invalid, static world => world.Free.TryBack(world.Memory)),
        ["back: range outside"] = (VcmmError.Invalid, static world => world.Free.TryBack(2 * Page, world.Unused, 0, 2 * Page)),
        ["back: part of memory outside"] = (VcmmError.Invalid, static world => world.Free.TryBack(0, world.Unused, 2 * Page, 2 * Page)),
        ["back: misaligned"] = (VcmmError.Invalid, static world => world.Free.TryBack(8, world.Unused, 0, Page)),
        ["back: memory misaligned"] = (VcmmError.Invalid, static world => world.Free.TryBack(0, world.Unused, 8, Page)),
        ["back: with memory that was freed"] = (VcmmError.Invalid, static world => world.Free.TryBack(0, world.Freed, 0, Page)),
        ["back: backed already"] = (VcmmError.Busy, static world => world.Backed.TryBack(world.Memory)),
        ["back: a part backed already"] = (VcmmError.Busy, static world => world.Backed.TryBack(Page, world.Unused, 0, Page)),
        ["back: no table page"] = (VcmmError.NoMemory, static world => world.WithoutFrames(() => world.Far.TryBack(0, world.Unused, 0, Page))),
        ["back: the hardware that caches absent entries fails"] = (VcmmError.HardwareFailure, static world => world.WithFailure(1, () => world.Free.TryBack(0, world.Unused, 0, Page))),
        ["unback: not backed"] = (VcmmError.NotFound, static world => world.Free.TryUnback()),
        ["unback: a part not backed"] = (VcmmError.NotFound, static world => world.Free.TryUnback(0, Page)),
        ["unback: range outside"] = (VcmmError.Invalid, static world => world.Backed.TryUnback(Page, 2 * Page)),
        ["unback: misaligned"] = (VcmmError.Invalid, static world => world.Backed.TryUnback(0, 8)),
        ["unback: the hardware fails"] = (VcmmError.HardwareFailure, static world => world.WithFailure(8, () => world.Backed.TryUnback())),
        ["map: no such alignment"] = (VcmmError.Invalid, static world => world.Region.TryMap(world.Unused, Access.Read, 8, out _)),
        ["map: no room"] = (VcmmError.NoSpace, static world => world.WithReservation.TryMap(world.Unused, Access.Read, Page, out _)),
        ["unmap: others own it"] = (VcmmError.Busy, static world => world.Shared.TryUnmap()),
        ["bind: no memory"] = (VcmmError.NoMemory, static world => world.Region.TryBind(64UL << 20, Access.Read, MemoryOptions.Default, out _)),
        ["bind: no room"] = (VcmmError.NoSpace, static world => world.WithReservation.TryBind(4 * Page, Access.Read, MemoryOptions.Default, out _)),
        ["unbind: not what backs it"] = (VcmmError.Invalid, static world => world.Region.TryUnbind(new(world.Backed, world.Unused))),
        ["association: twice"] = (VcmmError.Busy, static world => world.Region.TryAssociate(world.Active.Device, out _)),
        ["association: another base"] = (VcmmError.Invalid, static world => world.Region.TryAssociate(world.Other, new() { Base = TableBase.High }, out _)),
        ["association: of a device that the IOMMU cannot tell apart"] = (VcmmError.NoDevice, static world => world.Manager.TryAddDevice(world.Active.Device.Iommu, new(0x10000), out _)),
        ["association: a table nested where the IOMMU nests none"] = (VcmmError.Invalid, static world => world.Region.TryAssociate(world.Other, new() { NestedTable = new(world.Active.Format, world.Region.Range.First) }, out _)),
        ["association: given a nested table where the IOMMU nests none"] = (VcmmError.Invalid, static world => world.Idle.TrySetOptions(new() { NestedTable = new(world.Active.Format, world.Region.Range.First) })),
        ["association: told of a nested table that it has not"] = (VcmmError.Invalid, static world => world.Active.TryInvalidate(IovaRange.FromLength(new(0), Page))),
        ["association: activated twice"] = (VcmmError.Busy, static world => world.Active.TryActivate()),
        ["association: changed while active"] = (VcmmError.Busy, static world => world.Active.TrySetOptions(AssociationOptions.Default)),
        ["association: dropped while active"] = (VcmmError.Busy, static world => world.Active.TryDeassociate()),
        ["association: deactivated while inactive"] = (VcmmError.NotFound, static world => world.Idle.TryDeactivate()),
        ["association: activated once dropped"] = (VcmmError.Invalid, static world => world.Dropped.TryActivate()),
        ["association: changed once dropped"] = (VcmmError.Invalid, static world => world.Dropped.TrySetOptions(AssociationOptions.Default)),
        ["association: the hardware fails at its activation"] = (VcmmError.HardwareFailure, static world => world.WithFailure(8, () => world.Idle.TryActivate())),
        ["association: the hardware fails at its deactivation"] = (VcmmError.HardwareFailure, static world => world.WithFailure(8, () => world.Active.TryDeactivate())),
        ["look-up: not mapped"] = (VcmmError.Fault, static world => world.Region.TryTranslate(world.Free.Range.First, out _)),
        ["look-up: not mapped, into another region"] = (VcmmError.Fault, static world => world.Region.TryTranslate(world.Free.Range.First, world.Wide, out _)),
        ["look-up: the other region does not map it"] = (VcmmError.NotFound, static world => world.Region.TryTranslate(world.Backed.Range.First, world.Wide, out _)),
        ["look-up: another manager's region"] = (VcmmError.Invalid, static world => world.Region.TryTranslate(world.Backed.Range.First, world.Foreign, out _)),
        ["look-up: no table of the format"] = (VcmmError.NotFound, static world => world.Wide.TryGetTable(world.Active.Format, out _) ? VcmmError.None : VcmmError.NotFound),
    };

    public static TheoryData<string> Names => new(Rows.Keys);

    [Theory]
    [MemberData(nameof(Names))]
    public void A_refusal_has_its_code_and_changes_nothing(string name)
    {
        using var world = new World();
        string picture = world.Picture;
        Assert.Equal(Rows[name].Expected, Rows[name].Call(world));
        Assert.Equal(picture, world.Picture);
    }

    [Fact]
    public void Every_code_is_provoked() =>
        Assert.Equal(Enum.GetValues<VcmmError>().Where(static error => error != VcmmError.None).Order(), Rows.Values.Select(static row => row.Expected).Distinct().Order());

    /// <summary>What is asked and refuses nothing: the type of memory, where its bank lies, and of which version the hardware is.</summary>
    [Fact]
    public void Memory_has_a_type_and_a_bank_and_a_device_the_version_of_its_hardware()
    {
        var near = new MemoryBank(PhysRange.FromLength(new(1UL << 24), 1UL << 20), new("near"), IsCoherent: true);
        var far = new MemoryBank(PhysRange.FromLength(new(1UL << 32), 1UL << 20), new("far"), IsCoherent: false);
        var manager = new VcmManager(new BankedFrames([near, far]));
        foreach (MemoryBank expected in (MemoryBank[])[far, near])
        {
            PhysicalAllocation memory = manager.Allocate(Page, new MemoryOptions { From = new(expected.Type) });
            Assert.True(manager.TryFindBank(memory, out MemoryBank? bank));
            Assert.Equal((expected.Type, expected.Range.First, expected.Range.ByteCount), (bank!.Type, bank.Range.First, bank.Range.ByteCount));
            Assert.True(bank.Range.Contains(memory.AddressAt(0)));
        }

        Assert.False(manager.TryFindBank(manager.Wrap(PhysRange.FromLength(new(1UL << 24), Page)), out _));
        using var world = new World();
        Assert.False(world.Manager.TryFindBank(world.Memory, out _));
        Assert.Equal(0x10u, world.Other.HardwareVersion);
    }

    private sealed class World : IDisposable
    {
        private readonly RamBlock _ram = new(PhysRange.FromLength(new(2UL << 20), 8UL << 20));
        private readonly FailingFrames _frames;
        private readonly RecordingIommu _iommu;

        public World()
        {
            _frames = new(new FrameAllocator(_ram.Range));
            Manager = new(_frames, new() { Memory = _ram.Port });
            _iommu = new(_ram.Port) { CachesAbsent = true };
            Region = Create(1UL << 30);
            Wide = Manager.CreateVcm(new(new(0), new(ulong.MaxValue)));
            WithReservation = Create(2 * Page);
            WithReservation.Reserve(Page);
            WithBound = Create(Page);
            WithBound.CreateBound(Page);
            WithAssociation = Create(Page);
            WithAssociation.Associate(Manager.AddDevice(_iommu, new(1)));
            Ended = Create(Page);
            Ended.Free();
            Foreign = new VcmManager(_frames).CreateVcm(IovaRange.FromLength(new(0), Page));
            Other = Manager.AddDevice(_iommu, new(2));
            Active = Region.Associate(Manager.AddDevice(_iommu, new(3)));
            Active.Activate();
            Idle = Region.Associate(Manager.AddDevice(_iommu, new(4)));
            Dropped = Region.Associate(Manager.AddDevice(_iommu, new(5)));
            Dropped.Deassociate();
            Bound = Region.CreateBound(2 * Page);
            Bound.Reserve(Page);
            Memory = Manager.Allocate(2 * Page);
            Unused = Manager.Allocate(3 * Page);
            Freed = Manager.Allocate(Page);
            Freed.Free();
            Backed = Region.Reserve(2 * Page);
            Backed.Back(Memory);
            Free = Region.Reserve(3 * Page);
            Far = Region.ReserveAt(new(1UL << 28), Page);
            Shared = Region.Reserve(Page);
            Shared.Acquire();
            Gone = Region.Reserve(Page);
            Gone.Unreserve();
        }

        public VcmManager Manager { get; }

        public Vcm Region { get; }

        public Vcm Wide { get; }

        public Vcm WithReservation { get; }

        public Vcm WithBound { get; }

        public Vcm WithAssociation { get; }

        public Vcm Ended { get; }

        public Vcm Foreign { get; }

        public Device Other { get; }

        public Association Active { get; }

        public Association Idle { get; }

        public Association Dropped { get; }

        public Bound Bound { get; }

        public PhysicalAllocation Memory { get; }

        public PhysicalAllocation Unused { get; }

        public PhysicalAllocation Freed { get; }

        public Reservation Backed { get; }

        public Reservation Free { get; }

        public Reservation Far { get; }

        public Reservation Shared { get; }

        public Reservation Gone { get; }

        /// <summary>Everything that a refusal must not change.</summary>
        public string Picture => string.Join(Environment.NewLine, (string[])
        [
            Regions.RegionPicture.Of([Region, Wide, WithReservation, WithBound, WithAssociation], [Memory, Unused]),
            .. ((Association[])[Active, Idle, Dropped]).Select(static association => $"{association.Options} {association.IsActive}"),
            $"free {_frames.FreeBytes}",
        ]);

        public VcmmError WithoutFrames(Func<VcmmError> call)
        {
            _frames.AllocationsBeforeFailure = 0;
            VcmmError error = call();
            _frames.AllocationsBeforeFailure = -1;
            return error;
        }

        public VcmmError WithFailure(int times, Func<VcmmError> call)
        {
            _iommu.OnCall = _ => times-- > 0 ? VcmmError.HardwareFailure : VcmmError.None;
            VcmmError error = call();
            _iommu.OnCall = static _ => VcmmError.None;
            return error;
        }

        public void Dispose() => _ram.Dispose();

        private Vcm Create(ulong byteCount) => Manager.CreateVcm(IovaRange.FromLength(new(0), byteCount));
    }
}
