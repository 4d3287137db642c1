using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>Devices of several formats and one without an MMU in one region (R2, R6, I3).</summary>
public sealed class OneToOneLaws : IDisposable
{
    private const ulong Page = VcmManager.PageBytes;
    private const ulong Large = 2UL << 20;

    private static readonly IovaRange Range = IovaRange.FromLength(new(0), 1UL << 30);
    private static readonly TableFormat[] Formats = [LedgerIommu.SecondStage, LedgerIommu.FirstStage, IdentityTable.Format];

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(Large), 3 * Large));
    private readonly Fuse _memory = new();
    private readonly Fuse _hardware = new();
    private readonly FusedFrames _frames;
    private readonly VcmManager _manager;
    private readonly LedgerIommu _secondStage;
    private readonly LedgerIommu _firstStage;
    private readonly NoIommu _none = new();

    public OneToOneLaws()
    {
        _frames = new(new FrameAllocator(_ram.Range), _memory);
        _manager = new(_frames);
        _secondStage = new(_ram.Port, _hardware, LedgerIommu.SecondStage) { CachesAbsent = true };
        _firstStage = new(_ram.Port, _hardware, LedgerIommu.FirstStage);
    }

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void A_back_is_in_the_tables_of_all_formats_or_of_none()
    {
        Vcm vcm = CreateJoined(out _);
        PhysicalAllocation memory = _manager.AllocateContiguous(17 * Page, 64 << 10);
        Reservation reservation = vcm.ReserveAt(new(memory.Segments[0].First.Value), 17 * Page);
        ulong free = _frames.FreeBytes;
        int refusals = 0;
        for (_memory.Arm(1); reservation.TryBack(memory) is var error && error != VcmmError.None; _memory.Arm(refusals + 1))
        {
            refusals++;
            Assert.Equal((VcmmError.NoMemory, free), (error, _frames.FreeBytes));
            Assert.All(Formats, format => Assert.Empty(TableOf(vcm, format).Leaves()));
        }

        // Three tables below the root for each of two formats.
        Assert.Equal(6, refusals);
        AssertAgree(vcm);
        _memory.Disarm();
        reservation.Unback(3 * Page, 2 * Page);
        AssertAgree(vcm);
        reservation.Unback();
        Assert.All(Formats, format => Assert.Empty(TableOf(vcm, format).Leaves()));
    }

    [Fact]
    public void An_association_whose_table_runs_out_leaves_the_others_alone()
    {
        Vcm vcm = _manager.CreateVcm(Range, new() { Kind = VcmKind.OneToOne });
        vcm.Associate(_manager.AddDevice(_none, new(1))).Activate();
        vcm.Bind(Page);
        vcm.Bind(Large);
        ulong free = _frames.FreeBytes;
        Device device = _manager.AddDevice(_firstStage, new(2));
        int refusals = 0;
        for (_memory.Arm(1); vcm.TryAssociate(device, out _) is var error && error != VcmmError.None; _memory.Arm(refusals + 1))
        {
            refusals++;
            Assert.Equal((VcmmError.NoMemory, free), (error, _frames.FreeBytes));
            Assert.False(vcm.TryGetTable(LedgerIommu.FirstStage, out _));
            Assert.Equal(Large + Page, TableOf(vcm, IdentityTable.Format).Leaves().Aggregate(0UL, (sum, leaf) => sum + leaf.Range.ByteCount));
        }

        Assert.True(refusals > 3);
        _memory.Disarm();
        Assert.Equal(RegionPicture.Joined(TableOf(vcm, IdentityTable.Format).Leaves()), RegionPicture.Joined(TableOf(vcm, LedgerIommu.FirstStage).Leaves()));
    }

    [Fact]
    public void A_back_that_one_iommu_does_not_confirm_is_in_no_table()
    {
        Vcm vcm = CreateJoined(out _);
        PhysicalAllocation memory = _manager.AllocateContiguous(Page);
        Reservation reservation = vcm.ReserveAt(new(memory.Segments[0].First.Value), Page);
        _hardware.Arm(1);
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryBack(memory));
        Assert.All(Formats, format => Assert.Empty(TableOf(vcm, format).Leaves()));
        reservation.Back(memory);
        AssertAgree(vcm);
    }

    [Fact]
    public void A_binding_has_the_addresses_of_its_memory()
    {
        Vcm vcm = CreateJoined(out _);
        ulong free = _frames.FreeBytes;
        foreach (ulong byteCount in (ulong[])[Page, 3 * Page, 65 * Page])
        {
            Binding binding = vcm.Bind(byteCount);
            PhysRange piece = Assert.Single(binding.Memory.Segments);
            Assert.Equal((piece.First.Value, byteCount), (binding.Reservation.Range.First.Value, piece.ByteCount));
            AssertAgree(vcm);
            vcm.Unbind(binding);
        }

        int tables = Formats.Sum(format => TableOf(vcm, format).TablePages().Count()) - 2;
        Assert.Equal(free - (ulong)tables * Page, _frames.FreeBytes);
    }

    [Fact]
    public void A_binding_is_found_wherever_region_and_memory_have_something_free_in_common()
    {
        // The last two pages of the bank, one of them taken in the region.
        ulong end = Large + 3 * Large;
        Vcm vcm = _manager.CreateVcm(IovaRange.FromLength(new(end - 2 * Page), 64 * Page), new() { Kind = VcmKind.OneToOne });
        vcm.Associate(_manager.AddDevice(_none, new(1))).Activate();
        Reservation taken = vcm.ReserveAt(new(end - Page), Page);
        ulong free = _frames.FreeBytes;
        Binding binding = vcm.Bind(Page);
        Assert.Equal(end - 2 * Page, binding.Memory.Segments[0].First.Value);
        Assert.Equal(free - Page, _frames.FreeBytes);
        Assert.Equal(VcmmError.NoSpace, vcm.TryBind(Page, Access.ReadWrite, MemoryOptions.Default, out _));
        Assert.Equal(free - Page, _frames.FreeBytes);
        taken.Unreserve();
        vcm.Unbind(binding);
        Assert.Equal(end - 2 * Page, vcm.Bind(2 * Page).Memory.Segments[0].First.Value);
    }

    /// <summary>A source that is asked for any piece, and holds the ones that do not fit, is asked once for each frame below.</summary>
    [Fact]
    public void A_region_that_meets_the_memory_in_its_last_page_gets_that_page_at_once()
    {
        ulong end = Large + 3 * Large;
        Vcm vcm = _manager.CreateVcm(IovaRange.FromLength(new(end - Page), 1UL << 30), new() { Kind = VcmKind.OneToOne });
        _memory.Arm(int.MaxValue);
        Binding binding = vcm.Bind(Page);
        Assert.Equal((end - Page, 1), (binding.Memory.Segments[0].First.Value, _memory.Count));
        // What is free elsewhere does not help: there is no space, not no memory.
        Assert.Equal(VcmmError.NoSpace, vcm.TryBind(Page, Access.ReadWrite, MemoryOptions.Default, out _));
        Assert.Equal(VcmmError.NoSpace, _manager.CreateVcm(IovaRange.FromLength(new(end), Page), new() { Kind = VcmKind.OneToOne }).TryBind(Page, Access.ReadWrite, MemoryOptions.Default, out _));
        Assert.True(_memory.Count <= 5, $"the source was asked {_memory.Count} times");
        _manager.Allocate(_frames.FreeBytes);
        Assert.Equal(VcmmError.NoMemory, vcm.TryBind(Page, Access.ReadWrite, MemoryOptions.Default, out _));
    }

    [Fact]
    public void The_same_where_memory_is_in_banks()
    {
        var type = new MemoryType("far");
        MemoryBank[] banks = [new(new(new(Large), new(2 * Large - 1)), new("near"), true), new(new(new(2 * Large), new(4 * Large - 1)), type, true)];
        var manager = new VcmManager(new BankedFrames(banks));
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(2 * Large - Page), 3 * Page), new() { Kind = VcmKind.OneToOne });
        Assert.Equal(2 * Large, vcm.Bind(2 * Page, options: new() { From = new(type) }).Memory.Segments[0].First.Value);
        Assert.Equal(2 * Large - Page, vcm.Bind(Page).Memory.Segments[0].First.Value);
        Assert.Equal(VcmmError.NotFound, vcm.TryBind(Page, Access.ReadWrite, new() { From = new(new MemoryType("none")) }, out _));
    }

    [Fact]
    public void What_is_not_one_to_one_is_refused()
    {
        Device device = _manager.AddDevice(_none, new(7));
        Vcm translated = _manager.CreateVcm(Range);
        Assert.Equal(VcmmError.Invalid, translated.TryAssociate(device, out _));
        Vcm vcm = _manager.CreateVcm(Range, new() { Kind = VcmKind.OneToOne });
        Assert.Equal(VcmmError.Invalid, vcm.TryAssociate(device, new() { Pasid = new(0) }, out _));
        vcm.Associate(device).Activate();
        Assert.Equal((0u, 0u), (device.HardwareVersion, _none.PasidCount));
        PhysicalAllocation memory = _manager.AllocateContiguous(2 * Page);
        ulong first = memory.Segments[0].First.Value;
        Reservation beside = vcm.ReserveAt(new(first + Page), 2 * Page);
        Assert.Equal(VcmmError.Invalid, beside.TryBack(memory));
        Assert.Equal(VcmmError.None, beside.TryBack(0, memory, Page, Page));
        Assert.Equal(VcmmError.NoSpace, vcm.TryMap(memory, Access.ReadWrite, Page, out _));
        PhysicalAllocation scattered = _manager.Allocate(2 * Page, ChunkSizes.Size4K, scattered: true);
        Assert.Equal(VcmmError.Invalid, vcm.TryMap(scattered, Access.ReadWrite, Page, out _));
        // It protects nothing, so that what withholds something cannot be promised.
        Assert.Equal(VcmmError.Invalid, vcm.TryReserve(Page, Access.Read, Page, out _));
        Assert.Equal(VcmmError.Invalid, beside.TrySetAttributes(Access.Read));
    }

    [Fact]
    public void Devices_with_and_without_an_iommu_mean_the_same_by_an_address()
    {
        using var system = new VtdSystem();
        Vcm vcm = system.Manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 31), new() { Kind = VcmKind.OneToOne });
        vcm.Associate(system.Manager.AddDevice(_none, new(1))).Activate();
        vcm.Associate(system.Manager.AddDevice(system.Driver, new(0x20))).Activate();
        var device = new BusMaster<Ram, NoSteps>(system.Simulator, system.Memory, new(0x20));
        Binding binding = vcm.Bind(4 * Page);
        Iova at = binding.Reservation.Range.First + Page;
        byte[] word = new byte[8];
        // What the device without an IOMMU writes goes to that very address.
        system.Memory.Write64(new(at.Value), 0xD1EC7);
        Assert.True(device.Read(at, word).Ok);
        Assert.Equal(0xD1EC7UL, BitConverter.ToUInt64(word));
        Assert.False(device.Read(binding.Reservation.Range.First + 4 * Page, word).Ok);
        vcm.Unbind(binding);
        Assert.False(device.Read(at, word).Ok);
    }

    private Vcm CreateJoined(out Association[] associations)
    {
        Vcm vcm = _manager.CreateVcm(Range, new() { Kind = VcmKind.OneToOne });
        IIommu[] iommus = [_secondStage, _firstStage, _none];
        associations = [.. iommus.Select((iommu, i) => vcm.Associate(_manager.AddDevice(iommu, new((uint)i + 1))))];
        foreach (Association association in associations) association.Activate();
        return vcm;
    }

    private void AssertAgree(Vcm vcm)
    {
        RegionPicture.AssertTablesAgree(_manager, vcm, Formats);
        Assert.NotEmpty(TableOf(vcm, IdentityTable.Format).Leaves());
    }

    private static IPageTable TableOf(Vcm vcm, TableFormat format)
    {
        Assert.True(vcm.TryGetTable(format, out IPageTable? table));
        return table!;
    }
}
