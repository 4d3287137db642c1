using IommuSim;
using Platform;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>
/// Several accesses in the unit at once. A step of one is where the next begins, so that they are nested as deep as wanted
/// and end in the opposite order.
/// </summary>
public sealed class VtdConcurrentAccessTests
{
    private const int Depth = 100;

    private Action _then = static () => { };
    private SimStep _at;

    [Fact]
    public void A_wait_stands_still_for_every_one_of_many_accesses()
    {
        using RawVtd vtd = Interrupted(SimStep.MemoryAccess);
        int begun = 0;
        int endedBeforeWait = 0;
        _then = Access;
        Access();
        Assert.Equal(Depth, begun);
        Assert.Equal(Depth, endedBeforeWait);
        Assert.True(vtd.IsWaitDone);

        void Access()
        {
            if (begun == Depth)
            {
                _then = static () => { };
                vtd.InvalidatePages(DomainId, 0x1000);
                Assert.False(vtd.Wait());
                return;
            }

            begun++;
            Assert.True(vtd.Master.Read(new(0x1000), new byte[1]).Ok);
            // The outermost access is the first to begin and the last to end.
            endedBeforeWait++;
            Assert.Equal(endedBeforeWait == Depth, vtd.IsWaitDone);
        }
    }

    [Fact]
    public void A_place_among_the_accesses_is_used_again_after_its_end()
    {
        using RawVtd vtd = Interrupted(SimStep.MemoryAccess);
        for (int i = 0; i < 100; i++) Assert.True(vtd.Master.Read(new(0x1000), new byte[1]).Ok);
        bool isHeld = false;
        _then = () =>
        {
            _then = static () => { };
            vtd.InvalidatePages(DomainId, 0x1000);
            isHeld = !vtd.Wait();
        };
        Assert.True(vtd.Master.Read(new(0x1000), new byte[1]).Ok);
        Assert.True(isHeld);
        Assert.True(vtd.IsWaitDone);
    }

    [Fact]
    public void A_page_that_two_accesses_walk_at_once_is_held_once()
    {
        using RawVtd vtd = Interrupted(SimStep.IotlbFill);
        _then = () =>
        {
            _then = static () => { };
            vtd.AssertReads(0x1000, FrameA);
        };
        vtd.AssertReads(0x1000, FrameA);
        Assert.Equal(2, vtd.Iommu.Statistics.Walks);
        Assert.Equal(0x1000UL, Assert.Single(vtd.Iommu.Iotlb).Range.First.Value);
        Assert.Equal([2, 3, 4], vtd.Iommu.WalkCache.Select(entry => entry.Level));
        vtd.InvalidatePages(DomainId, 0x1000);
        Assert.Empty(vtd.Iommu.Iotlb);
        vtd.SetPage(1, FrameB | ReadWrite);
        vtd.AssertReads(0x1000, FrameB);
    }

    [Fact]
    public void Pages_of_two_sizes_and_the_same_number_are_held_side_by_side()
    {
        using RawVtd vtd = Interrupted(SimStep.IotlbFill);
        vtd.Write(Table2 + 8, 0x400000 | 1 << 7 | ReadWrite);
        for (int i = 0; i < 2; i++)
        {
            vtd.AssertReads(0x1000, FrameA);
            vtd.AssertReads(0x20_0000, 0x40_0000);
        }

        Assert.Equal(new ulong[] { 4096, 1 << 21 }, vtd.Iommu.Iotlb.Select(entry => entry.Range.ByteCount).Order());
        Assert.Equal(2, vtd.Iommu.Statistics.Walks);
        Assert.Equal(2, vtd.Iommu.Statistics.IotlbHits);
    }

