using Harness.Differential;
using IommuSim;

namespace Harness.Foreign;

/// <summary>Who does otherwise than the specification says.</summary>
public enum DeviationKind
{
    /// <summary>QEMU does what the specification forbids, or lacks what its registers say that it has.</summary>
    Mistake,

    /// <summary>The specification leaves it to the hardware, and QEMU does otherwise than the simulator.</summary>
    Freedom,
}

/// <summary>One thing that QEMU's VT-d does otherwise than the simulator.</summary>
/// <param name="Name">What QEMU does.</param>
/// <param name="Section">The part of the Intel VT-d specification that speaks of it.</param>
/// <param name="Kind">Whose fault it is.</param>
public sealed record QemuDeviation(string Name, string Section, DeviationKind Kind)
{
    /// <summary>The first major version of QEMU that does it: 7, or 10, of which 7.2 has no such thing, or does something worse in its place.</summary>
    public int Since { get; init; } = 7;

    /// <summary>The first major version of QEMU that does as the specification says: 10, which was looked at; otherwise it is not known to be mended.</summary>
    public int MendedIn { get; init; } = int.MaxValue;

    /// <summary>Whether a version of QEMU does it.</summary>
    /// <param name="version">Its first number.</param>
    public bool IsOf(int version) => Since <= version && version < MendedIn;
}

/// <summary>What was seen of an access on QEMU.</summary>
/// <param name="IsScalable">In which mode.</param>
/// <param name="Iova">Where.</param>
/// <param name="IsWrite">A write.</param>
/// <param name="Reason">Of the fault that it reported; null: none.</param>
/// <param name="IsHit">It found a translation in its IOTLB.</param>
/// <param name="IsWritten">The word is where the tables say.</param>
/// <param name="Word">What was read: 0 where it was blocked; or what was to be written.</param>
/// <param name="HasFirstStage">In scalable mode, whether by first-stage tables.</param>
internal readonly record struct Sight(bool IsScalable, ulong Iova, bool IsWrite, byte? Reason, bool IsHit, bool IsWritten, uint Word = 0, bool HasFirstStage = false)
{
    private const int NarrowBits = 30;

    /// <summary>Whether the bits of the address from the highest of 30 up are all alike.</summary>
    public bool IsCanonicalIn30 => unchecked((long)Iova) >> (NarrowBits - 1) is 0 or -1;

    /// <summary>Nothing was transferred, and nothing reported.</summary>
    public bool IsSilentlyBlocked => Reason is null && (IsWrite ? !IsWritten : Word == 0);
}

/// <summary>
/// Everything that QEMU's VT-d is known to do otherwise than the simulator, which does as the specification says: one table for
/// the conformance cases and for the differential stage. Seen on versions 7.2 and 10.0.
/// </summary>
public static class QemuDeviations
{
    private const string Faults = "Address Translation Faults, Legacy Mode";

    /// <summary>A write that a cached translation does not permit.</summary>
    public static QemuDeviation SilentWrite { get; } = new("A write through a cached read-only page is blocked without a fault record", Faults, DeviationKind.Mistake);

    /// <summary>A read that a cached translation does not permit.</summary>
    public static QemuDeviation SilentRead { get; } = new("A read through a cached write-only page is blocked without a fault record", Faults, DeviationKind.Mistake);

    /// <summary>After an error.</summary>
    public static QemuDeviation WaitsForTail { get; } =
        new("A stopped queue waits for the tail to be written again after its error is cleared", "Invalidation Queue Errors", DeviationKind.Mistake);

    /// <summary>After the last record is cleared.</summary>
    public static QemuDeviation PendingEvent { get; } =
        new("A fault event stays pending after the last record is cleared", "Fault Event Control Register", DeviationKind.Mistake);

    /// <summary>In a record without PASID.</summary>
    public static QemuDeviation PasidField { get; } =
        new("The PASID field of a fault record is not 0 where the record says that there was no PASID", "Fault Recording Registers", DeviationKind.Freedom);

