using System.Runtime.InteropServices;
using IommuSim;
using Platform;

namespace Harness.Running;

/// <summary>A table as its bytes say.</summary>
/// <param name="Root">The root page.</param>
/// <param name="Pages">All of its pages, the root first.</param>
/// <param name="Leaves">What it maps, in the order of device addresses.</param>
/// <param name="Malformed">Entries that the hardware refuses.</param>
public sealed record DecodedTable(PhysAddr Root, IReadOnlyList<PhysAddr> Pages, IReadOnlyList<DecodedLeaf> Leaves, IReadOnlyList<MalformedEntry> Malformed);

/// <summary>Decodes tables, and decodes a table again only if a byte of one of its pages has changed: most operations change none.</summary>
/// <param name="memory">Where the tables are.</param>
/// <param name="options">What the hardware supports.</param>
public sealed class TableReader(IPhysicalMemory memory, VtdOptions options)
{
    private const int PageBytes = 4096;

    // Accessed, Dirty and Extended Accessed, which hardware sets when a device comes by: "First-Stage Paging Entries". They say nothing of what is mapped.
    private const ulong FirstStageFlags = 1 << 5 | 1 << 6 | 1 << 10;

    // Accessed and Dirty, where the PASID entry says so (SSADE): "Second-Stage Paging Entries". Elsewhere they are ignored.
    private const ulong SecondStageFlags = 1 << 8 | 1 << 9;

    private readonly Dictionary<(PhysAddr Root, TranslationStage Stage, int Levels), (DecodedTable Table, byte[][] Bytes)> _known = [];
    private readonly byte[] _page = new byte[PageBytes];

    /// <summary>The region's table that an address space is translated by, as it is now.</summary>
    public DecodedTable Read(in DecodedTranslation space) => space.Stage == TranslationStage.Nested
        ? Read(space.SecondStageRoot, TranslationStage.SecondStage, space.SecondStageLevels)
        : Read(space.Root, space.Stage, space.Levels);

    /// <summary>The table below a root, as it is now.</summary>
    /// <param name="root">The root page.</param>
    /// <param name="stage">The first or the second.</param>
    /// <param name="levels">3 or 4 in the second stage, 4 or 5 in the first.</param>
    public DecodedTable Read(PhysAddr root, TranslationStage stage, int levels)
    {
        if (_known.TryGetValue((root, stage, levels), out (DecodedTable Table, byte[][] Bytes) known) && IsUnchanged(known.Table, known.Bytes, stage)) return known.Table;
        var snapshot = new Snapshot(memory);
        var table = new DecodedTable(
            root,
            [.. VtdTables.TablePages(snapshot, root, levels, options, stage)],
            [.. VtdTables.Leaves(snapshot, root, levels, options, stage)],
            [.. VtdTables.Malformed(snapshot, root, levels, options, stage)]);
        _known[(root, stage, levels)] = (table, [.. table.Pages.Select(snapshot.Page)]);
        return table;
    }

    private bool IsUnchanged(DecodedTable table, byte[][] bytes, TranslationStage stage)
    {
        ulong flags = stage == TranslationStage.FirstStage ? FirstStageFlags : SecondStageFlags;
        for (int i = 0; i < bytes.Length; i++)
        {
            if (bytes[i].Length == 0) return false;
            memory.Read(table.Pages[i], _page);
            if (!_page.AsSpan().SequenceEqual(bytes[i]) && !AreEqualBut(flags, _page, bytes[i])) return false;
        }

        return true;
    }

    private static bool AreEqualBut(ulong flags, ReadOnlySpan<byte> page, ReadOnlySpan<byte> other)
    {
        ReadOnlySpan<ulong> entries = MemoryMarshal.Cast<byte, ulong>(page), others = MemoryMarshal.Cast<byte, ulong>(other);
        for (int i = 0; i < entries.Length; i++)
        {
            if (((entries[i] ^ others[i]) & ~flags) != 0) return false;
        }

        return true;
    }
}