    /// <summary>
    /// After the access has looked for its page in the IOTLB its context entry becomes another, and another access has that cached: what the tables of the one entry translate
    /// is not walked for by the other.
    /// </summary>
    [Theory]
    [InlineData(Table4 | 1 | 2 << 2, 2 | DomainId << 8, 0x1000UL, VtdFaultReason.None)]                     // pass-through
    [InlineData(Table3 | 1, 1 | DomainId << 8, 1UL << 40, VtdFaultReason.AddressBeyondMgaw)]                // of three levels
    [InlineData(0UL, 0UL, 0x1000UL, VtdFaultReason.ContextEntryNotPresent)]
    public void An_access_whose_context_entry_becomes_another_goes_by_one_of_them(ulong low, ulong high, ulong iova, VtdFaultReason reason)
    {
        foreach (bool isCached in new[] { false, true })
        {
            using RawVtd vtd = Interrupted(SimStep.IotlbLookup);
            vtd.AssertReads(0x1000, FrameA);
            vtd.InvalidateAll();
            _then = () =>
            {
                _then = static () => { };
                vtd.SetContext(Device, low, high);
                vtd.InvalidateContexts();
                if (isCached) vtd.Read(0x1000);
            };
            TranslationResult result = vtd.Read(iova);
            Assert.Equal((reason, reason == VtdFaultReason.None ? iova : 0), (result.Reason, result.Address.Value));
        }
    }

    [Fact]
    public void Neighbouring_pages_and_neighbouring_domains_fall_into_neighbouring_sets()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { IotlbSets = 4, IotlbWays = 1 });
        var next = new StreamId(0x21);
        vtd.SetContext(next, Table4 | 1, 2 | (DomainId + 1) << 8);
        for (ulong page = 0; page < 8; page++) vtd.SetPage(page, FrameA | ReadWrite);

        for (ulong page = 0; page < 4; page++) vtd.AssertReads(page << 12, FrameA);
        Assert.Equal(4, vtd.Iommu.Iotlb.Count);
        // Page 1 of the next domain takes the set of page 2.
        Assert.True(vtd.Iommu.Translate(next, new(0x1000), DeviceAccess.Read).Ok);
        Assert.Equal(
            new (ulong, ulong)[] { (DomainId, 0x0000), (DomainId, 0x1000), (DomainId, 0x3000), (DomainId + 1, 0x1000) },
            vtd.Iommu.Iotlb.Select(entry => ((ulong)entry.Domain.Value, entry.Range.First.Value)).Order());
    }

    [Fact]
    public void The_statistics_count_what_happened_and_nothing_else()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { FaultRecordCount = 1 });
        var silent = new StreamId(0x21);
        vtd.SetContext(silent, Table4 | 3, 2 | DomainId << 8);
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
        vtd.AssertReads(0x1000, FrameA);
        Assert.False(vtd.Read(0x2000).Ok);
        Assert.False(vtd.Read(0x3000).Ok);
        Assert.False(vtd.Read(0x3000).Ok);
        Assert.False(vtd.Iommu.Translate(silent, new(0x4000), DeviceAccess.Read).Ok);
        VtdStatistics seen = vtd.Iommu.Statistics;
        Assert.Equal((6, 1, 5, 4), (seen.Translations, seen.IotlbHits, seen.Walks, seen.WalkCacheHits));
        Assert.Equal((4, 2, 1, 0), (seen.Faults, seen.FaultsLost, seen.FaultsSilenced, seen.DiscardedFills));
        Assert.Equal((0, 0, 0, 0), (seen.ContextInvalidations, seen.IotlbGlobalInvalidations, seen.IotlbDomainInvalidations, seen.IotlbPageInvalidations));

        vtd.InvalidateContexts();
        vtd.InvalidateContexts(DomainId);
        vtd.InvalidateContext(DomainId, 0x20);
        vtd.InvalidateAll();
        vtd.InvalidateDomain(DomainId);
        vtd.InvalidateDomain(DomainId);
        vtd.InvalidatePages(DomainId, 0x1000);
        Assert.True(vtd.Wait());
        Assert.True(vtd.Wait());
        vtd.Submit(0, 0);
        seen = vtd.Iommu.Statistics;
        Assert.Equal((3, 1, 2, 1), (seen.ContextInvalidations, seen.IotlbGlobalInvalidations, seen.IotlbDomainInvalidations, seen.IotlbPageInvalidations));
        Assert.Equal((2, 0, 1), (seen.Waits, seen.WaitsHeld, seen.QueueErrors));
        Assert.Equal(6, seen.Translations);
    }

    private RawVtd Interrupted(SimStep at)
    {
        _at = at;
        var vtd = new RawVtd(hook: (step, _) =>
        {
            if (step == _at) _then();
        });
        vtd.SetPage(1, FrameA | ReadWrite);
        return vtd;
    }
}