    /// <summary>In a record of the scalable mode.</summary>
    public static QemuDeviation RecordedPasid { get; } =
        new("A fault record of a request without PASID has the context entry's RID_PASID, as if the request had come with it", "Fault Recording Registers, PP", DeviationKind.Mistake);

    /// <summary>Reads at 0xFEEx_xxxx.</summary>
    public static QemuDeviation InterruptRead { get; } =
        new("A read of the interrupt address range is answered and not blocked", "Handling Requests to Interrupt Address Range", DeviationKind.Mistake);

    /// <summary>What else is wrong with that entry or those after it is not seen.</summary>
    public static QemuDeviation PermissionFirst { get; } =
        new("A walk ends at the first entry that does not permit the access, whatever else is wrong there or further on", "Address Translation Faults", DeviationKind.Freedom);

    /// <summary>Beyond the width.</summary>
    public static QemuDeviation PassThroughWidth { get; } =
        new("Pass-through lets addresses beyond the width through", "Address Translation Faults, LGN.1", DeviationKind.Mistake);

    /// <summary>Of RTADDR_REG.</summary>
    public static QemuDeviation RootMode { get; } =
        new("Reserved bits and modes of the root table address are not looked at", "Root Table Address Register; Address Translation Faults, RTA.1", DeviationKind.Mistake);

    /// <summary>Neither status write nor interrupt.</summary>
    public static QemuDeviation IdleWait { get; } =
        new("A wait that asks for neither a status write nor an interrupt is an error", "Invalidation Wait Descriptor", DeviationKind.Mistake);

    /// <summary>Types 3 and 4, for device TLBs and for interrupt entries: whether the unit has these is not asked.</summary>
    public static QemuDeviation UnofferedType { get; } =
        new("Descriptors of types that the unit does not offer are taken", "Hardware Handling of Queued Invalidation Interface Errors", DeviationKind.Mistake);

    /// <summary>Types 6 and 7, of the scalable mode: 7.2 looks at nothing but the type, 10 at the width of descriptors too, and at whether the unit has the mode.</summary>
    public static QemuDeviation OtherModeType { get; } =
        new("Descriptors of types of the scalable mode are taken in legacy mode", "Hardware Handling of Queued Invalidation Interface Errors", DeviationKind.Mistake) { MendedIn = 10 };

    /// <summary>Type 7: it keeps no PASID entries, and so does nothing for such a descriptor.</summary>
    public static QemuDeviation PasidCacheDescriptor { get; } =
        new("Reserved bits and values of PASID-cache invalidations are not looked at", "PASID-Cache Invalidate Descriptor", DeviationKind.Mistake);

    /// <summary>Type 6: before it had first-stage tables there was nothing to do for such a descriptor.</summary>
    public static QemuDeviation PasidIotlbDescriptor { get; } =
        new("Reserved bits and values of PASID-based IOTLB invalidations are not looked at", "PASID-Based IOTLB Invalidate Descriptor", DeviationKind.Mistake) { MendedIn = 10 };

    /// <summary>Type 8, which 7.2 does not know.</summary>
    public static QemuDeviation UnofferedDeviceType { get; } =
        new(
            "In scalable mode descriptors for the device TLBs of a PASID are taken by a unit without device TLBs",
            "Hardware Handling of Queued Invalidation Interface Errors", DeviationKind.Mistake) { Since = 10 };

    /// <summary>Of 256 bits.</summary>
    public static QemuDeviation UpperHalf { get; } =
        new("The upper half of a descriptor of 256 bits is not looked at", "Queued Invalidation Interface", DeviationKind.Mistake) { MendedIn = 10 };

    /// <summary>Version 7.2.</summary>
    public static QemuDeviation LegacyNumbers { get; } =
        new("Faults of the scalable mode have the numbers of the legacy mode", "Address Translation Faults, Scalable Mode", DeviationKind.Mistake);

