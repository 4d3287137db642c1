using Harness;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Cpu;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>
/// Cores that walk x86-64 tables in memory and cache every page that they use until they are told to forget it. The walk is
/// written from the architecture's tables, apart from the library.
/// </summary>
/// <remarks><b>Source.</b> Intel SDM, volume 3A, "4-Level Paging and 5-Level Paging".</remarks>
internal sealed class SimpleCpus(Ram memory, int coreCount = 2, int levelCount = 4) : ICpuPort
{
    private readonly Dictionary<StreamId, (DomainId Tag, PhysAddr Root)> _roots = [];
    private readonly Dictionary<(DomainId Tag, ulong Page), ulong>[] _tlbs = [.. Enumerable.Range(0, coreCount).Select(_ => new Dictionary<(DomainId, ulong), ulong>())];

    /// <summary>The flushes of each shootdown.</summary>
    public List<CpuFlush[]> Shootdowns { get; } = [];

    public Func<VcmmError> Outcome { get; set; } = static () => VcmmError.None;

    public int CoreCount => coreCount;

    public TableFormat Format { get; init; } = new(X86FirstStage.Encoding, levelCount, 0b1110);

    public uint AddressSpaceCount => 4;

    public uint TagCount { get; init; } = 4096;

    public uint HardwareVersion => 1;

    public VcmmError LoadRoot(StreamId addressSpace, DomainId tag, PhysAddr root)
    {
        if (Outcome() is not VcmmError.None and var error) return error;
        _roots.Add(addressSpace, (tag, root));
        return VcmmError.None;
    }

    public VcmmError UnloadRoot(StreamId addressSpace, DomainId tag)
    {
        if (Outcome() is not VcmmError.None and var error) return error;
        Assert.Equal(tag, _roots[addressSpace].Tag);
        _roots.Remove(addressSpace);
        Forget(entry => entry.Tag == tag);
        return VcmmError.None;
    }

    public VcmmError Shootdown(ReadOnlySpan<CpuFlush> flushes)
    {
        CpuFlush[] all = flushes.ToArray();
        Shootdowns.Add(all);
        if (Outcome() is not VcmmError.None and var error) return error;
        Forget(entry => Array.Exists(all, flush => flush.Tag == entry.Tag && (flush.IsAll || flush.Range.Contains(new Iova(entry.Page << 12)))));
        return VcmmError.None;
    }

    /// <summary>What a core reads at an address; null: a page fault.</summary>
    public ulong? Read(int core, StreamId addressSpace, Iova address)
    {
        if (!_roots.TryGetValue(addressSpace, out (DomainId Tag, PhysAddr Root) space)) return null;
        ulong page = address.Value >> 12;
        if (!_tlbs[core].TryGetValue((space.Tag, page), out ulong frame))
        {
            if (Walk(space.Root.Value, address.Value) is not { } found) return null;
            _tlbs[core].Add((space.Tag, page), frame = found);
        }

        return memory.Read64(new(frame | (address.Value & 0xFF8)));
    }

    private ulong? Walk(ulong table, ulong address)
    {
        int spare = 64 - (12 + 9 * levelCount);
        if ((ulong)((long)(address << spare) >> spare) != address) return null;
        for (int level = levelCount; ; level--)
        {
            int shift = 12 + 9 * (level - 1);
            ulong entry = memory.Read64(new(table + (address >> shift & 511) * 8));
            if ((entry & 1) == 0) return null;
            ulong frame = entry & 0x000F_FFFF_FFFF_F000;
            if (level == 1 || (entry & 0x80) != 0)
            {
                ulong inside = (1UL << shift) - 1;
                return ((frame & ~inside) | (address & inside)) & ~0xFFFUL;
            }

            table = frame;
        }
    }

    private void Forget(Predicate<(DomainId Tag, ulong Page)> which)
    {
        foreach (Dictionary<(DomainId Tag, ulong Page), ulong> tlb in _tlbs)
        {
            foreach ((DomainId, ulong) entry in tlb.Keys.Where(entry => which(entry)).ToArray()) tlb.Remove(entry);
        }
    }
}

