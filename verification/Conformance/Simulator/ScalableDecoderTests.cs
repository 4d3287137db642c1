using IommuSim;
using Platform;
using Xunit.Abstractions;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>Whatever is in memory, with no caches the unit in scalable mode answers as the decoder says.</summary>
public sealed class ScalableDecoderTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData(3)]
    public void Without_caches_the_unit_finds_what_the_decoder_finds(int seed)
    {
        output.WriteLine($"seed {seed}");
        var random = new Random(seed);
        using var vtd = new RawScalable(NoCaches);
        int agreed = 0, refused = 0;
        for (int i = 0; i < 20_000; i++)
        {
            if (i % 10 == 0) Reset(vtd, random);
            vtd.Write(Victim(random), Word(random));
            uint? pasid = AnyPasid(random);
            VtdFaultReason decoded = VtdTables.FindTranslation(
                vtd.Memory, new(Root | 1 << 10), Device, pasid is { } value ? new Pasid(value) : null, out DecodedTranslation translation, NoCaches);
            TranslationResult result = vtd.Go(0x1000, pasid: pasid);
            if (decoded != VtdFaultReason.None)
            {
                Assert.Equal(decoded, result.Reason);
                refused++;
            }
            else
            {
                // From there on it is the tables that decide.
                Assert.True(result.Ok || result.Reason >= VtdFaultReason.FirstStageEntryUnreachable, $"{result.Reason} under {translation}");
                agreed++;
            }
        }

        Assert.InRange(agreed, 1000, 19_000);
        Assert.InRange(refused, 1000, 19_000);
    }

    /// <summary>A machine that works again, so that the next mischief starts deep in the walk and not at its first step.</summary>
    private static void Reset(RawScalable vtd, Random random)
    {
        vtd.Set(Root, Context | 1, 0);
        vtd.SetContext(PasidDirectory | 1 | 1 << 3, 1);
        vtd.Write(PasidDirectory, PasidTable | 1);
        vtd.SetPasid(1, SecondStage | Second4 | (ulong)random.Next(2) << 9, SecondDomain | Snoop, 0);
        vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First4 | Sre | (ulong)random.Next(2) << 4);
        vtd.SetPasid(3, FirstStage, FirstDomain | Snoop, First5 | FiveLevels);
        for (ulong i = 0; i < 4; i++)
        {
            vtd.Write(Second4 + i * 8, Second3 | Rw);
            vtd.Write(Second3 + i * 8, Second2 | Rw);
            vtd.Write(Second2 + i * 8, Second1 | Rw);
            vtd.SetSecond(i, FrameA | Rw);
            vtd.Write(First5 + i * 8, First4 | Pwu);
            vtd.Write(First4 + i * 8, First3 | Pwu);
            vtd.Write(First3 + i * 8, First2 | Pwu);
            vtd.Write(First2 + i * 8, First1 | Pwu);
            vtd.SetFirst(i, FrameB | Pwu);
        }

        vtd.SetRoot(Root | 1 << 10);
        Repair(vtd);
        vtd.InvalidateAll();
    }

    /// <summary>A stopped queue goes on when a good descriptor is in the place of the bad one.</summary>
    private static void Repair(RawScalable vtd)
    {
        if (!vtd.HasQueueError) return;
        vtd.Set(Queue + vtd.Iommu.Read64(Iqh), 0x7 | 3 << 4, 0, 0, 0);
        vtd.Iommu.Write32(Fsts, 0x10);
    }

    /// <summary>Where the next mischief goes: into what the next walks will read.</summary>
    private static ulong Victim(Random random)
    {
        ulong index = (ulong)random.NextInt64(2) * 8;
        return random.Next(14) switch
        {
            0 => Root + index,
            1 => Context + 0x20 * 32 + (random.Next(2) == 0 ? 0 : (ulong)random.NextInt64(4) * 8),
            2 => PasidDirectory + index,
            3 or 4 => PasidTable + (ulong)random.NextInt64(1, 4) * 64 + (ulong)random.NextInt64(4) * 8,
            5 => Second4 + index,
            6 => Second3 + index,
            7 => Second2 + index,
            8 => Second1 + index,
            9 => First5 + index,
            10 => First4 + index,
            11 => First3 + index,
            12 => First2 + index,
            _ => First1 + index,
        };
    }

    private static ulong Word(Random random)
    {
        ulong pointer = Root + (ulong)random.NextInt64(0x20) * 4096;
        return random.Next(10) switch
        {
            0 => unchecked((ulong)random.NextInt64(long.MinValue, long.MaxValue)),
            1 => 0,
            2 => pointer | (ulong)random.NextInt64(4096),
            3 => pointer | 3 | 1UL << random.Next(64),
            4 => MemoryBytes | Pwu,
            5 => MemoryBytes | 1,
            6 => pointer | 1,
            8 => MemoryBytes | SecondStage,
            7 => pointer | (ulong)random.NextInt64(8),
            _ => pointer | Pwu,
        };
    }

    private static uint? AnyPasid(Random random) => random.Next(12) switch
    {
        < 3 => null,
        < 6 => 2,
        < 9 => 3,
        9 => (uint)random.Next(1, 8),
        10 => (uint)random.Next(128),
        _ => (uint)random.Next(1 << 20),
    };
}
