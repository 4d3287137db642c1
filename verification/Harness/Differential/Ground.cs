using System.Globalization;
using IommuSim;

namespace Harness.Differential;

/// <summary>Where things lie in the memory of both machines, and what an address in it is called.</summary>
internal static class Ground
{
    public const ulong PageBytes = 4096;

    // Tables, queue and status.
    public const ulong Root = 0x100_0000, Contexts = 0x100_1000, Level4 = 0x100_8000, Level3 = 0x101_0000, Level2 = 0x101_8000, Level1 = 0x102_0000;
    public const ulong Directories = 0x103_0000, PasidTables = 0x103_8000, Queue = 0x105_0000, Status = 0x105_1000;
    public const ulong FirstTable = Root, EndOfTables = 0x105_2000;
    public const int TablesOfLevel = 8, LastLevelTables = 16, ContextPages = 2, DirectoryPages = 4, PasidPages = 4;

    /// <summary>Data: each word of 32 bits holds what <see cref="Mark"/> says of its address until a device writes there.</summary>
    public const ulong Data = 0x120_0000, EndOfData = 0x160_0000;

    /// <summary>Frames that pages of 4 KiB mostly lead to.</summary>
    public const int FrameCount = 16;

    /// <summary>2 MiB of data on their boundary.</summary>
    public const ulong Large = 0x140_0000;

    /// <summary>From here on no machine has memory.</summary>
    public const ulong Nowhere = 0x2_0000_0000;

    /// <summary>The first address, and the end, of what both machines have alike.</summary>
    public const ulong FirstAlike = 0x100_0000, EndOfAlike = 0x400_0000;

    /// <summary>Slots of the devices: of half of them the requester ids have bit 7 set, which selects the upper half of scalable-mode root entries.</summary>
    public static IReadOnlyList<int> Slots { get; } = [4, 5, 6, 7, 16, 17, 18, 19];

    public static int DeviceCount => Slots.Count;

    public static uint Source(int device) => (uint)Slots[device] << 3;

    /// <summary>What is in a word of data that no device has written: never 0.</summary>
    public static uint Mark(ulong address) => unchecked((uint)(address * 0x9E37_79B1)) | 1;

    /// <summary>What device writes bring, by number; no two are the same, and none is a mark.</summary>
    public static uint Token(int number) => 0xD0D0_0000u | (uint)number << 1;

    public const int TokenCount = 256;

    /// <summary>All tokens, as the machines' devices keep them.</summary>
    public static byte[] Tokens => [.. Enumerable.Range(0, TokenCount).SelectMany(number => BitConverter.GetBytes(Token(number)))];

    /// <summary>Where a context entry of legacy or of scalable mode is, in the table of the lower half.</summary>
    public static ulong ContextEntry(int device, bool isScalable)
    {
        uint function = Source(device) & 0xFF;
        if (!isScalable) return Contexts + function * 16;
        return Contexts + (function >> 7) * PageBytes + (function & 0x7F) * 32;
    }

    /// <summary>Whether a device may read there: both machines have the same, and reading does nothing.</summary>
    public static bool IsReadable(ulong address) => (address >= FirstAlike && address < EndOfAlike) || address >= Nowhere;

    /// <summary>Whether a device may write there: only data changes.</summary>
    public static bool IsWritable(ulong address) => (address >= Data && address < EndOfData) || address >= Nowhere;

    /// <summary>
    /// The same entry with an address at which the machines are alike. The queue is not one: read as a table it leads to the first
    /// page, where only one of them has memory.
    /// </summary>
    public static ulong Tame(ulong entry)
    {
        ulong address = entry & 0xF_FFFF_FFFF_F000;
        return address is (>= FirstAlike and < Queue) or (>= Data and < EndOfAlike) or >= Nowhere ? entry : entry | Nowhere;
    }

    /// <summary>
    /// The same for an entry of first-stage tables, in which the hardware sets flags, each machine at its time: what it points at is
    /// read as a table only if it is one, and by devices only if it is none.
    /// </summary>
    public static ulong TameFirstStage(ulong entry, int level)
    {
        ulong address = entry & 0xF_FFFF_FFFF_F000;
        bool isLeaf = level == 1 || (entry & 1 << 7) != 0, isBase = isLeaf && level > 1 && address < FirstAlike;
        bool isTame = isBase || address >= Nowhere || (isLeaf ? IsPlainData(address) : HasFlags(address));
        return isTame ? entry : entry | Nowhere;
    }

