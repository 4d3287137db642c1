using Explorer.Machines;
using Explorer.Scheduling;
using Harness.Running;
using IommuSim;
using IommuSim.Cpu;
using Microsoft.Coyote.Rewriting;
using Platform;

namespace Explorer.Replaying;

/// <summary>
/// Says how pages stand, from the words in memory and from the lines of the IOTLB themselves. It takes no lock: another agent may have been stopped while
/// it holds one.
/// </summary>
/// <param name="memory">The memory, for who looks on.</param>
/// <param name="options">The IOMMU.</param>
/// <param name="rootTable">Its root table pointer.</param>
/// <param name="iotlb">What its IOTLB holds.</param>
/// <param name="ownerOf">Who has a frame, in a few words.</param>
[SkipRewriting("Looking on must not add steps to the schedule.")]
internal sealed class PageStates(
    IPhysicalMemory memory, VtdOptions options, PhysAddr rootTable, Func<IReadOnlyList<IotlbEntry>> iotlb, Func<PhysAddr, string> ownerOf) : IPageStates
{
    private const ulong PageMask = 4095, TargetMask = 0x000F_FFFF_FFFF_F000, LargeBit = 1 << 7;
    private const ulong FirstStagePresent = 1, SecondStagePresent = 3;
    private const int PageLog2 = 12, IndexLog2 = 9, HighestLeafLevel = 3;

    private readonly Dictionary<StreamId, Func<(DecodedTranslation? Translation, string? Why)>> _ways = [];
    private readonly Dictionary<StreamId, DecodedTranslation> _latest = [];
    private readonly Dictionary<StreamId, Func<IReadOnlyList<DeviceTlbEntry>>> _tlbs = [];
    private readonly Dictionary<StreamId, Pasid?> _pasids = [];
    private readonly Dictionary<StreamId, (ControlledCpus Cpus, int Core, uint Process)> _cores = [];
    private readonly Dictionary<uint, Pcid> _tags = [];
    private readonly Dictionary<(StreamId, Iova), PhysAddr> _frames = [];

    /// <summary>A device, in one address space.</summary>
    /// <param name="id">As the ledger knows it.</param>
    /// <param name="source">Its requester id.</param>
    /// <param name="pasid">The PASID of its requests; null: they have none.</param>
    /// <param name="tlb">What its own TLB holds, as it stands; null: it has none.</param>
    public void AddDevice(StreamId id, StreamId source, Pasid? pasid, Func<IReadOnlyList<DeviceTlbEntry>>? tlb = null)
    {
        _pasids[id] = pasid;
        if (tlb is not null) _tlbs[id] = tlb;
        _ways[id] = () =>
        {
            VtdFaultReason fault = VtdTables.FindTranslation(new PortMemory(memory), rootTable, source, pasid, out DecodedTranslation translation, options);
            return fault == VtdFaultReason.None ? (translation, null) : (null, $"no table: {fault}");
        };
    }

    /// <summary>A core, in one process.</summary>
    /// <param name="id">As the ledger knows it.</param>
    /// <param name="cpus">The cores.</param>
    /// <param name="core">Which.</param>
    /// <param name="process">The process.</param>
    public void AddCore(StreamId id, ControlledCpus cpus, int core, uint process)
    {
        _cores[id] = (cpus, core, process);
        _ways[id] = () => cpus.Loaded.TryGetValue(process, out (Pcid Tag, PhysAddr Root) table)
            ? (new DecodedTranslation(TranslationStage.FirstStage, table.Root, cpus.Format.LevelCount, default, null, false, false, false), null)
            : (null, "no table");
    }

    /// <inheritdoc/>
    public PageState Of(StreamId id, Iova page)
    {
        using QuietScope quiet = Controlled.Quietly();
        (DecodedTranslation? translation, string? why) = _ways[id]();
        // What was cached before the table was taken away is still cached under its domain.
        if (translation is { } now) _latest[id] = now;
        PhysAddr? mapped = null;
        string entry = translation is { } way ? Walk(way, page, out mapped) : why!;
        PhysAddr? cached = null, own = null;
        string? tlb = null;
        if (_cores.TryGetValue(id, out (ControlledCpus Cpus, int Core, uint Process) core)) tlb = LookUp(core.Cpus, core.Core, core.Process, page, out cached);
        else if (_latest.TryGetValue(id, out DecodedTranslation known)) tlb = LookUp(known, page, out cached);
        if (_tlbs.TryGetValue(id, out Func<IReadOnlyList<DeviceTlbEntry>>? device))
            tlb = (tlb is null ? "" : tlb + "; ") + LookUp(device(), _pasids[id], page, out own);
        if ((own ?? cached ?? mapped) is { } frame) _frames[(id, page)] = frame;
        PhysAddr[] frames = [.. new[] { mapped, cached, own }.OfType<PhysAddr>().Distinct()];
        // The frame that the page had is what matters once nothing names it any more.
        if (frames.Length == 0 && _frames.TryGetValue((id, page), out PhysAddr had)) frames = [had];
        return new(entry, tlb, frames.Length == 0 ? null : string.Join("; ", frames.Select(each => $"{each} {ownerOf(each)}")));
    }

    private string Walk(DecodedTranslation way, Iova page, out PhysAddr? frame)
    {
        frame = null;
        switch (way.Stage)
        {
            case TranslationStage.PassThrough:
                return "pass-through";
            case TranslationStage.FirstStage:
                return Walk(way.Root, way.Levels, FirstStagePresent, page, static guest => guest, out frame);
            case TranslationStage.Nested:
                // What the guest's table says, and then the region's of what that has led to.
                PhysAddr? Behind(PhysAddr guest)
                {
                    Walk(way.SecondStageRoot, way.SecondStageLevels, SecondStagePresent, new(guest.Value & ~PageMask), static table => table, out PhysAddr? behind);
                    return behind;
                }

                string said = $"guest's {Walk(way.Root, way.Levels, FirstStagePresent, page, Behind, out PhysAddr? target)}";
                return target is { } yielded ? $"{said}; {Walk(way.SecondStageRoot, way.SecondStageLevels, SecondStagePresent, new(yielded.Value), static table => table, out frame)}" : said;
            default:
                return Walk(way.Root, way.Levels, SecondStagePresent, page, static table => table, out frame);
        }
    }

    /// <param name="root">The table.</param>
    /// <param name="levels">Its levels.</param>
    /// <param name="present">The bits of an entry of which one must be set.</param>
    /// <param name="page">The address.</param>
    /// <param name="find">Where in memory a table is; null: nowhere.</param>
    /// <param name="frame">Where the address leads.</param>
    private string Walk(PhysAddr root, int levels, ulong present, Iova page, Func<PhysAddr, PhysAddr?> find, out PhysAddr? frame)
    {
        frame = null;
        ulong table = root.Value & TargetMask;
        for (int level = levels; ; level--)
        {
            int shift = PageLog2 + (level - 1) * IndexLog2;
            if (find(new(table)) is not { } found) return $"table of level {level} is nowhere";
            PhysAddr at = found + ((page.Value >> shift) & ((1UL << IndexLog2) - 1)) * sizeof(ulong);
            if (!memory.TryRead64(at, out ulong entry)) return $"the walk leaves memory at level {level}";
            if ((entry & present) == 0) return level == 1 ? $"PTE 0x{entry:x}" : $"no PTE: the walk ends at level {level} in 0x{entry:x}";
            if (level == 1 || (level <= HighestLeafLevel && (entry & LargeBit) != 0))
            {
                ulong within = page.Value & unchecked((1UL << shift) - 1) & ~PageMask;
                frame = new((entry & TargetMask & ~unchecked((1UL << shift) - 1)) + within);
                return level == 1 ? $"PTE 0x{entry:x}" : $"PTE 0x{entry:x} of level {level}";
            }

            table = entry & TargetMask;
        }
    }

    private string LookUp(DecodedTranslation way, Iova page, out PhysAddr? frame)
    {
        frame = null;
        foreach (IotlbEntry line in iotlb())
        {
            if (line.Domain != way.Domain || line.Pasid != way.Pasid || !line.Range.Contains(page)) continue;
            if (line.Fault != VtdFaultReason.None) return $"IOTLB {line.Fault}";
            frame = line.Address + (page.Value - line.Range.First.Value);
            return $"IOTLB {frame}";
        }

        return "IOTLB empty";
    }

    private static string LookUp(IReadOnlyList<DeviceTlbEntry> tlb, Pasid? pasid, Iova page, out PhysAddr? frame)
    {
        frame = null;
        foreach (DeviceTlbEntry line in tlb)
        {
            if (line.Pasid == pasid && line.Range.Contains(page)) frame = line.Address + (page.Value - line.Range.First.Value);
        }

        return $"its TLB {frame?.ToString() ?? "empty"}";
    }

    /// <summary>What a core's TLB has under the tag that the process has, or had last.</summary>
    private string LookUp(ControlledCpus cpus, int core, uint process, Iova page, out PhysAddr? frame)
    {
        frame = null;
        if (cpus.Loaded.TryGetValue(process, out (Pcid Tag, PhysAddr Root) table)) _tags[process] = cpus.Options.ProcessContextIds ? table.Tag : default;
        if (!_tags.TryGetValue(process, out Pcid tag)) return "TLB empty";
        foreach (TlbEntry line in cpus.Cluster.Cores[core].PeekTlb())
        {
            if (line.Pcid == tag && line.Range.Contains(page)) frame = line.Address + (page.Value - line.Range.First.Value);
        }

        return $"TLB {frame?.ToString() ?? "empty"}";
    }
}
