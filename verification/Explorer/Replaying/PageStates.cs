using Explorer.Scheduling;
using Harness.Running;
using IommuSim;
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
    private const int PageLog2 = 12, IndexLog2 = 9, HighestLeafLevel = 3;

    private readonly Dictionary<StreamId, Func<(DecodedTranslation? Translation, string? Why)>> _ways = [];
    private readonly Dictionary<StreamId, DecodedTranslation> _latest = [];
    private readonly HashSet<StreamId> _cores = [];
    private readonly Dictionary<(StreamId, Iova), PhysAddr> _frames = [];

    /// <summary>A device, in one address space.</summary>
    /// <param name="id">As the ledger knows it.</param>
    /// <param name="source">Its requester id.</param>
    /// <param name="pasid">The PASID of its requests; null: they have none.</param>
    public void AddDevice(StreamId id, StreamId source, Pasid? pasid) => _ways[id] = () =>
    {
        VtdFaultReason fault = VtdTables.FindTranslation(new PortMemory(memory), rootTable, source, pasid, out DecodedTranslation translation, options);
        return fault == VtdFaultReason.None ? (translation, null) : (null, $"no table: {fault}");
    };

    /// <summary>A core, of whose TLB nothing is told.</summary>
    /// <param name="id">As the ledger knows it.</param>
    /// <param name="root">The root of what it walks, or null, and how many levels that has.</param>
    public void AddCore(StreamId id, Func<(PhysAddr? Root, int Levels)> root)
    {
        _cores.Add(id);
        _ways[id] = () => root() is ({ } there, var levels)
            ? (new DecodedTranslation(TranslationStage.FirstStage, there, levels, default, null, false, false, false), null)
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
        PhysAddr? cached = null;
        string? tlb = !_cores.Contains(id) && _latest.TryGetValue(id, out DecodedTranslation known) ? LookUp(known, page, out cached) : null;
        if ((cached ?? mapped) is { } frame) _frames[(id, page)] = frame;
        PhysAddr[] frames = [.. new[] { mapped, cached }.OfType<PhysAddr>().Distinct()];
        // The frame that the page had is what matters once nothing names it any more.
        if (frames.Length == 0 && _frames.TryGetValue((id, page), out PhysAddr had)) frames = [had];
        return new(entry, tlb, frames.Length == 0 ? null : string.Join("; ", frames.Select(each => $"{each} {ownerOf(each)}")));
    }

    private string Walk(DecodedTranslation way, Iova page, out PhysAddr? frame)
    {
        frame = null;
        if (way.Stage == TranslationStage.PassThrough) return "pass-through";
        ulong table = way.Root.Value & TargetMask;
        ulong present = way.Stage == TranslationStage.FirstStage ? 1UL : 3UL;
        for (int level = way.Levels; ; level--)
        {
            int shift = PageLog2 + (level - 1) * IndexLog2;
            var at = new PhysAddr(table + ((page.Value >> shift) & ((1UL << IndexLog2) - 1)) * sizeof(ulong));
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
}