    /// <summary>Version 7.2.</summary>
    public static QemuDeviation OnePasidReason { get; } =
        new("Whatever is wrong with a PASID, its directory or its table is reported as 0x58", "Address Translation Faults, Scalable Mode", DeviationKind.Mistake) { MendedIn = 10 };

    /// <summary>Type and width are checked as soon as the entry is read; of an absent one they are mostly 0, which is none.</summary>
    public static QemuDeviation TypeFirst { get; } =
        new("An absent PASID entry whose type or width there is not is reported as invalid, 0x5B", "Address Translation Faults, SPT.2", DeviationKind.Mistake) { Since = 10 };

    /// <summary>The bits are read after what they should silence; that of the directory entry counts where the context entry is cached.</summary>
    public static QemuDeviation PasidSilence { get; } =
        new(
            "What is wrong with a PASID entry or a PASID directory entry is reported although fault processing is disabled there or in the directory",
            "Scalable-Mode PASID Directory Entry and PASID Table Entry, FPD", DeviationKind.Mistake) { Since = 10 };

    /// <summary>Version 7.2.</summary>
    public static QemuDeviation PasidReserved { get; } =
        new("Reserved bits of PASID directory entries and PASID entries are not looked at", "Address Translation Faults, SPD.3 and SPT.3", DeviationKind.Mistake);

    /// <summary>Version 7.2.</summary>
    public static QemuDeviation OtherTypes { get; } =
        new("First-stage and nested translation, which the unit does not offer, are taken for second-stage translation", "Address Translation Faults, SPT.4.2", DeviationKind.Mistake) { MendedIn = 10 };

    /// <summary>Of a root entry.</summary>
    public static QemuDeviation EitherHalf { get; } =
        new("Reserved bits of one half of a scalable-mode root entry block requests that use the other half", "Address Translation Faults, SRT.3", DeviationKind.Mistake);

    /// <summary>Version 7.2: what the drivers of some kernels need, which set the bit whatever the unit says.</summary>
    public static QemuDeviation SnoopBit { get; } =
        new("In a unit that has the scalable mode SNP of a second-stage leaf is let through, though ECAP.SC is clear", "Second-Stage Paging Entries", DeviationKind.Mistake);

    /// <summary>Version 7.2.</summary>
    public static QemuDeviation AbsentPasid { get; } =
        new(
            "A PASID entry that was made not present is used further by a device of which the context entry is cached",
            "PASID-Cache Invalidate Descriptor; Address Translation Faults, SPT.2", DeviationKind.Mistake);

    /// <summary>It looks whether there is anything wrong with the entry only to find its FPD, which then does not matter any more.</summary>
    public static QemuDeviation LastingType { get; } =
        new(
            "A PASID entry that was given a translation type or a width that there is not is used further by a device of which the context entry is cached and disables fault processing",
            "PASID-Cache Invalidate Descriptor; Address Translation Faults, SPT.4.2", DeviationKind.Mistake);

    /// <summary>Version 7.2.</summary>
    public static QemuDeviation LastingPassThrough { get; } =
        new("Pass-through by a PASID entry ends with an invalidation of context entries only", "PASID-Cache Invalidate Descriptor", DeviationKind.Mistake);

    /// <summary>Version 7.2.</summary>
    public static QemuDeviation DirectorySize { get; } =
        new("A RID_PASID beyond the PASID directory is looked up beyond its end", "Address Translation Faults, SCT.4.2", DeviationKind.Mistake);

    /// <summary>AW, which is reserved where there is no second stage, and so 0: 30 bits, as if tables of two levels were meant.</summary>
    public static QemuDeviation FirstStageWidth { get; } =
        new(
            "How wide a canonical address of the first stage is is taken from the address width of the second stage",
            "First-Stage Translation; PASID Table Entry, AW", DeviationKind.Mistake) { Since = 10 };

