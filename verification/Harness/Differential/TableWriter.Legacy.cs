namespace Harness.Differential;

// Root and context entries of the legacy mode, and what makes changes count.
internal sealed partial class TableWriter
{
    private void BuildLegacy()
    {
        Set(Ground.Root, pcg.Next(60) switch { 0 => Ground.Contexts | 1 | 1UL << (int)(1 + pcg.Next(11)), 1 => Ground.Contexts, 2 => Ground.Nowhere | 1, _ => Ground.Contexts | 1 });
        if (pcg.Next(80) == 0) Set(Ground.Root + 8, 1UL << (int)pcg.Next(64));
        for (int device = 0; device < Ground.DeviceCount; device++)
        {
            (ulong low, ulong high) = Context(_trees[_treeOfDevice[device]]);
            ulong at = Ground.ContextEntry(device, isScalable: false);
            Set(at, low);
            Set(at + 8, high);
        }
    }

    /// <summary>A legacy context entry, mostly good. One that does not lead to the tree's tables has a domain of its own.</summary>
    private (ulong Low, ulong High) Context(Tree tree)
    {
        ulong low = tree.Root | 1, width = (ulong)tree.Levels - 2, high = width | tree.Domain << 8;
        ulong fresh = width | _freshDomain++ << 8;
        return pcg.Next(60) switch
        {
            < 50 => (low, high),
            50 => (low | 2, high),
            51 => (low & ~1UL | pcg.Next(4) * 2, high),
            52 => (low | 2 << 2, fresh),
            53 => (low | 1 << 2 | pcg.Next(2) * 8, fresh),
            54 => (low | 1UL << (int)(4 + pcg.Next(8)), high),
            55 => (low | 1UL << (int)(48 + pcg.Next(16)), fresh),
            56 => (low, (fresh & ~7UL) | pcg.Next(8)),
            57 => (low, high | 1UL << (int)(24 + pcg.Next(40))),
            58 => (Ground.Nowhere | 1, fresh),
            _ => (AnyTable() | 1 | pcg.Next(2) * 2, fresh | pcg.Next(16) << 3),
        };
    }

    private void MutateContext(out ulong[] changed, out ulong[] old)
    {
        int device = (int)pcg.Next((uint)Ground.DeviceCount);
        ulong at = Ground.ContextEntry(device, isScalable: false);
        changed = [at, at + 8];
        old = [_memory.GetValueOrDefault(at), _memory.GetValueOrDefault(at + 8)];
        (ulong low, ulong high) = Context(Pick(_trees));
        Set(at, low);
        Set(at + 8, high);
    }

    private FuzzStep.Cover? CoverOf(ulong[] changed, ulong[] old)
    {
        if (isScalable) return CoverOfScalable(changed, old);
        if (changed.Length == 2) return CoverOfContext(changed, old[1]);
        var words = new HashSet<QueueWords>();
        for (int device = 0; device < Ground.DeviceCount; device++)
        {
            ulong at = Ground.ContextEntry(device, isScalable: false);
            ulong low = _memory.GetValueOrDefault(at), high = _memory.GetValueOrDefault(at + 8);
            if ((low & 1) == 0 || (high & 7) is not (1 or 2)) continue;
            if (!Reach(new Tree(low & ~0xFFFUL, (int)(high & 7) + 2, high >> 8 & 0xFFFF), changed[0], old[0], words)) return null;
        }

        return new([.. changed], [.. words]);
    }

    /// <summary>The context entry of a device: its cached copies by the domain that it had and by the one that it has, then what was translated by it.</summary>
    private FuzzStep.Cover? CoverOfContext(ulong[] changed, ulong oldHigh)
    {
        ulong[] domains = [oldHigh >> 8 & 0xFFFF, _memory[changed[1]] >> 8 & 0xFFFF];
        ulong source = (changed[0] - Ground.Contexts) / 16;
        ulong kind = pcg.Next(2) == 0 ? Words.ContextDomain : Words.ContextDevice | source << 32;
        return new([.. changed],
        [
            .. domains.Distinct().Select(domain => new QueueWords(kind | domain << 16, 0)),
            .. domains.Distinct().Select(domain => new QueueWords(Words.IotlbDomain | domain << 16, 0)),
        ]);
    }

    /// <summary>
    /// What forgets an entry of tables, wherever in the tree it counts: its pages, or the domain.
    /// </summary>
    /// <returns>False if it counts at too many places.</returns>
    private bool Reach(Tree tree, ulong changed, ulong old, HashSet<QueueWords> words)
    {
        ulong now = _memory.GetValueOrDefault(changed);
        bool isFew = true;
        foreach (ulong value in (ulong[])[old, now])
        {
            _memory[changed] = value;
            isFew &= Visit(tree, tree.Root, tree.Levels, 0, changed, words);
        }

        _memory[changed] = now;
        return isFew;
    }

    private bool Visit(Tree tree, ulong table, int level, ulong iova, ulong changed, HashSet<QueueWords> words)
    {
        int shift = 12 + (level - 1) * 9;
        for (ulong index = 0; index < 512; index++)
        {
            ulong at = table + index * 8, first = iova | index << shift | (hasFirstStage ? SignOf(level, index) : 0);
            if (at == changed)
            {
                if (words.Count > 6) return false;
                words.Add(hasFirstStage ? ForgettingFirstStage(tree, level, first) : Forgetting(tree, level, first));
            }

            ulong value = _memory.GetValueOrDefault(at);
            if ((value & (hasFirstStage ? 1UL : 3UL)) == 0 || level == 1 || (value & PageSize) != 0) continue;
            if (!Visit(tree, value & 0xF_FFFF_FFFF_F000, level - 1, first, changed, words)) return false;
        }

        return true;
    }

    /// <summary>Maximum address mask: 18, so that a page-selective invalidation reaches to 1 GiB.</summary>
    private QueueWords Forgetting(Tree tree, int level, ulong first)
    {
        ulong domain = tree.Domain << 16, drains = pcg.Next(4) << 6;
        if (level == 4 || pcg.Next(4) == 0) return new(Words.IotlbDomain | domain | drains, 0);
        ulong mask = (ulong)(level - 1) * 9;
        // Only a leaf of the last level can be no table, whatever it is changed to.
        ulong leafOnly = level == 1 && pcg.Next(2) == 0 ? 1UL << 6 : 0;
        return new(Words.IotlbPage | domain | drains, first | mask + pcg.Next(2) * (18 - mask) | leafOnly);
    }
}
