using IommuSim;
using Vcmm.Spec;
using Vcmm.Tables;

namespace Harness.Running;

/// <summary>The model's kinds of table, as library and hardware name them.</summary>
public static class TableKinds
{
    private const int FirstStageLevels = 4;

    /// <summary>The kind of a format of the VT-d driver's.</summary>
    public static TableKind Of(TableFormat format) => format.Encoding != X86FirstStage.Encoding
        ? TableKind.SecondStage
        : format.LevelCount == FirstStageLevels ? TableKind.FirstStage : TableKind.FirstStageFiveLevels;

    /// <summary>The stage in which the hardware walks tables of a kind.</summary>
    public static TranslationStage StageOf(TableKind kind) => kind == TableKind.SecondStage ? TranslationStage.SecondStage : TranslationStage.FirstStage;

    /// <summary>How many levels first-stage tables of a kind have.</summary>
    public static int LevelsOf(TableKind kind) => kind == TableKind.FirstStageFiveLevels ? FirstStageLevels + 1 : FirstStageLevels;

    /// <summary>What first-stage tables of a kind can do on a machine.</summary>
    /// <remarks>
    /// <b>Source.</b> Intel VT-d specification, "First-Stage Translation": addresses are canonical, so that of 48 or 57 bits the
    /// lower half can be a region's, and no address is wider than MGAW says. "First-Stage Paging Entries": what is present can be read, and a bit says what is. "Accessed and Dirty Flags": always kept.
    /// </remarks>
    public static TableModel Describe(TableKind kind, VtdOptions options) =>
        new(kind, (1UL << Math.Min(options.GuestAddressWidth, 12 + 9 * LevelsOf(kind) - 1)) - 1)
        {
            Levels = LevelsOf(kind),
            Grantable = [Permissions.Read, Permissions.ReadWrite, Permissions.Read | Permissions.Execute, Permissions.ReadWriteExecute],
            HasPrivilege = true,
            NotesUse = true,
            TellsAbsent = true,
            CachePolicies = [CachePolicy.WriteBackWriteAllocate, CachePolicy.WriteThrough, CachePolicy.NotCached],
        };

    /// <summary>The cache policy that PAT, PCD and PWT of a first-stage leaf stand for.</summary>
    /// <remarks>
    /// <b>Source.</b> Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3A, "Programming the PAT": after power-on the
    /// eight entries are WB, WT, UC-, UC, and the same again. Write-back without write-allocate is none of them.
    /// </remarks>
    public static CachePolicy CacheOf(int patIndex) => (patIndex & 3) switch
    {
        0 => CachePolicy.WriteBackWriteAllocate,
        1 => CachePolicy.WriteThrough,
        _ => CachePolicy.NotCached,
    };
}
