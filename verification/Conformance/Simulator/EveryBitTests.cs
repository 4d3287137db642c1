using IommuSim;
using Platform;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>
/// Every bit of every structure by itself: flipped in one that works, it gives the fault that tells of reserved bits where the
/// specification's figure has it as reserved, and nowhere else. The masks are typed from the figures (Translation Structure Formats),
/// for a host with 48 address bits.
/// </summary>
public sealed class EveryBitTests
{
    private const ulong Page = 0x1000, PageSize = 1 << 7, Second5 = 0x2A000;
    private const ulong All = ulong.MaxValue;

    /// <summary>From the host's width up; in paging entries 61:52 and 63 are software's, and of the second stage 62 is reserved.</summary>
    private const ulong Beyond = 0xFFFFUL << 48, BeyondFirst = 0xFUL << 48, BeyondSecond = 0xFUL << 48 | 1UL << 62;

    /// <summary>SNP, which is a leaf's where the unit has snoop control.</summary>
    private const ulong Snp = 1 << 11;

    /// <summary>Address bits below the size of a large page, but for 12 in the first stage, which is PAT.</summary>
    private const ulong Below2M = 0x1F_F000, Below1G = 0x3FFF_F000, Pat = 1 << 12;

    private static readonly VtdOptions Most = NoCaches with
    {
        Nesting = true, DeviceTlbs = true, PageRequests = true, ExecuteRequests = true, MemoryTypes = true, SnoopControl = true, FiveLevelTables = true,
    };

    private static readonly VtdOptions Least = NoCaches with
    {
        RequestsWithPasid = false, RidPasid = false, RidPrivilege = false, SupervisorRequests = false, ScalableWalkSnoop = false,
    };

    /// <summary>A structure that works.</summary>
    /// <param name="Reason">The code of the fault that its reserved bits give.</param>
    /// <param name="At">Where it is.</param>
    /// <param name="Words">Its words.</param>
    /// <param name="Reserved">Of each word, the bits that are reserved, or make others so.</param>
    private sealed record Structure(byte Reason, ulong At, ulong[] Words, ulong[] Reserved)
    {
        public VtdOptions Options { get; init; } = Most;

        public Action<RawScalable> Prepare { get; init; } = static _ => { };

        public uint? Pasid { get; init; }

        public StreamId Source { get; init; } = Device;
    }

