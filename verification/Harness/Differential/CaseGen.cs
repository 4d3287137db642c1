using System.Collections.Immutable;
using CsCheck;

namespace Harness.Differential;

/// <summary>Cases: tables that are mostly right, and accesses mostly to what they map; now and then something hostile.</summary>
internal static class CaseGen
{
    /// <summary>The case that a seed stands for.</summary>
    /// <param name="seed">Of the run.</param>
    /// <param name="index">Which case of the run: 0 ….</param>
    /// <param name="isScalable">In which mode.</param>
    /// <param name="hasFirstStage">In scalable mode, whether of first-stage tables.</param>
    public static FuzzCase Generate(ulong seed, uint index, bool isScalable, bool hasFirstStage = false)
    {
        var pcg = new PCG(index, seed);
        var caches = new CacheSizes(
            pcg.Next(6) == 0 ? 0 : 1 << (int)pcg.Next(5), 1 + (int)pcg.Next(4), (int)pcg.Next(6), (int)pcg.Next(8), (int)pcg.Next(8));
        var tables = new TableWriter(pcg, isScalable, hasFirstStage);
        return new(isScalable, caches, new CaseWriter(pcg, tables).Write()) { HasFirstStage = hasFirstStage };
    }
}

/// <summary>The steps of a case.</summary>
internal sealed class CaseWriter(PCG pcg, TableWriter tables)
{
    private ImmutableArray<FuzzStep>.Builder Steps => tables.Steps;

    public ImmutableArray<FuzzStep> Write()
    {
        tables.Build();
        Steps.Add(new FuzzStep.Settle());
        int phases = 2 + (int)pcg.Next(4);
        for (int phase = 0; phase < phases; phase++)
        {
            Accesses(8 + (int)pcg.Next(17));
            switch (pcg.Next(10))
            {
                case < 3:
                    ChangeSeveral();
                    break;
                case < 7:
                    ChangeOne();
                    break;
                case < 9:
                    for (uint i = 0; i <= pcg.Next(3); i++) Steps.Add(new FuzzStep.Command(pcg.Next(3) == 0 ? HostileWords() : IdleWords()));
                    break;
                default:
                    Steps.Add(new FuzzStep.SetRoot(tables.AnyRoot()));
                    Accesses(8);
                    Steps.Add(new FuzzStep.SetRoot(tables.GoodRoot));
                    break;
            }
        }

        Accesses(8 + (int)pcg.Next(9));
        return Steps.ToImmutable();
    }

    private void ChangeSeveral()
    {
        for (uint i = 0; i <= pcg.Next(3); i++) tables.Mutate();
        if (pcg.Next(2) == 0) Accesses(8);
        Steps.Add(new FuzzStep.Settle());
    }

    /// <summary>One change, and the invalidation that the specification asks for because of it, no more.</summary>
    private void ChangeOne()
    {
        FuzzStep.Cover? cover = tables.MutateAndCover();
        if (pcg.Next(3) == 0) Accesses(8);
        Steps.Add(cover is null ? new FuzzStep.Settle() : cover);
    }

    private void Accesses(int count)
    {
        int device = (int)pcg.Next((uint)Ground.DeviceCount);
        for (int i = 0; i < count; i++)
        {
            // Round the devices, so that they can do DMA at once; now and then the same one again.
            if (pcg.Next(12) != 0) device = (device + 1) % Ground.DeviceCount;
            Steps.Add(new FuzzStep.Access(device, tables.AnyIova(device), pcg.Next(3) == 0));
        }
    }

    /// <summary>Good descriptors after which everything still is as it was, or better.</summary>
    private QueueWords IdleWords() => pcg.Next(tables.HasFirstStage ? 10u : tables.IsScalable ? 8u : 7u) switch
    {
        0 => new(Words.IotlbPage | tables.AnyDomain() << 16 | pcg.Next(4) << 6, (tables.AnyIova(0) & 0xFFFF_FFFF_F000) | pcg.Next(19) | (ulong)pcg.Next(2) << 6),
        1 => new(Words.IotlbDomain | tables.AnyDomain() << 16 | pcg.Next(4) << 6, 0),
        2 => new(Words.ContextDevice | tables.AnyDomain() << 16 | (ulong)Ground.Source((int)pcg.Next(8)) << 32 | (ulong)pcg.Next(4) << 48, 0),
        3 => new(Words.ContextDomain | tables.AnyDomain() << 16, 0),
        4 => new(Words.IotlbGlobal, 0),
        5 => new(Words.ContextGlobal, 0),
        6 => new(Words.Wait | (pcg.Next(2) == 0 ? Words.StatusWrite : 0) | (ulong)pcg.Next() << 32, Ground.Status + pcg.Next(512) * 8),
        8 => new(Words.PasidIotlb | tables.AnyDomain() << 16 | (ulong)pcg.Next(8) << 32, 0),
        9 => new(Words.PasidIotlbPage | tables.AnyDomain() << 16 | (ulong)pcg.Next(8) << 32, (tables.AnyIova(0) & ~0xFFFUL) | pcg.Next(19) | (ulong)pcg.Next(2) << 6),
        _ => new(pcg.Next(2) == 0 ? Words.PasidCacheGlobal : Words.PasidCacheDomain | tables.AnyDomain() << 16, 0),
    };

    /// <summary>Descriptors with a bit that should not be there, of a type that there is not, or of nothing but chance.</summary>
    private QueueWords HostileWords()
    {
        QueueWords words = AnyWords();
        // At a wait with both flags QEMU ends itself by an assertion (vtd_process_wait_desc), in 7.2 and 10.0: nothing is left to compare with.
        bool isFatal = (words.Low & Words.TypeMask) == Words.Wait && (words.Low & Words.StatusWrite) != 0;
        return isFatal ? words with { Low = words.Low & ~Words.Interrupt } : words;
    }

    private QueueWords AnyWords()
    {
        QueueWords words = IdleWords();
        switch (pcg.Next(5))
        {
            case 0: return words with { Low = words.Low ^ 1UL << (int)pcg.Next(64) };
            case 1: return words with { High = words.High ^ 1UL << (int)pcg.Next(12) };
            case 2: return words with { Low = (words.Low & ~0xFUL) | pcg.Next(16) };
            case 3 when tables.IsScalable: return words with { Third = 1UL << (int)pcg.Next(64) };
            default: return new(pcg.Next64() & ~0xFUL | pcg.Next(16), pcg.Next64());
        }
    }
}
