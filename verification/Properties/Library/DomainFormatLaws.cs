using Harness.Passing;
using Platform;
using Properties.Library.Regions;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Dma;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>
/// Address spaces without a VCM in formats that differ: addresses up to the last of 64 bits, small tables, entries that must be absent
/// before they change, attributes that one format can say and another cannot; and what cutting a leaf tells the hardware (I2, I4, I6, I11).
/// </summary>
public sealed class DomainFormatLaws : IDisposable
{
    private const ulong Page = 4096;
    private const ulong Large = 2UL << 20;
    private const ulong OddLeaf = 16 * Page;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 1024 * Page));
    private readonly Fuse _fuse = new();
    private readonly FrameAllocator _frames;

    public DomainFormatLaws()
    {
        _frames = new(_ram.Range);
        // Frame 0 stays taken: an address of 0 in an entry must not be mistaken for a table.
        Assert.Equal(VcmmError.None, _frames.TryAllocate(Page, out _));
    }

    public void Dispose() => _ram.Dispose();

    /// <summary>Where addresses are sign-extended.</summary>
    [Fact]
    public void The_last_page_of_64_bits_is_a_page_like_any_other()
    {
        IommuDomain domain = IommuDomain.Create(new WideIommu(new LedgerIommu(_ram.Port, _fuse, LedgerIommu.FirstStage)), _frames);
        domain.Attach(new(1));
        var last = IovaRange.FromLength(new(ulong.MaxValue - Page + 1), Page);
        var last4 = IovaRange.FromLength(new(ulong.MaxValue - 4 * Page + 1), 4 * Page);
        domain.Map(last.First, PhysRange.FromLength(new(7 * Page), Page), Access.ReadWrite);
        Assert.Equal(new PhysAddr(8 * Page - 1), domain.IovaToPhys(last.Last));
        Assert.Equal(VcmmError.Busy, domain.TryMap(last4.First, new PhysAddr(4 * Page), 4 * Page, Access.Read));
        Assert.Equal(VcmmError.Invalid, domain.TryMap(last.First, new PhysAddr(7 * Page), 2 * Page, Access.Read));
        domain.Map(last4.First, PhysRange.FromLength(new(4 * Page), 3 * Page), Access.ReadWrite);
        domain.Protect(last4, Access.Read);
        Assert.Equal(Access.Read, domain.Translate(last.Last).Access);
        domain.Unmap(last4);
        domain.Map(last4.First, PhysRange.FromLength(new(4 * Page), 4 * Page), Access.ReadWrite);
    }

    [Fact]
    public void What_is_mapped_anywhere_in_a_range_makes_it_busy_whatever_the_size_of_a_table()
    {
        IommuDomain domain = CreateOdd(new LedgerIommu(_ram.Port, _fuse, LedgerIommu.Odd));
        domain.Map(new(20 * Page), PhysRange.FromLength(new(Page), Page), Access.Read);
        Assert.Equal(VcmmError.Busy, domain.TryMap(new(0), new PhysAddr(Page), 32 * Page, Access.Read));
        Assert.Equal(new PhysAddr(Page), domain.IovaToPhys(new(20 * Page)));
    }

    /// <summary>Break-before-make: absent until the hardware has forgotten the whole; and where it remembers what is absent it forgets that, too.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_leaf_that_must_be_absent_before_it_is_cut_is_forgotten_before_its_parts_are_there(bool cachesAbsent)
    {
        var iommu = new LedgerIommu(_ram.Port, _fuse, LedgerIommu.Odd) { CachesAbsent = cachesAbsent };
        IommuDomain domain = CreateOdd(iommu);
        var leaf = IovaRange.FromLength(new(2 * OddLeaf), OddLeaf);
        domain.Map(leaf.First, PhysRange.FromLength(new(1UL << 20), OddLeaf), Access.ReadWrite);
        Assert.Equal(OddLeaf, domain.Translate(leaf.First).LeafBytes);

        // The hardware does not answer: the leaf is whole.
        _fuse.Arm(1);
        Assert.Equal(VcmmError.HardwareFailure, domain.TryProtect(IovaRange.FromLength(leaf.First, Page), Access.Read));
        _fuse.Disarm();
        Assert.Equal((OddLeaf, Access.ReadWrite), (domain.Translate(leaf.First).LeafBytes, domain.Translate(leaf.First).Access));

        var seen = new List<VcmmError>();
        iommu.Batches.Clear();
        iommu.OnInvalidate = () => seen.Add(domain.TryTranslate(leaf.Last, out _));
        var page = IovaRange.FromLength(leaf.First + 3 * Page, Page);
        domain.Protect(page, Access.Read);
        Invalidation whole = new(domain.Id, leaf, LeavesOnly: true), absent = new(domain.Id, leaf, LeavesOnly: false), part = new(domain.Id, page, LeavesOnly: true);
        Invalidation[] told = cachesAbsent ? [whole, absent, part] : [whole, part];
        Assert.Equal(told, iommu.Batches.Select(static batch => Assert.Single(batch)));
        Assert.Equal(Enumerable.Repeat(VcmmError.None, told.Length - 1).Prepend(VcmmError.Fault), seen);
    }

    [Fact]
    public void Where_memory_throws_while_such_a_leaf_is_cut_nothing_that_was_mapped_is_lost()
    {
        var watch = new MemoryWatch();
        int writesBeforeThrow = -1;
        watch.BeforeWrite = (_, _) =>
        {
            if (writesBeforeThrow >= 0 && writesBeforeThrow-- == 0) throw new BrokenPort();
        };
        // Five tables of four entries take a leaf's place, and then the leaf goes. At the first write and the last, for each leaf.
        foreach (int thrown in (int[])[0, 20, 21, 41])
        {
            var iommu = new LedgerIommu(_ram.Port, _fuse, LedgerIommu.Odd);
            IommuDomain domain = IommuDomain.Create(new WatchedTables<OddFormat>(iommu, _ram.Port, watch), new WatchedFrames(_frames, watch));
            domain.Attach(new(1));
            domain.Map(new(0), PhysRange.FromLength(new(1UL << 20), 2 * OddLeaf), Access.ReadWrite);
            writesBeforeThrow = thrown;
            // Both leaves are cut.
            Assert.Throws<BrokenPort>(() => domain.TryProtect(IovaRange.FromLength(new(Page), OddLeaf), Access.Read));
            Assert.Equal((-1, 0), (writesBeforeThrow, iommu.Batches.Count));
            foreach (Iova first in (Iova[])[new(0), new(OddLeaf)])
                Assert.Equal(new(new((1UL << 20) + first.Value), Access.ReadWrite, OddLeaf), domain.Translate(first));
            domain.Detach(new(1));
            domain.Free();
        }
    }

    /// <summary>Who has the leaf in a cache must be told of all of it, and is told once.</summary>
    [Fact]
    public void A_leaf_that_is_cut_is_told_whole_and_with_what_it_was_cut_for()
    {
        var iommu = new LedgerIommu(_ram.Port, _fuse, LedgerIommu.SecondStage);
        IommuDomain domain = IommuDomain.Create(iommu, _frames);
        domain.Attach(new(1));
        IovaRange[] leaves = [.. Enumerable.Range(1, 3).Select(i => IovaRange.FromLength(new((ulong)i * Large), Large))];
        foreach (IovaRange leaf in leaves) domain.Map(leaf.First, PhysRange.FromLength(new(leaf.First.Value + 8 * Large), Large), Access.ReadWrite);
        domain.Map(new(0), PhysRange.FromLength(new(Page), Page), Access.Read);
        Invalidation Told(IovaRange range) => new(domain.Id, range, LeavesOnly: true);

        domain.Protect(IovaRange.FromLength(leaves[0].First + 3 * Page, Page), Access.Read);
        Assert.Equal(Told(leaves[0]), Assert.Single(Assert.Single(iommu.Batches)));
        iommu.Batches.Clear();
        domain.Unmap(IovaRange.FromLength(leaves[1].First + 3 * Page, Page));
        Assert.Equal(Told(leaves[1]), Assert.Single(Assert.Single(iommu.Batches)));
        iommu.Batches.Clear();
        UnmapGather gather = domain.CreateGather();
        Assert.Equal(VcmmError.None, domain.TryUnmap(IovaRange.FromLength(leaves[2].First + 3 * Page, Page), gather));
        Assert.Empty(iommu.Batches);
        // Another call has nothing to do with it.
        domain.Unmap(IovaRange.FromLength(new(0), Page));
        Assert.Equal(Told(IovaRange.FromLength(new(0), Page)), Assert.Single(Assert.Single(iommu.Batches)));
        domain.Sync(gather);
        Assert.Equal(Told(leaves[2]), Assert.Single(iommu.Batches[1]));
    }

    [Fact]
    public void A_leaf_before_a_hole_is_not_cut()
    {
        IommuDomain domain = IommuDomain.Create(new LedgerIommu(_ram.Port, _fuse, LedgerIommu.SecondStage), _frames);
        domain.Map(new(2 * Large), PhysRange.FromLength(new(8 * Large), Large), Access.ReadWrite);
        ulong free = _frames.FreeBytes;
        var range = IovaRange.FromLength(new(2 * Large + Page), Large);
        Assert.Equal(VcmmError.NotFound, domain.TryProtect(range, Access.Read));
        Assert.Equal(VcmmError.NotFound, domain.TryUnmap(range));
        Assert.Equal((Large, free), (domain.Translate(new(2 * Large)).LeafBytes, _frames.FreeBytes));
    }

    [Fact]
    public void Large_leaves_take_the_place_of_empty_tables_however_many_there_are()
    {
        IommuDomain domain = IommuDomain.Create(new LedgerIommu(_ram.Port, _fuse, LedgerIommu.SecondStage), _frames);
        for (ulong i = 0; i < 3; i++)
        {
            domain.Map(new(i * Large), PhysRange.FromLength(new(Page), Page), Access.Read);
            domain.Unmap(IovaRange.FromLength(new(i * Large), Page));
        }

        domain.Map(new(0), PhysRange.FromLength(new(8 * Large), 3 * Large), Access.Read);
        for (ulong i = 0; i < 3; i++) Assert.Equal(Large, domain.Translate(new(i * Large)).LeafBytes);
    }

    /// <summary>A device may have more granted to it after two failures, and only then: another use of caches grants nothing.</summary>
    [Fact]
    public void Another_use_of_caches_that_the_hardware_does_not_confirm_is_taken_back()
    {
        IommuDomain domain = IommuDomain.Create(new LedgerIommu(_ram.Port, _fuse, LedgerIommu.FirstStage), _frames);
        domain.Attach(new(1));
        domain.Map(new(0), PhysRange.FromLength(new(Page), Page), Access.ReadWrite);
        _fuse.Arm(1, stays: true);
        Assert.Equal(VcmmError.HardwareFailure, domain.TryProtect(IovaRange.FromLength(new(0), Page), new(Access.ReadWrite, Cache: CachePolicy.NotCached)));
        _fuse.Disarm();
        Assert.Equal(new MappingAttributes(Access.ReadWrite), domain.Translate(new(0)).Attributes);
    }

    [Fact]
    public void A_direction_that_the_format_cannot_say_grants_the_least_that_it_can()
    {
        IommuDomain domain = IommuDomain.Create(new LedgerIommu(_ram.Port, _fuse, LedgerIommu.FirstStage), _frames);
        var mapping = new DmaMapping<Ram>(domain, new RangeAllocator(IovaRange.FromLength(new(0), 16 * Page)), _ram.Port, _frames);
        Assert.Equal(Access.Read, domain.Translate(mapping.MapSingle(new(Page), Page, DmaDirection.ToDevice)).Access);
        Assert.Equal(Access.ReadWrite, domain.Translate(mapping.MapSingle(new(Page), Page, DmaDirection.FromDevice)).Access);
        Assert.Equal(Access.ReadWrite, domain.Translate(mapping.MapSingle(new(Page), Page, DmaDirection.Bidirectional)).Access);
    }

    private IommuDomain CreateOdd(LedgerIommu iommu)
    {
        IommuDomain domain = IommuDomain.Create(iommu, _frames);
        domain.Attach(new(1));
        return domain;
    }

    /// <summary>It translates all that the table covers.</summary>
    private sealed class WideIommu(IIommu inner) : PassingIommu(inner)
    {
        public override bool CanTranslate(TableFormat format, IovaRange range) => true;
    }
}
