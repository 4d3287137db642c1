namespace Harness.Differential;

// Root, context and PASID entries of the scalable mode, and what makes changes count.
internal sealed partial class TableWriter
{
    private const ulong PasidCount = 6, SecondStage = 2 << 6, PassThrough = 4 << 6;
    private readonly ulong[] _pasidOfDevice = new ulong[Ground.DeviceCount];

    private static ulong PasidEntry(ulong pasid) => Ground.PasidTables + pasid * 64;

    private void BuildScalable()
    {
        for (ulong half = 0; half < 2; half++)
        {
            ulong table = Ground.Contexts + half * Ground.PageBytes;
            Set(Ground.Root + half * 8, pcg.Next(60) switch { 0 => table | 1 | 1UL << (int)(1 + pcg.Next(11)), 1 => table, 2 => Ground.Nowhere | 1, _ => table | 1 });
        }

        Set(Ground.Directories, DirectoryEntry());
        var treeOfPasid = new int[PasidCount];
        for (ulong pasid = 0; pasid < PasidCount; pasid++)
        {
            treeOfPasid[pasid] = (int)pcg.Next((uint)_trees.Count);
            SetPasid(PasidEntry(pasid), _trees[treeOfPasid[pasid]]);
        }

        for (int device = 0; device < Ground.DeviceCount; device++)
        {
            _pasidOfDevice[device] = pcg.Next((uint)PasidCount);
            _treeOfDevice[device] = treeOfPasid[_pasidOfDevice[device]];
            SetScalableContext(device);
        }
    }

    private ulong DirectoryEntry() => pcg.Next(40) switch
    {
        0 => Ground.PasidTables,
        1 => Ground.PasidTables | 1 | 1UL << (int)(1 + pcg.Next(11)),
        2 => Ground.Nowhere | 1,
        3 => Ground.PasidTables | 1 | 1UL << (int)(48 + pcg.Next(16)),
        _ => Ground.PasidTables | 1,
    };

    /// <summary>A context entry, mostly good.</summary>
    private void SetScalableContext(int device)
    {
        ulong at = Ground.ContextEntry(device, isScalable: true), low = Ground.Directories | 1, high = _pasidOfDevice[device], third = 0;
        switch (pcg.Next(60))
        {
            case 0: low |= 2; break;
            case 1: low &= ~1UL; break;
            case 2: low |= 1UL << (int)(5 + pcg.Next(4)); break;
            case 3: low |= pcg.Next(8) << 9; break;
            case 4: low |= 1UL << (int)(48 + pcg.Next(16)); break;
            case 5: high |= 1UL << (int)(21 + pcg.Next(43)); break;
            case 6: high = pcg.Next(1 << 20); break;
            case 7: low = Ground.Nowhere | 1; break;
            case 8: third = 1UL << (int)pcg.Next(64); break;
            case 9: low = AnyTable() | 1; break;
            default: break;
        }

        Set(at, low);
        Set(at + 8, high);
        Set(at + 16, third);
    }

    /// <summary>A PASID entry, mostly good. One that does not lead to the tree's tables has a domain of its own.</summary>
    private void SetPasid(ulong at, Tree tree)
    {
        if (hasFirstStage)
        {
            SetFirstStagePasid(at, tree);
            return;
        }

        ulong first = tree.Root | 1 | SecondStage | ((ulong)tree.Levels - 2) << 2, second = tree.Domain, third = 0, last = 0;
        ulong fresh = _freshDomain++;
        switch (pcg.Next(60))
        {
            case 0: first |= 2; break;
            case 1: first &= ~1UL; break;
            case 2: (first, second) = ((first & ~(7UL << 6)) | PassThrough, fresh); break;
            case 3: (first, second) = ((first & ~(7UL << 6)) | (ulong)pcg.Next(8) << 6, fresh); break;
            case 4: (first, second) = ((first & ~(7UL << 2)) | (ulong)pcg.Next(8) << 2, fresh); break;
            case 5: first |= 1UL << 5; break;
            case 6: first |= 1UL << (int)(48 + pcg.Next(16)); break;
            case 7: second |= 1UL << (int)(16 + pcg.Next(48)); break;
            case 8: third = 1UL << (int)pcg.Next(64); break;
            case 9: last = 1UL << (int)pcg.Next(64); break;
            case 10: (first, second) = ((first & 0xFFF) | Ground.Nowhere, fresh); break;
            case 11: (first, second) = ((first & 0xFFF) | AnyTable(), fresh); break;
            default: break;
        }

        Set(at, first);
        Set(at + 8, second);
        if (third != 0 || _memory.ContainsKey(at + 16)) Set(at + 16, third);
        if (last != 0 || _memory.ContainsKey(at + 56)) Set(at + 56, last);
    }

    private void MutateScalable(out ulong[] changed, out ulong[] old)
    {
        int device = (int)pcg.Next((uint)Ground.DeviceCount);
        ulong at = Ground.ContextEntry(device, isScalable: true);
        changed = pcg.Next(5) switch
        {
            0 => [Ground.Directories],
            1 or 2 => [at, at + 8, at + 16],
            _ => [PasidEntry(_pasidOfDevice[device]), PasidEntry(_pasidOfDevice[device]) + 8, PasidEntry(_pasidOfDevice[device]) + 16, PasidEntry(_pasidOfDevice[device]) + 56],
        };
        old = [.. changed.Select(word => _memory.GetValueOrDefault(word))];
        switch (changed.Length)
        {
            case 1:
                Set(changed[0], DirectoryEntry());
                break;
            case 3:
                _pasidOfDevice[device] = pcg.Next((uint)PasidCount);
                SetScalableContext(device);
                break;
            default:
                SetPasid(changed[0], Pick(_trees));
                break;
        }
    }

    private FuzzStep.Cover? CoverOfScalable(ulong[] changed, ulong[] old)
    {
        if (changed[0] is >= Ground.Directories and < Ground.PasidTables) return null;
        if (changed.Length == 3)
        {
            ulong source = (changed[0] - Ground.Contexts) / 32;
            return new([.. changed], [new(Words.ContextDevice | source << 32, 0), new(Words.PasidCacheGlobal, 0), new(Words.IotlbGlobal, 0)]);
        }

        if (changed.Length == 4)
        {
            ulong[] domains = [old[1] & 0xFFFF, _memory[changed[1]] & 0xFFFF];
            IEnumerable<QueueWords> pasids = pcg.Next(2) == 0
                ? [new(Words.PasidCacheGlobal, 0)]
                : domains.Distinct().Select(domain => new QueueWords(Words.PasidCacheDomain | domain << 16, 0));
            return new([.. changed], [.. pasids, .. domains.Distinct().Select(domain => new QueueWords(Words.IotlbDomain | domain << 16, 0))]);
        }

        if (hasFirstStage) return CoverOfFirstStage(changed, old[0]);
        var words = new HashSet<QueueWords>();
        for (ulong slot = 0; slot < 64; slot++)
        {
            ulong first = _memory.GetValueOrDefault(PasidEntry(slot)), second = _memory.GetValueOrDefault(PasidEntry(slot) + 8);
            if ((first & 1) == 0 || (first >> 2 & 7) is not (1 or 2)) continue;
            if (!Reach(new Tree(first & ~0xFFFUL, (int)(first >> 2 & 7) + 2, second & 0xFFFF), changed[0], old[0], words)) return null;
        }

        return new([.. changed], [.. words]);
    }
}