    /// <summary>It has no coherent walks to choose (ECAP.SMPWCS is clear), and its walks see what processors write all the same.</summary>
    public static QemuDeviation FlagSnoop { get; } =
        new("First-stage flags are set where PWSNP is clear", "Address Translation Faults, SFS.9; PASID Table Entry, PWSNP", DeviationKind.Mistake) { Since = 10 };

    /// <summary>All.</summary>
    public static IReadOnlyList<QemuDeviation> All { get; } =
    [
        SilentWrite, SilentRead, WaitsForTail, PendingEvent, PasidField, RecordedPasid, InterruptRead, PermissionFirst, PassThroughWidth, RootMode, IdleWait, UnofferedType,
        OtherModeType, PasidCacheDescriptor, PasidIotlbDescriptor, UnofferedDeviceType, UpperHalf, LegacyNumbers, OnePasidReason, TypeFirst, PasidSilence, PasidReserved, OtherTypes, EitherHalf, SnoopBit, AbsentPasid, LastingType, LastingPassThrough, DirectorySize,
        FirstStageWidth, FlagSnoop,
    ];

    private static readonly (Laxity Laxity, QemuDeviation Row)[] Laxities =
    [
        (Laxity.RootBits, RootMode), (Laxity.DirectorySize, DirectorySize), (Laxity.PasidReserved, PasidReserved), (Laxity.PasidPresent, AbsentPasid),
        (Laxity.PasidTypeFirst, TypeFirst), (Laxity.Types, OtherTypes), (Laxity.PassThroughEnd, LastingPassThrough), (Laxity.Snoop, SnoopBit),
        (Laxity.WalkSnoop, FlagSnoop), (Laxity.PasidType, LastingType),
    ];

    /// <summary>What a version of QEMU does not look at.</summary>
    internal static Laxity LaxityOf(int version) => Laxities.Where(row => row.Row.IsOf(version)).Aggregate(Laxity.None, (sum, row) => sum | row.Laxity);

    /// <summary>The names of what explains that an access came out as if something were not looked at.</summary>
    internal static IEnumerable<string> OfLaxity(Laxity laxity)
    {
        // Pass-through that lasts looks at nothing of the entry.
        if (laxity.HasFlag(Laxity.PassThroughEnd)) return [LastingPassThrough.Name];
        return Laxities.Where(row => laxity.HasFlag(row.Laxity)).Select(row => row.Row.Name);
    }

    /// <summary>The name of what explains that QEMU did not do what the tables say; null: nothing does.</summary>
    internal static string? OfAccess(in Expected expected, in Sight sight)
    {
        VtdFaultReason fault = expected.Fault;
        bool isDenial = sight.IsWrite ? fault is VtdFaultReason.Write or VtdFaultReason.ScalableWrite : fault is VtdFaultReason.Read or VtdFaultReason.ScalableRead;
        if (isDenial && !sight.IsWrite && sight.Iova >> 20 == 0xFEE && sight.Reason is null) return InterruptRead.Name;
        if (isDenial && sight.IsHit && sight.IsSilentlyBlocked) return sight.IsWrite ? SilentWrite.Name : SilentRead.Name;
        if (expected.IsPassThrough && fault is VtdFaultReason.AddressBeyondMgaw or VtdFaultReason.AddressBeyondHostWidth && sight.IsSilentlyBlocked) return PassThroughWidth.Name;
        if (sight.IsScalable && OfScalable(expected, sight) is { } name) return name;
        bool isDenied = sight.HasFirstStage
            ? sight.Reason == (byte)VtdFaultReason.UserPrivilege || (sight.IsWrite && sight.Reason == (byte)VtdFaultReason.ScalableWrite)
            : sight.Reason == (byte)(sight.IsWrite ? VtdFaultReason.Write : VtdFaultReason.Read);
        return isDenied && !expected.GoesOn && expected.LacksPermission ? PermissionFirst.Name : null;
    }