    /// <summary>Whether the tables of the levels are there: the only memory in which first-stage flags are set.</summary>
    public static bool HasFlags(ulong address) => address is >= Level4 and < Directories;

    /// <summary>Whether no table is there, so that flags are not either.</summary>
    public static bool IsPlainData(ulong address) => address is (>= Data and < EndOfAlike) or >= Nowhere;

    /// <summary>What is at an address, in words.</summary>
    public static string Describe(ulong address, bool isScalable)
    {
        (string Name, ulong Bytes) entry = (address & ~(PageBytes - 1)) switch
        {
            Root => ("root table", 16UL),
            >= Contexts and < Level4 => ("context table", isScalable ? 32UL : 16UL),
            >= Level4 and < Level3 => ("level 4 table", 8UL),
            >= Level3 and < Level2 => ("level 3 table", 8UL),
            >= Level2 and < Level1 => ("level 2 table", 8UL),
            >= Level1 and < Directories => ("level 1 table", 8UL),
            >= Directories and < PasidTables => ("PASID directory", 8UL),
            >= PasidTables and < Queue => ("PASID table", 64UL),
            Queue => ("queue", isScalable ? 32UL : 16UL),
            _ => ("memory", 8UL),
        };
        ulong offset = address & (PageBytes - 1);
        string word = entry.Bytes == 8 ? "" : string.Create(CultureInfo.InvariantCulture, $", word {offset % entry.Bytes / 8}");
        return string.Create(CultureInfo.InvariantCulture, $"{entry.Name} 0x{address & ~(PageBytes - 1):x}, entry {offset / entry.Bytes}{word}");
    }

    /// <summary>The unit that the other machine is, as its capability registers say; the sizes of caches are free.</summary>
    public static VtdOptions UnitOf(ulong capability, ulong extended, VtdOptions caches)
    {
        bool isScalable = Has(extended, 43);
        return caches with
        {
            CachingMode = Has(capability, 7),
            ThreeLevelTables = Has(capability, 9),
            FourLevelTables = Has(capability, 10),
            Pages2M = Has(capability, 34),
            Pages1G = Has(capability, 35),
            MaximumAddressMask = (int)(capability >> 48 & 0x3F),
            FirstStagePages1G = Has(capability, 56),
            FirstStageFiveLevels = Has(capability, 60),
            PassThrough = Has(extended, 6),
            SnoopControl = Has(extended, 7),
            DeviceTlbs = Has(extended, 2),
            ExecuteRequests = Has(extended, 30),
            SupervisorRequests = Has(extended, 31),
            PasidBits = isScalable ? (int)(extended >> 35 & 0x1F) + 1 : 20,
            RequestsWithPasid = Has(extended, 40),
            ScalableMode = isScalable,
            SecondStageAccessedDirty = Has(extended, 45),
            SecondStage = Has(extended, 46),
            FirstStage = Has(extended, 47),
            ScalableWalkSnoop = Has(extended, 48),
            RidPrivilege = Has(extended, 53),
        };
    }

    private static bool Has(ulong register, int bit) => (register >> bit & 1) == 1;
}

/// <summary>Register Descriptions of the Intel VT-d specification: offsets and bits.</summary>
internal static class Reg
{
    public const uint CAP = 0x08, ECAP = 0x10, GCMD = 0x18, GSTS = 0x1C, RTADDR = 0x20, FSTS = 0x34, IQH = 0x80, IQT = 0x88, IQA = 0x90, FRCD = 0x220;
    public const uint PFO = 1, PPF = 2, IQE = 0x10;
    public const uint TE = 1u << 31, SRTP = 1u << 30, QIE = 1u << 26;
}

/// <summary>Queued Invalidation Interface of the Intel VT-d specification: the low half of descriptors.</summary>
internal static class Words
{
    public const ulong ContextGlobal = 0x11, ContextDomain = 0x21, ContextDevice = 0x31;
    public const ulong IotlbGlobal = 0x12, IotlbDomain = 0x22, IotlbPage = 0x32;
    public const ulong PasidCacheGlobal = 0x37, PasidCacheDomain = 0x07;
    public const ulong PasidIotlb = 0x26, PasidIotlbPage = 0x36;
    public const ulong Wait = 0x5, TypeMask = 0xF, Interrupt = 1 << 4, StatusWrite = 1 << 5;
}
