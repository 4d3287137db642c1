using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Cpu;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>
/// The CPU as one more association: nothing that devices do costs it anything (I9), a mapping for it is made when asked for, and the
/// table of a process serves its devices (shared virtual addressing).
/// </summary>
public sealed class CpuLaws : IDisposable
{
    private const ulong Page = VcmManager.PageBytes;
    private const ulong Large = 2UL << 20;

    private static readonly IovaRange Range = IovaRange.FromLength(new(0), 1UL << 30);

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(Large), 3 * Large));
    private readonly Fuse _hardware = new();
    private readonly FrameAllocator _frames;
    private readonly VcmManager _manager;
    private readonly LedgerIommu _iommu;
    private readonly RecordingCpu _port = new();
    private readonly CpuMmu<X86FirstStage, Ram> _cpu;

    public CpuLaws()
    {
        _frames = new(_ram.Range);
        _manager = new(_frames, new() { Memory = _ram.Port });
        _iommu = new(_ram.Port, _hardware, LedgerIommu.SecondStage, LedgerIommu.FirstStage);
        _cpu = new(_port, _ram.Port);
    }

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void Regions_of_devices_cost_the_CPU_nothing()
    {
        Vcm process = CreateProcess(0, out _);
        process.Bind(3 * Page);
        Vcm vcm = _manager.CreateVcm(Range);
        CpuMmuCounters before = _cpu.Counters;
        Association first = vcm.Associate(_manager.AddDevice(_iommu, new(1)));
        Association second = vcm.Associate(_manager.AddDevice(_iommu, new(2)), new() { Format = LedgerIommu.FirstStage });
        first.Activate();
        second.Activate();
        Reservation large = vcm.Reserve(Large, alignment: Large);
        large.Back(_manager.Allocate(Large, ChunkSizes.Size2M));
        Binding binding = vcm.Bind(5 * Page, options: new() { Sizes = ChunkSizes.Size4K, Scattered = true });
        _manager.Copy(binding.Reservation, 3, large, 5, Page);
        large.SetAttributes(Access.Read);
        large.Unback(Page, Page);
        large.Unmap();
        vcm.Unbind(binding);
        second.Deactivate();
        second.Deassociate();
        Assert.True(_iommu.Batches.Count > 3);
        Assert.Equal(before, _cpu.Counters);
    }

    [Fact]
    public void The_CPU_sees_a_devices_buffer_when_that_is_asked_for_and_as_long()
    {
        Vcm process = CreateProcess(0, out _);
        Vcm vcm = _manager.CreateVcm(Range);
        vcm.Associate(_manager.AddDevice(_iommu, new(1))).Activate();
        Binding buffer = vcm.Bind(5 * Page, options: new() { Sizes = ChunkSizes.Size4K, Scattered = true });
        Assert.Empty(process.Reservations);
        CpuMmuCounters before = _cpu.Counters;

        Reservation view = process.Map(buffer.Memory, Access.Read);
        CpuMmuCounters mapped = _cpu.Counters;
        Assert.Equal((before.Shootdowns, true), (mapped.Shootdowns, mapped.EntryWrites >= before.EntryWrites + 5));
        for (ulong at = 0; at < 5 * Page; at += Page)
        {
            Assert.Equal(VcmmError.None, process.TryTranslate(view.Range.First + at, out Translation translation));
            Assert.Equal((buffer.Memory.AddressAt(at), (MappingAttributes)Access.Read), (translation.Address, translation.Attributes));
            Assert.Equal(VcmmError.None, vcm.TryTranslate(buffer.Reservation.Range.First + at, process, out Iova seen));
            Assert.Equal(view.Range.First + at, seen);
        }

        // The device's mapping comes and goes without the CPU's.
        Assert.Equal(VcmmError.Busy, vcm.TryUnbind(buffer));
        buffer.Reservation.Unmap();
        Assert.Equal(mapped, _cpu.Counters);
        view.Unmap();
        Assert.Equal(mapped.Shootdowns + 1, _cpu.Counters.Shootdowns);
        CpuFlush flush = Assert.Single(_port.Shootdowns[^1]);
        Assert.Equal(IovaRange.FromLength(new(0), 5 * Page), flush.Range);
        buffer.Memory.Free();
    }

    [Fact]
    public void A_device_shares_the_table_of_a_process_under_its_PASID()
    {
        Vcm process = CreateProcess(0, out PhysAddr root);
        Binding code = process.Bind(2 * Page);
        ulong free = _frames.FreeBytes;
        Leaf[] leaves = LeavesOf(process);
        Vcm shared = _manager.AdoptVcm(Range, LedgerIommu.FirstStage, root);
        var device = _manager.AddDevice(_iommu, new(3));
        Association association = shared.Associate(device, new() { Format = LedgerIommu.FirstStage, Pasid = new(5) });
        association.Activate();
        ((StreamId Device, uint Space) key, (DomainId Domain, PhysAddr Root) value) = Assert.Single(_iommu.Attached);
        Assert.Equal((new StreamId(3), 6u, root), (key.Device, key.Space, value.Root));
        Iova at = code.Reservation.Range.First;
        Assert.Equal(VcmmError.None, shared.TryTranslate(at, out Translation translation));
        Assert.Equal(code.Memory.AddressAt(0), translation.Address);

        // The owner changes its table and then tells the region; the frame goes back after that.
        code.Reservation.Unback(Page, Page);
        Assert.Empty(_iommu.Batches);
        var range = IovaRange.FromLength(at + Page, Page);
        Assert.Equal(VcmmError.Fault, shared.TryTranslate(at + Page, out _));
        _hardware.Arm(1);
        Assert.Equal(VcmmError.HardwareFailure, shared.TryInvalidate(range));
        _hardware.Disarm();
        Assert.Equal(VcmmError.None, shared.TryInvalidate(range));
        Assert.Equal(new Invalidation(value.Domain, range, LeavesOnly: false), Assert.Single(Assert.Single(_iommu.Batches)));
        code.Reservation.Back(Page, code.Memory, Page, Page);

        association.Deactivate();
        association.Deassociate();
        shared.Free();
        Assert.Empty(_iommu.Attached);
        Assert.Equal(free, _frames.FreeBytes);
        Assert.Equal(leaves, LeavesOf(process));
    }

    /// <summary>Hardware that goes on to cache what is not to be cached any more holds what nobody finds in memory.</summary>
    [Theory]
    [InlineData(CachePolicy.NotCached)]
    [InlineData(CachePolicy.WriteThrough)]
    public void A_change_of_how_caches_are_used_is_told_to_all_though_no_right_changes(CachePolicy cache)
    {
        Vcm process = CreateProcess(0, out _);
        process.Associate(_manager.AddDevice(_iommu, new(3)), new() { Format = LedgerIommu.FirstStage }).Activate();
        Reservation reservation = process.Map(_manager.Allocate(2 * Page));
        Assert.Empty(_port.Shootdowns);
        reservation.SetAttributes(new(Access.ReadWrite, Cache: cache));
        Assert.Equal(reservation.Range, Assert.Single(Assert.Single(_iommu.Batches)).Range);
        Assert.Equal(reservation.Range, Assert.Single(Assert.Single(_port.Shootdowns)).Range);
        Assert.All(LeavesOf(process), leaf => Assert.Equal(cache, leaf.Attributes.Cache));
        // The same once more changes nothing, and costs nothing.
        reservation.SetAttributes(new(Access.ReadWrite, Cache: cache));
        Assert.Single(_port.Shootdowns);
    }

    [Fact]
    public void A_device_has_one_region_for_each_PASID_and_one_without()
    {
        Vcm[] processes = [CreateProcess(0, out PhysAddr first), CreateProcess(1, out PhysAddr second)];
        PhysAddr[] roots = [first, second];
        Device device = _manager.AddDevice(_iommu, new(3));
        Association[] associations =
        [
            .. roots.Select((root, i) => _manager.AdoptVcm(Range, LedgerIommu.FirstStage, root)
                .Associate(device, new() { Format = LedgerIommu.FirstStage, Pasid = new((uint)i + 1) })),
            _manager.CreateVcm(Range).Associate(device),
        ];
        foreach (Association association in associations) association.Activate();
        Assert.Equal([0u, 2u, 3u], _iommu.Attached.Keys.Select(key => key.Space));
        Assert.Equal(3, _iommu.Attached.Values.Select(value => value.Domain).Distinct().Count());

        Association again = _manager.CreateVcm(Range).Associate(device, new() { Pasid = new(2) });
        Assert.Equal(VcmmError.Busy, again.TryActivate());
        Assert.Equal(VcmmError.Invalid, processes[0].TryAssociate(device, new() { Pasid = new(16) }, out _));
        associations[1].Deactivate();
        Assert.Equal([0u, 2u], _iommu.Attached.Keys.Select(key => key.Space));
        again.Activate();
        Assert.Equal(3, _iommu.Attached.Count);
    }

    private Vcm CreateProcess(uint addressSpace, out PhysAddr root)
    {
        Vcm process = _manager.CreateVcm(Range);
        process.Associate(_manager.AddDevice(_cpu, new(addressSpace))).Activate();
        Assert.True(process.TryGetTable(LedgerIommu.FirstStage, out IPageTable? table));
        root = table!.Root;
        Assert.Equal(root, _port.Loaded[new(addressSpace)].Root);
        return process;
    }

    private static Leaf[] LeavesOf(Vcm vcm)
    {
        Assert.True(vcm.TryGetTable(LedgerIommu.FirstStage, out IPageTable? table));
        return [.. table!.Leaves()];
    }

    /// <summary>Cores that write down what they are told.</summary>
    private sealed class RecordingCpu : ICpuPort
    {
        public Dictionary<StreamId, (DomainId Tag, PhysAddr Root)> Loaded { get; } = [];

        public List<CpuFlush[]> Shootdowns { get; } = [];

        public int CoreCount => 4;

        public TableFormat Format => LedgerIommu.FirstStage;

        public uint AddressSpaceCount => 8;

        public uint TagCount => 16;

        public uint HardwareVersion => 1;

        public VcmmError LoadRoot(StreamId addressSpace, DomainId tag, PhysAddr root)
        {
            Loaded.Add(addressSpace, (tag, root));
            return VcmmError.None;
        }

        public VcmmError UnloadRoot(StreamId addressSpace, DomainId tag)
        {
            Assert.True(Loaded.Remove(addressSpace));
            return VcmmError.None;
        }

        public VcmmError Shootdown(ReadOnlySpan<CpuFlush> flushes)
        {
            Shootdowns.Add(flushes.ToArray());
            return VcmmError.None;
        }
    }
}