/// <summary>The CPU as one more association: I4, I9 and I11 where a sync interrupts every core.</summary>
public sealed class CpuMmuLaws : IDisposable
{
    private const ulong Page = SmallSystem.Page;

    private readonly SmallSystem _system = new();
    private readonly SimpleCpus _cpus;
    private readonly CpuMmu<X86FirstStage, Ram> _mmu;

    public CpuMmuLaws()
    {
        _cpus = new(_system.Memory);
        _mmu = new(_cpus, _system.Memory);
    }

    public void Dispose() => _system.Dispose();

    [Fact]
    public void A_region_without_a_cpu_writes_no_cpu_table_and_interrupts_no_core()
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm devices = _system.CreateVcm();
        _system.Activate(devices, iommu);
        Vcm both = _system.CreateVcm();
        _system.Activate(both, iommu);
        Association cpu = both.Associate(_system.Manager.AddDevice(_mmu, new(0)));
        cpu.Activate();
        CpuMmuCounters before = _mmu.Counters;
        Churn(devices);
        Assert.Equal(before, _mmu.Counters);
        Assert.Empty(_cpus.Shootdowns);

        // The same with a CPU costs something, or the counters count nothing.
        Churn(both);
        Assert.Equal(before.Shootdowns + 4, _mmu.Counters.Shootdowns);
        Assert.True(_mmu.Counters.EntryWrites >= before.EntryWrites + 4 * 2 * 8);
    }

    private void Churn(Vcm vcm)
    {
        for (int i = 0; i < 4; i++)
        {
            Reservation reservation = vcm.Reserve(8 * Page);
            PhysicalAllocation memory = _system.Manager.Allocate(8 * Page, ChunkSizes.Size4K, scattered: true);
            reservation.Back(memory);
            reservation.Unback();
            reservation.Unreserve();
            memory.Free();
        }
    }

    [Fact]
    public void A_core_and_a_device_see_the_same_memory_and_neither_once_unback_returns()
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm vcm = _system.CreateVcm();
        _system.Activate(vcm, iommu);
        Association cpu = vcm.Associate(_system.Manager.AddDevice(_mmu, new(3)));
        cpu.Activate();
        Reservation reservation = vcm.Reserve(8 * Page);
        PhysicalAllocation memory = _system.Manager.Allocate(8 * Page, ChunkSizes.Size4K, scattered: true);
        reservation.Back(memory);
        Assert.Empty(_cpus.Shootdowns);
        for (ulong i = 0; i < 8; i++)
        {
            _system.Memory.Write64(memory.Segments[(int)i].First, 100 + i);
            for (int core = 0; core < 2; core++) Assert.Equal(100 + i, _cpus.Read(core, new(3), reservation.Range.First + i * Page));
            Assert.Equal(VcmmError.None, vcm.TryTranslate(reservation.Range.First + i * Page, out Translation translation));
            Assert.Equal(memory.Segments[(int)i].First, translation.Address);
        }

        Iova first = reservation.Range.First;
        reservation.Unback();
        for (int core = 0; core < 2; core++) Assert.Null(_cpus.Read(core, new(3), first));
        Assert.Single(Assert.Single(_cpus.Shootdowns));
        reservation.Back(memory);
        Assert.Single(_cpus.Shootdowns);
        Assert.Equal(100UL, _cpus.Read(0, new(3), first));
        cpu.Deactivate();
        Assert.Null(_cpus.Read(0, new(3), first));
    }

    [Fact]
    public void A_shootdown_that_fails_leaves_the_mapping_and_the_memory_in_use()
    {
        Vcm vcm = _system.CreateVcm();
        vcm.Associate(_system.Manager.AddDevice(_mmu, new(0))).Activate();
        Reservation reservation = vcm.Reserve(Page);
        PhysicalAllocation memory = _system.Manager.Allocate(Page);
        reservation.Back(memory);
        _system.Memory.Write64(memory.Segments[0].First, 7);
        _cpus.Outcome = static () => VcmmError.HardwareFailure;
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryUnback());
        Assert.Equal(7UL, _cpus.Read(0, new(0), reservation.Range.First));
        Assert.Equal(VcmmError.Busy, memory.TryFree());
        _cpus.Outcome = static () => VcmmError.None;
        reservation.Unback();
        Assert.Null(_cpus.Read(0, new(0), reservation.Range.First));
    }

    [Fact]
    public void Several_commands_are_one_shootdown_and_ranges_that_touch_are_one()
    {
        Assert.Equal(VcmmError.None, _mmu.Invalidate([]));
        Assert.Empty(_cpus.Shootdowns);
        Assert.Equal(VcmmError.None, _mmu.Invalidate(
        [
            new(new(1), IovaRange.FromLength(new(0), Page), true),
            new(new(2), IovaRange.FromLength(new(0), Page), true),
            new(new(1), IovaRange.FromLength(new(Page), Page), true),
            new(new(1), IovaRange.FromLength(new(9 * Page), Page), true),
        ]));
        Assert.Equal(
            [
                new(new(1), IovaRange.FromLength(new(0), 2 * Page), false, true),
                new(new(1), IovaRange.FromLength(new(9 * Page), Page), false, true),
                new(new(2), IovaRange.FromLength(new(0), Page), false, true),
            ],
            Assert.Single(_cpus.Shootdowns));
        Assert.Equal((1, 3, 0), (_mmu.Counters.Shootdowns, _mmu.Counters.Ranges, _mmu.Counters.FullFlushes));
    }

    [Fact]
    public void A_core_walks_what_it_can_see_when_it_is_given_a_root_and_when_an_operation_returns()
    {
        var watch = new MemoryWatch();
        var frames = new WatchedFrames(_system.Frames, watch);
        var mmu = new CpuMmu<X86FirstStage, WatchedMemory>(_cpus, new(_system.Memory, watch));
        int told = 0;
        _cpus.Outcome = () =>
        {
            told++;
            watch.AssertVisible("when the cores are told");
            return VcmmError.None;
        };
        var manager = new VcmManager(frames);
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        Association cpu = vcm.Associate(manager.AddDevice(mmu, new(0)));
        // What another thread has published by now is ordered before the root, too.
        PhysicalAllocation prepared = manager.Allocate(Page);
        new WatchedMemory(_system.Memory, watch).Write64(prepared.Segments[0].First, 1);
        watch.Cleaned(prepared.Segments[0]);
        cpu.Activate();
        Reservation reservation = vcm.Reserve(2 * Page);
        reservation.Back(manager.Allocate(2 * Page, ChunkSizes.Size4K, scattered: true));
        watch.AssertVisible("after the back");
        reservation.Unback();
        watch.AssertVisible("after the unback");
        cpu.Deactivate();
        Assert.Equal(3, told);
        Assert.True(watch.WriteCount > 4);
    }

    [Theory]
    [InlineData(32, false)]
    [InlineData(33, true)]
    public void Past_so_many_pages_an_address_space_is_forgotten_as_a_whole(ulong pages, bool isAll)
    {
        _mmu.Invalidate(new(1), IovaRange.FromLength(new(Page), pages * Page), leavesOnly: false);
        CpuFlush flush = Assert.Single(Assert.Single(_cpus.Shootdowns));
        Assert.Equal(isAll, flush.IsAll);
        Assert.False(flush.LeavesOnly);
        Assert.True(flush.Range.Contains(IovaRange.FromLength(new(Page), pages * Page)));
        Assert.Equal(isAll ? 1 : 0, _mmu.Counters.FullFlushes);

        _mmu.Invalidate(new(1), new(new(0), new(ulong.MaxValue)), leavesOnly: false);
        Assert.True(_cpus.Shootdowns[^1][0].IsAll);
    }

    [Theory]
    [InlineData(16, false)]
    [InlineData(17, true)]
    public void The_pages_of_several_ranges_count_together(ulong pages, bool isAll)
    {
        Assert.Equal(VcmmError.None, _mmu.Invalidate(
        [
            new(new(1), IovaRange.FromLength(new(Page), 16 * Page), true),
            new(new(1), IovaRange.FromLength(new(64 * Page), pages * Page), true),
            new(new(2), IovaRange.FromLength(new(Page), 16 * Page), true),
        ]));
        Assert.Equal(isAll ? [true, false] : [false, false, false], Assert.Single(_cpus.Shootdowns).Select(flush => flush.IsAll));
    }

    [Fact]
    public void Only_canonical_addresses_are_translated()
    {
        TableFormat format = _mmu.Formats[0];
        Assert.True(_mmu.CanTranslate(format, new(new(0), new((1UL << 47) - 1))));
        Assert.False(_mmu.CanTranslate(format, new(new(0), new(1UL << 47))));
        Assert.True(_mmu.CanTranslate(format, new(new(ulong.MaxValue << 47), new(ulong.MaxValue))));
        Assert.False(_mmu.CanTranslate(format, new(new((ulong.MaxValue << 47) - 1), new(ulong.MaxValue))));
        Assert.False(_mmu.CanTranslate(format, new(new(0), new(ulong.MaxValue))));
        Assert.False(_mmu.CanTranslate(format with { LevelCount = 5 }, new(new(0), new(1))));
        Assert.False(_mmu.CanIdentify(new(4)));
        Assert.True(_mmu.CanIdentify(new(3)));
        Assert.Throws<ArgumentException>(() => new CpuMmu<VtdSecondStage, Ram>(_cpus, _system.Memory));
    }

    [Fact]
    public void Tags_run_out_and_come_back()
    {
        var mmu = new CpuMmu<X86FirstStage, Ram>(new SimpleCpus(_system.Memory) { TagCount = 3 }, _system.Memory);
        Assert.Equal(VcmmError.None, mmu.TryCreateDomain(out DomainId first));
        Assert.Equal(VcmmError.None, mmu.TryCreateDomain(out DomainId second));
        Assert.Equal([1u, 2u], [first.Value, second.Value]);
        Assert.Equal(VcmmError.NoSpace, mmu.TryCreateDomain(out _));
        mmu.ReleaseDomain(first);
        Assert.Equal(VcmmError.None, mmu.TryCreateDomain(out DomainId again));
        Assert.Equal(first, again);
        Assert.Equal(VcmmError.None, new CpuMmu<X86FirstStage, Ram>(new SimpleCpus(_system.Memory) { TagCount = 0 }, _system.Memory).TryCreateDomain(out _));
    }

    [Fact]
    public void Shootdowns_allocate_nothing_in_steady_state()
    {
        var mmu = new CpuMmu<X86FirstStage, Ram>(new QuietCpus(_cpus), _system.Memory);
        for (int i = 0; i < 10; i++) mmu.Invalidate(new(1), IovaRange.FromLength(new(Page), Page), leavesOnly: true);
        Assert.Equal(0, Allocations.Of(() =>
        {
            for (int i = 0; i < 1000; i++) mmu.Invalidate(new(1), IovaRange.FromLength(new(Page), Page), leavesOnly: true);
        }));
        Assert.Equal(1010, mmu.Counters.Shootdowns);
    }

    private sealed class QuietCpus(ICpuPort inner) : ICpuPort
    {
        public int CoreCount => inner.CoreCount;

        public TableFormat Format => inner.Format;

        public uint AddressSpaceCount => inner.AddressSpaceCount;

        public uint TagCount => inner.TagCount;

        public uint HardwareVersion => inner.HardwareVersion;

        public VcmmError LoadRoot(StreamId addressSpace, DomainId tag, PhysAddr root) => VcmmError.None;

        public VcmmError UnloadRoot(StreamId addressSpace, DomainId tag) => VcmmError.None;

        public VcmmError Shootdown(ReadOnlySpan<CpuFlush> flushes) => VcmmError.None;
    }
}