    private static string? OfScalable(in Expected expected, in Sight sight)
    {
        VtdFaultReason fault = expected.Fault;
        bool isBeyond = sight.HasFirstStage && !sight.IsCanonicalIn30 && IsOfThis(FirstStageWidth);
        if (isBeyond && (sight.Reason == (byte)VtdFaultReason.AddressNotCanonical || (expected.IsQuiet && sight is { IsSilentlyBlocked: true, IsHit: false }))) return FirstStageWidth.Name;
        if (sight.Reason == 0xA && fault != VtdFaultReason.ScalableRootEntryReserved && expected.OtherHalfIsReserved) return EitherHalf.Name;
        if (fault is (>= VtdFaultReason.PasidDirectoryEntryUnreachable and <= VtdFaultReason.PasidEntryInvalid) or VtdFaultReason.ScalableContextEntryInvalid
            && sight.Reason == 0x58 && IsOfThis(OnePasidReason)) return OnePasidReason.Name;
        if (fault is >= VtdFaultReason.PasidDirectoryEntryNotPresent and <= VtdFaultReason.PasidEntryInvalid
            && expected.IsSilent && sight.Reason == (byte)fault && IsOfThis(PasidSilence)) return PasidSilence.Name;
        byte denied = (byte)(sight.IsWrite ? VtdFaultReason.Write : VtdFaultReason.Read);
        byte? legacy = fault switch
        {
            VtdFaultReason.ScalableRootEntryUnreachable => 8,
            VtdFaultReason.ScalableRootEntryNotPresent => 1,
            VtdFaultReason.ScalableRootEntryReserved => 0xA,
            VtdFaultReason.ScalableContextEntryUnreachable => 9,
            VtdFaultReason.ScalableContextEntryNotPresent => 2,
            VtdFaultReason.ScalableContextEntryReserved => 0xB,
            VtdFaultReason.ScalableAddressBeyondWidth => 4,
            VtdFaultReason.SecondStageNotPermitted or VtdFaultReason.ScalableWrite or VtdFaultReason.ScalableRead => denied,
            VtdFaultReason.SecondStageEntryUnreachable => 7,
            VtdFaultReason.SecondStageEntryReserved => 0xC,
            VtdFaultReason.SecondStageTableUnreachable => 3,
            _ => null,
        };
        return sight.Reason is not null && sight.Reason == legacy ? LegacyNumbers.Name : null;
    }

    /// <summary>The name of what explains that one of the queues stopped at a descriptor and the other did not.</summary>
    internal static string? OfQueue(QueueWords words, bool otherHasError, bool isScalable)
    {
        const ulong wait = 5, statusOrInterrupt = 3 << 4;
        ulong type = words.Low & 0xF;
        if (otherHasError) return type == wait && (words.Low & statusOrInterrupt) == 0 ? IdleWait.Name : null;
        if (isScalable && words.Third != 0 && IsOfThis(UpperHalf)) return UpperHalf.Name;
        QemuDeviation? known = type switch
        {
            3 or 4 => UnofferedType,
            6 or 7 when !isScalable => OtherModeType,
            6 => PasidIotlbDescriptor,
            7 => PasidCacheDescriptor,
            8 when isScalable => UnofferedDeviceType,
            _ => null,
        };
        return known is not null && IsOfThis(known) ? known.Name : null;
    }

    /// <summary>The name of what explains that the records of the same faults differ.</summary>
    internal static string? OfRecord(FaultRecord own, FaultRecord other, bool isScalable)
    {
        const ulong pasid = 0xFFFFFUL << 40, pasidPresent = 1UL << 31;
        if (own.Low != other.Low || (own.High & ~(pasid | pasidPresent)) != (other.High & ~(pasid | pasidPresent))) return null;
        return (other.High & pasidPresent) == 0 ? PasidField.Name : isScalable && (own.High & pasidPresent) == 0 ? RecordedPasid.Name : null;
    }

    /// <summary>Whether the installed version does it.</summary>
    private static bool IsOfThis(QemuDeviation known) => known.IsOf(QemuVtd.MajorVersion);
}
