namespace Harness.Differential;

// First-stage tables, those of an x86-64 processor: their entries, and the PASID entries that lead to them.
internal sealed partial class TableWriter
{
    private const ulong Pwu = 7, AccessedDirty = 3 << 5, FirstStageType = 1 << 6, WalkSnoop = 1 << 23;
    private const ulong FirstStageIgnored = 0x7FFUL << 52 | 0xB18;

    /// <summary>Bit 47 of an address counts for those above it, too.</summary>
    private static ulong SignOf(int level, ulong index) => level == 4 && index >= 256 ? 0xFFFFUL << 48 : 0;

    /// <summary>Mostly of addresses that are canonical in 30 bits, too, which is how wide QEMU 10 takes them to be.</summary>
    private ulong FirstStageIndex(int level, ulong iova)
    {
        bool isNegative = iova >> 63 == 1;
        return level switch
        {
            4 => pcg.Next(4) == 0 ? 511u : 0,
            3 => pcg.Next(6) == 0 ? Pick(Indices) : isNegative ? 511u : 0,
            2 => pcg.Next(6) == 0 ? Pick(Indices) : (isNegative ? 511 - pcg.Next(256) : pcg.Next(256)),
            _ => pcg.Next(3) != 0 ? pcg.Next(8) : Pick(Indices),
        };
    }

    /// <summary>An entry of a first-stage table, mostly good. Half have the flags that the hardware would set.</summary>
    private ulong FirstStageEntry(int level, ulong? below)
    {
        bool isLarge = level is 2 or 3 && pcg.Next(8) == 0;
        ulong target = level == 1 ? Ground.Data + pcg.Next(Ground.FrameCount) * Ground.PageBytes
            : isLarge ? (level == 2 ? Ground.Large : 0) | PageSize
            : below ?? AnyTable();
        ulong flags = pcg.Next(2) == 0 ? AccessedDirty : 0;
        return pcg.Next(100) switch
        {
            < 84 => target | Pwu | flags,
            < 87 => target | 5 | flags,
            < 90 => target | 3 | flags,
            90 => target & ~1UL | FirstStageIgnored & pcg.Next64(),
            91 => 0,
            92 => target | Pwu | (FirstStageIgnored & pcg.Next64()),
            93 => target | Pwu | 1UL << (int)(48 + pcg.Next(4)),
            94 => target | (pcg.Next(3) switch { 0 => 1UL, 1 => 1UL << 63 | Pwu, _ => PageSize | Pwu }),
            95 => Ground.Nowhere | Pwu | (pcg.Next(2) == 0 ? 0 : pcg.Next64() & 0x7FFF_0000_0000),
            96 => AnyTable() | Pwu,
            97 => target | Pwu | PageSize | pcg.Next(512) << 12,
            98 => target | Pwu | 1UL << (int)pcg.Next(64),
            _ => pcg.Next64(),
        };
    }

    private ulong AnyFlaggedTable() => Ground.Level4 + pcg.Next((uint)((Ground.Directories - Ground.Level4) / Ground.PageBytes)) * Ground.PageBytes;

    /// <summary>A PASID entry, mostly good. One that does not lead to the tree's tables has a domain of its own.</summary>
    private void SetFirstStagePasid(ulong at, Tree tree)
    {
        ulong first = 1 | FirstStageType, second = tree.Domain | WalkSnoop, third = tree.Root, last = 0, fresh = _freshDomain++ | WalkSnoop;
        switch (pcg.Next(60))
        {
            case 0: first |= 2; break;
            case 1: first &= ~1UL; break;
            case 2: (first, second) = ((first & ~(7UL << 6)) | PassThrough, fresh); break;
            case 3: (first, second) = ((first & ~(7UL << 6)) | (ulong)pcg.Next(8) << 6, fresh); break;
            case 4: (second, third) = (fresh, third | (1 + (ulong)pcg.Next(3)) << 2); break;
            case 5: first |= 1UL << (int)(2 + pcg.Next(4)); break;
            case 6: first |= 1UL << (int)(9 + pcg.Next(55)); break;
            case 7: second |= 1UL << (int)(24 + pcg.Next(40)); break;
            case 8: third |= 1UL << (int)(7 + pcg.Next(5)); break;
            case 9: last = 1UL << (int)pcg.Next(64); break;
            case 10: (second, third) = (fresh, Ground.Nowhere); break;
            case 11: (second, third) = (fresh, AnyTable()); break;
            default: break;
        }

        Set(at, first);
        Set(at + 8, second);
        Set(at + 16, third);
        if (last != 0 || _memory.ContainsKey(at + 56)) Set(at + 56, last);
    }

    /// <summary>What forgets an entry of first-stage tables, by each PASID that leads to it.</summary>
    private FuzzStep.Cover? CoverOfFirstStage(ulong[] changed, ulong old)
    {
        var words = new HashSet<QueueWords>();
        for (ulong pasid = 0; pasid < 64; pasid++)
        {
            ulong at = PasidEntry(pasid), first = _memory.GetValueOrDefault(at), third = _memory.GetValueOrDefault(at + 16);
            if ((first & 1) == 0 || (first & 7 << 6) != FirstStageType) continue;
            var tree = new Tree(third & ~0xFFFUL, 4, _memory.GetValueOrDefault(at + 8) & 0xFFFF) { Pasid = pasid };
            if (!Reach(tree, changed[0], old, words)) return null;
        }

        return new([.. changed], [.. words]);
    }

    private QueueWords ForgettingFirstStage(Tree tree, int level, ulong first)
    {
        ulong whose = tree.Domain << 16 | tree.Pasid << 32;
        if (level == 4 || pcg.Next(4) == 0) return new(Words.PasidIotlb | whose, 0);
        ulong leafOnly = level == 1 && pcg.Next(2) == 0 ? 1UL << 6 : 0;
        return new(Words.PasidIotlbPage | whose, first | (ulong)(level - 1) * 9 | leafOnly);
    }
}