    private static readonly Structure First = new(0, 0, [], []) { Pasid = 2, Prepare = static vtd => vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First5 | FiveLevels) };

    private static readonly Structure Second = new(0x7A, 0, [], [])
    {
        Prepare = static vtd =>
        {
            vtd.Write(Second5, Second4 | Rw);
            vtd.SetPasid(1, 1 | 2 << 6 | 3 << 2 | Second5, SecondDomain | Snoop, 0);
        },
    };

    private static readonly Structure Legacy = new(0xC, 0, [], []) { Prepare = GoLegacy };

    // 5 and 11:10; 22:16 and 31:27; 11:8; from 192 on all.
    private static readonly ulong[] PasidReserved = [Beyond | 0xC20, 0xF87F_0000, Beyond | 0xF00, All, All, All, All, All];

    private static Dictionary<string, Structure> Structures => new()
    {
        ["root entry"] = Legacy with { Reason = 0xA, At = Root, Words = [Context | 1, 0], Reserved = [Beyond | 0xFFE, All] },
        ["context entry"] = Legacy with
        {
            Reason = 0xB, At = LegacyContext, Words = [Second4 | 1, 2 | SecondDomain << 8], Reserved = [Beyond | 0xFF0, 0xFFFF_FFFF_FF00_0080],
        },
        ["context entry, domain ids of 8 bits"] = Legacy with
        {
            Reason = 0xB, At = LegacyContext, Words = [Second4 | 1, 2 | SecondDomain << 8], Reserved = [Beyond | 0xFF0, 0xFFFF_FFFF_FFFF_0080],
            Options = Most with { DomainIdBits = 8 },
        },
        ["scalable-mode root entry, lower half"] = new(0x3A, Root, [Context | 1], [Beyond | 0xFFE]),
        ["scalable-mode root entry, upper half"] = new(0x3A, Root + 8, [UpperContext | 1], [Beyond | 0xFFE])
        {
            Source = UpperDevice, Prepare = static vtd => vtd.Set(UpperContext + 127 * 32, PasidDirectory | 1, 1, 0, 0),
        },
        ["scalable-mode context entry"] = new(0x42, Context + 0x20 * 32, [PasidDirectory | 1, 1, 0, 0], [Beyond | 0x1E0, All << 21, All, All]),
        ["scalable-mode context entry, of the least"] = new(0x42, Context + 0x20 * 32, [PasidDirectory | 1, 0, 0, 0], [Beyond | 0x1FC, All, All, All])
        {
            Options = Least,
            Prepare = static vtd => vtd.SetPasid(0, SecondStage | Second4, SecondDomain, 0),
        },
        ["PASID directory entry"] = new(0x52, PasidDirectory, [PasidTable | 1], [Beyond | 0xFFC]),
        ["PASID entry of the first stage"] = OfPasid(2, FirstStage, First4 | Sre),
        ["PASID entry of the second stage"] = OfPasid(1, SecondStage | Second4, 0),
        ["PASID entry of pass-through"] = OfPasid(1, PassThrough, 0),
        ["PASID entry of both stages"] = OfPasid(1, 1 | 3 << 6 | 2 << 2 | Second4, First4) with { Prepare = MapFirstStage },
        ["PASID entry of the first stage, of the least"] = new(
            0x5A, PasidTable + 64, [FirstStage, FirstDomain, First4, 0, 0, 0, 0, 0], [~0x1C3UL, ~0xFFFFUL, Beyond | 0xF83, All, All, All, All, All])
        {
            Options = Least with { SecondStage = false, RidPasid = true },
            Prepare = static vtd =>
            {
                vtd.SetContext(PasidDirectory | 1, 1);
                SetFlags(vtd);
            },
        },
        ["PASID entry of the second stage, of the least"] = new(
            0x5A, PasidTable + 64, [SecondStage | Second4, SecondDomain, 0, 0, 0, 0, 0, 0], [Beyond | 0xE20, ~0xFFFFUL, ~0x60UL, All, All, All, All, All])
        {
            Options = Least with { FirstStage = false, RidPasid = true }, Prepare = static vtd => vtd.SetContext(PasidDirectory | 1, 1),
        },
        ["second-stage entry, level 5"] = Second with { At = Second5, Words = [Second4 | Rw], Reserved = [BeyondSecond | Snp | PageSize] },
        ["second-stage entry, level 4"] = Second with { At = Second4, Words = [Second3 | Rw], Reserved = [BeyondSecond | Snp | PageSize] },
        // A page size makes a leaf of it that is off its boundary.
        ["second-stage entry, level 3"] = Second with { At = Second3, Words = [Second2 | Rw], Reserved = [BeyondSecond | Snp | PageSize] },
        ["second-stage entry, level 2"] = Second with { At = Second2, Words = [Second1 | Rw], Reserved = [BeyondSecond | Snp | PageSize] },
        ["second-stage leaf of 1 GiB"] = Second with { At = Second3, Words = [1UL << 30 | PageSize | Rw], Reserved = [BeyondSecond | Below1G] },
        ["second-stage leaf of 2 MiB"] = Second with { At = Second2, Words = [1UL << 21 | PageSize | Rw], Reserved = [BeyondSecond | Below2M] },
        ["second-stage leaf of 4 KiB"] = Second with { At = Second1 + 8, Words = [FrameA | Rw], Reserved = [BeyondSecond] },
        ["second-stage leaf of 1 GiB without snoop control"] = WithoutSnoop(Second with { At = Second3, Words = [1UL << 30 | PageSize | Rw], Reserved = [BeyondSecond | Below1G | Snp] }),
        ["second-stage leaf of 2 MiB without snoop control"] = WithoutSnoop(Second with { At = Second2, Words = [1UL << 21 | PageSize | Rw], Reserved = [BeyondSecond | Below2M | Snp] }),
        ["second-stage leaf of 4 KiB without snoop control"] = WithoutSnoop(Second with { At = Second1 + 8, Words = [FrameA | Rw], Reserved = [BeyondSecond | Snp] }),
        ["paging entry of the legacy mode, level 4"] = Legacy with { At = Second4, Words = [Second3 | Rw], Reserved = [BeyondSecond | Snp | PageSize] },
        ["paging entry of the legacy mode, level 2"] = Legacy with { At = Second2, Words = [Second1 | Rw], Reserved = [BeyondSecond | Snp | PageSize] },
        ["leaf of the legacy mode of 2 MiB"] = Legacy with { At = Second2, Words = [1UL << 21 | PageSize | Rw], Reserved = [BeyondSecond | Below2M] },
        ["leaf of the legacy mode of 4 KiB"] = Legacy with { At = Second1 + 8, Words = [FrameA | Rw], Reserved = [BeyondSecond] },
        ["first-stage entry, level 5"] = First with { Reason = 0x72, At = First5, Words = [First4 | Pwu], Reserved = [BeyondFirst | PageSize] },
        ["first-stage entry, level 4"] = First with { Reason = 0x72, At = First4, Words = [First3 | Pwu], Reserved = [BeyondFirst | PageSize] },
        ["first-stage entry, level 3"] = First with { Reason = 0x72, At = First3, Words = [First2 | Pwu], Reserved = [BeyondFirst | PageSize] },
        ["first-stage entry, level 2"] = First with { Reason = 0x72, At = First2, Words = [First1 | Pwu], Reserved = [BeyondFirst | PageSize] },
        ["first-stage leaf of 1 GiB"] = First with { Reason = 0x72, At = First3, Words = [1UL << 30 | PageSize | Pwu], Reserved = [BeyondFirst | (Below1G & ~Pat)] },
        ["first-stage leaf of 2 MiB"] = First with { Reason = 0x72, At = First2, Words = [1UL << 21 | PageSize | Pwu], Reserved = [BeyondFirst | (Below2M & ~Pat)] },
        ["first-stage leaf of 4 KiB"] = First with { Reason = 0x72, At = First1 + 8, Words = [FrameA | Pwu], Reserved = [BeyondFirst] },
    };

    private const ulong LegacyContext = Context + 0x20 * 16;

    private static Structure OfPasid(uint pasid, ulong first, ulong third) => new(
        0x5A, PasidTable + pasid * 64, [first, SecondDomain | Snoop, third, 0, 0, 0, 0, 0], PasidReserved) { Pasid = pasid == 1 ? null : pasid };

    private static Structure WithoutSnoop(Structure structure) => structure with { Options = Most with { SnoopControl = false } };

    private static void GoLegacy(RawScalable vtd)
    {
        vtd.SetRoot(Root);
        vtd.Set(LegacyContext, Second4 | 1, 2 | SecondDomain << 8);
    }

    /// <summary>The guest-physical addresses of the first-stage tables and of the page are the physical ones.</summary>
    private static void MapFirstStage(RawScalable vtd)
    {
        foreach (ulong page in (ulong[])[First4, First3, First2, First1, FrameA]) vtd.SetSecond(page >> 12, page | Rw);
    }

    /// <summary>Where walks do not snoop, no flag is left to set.</summary>
    private static void SetFlags(RawScalable vtd)
    {
        const ulong a = 1 << 5;
        foreach (ulong at in (ulong[])[First4, First3, First2, First1 + 8]) vtd.Write(at, vtd.Read(at) | a);
    }

    public static TheoryData<string> StructureNames => new(Structures.Keys);

    [Theory]
    [MemberData(nameof(StructureNames))]
    public void A_bit_is_reserved_where_the_figure_says_so_and_nowhere_else(string name)
    {
        Structure structure = Structures[name];
        using var vtd = new RawScalable(structure.Options);
        structure.Prepare(vtd);
        vtd.Set(structure.At, structure.Words);
        Assert.Equal(VtdFaultReason.None, Reason());
        var found = new List<string>();
        for (int word = 0; word < structure.Words.Length; word++)
        {
            for (int bit = 0; bit < 64; bit++)
            {
                vtd.Set(structure.At, structure.Words);
                vtd.Write(structure.At + (ulong)word * 8, structure.Words[word] ^ 1UL << bit);
                bool isReserved = (byte)Reason() == structure.Reason;
                if (isReserved != ((structure.Reserved[word] >> bit & 1) == 1)) found.Add($"word {word} bit {bit} is {(isReserved ? "" : "not ")}reserved");
            }
        }

        Assert.Equal([], found);

        VtdFaultReason Reason() => vtd.Go(Page, pasid: structure.Pasid, source: structure.Source).Reason;
    }

    /// <summary>A descriptor that is taken, and of each word the bits that stop the queue as reserved ones, or as a value that is none.</summary>
    private static Dictionary<string, (ulong[] Words, ulong[] Reserved)> Descriptors => new()
    {
        // 8:6, 15:12, 63:50; and granularity 0.
        ["context-cache"] = ([0x11, 0, 0, 0], [0xFFFC_0000_0000_F1C0 | 1 << 4, All, All, All]),
        // 8, 15:12, 63:32; 11:7, and a mask beyond 18.
        ["IOTLB"] = ([0x32 | SecondDomain << 16, Page, 0, 0], [0xFFFF_FFFF_0000_F100, 0xF80 | 1 << 5, All, All]),
        ["device TLB"] = ([0x3, Page, 0, 0], [0xFFFF_0000_FFE0_F1F0, 0xFFE, All, All]),
        ["wait"] = ([0x25, Status, 0, 0], [0xFFFF_F100, 3, All, All]),
        ["PASID-based IOTLB"] = ([0x26 | FirstDomain << 16, 0, 0, 0], [0xFFF0_0000_0000_F1C0 | 1 << 5, 0xF80, All, All]),
        ["PASID cache"] = ([0x37, 0, 0, 0], [0xFFF0_0000_0000_F1C0 | 1 << 4, All, All, All]),
        ["PASID-based device TLB"] = ([0x8, Page, 0, 0], [0xFFF0_0000_0000_F000, 0x7FE, All, All]),
        ["page group response"] = ([0x9, 0, 0, 0], [0xFFF0_0000_0000_01E0, ~0xFFCUL, All, All]),
    };

    /// <summary>The type, in two parts.</summary>
    private const ulong TypeField = 0xE0F;

    public static TheoryData<string> DescriptorNames => new(Descriptors.Keys);

    [Theory]
    [MemberData(nameof(DescriptorNames))]
    public void A_bit_of_a_descriptor_stops_the_queue_where_the_figure_says_so_and_nowhere_else(string name)
    {
        const uint iqercd = 0xB0, iqe = 1 << 4;
        (ulong[] words, ulong[] reserved) = Descriptors[name];
        using var vtd = new RawScalable(Most);
        vtd.Submit(words[0], words[1], words[2], words[3]);
        Assert.False(vtd.HasQueueError);
        var found = new List<string>();
        for (int word = 0; word < 4; word++)
        {
            for (int bit = 0; bit < 64; bit++)
            {
                if (word == 0 && (TypeField >> bit & 1) == 1) continue;
                ulong[] flipped = [.. words];
                flipped[word] ^= 1UL << bit;
                ulong at = Queue + vtd.Tail;
                vtd.Submit(flipped[0], flipped[1], flipped[2], flipped[3]);
                bool isReserved = vtd.HasQueueError && (vtd.Iommu.Read64(iqercd) & 0xF) == 4;
                if (isReserved != ((reserved[word] >> bit & 1) == 1)) found.Add($"word {word} bit {bit} {(isReserved ? "stops" : "does not stop")} the queue");
                vtd.Set(at, words);
                vtd.Iommu.Write32(Fsts, iqe);
            }
        }

        Assert.Equal([], found);
    }
}
