using Harness;
using Harness.Passing;
using Platform;
using Properties.Cli;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Invalidations;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>What a region does again and again takes no managed memory, however many are told.</summary>
public sealed class SteadyStateLaws : IDisposable
{
    private const ulong Page = VcmManager.PageBytes;
    private const ulong Large = 2UL << 20;

    /// <summary>As many as a gather keeps apart.</summary>
    private const int RangeCount = InvalidationGather.MaxRangeCount;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(Large), 4 * Large));
    private readonly VcmManager _manager;

    public SteadyStateLaws() => _manager = new(new FrameAllocator(_ram.Range));

    public void Dispose() => _ram.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Reserving_backing_and_unbacking_again_allocates_nothing(bool isDeferred)
    {
        FlushQueue? queue = isDeferred ? new(new() { Time = new FakeClock() }) : null;
        var quiet = new QuietIommu(new LedgerIommu(_ram.Port, new(), LedgerIommu.SecondStage));
        Vcm vcm = CreateRegion(queue);
        vcm.Associate(_manager.AddDevice(quiet, new(1))).Activate();
        PhysicalAllocation memory = _manager.Allocate(2 * Page);
        for (int i = 0; i < 4; i++) Round();
        Assert.Equal(0, Allocations.Of(() =>
        {
            for (int i = 0; i < 20; i++) Round();
        }));
        Assert.True(quiet.Count > 20);

        void Round()
        {
            vcm.TryReserve(2 * Page, Access.Read, Page, out Reservation reservation);
            reservation.TryBack(memory);
            reservation.TryUnback(0, Page);
            reservation.TryUnback(Page, Page);
            if (reservation.TryUnreserve() != VcmmError.None || vcm.TryFlush() != VcmmError.None) throw new InvalidOperationException("it is still there");
        }
    }

    [Fact]
    public void Backing_with_memory_that_is_freed_already_allocates_nothing()
    {
        Reservation reservation = CreateRegion(null).Reserve(Page);
        PhysicalAllocation memory = _manager.Allocate(Page);
        memory.Free();
        for (int i = 0; i < 4; i++) Round();
        Assert.Equal(0, Allocations.Of(() =>
        {
            for (int i = 0; i < 20; i++) Round();
        }));

        void Round()
        {
            if (reservation.TryBack(memory) != VcmmError.Invalid) throw new InvalidOperationException("it was not freed");
        }
    }

    /// <summary>As many commands for one call as a stack frame has room for, and more.</summary>
    [Theory]
    [InlineData(8)]
    [InlineData(9)]
    public void Each_domain_is_told_each_range_however_many_there_are(int domainCount)
    {
        var iommu = new NestingIommu(new LedgerIommu(_ram.Port, new(), LedgerIommu.SecondStage));
        Vcm vcm = CreateRegion(null);
        for (uint i = 1; i <= domainCount; i++)
        {
            var nested = new NestedTable(LedgerIommu.FirstStage, new(i * Page));
            vcm.Associate(_manager.AddDevice(iommu, new(i)), new() { NestedTable = nested }).Activate();
        }

        // A table each, with another between them.
        Reservation reservation = vcm.ReserveAt(new(0), 2 * RangeCount * Large);
        PhysicalAllocation memory = _manager.Allocate(Page);
        iommu.Told = [];
        Round();
        Assert.Equal(1, iommu.CallCount);
        Assert.Equal(domainCount * RangeCount, iommu.Told.Distinct().Count());
        for (ulong i = 0; i < RangeCount; i++) Assert.Equal(domainCount, iommu.Told.Count(command => command.Range.Contains(new Iova(2 * i * Large))));
        Assert.Equal(domainCount, iommu.Told.Select(command => command.Domain).Distinct().Count());
        iommu.Told = null;
        Round();
        if (domainCount * RangeCount > 64) return;
        Assert.Equal(0, Allocations.Of(() =>
        {
            for (int i = 0; i < 10; i++) Round();
        }));

        void Round()
        {
            for (ulong i = 0; i < RangeCount; i++) reservation.TryBack(2 * i * Large, memory, 0, Page);
            if (reservation.TryUnback() != VcmmError.None) throw new InvalidOperationException("it is still there");
        }
    }

    private Vcm CreateRegion(FlushQueue? queue) => _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30), new() { FlushQueue = queue });

    /// <summary>Whatever is nested has a domain of its own.</summary>
    private sealed class NestingIommu(IIommu inner) : PassingIommu(inner)
    {
        public int CallCount { get; private set; }

        public List<Invalidation>? Told { get; set; }

        public override bool CanNest(TableFormat outer, TableFormat nested) => true;

        public override VcmmError AttachNested(StreamId device, Pasid? pasid, DomainId domain, IPageTable table, NestedTable nested) => VcmmError.None;

        public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
        {
            CallCount++;
            Told?.AddRange(commands);
            return VcmmError.None;
        }
    }
}
