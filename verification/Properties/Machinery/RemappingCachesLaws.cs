using IommuSim;
using IommuSim.Machinery;
using IommuSim.ScalableMode;
using Platform;

namespace Properties.Machinery;

/// <summary>The caches of a VT-d unit: how they are filled, and the epochs that invalidations end.</summary>
public sealed class RemappingCachesLaws
{
    [Fact]
    public void Invalidations_under_one_hold_end_one_epoch_together()
    {
        var caches = new RemappingCaches(VtdOptions.Scalable);
        for (int round = 0; round < 2; round++)
        {
            ulong before = caches.Epoch;
            caches.Hold();
            Assert.Equal(before + 1, caches.Epoch);
            caches.InvalidateIotlb(Granularity.Global, default, default, drainReads: true, drainWrites: true);
            caches.InvalidateContexts(Granularity.Global, default, source: 0, functionMask: 0, isScalable: true);
            caches.InvalidatePasids(PasidGranularity.Global, default, default);
            Assert.Equal(before + 1, caches.Epoch);
            caches.Release();
            Assert.Equal(before + 2, caches.Epoch);
            caches.InvalidateIotlb(Granularity.Global, default, default, drainReads: true, drainWrites: true);
            Assert.Equal(before + 4, caches.Epoch);
        }
    }

    /// <summary>Of four lines as of five, whose number is no power of two.</summary>
    [Theory]
    [InlineData(4)]
    [InlineData(5)]
    public void Neighbouring_PASIDs_fall_into_neighbouring_lines_and_those_of_the_next_requester_one_further(int lines)
    {
        var cache = new PasidCache(lines);
        var requester = new StreamId(0x20);
        var next = new StreamId(0x21);
        uint[] pasids = [.. Enumerable.Range(0, lines).Select(static pasid => (uint)pasid)];
        foreach (uint pasid in pasids) cache.Insert(requester, new(pasid), default);
        Assert.Equal(pasids, Found());
        cache.Insert(next, new(1), default);
        Assert.Equal(pasids.Where(static pasid => pasid != 2), Found());
        Assert.True(cache.TryFind(next, new(1), out _));

        IEnumerable<uint> Found() => pasids.Where(pasid => cache.TryFind(requester, new(pasid), out _));
    }
}
