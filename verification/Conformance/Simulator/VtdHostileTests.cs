using IommuSim;
using Platform;
using Xunit.Abstractions;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>Whatever is in memory and in the registers, the unit answers with a translation or a fault.</summary>
public sealed class VtdHostileTests(ITestOutputHelper output)
{
    private const int AccessCount = 100_000;
    private const ulong TableBytes = 0x20000;

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(3, true)]
    public void Hostile_tables_commands_and_registers_cause_faults_and_nothing_else(int seed, bool isCachingMode)
    {
        output.WriteLine($"seed {seed}");
        (VtdStatistics first, ulong hash, IReadOnlyDictionary<VtdFaultReason, int> reasons) = Run(seed, isCachingMode);
        output.WriteLine($"{first}");
        output.WriteLine(string.Join(' ', reasons.OrderBy(pair => pair.Key).Select(pair => $"{pair.Key}={pair.Value}")));

        // Sometimes: everything that can happen did.
        foreach (VtdFaultReason reason in Enum.GetValues<VtdFaultReason>())
        {
            bool isOfScalableMode = reason > VtdFaultReason.RootTableAddressMisprogrammed;
            bool isOfOthers = reason is VtdFaultReason.InterruptAddressOutput or VtdFaultReason.TranslationTypeBlocks;
            if (!isOfScalableMode && !isOfOthers) Assert.True(reasons.ContainsKey(reason), $"{reason} never seen");
        }

        Assert.NotEqual(0, first.IotlbHits);
        Assert.NotEqual(0, first.WalkCacheHits);
        Assert.NotEqual(0, first.QueueErrors);
        Assert.NotEqual(0, first.Waits);
        Assert.NotEqual(0, first.IotlbDomainInvalidations);
        Assert.NotEqual(0, first.IotlbPageInvalidations);
        Assert.InRange(reasons[VtdFaultReason.None], AccessCount / 10, AccessCount / 2);

        // The same seed gives the same run.
        (VtdStatistics second, ulong again, _) = Run(seed, isCachingMode);
        Assert.Equal(first, second);
        Assert.Equal(hash, again);
    }

    private static (VtdStatistics Counts, ulong Hash, IReadOnlyDictionary<VtdFaultReason, int> Reasons) Run(int seed, bool isCachingMode)
    {
        var random = new Random(seed);
        using var vtd = new RawVtd(VtdOptions.Default with
        {
            CachingMode = isCachingMode, IotlbSets = 2, IotlbWays = 2, WalkCacheEntriesPerLevel = 2, ContextCacheEntries = 3, FaultRecordCount = 2,
        });
        var reasons = new Dictionary<VtdFaultReason, int>();
        ulong hash = 14695981039346656037;
        byte[] buffer = new byte[64];
        for (int i = 0; i < AccessCount; i++)
        {
            if (i % 100 == 0) Reset(vtd, random);
            if (random.Next(4) == 0) vtd.Write(Victim(random), Word(random));
            if (random.Next(8) == 0) vtd.ClearFaults();
            if (random.Next(4) == 0) Command(vtd, random);
            if (random.Next(100) == 0) vtd.Iommu.Write64((uint)random.Next(512) * 8, Word(random));
            if (random.Next(100) == 0) vtd.Iommu.Write64(Rtaddr, Word(random) & (random.Next(2) == 0 ? ~0UL : ~0xFFFUL));
            if (random.Next(100) == 0) vtd.Iommu.Write32(Gcmd, (uint)random.NextInt64(1L << 32) | GcmdTe);
            var device = new BusMaster<Ram, Hook>(vtd.Iommu, vtd.Memory, new((uint)(random.Next(16) != 0 ? 0x20 : random.Next(0x10000))));
            Iova address = Address(random);
            DmaResult result = random.Next(2) == 0
                ? device.Read(address, buffer.AsSpan(0, random.Next(65)))
                : device.Write(address, buffer.AsSpan(0, random.Next(65)));
            reasons[result.Reason] = reasons.GetValueOrDefault(result.Reason) + 1;
            hash = unchecked((hash ^ result.BytesDone ^ (ulong)result.Reason << 32 ^ vtd.Iommu.Read32(Fsts)) * 1099511628211);
        }

        return (vtd.Iommu.Statistics, hash, reasons);
    }

    /// <summary>A machine that works again, so that the next mischief starts deep in the walk and not at its first step.</summary>
    private static void Reset(RawVtd vtd, Random random)
    {
        for (ulong address = Root; address < Root + TableBytes; address += 8) vtd.Write(address, random.Next(8) == 0 ? Word(random) : 0);
        vtd.Write(Root, ContextTable | 1);
        vtd.Write(Root + 8, 0);
        vtd.SetContext(Device, Table4 | 1, (ulong)(2 + random.Next(0x100) * 0x100));
        for (ulong i = 0; i < 16; i++)
        {
            vtd.Write(Table4 + i * 8, Table3 | ReadWrite);
            vtd.Write(Table3 + i * 8, Table2 | ReadWrite);
            vtd.Write(Table2 + i * 8, Table1 | ReadWrite);
            vtd.Write(Table1 + i * 8, FrameA | ReadWrite);
        }

        vtd.Iommu.Write32(Gcmd, GcmdTe);
        vtd.Iommu.Write32(Fsts, ~0u);
        vtd.Iommu.Write64(Iqt, 0);
        vtd.Iommu.Write64(Ccmd, 1UL << 63 | 1UL << 61);
        vtd.Iommu.Write64(Iotlb, 1UL << 63 | 1UL << 60);
        vtd.Enable();
    }

    /// <summary>Where the next mischief goes: mostly into what the next walks will read.</summary>
    private static ulong Victim(Random random)
    {
        ulong index = (ulong)random.NextInt64(4);
        return random.Next(16) switch
        {
            0 => Root + (ulong)random.NextInt64(2) * 8,
            1 => ContextTable + 0x200 + (ulong)random.NextInt64(2) * 8,
            2 => Table4 + index * 8,
            3 => Table3 + index * 8,
            4 or 5 => Table2 + index * 8,
            < 14 => Table1 + index * 8,
            _ => Root + (ulong)random.NextInt64((long)TableBytes / 8) * 8,
        };
    }

    private static ulong Word(Random random)
    {
        ulong pointer = Root + (ulong)random.NextInt64((int)TableBytes >> 12) * 4096;
        return random.Next(9) switch
        {
            0 => unchecked((ulong)random.NextInt64(long.MinValue, long.MaxValue)),
            1 => 0,
            2 => ulong.MaxValue,
            3 => pointer | (ulong)random.NextInt64(4096),
            4 => pointer | 3 | 1UL << random.Next(64),
            5 => MemoryBytes - 4096 + (ulong)random.NextInt64(3) * 4096 | 3,
            6 => pointer | 1,
            7 => MemoryBytes | 1,
            _ => pointer | 3,
        };
    }

    private static Iova Address(Random random) => new(random.Next(8) switch
    {
        0 => unchecked((ulong)random.NextInt64(long.MinValue, long.MaxValue)),
        1 => ulong.MaxValue - (ulong)random.NextInt64(128),
        2 => (1UL << 48) - (ulong)random.NextInt64(128),
        _ => (ulong)random.NextInt64(2) << 39 | (ulong)random.NextInt64(2) << 30 | (ulong)random.NextInt64(2) << 21 | (ulong)random.NextInt64(0x4000),
    });

    private static void Command(RawVtd vtd, Random random)
    {
        ulong tail = vtd.Iommu.Read64(Iqt) & 0xFF0;
        (ulong low, ulong high) = random.Next(10) switch
        {
            0 => (Word(random), Word(random)),
            1 => (0x11UL, 0UL),
            2 => (0x12UL, 0UL),
            3 => (0x32UL | (ulong)random.NextInt64(0x10000) << 16, Word(random) & ~0xF80UL),
            4 => (0x21UL | (ulong)random.NextInt64(0x10000) << 16, 0UL),
            5 => (0x22UL | (ulong)random.NextInt64(0x10000) << 16, 0UL),
            _ => (0x25UL, random.Next(4) == 0 ? Word(random) & ~3UL : Status),
        };
        vtd.Write(Queue + tail, low);
        vtd.Write(Queue + tail + 8, high);
        vtd.Iommu.Write64(Iqt, random.Next(50) == 0 ? Word(random) : (tail + 16) % 4096);
        if (random.Next(4) == 0) vtd.Iommu.Write32(Fsts, 0x10);
    }
}
