using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Workloads.Fixtures;

/// <summary>
/// The table engine by itself, over host memory: four levels, leaves of 4 KiB only. What it maps lies elsewhere and is
/// never touched.
/// </summary>
internal sealed class EngineTable : IDisposable
{
    /// <summary>What <see cref="MapGibibyte"/> maps, page n to frame n from <see cref="FirstAddress"/> on.</summary>
    public static readonly IovaRange Gibibyte = IovaRange.FromLength(new(0), 1UL << 30);

    /// <summary>Where the memory lies that is mapped.</summary>
    public static readonly PhysAddr FirstAddress = new(1UL << 32);

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(1UL << 20), 4UL << 20));
    private readonly FrameAllocator _frames;
    private readonly PhysRange[] _memory = [PhysRange.FromLength(FirstAddress, 1UL << 30)];

    /// <summary>An empty table.</summary>
    public EngineTable()
    {
        _frames = new(_ram.Range);
        TableFormat format = new(VtdSecondStage.Encoding, LevelCount: 4, LeafLevels: 1u << 1);
        Require.That(PageTable<VtdSecondStage, Ram>.TryCreate(_ram.Port, _frames, format, out PageTable<VtdSecondStage, Ram>? table) == VcmmError.None, "there is a root");
        Table = table!;
    }

    /// <summary>The table. Of the sealed type, so that calls on it are direct, as they are for who uses the engine alone.</summary>
    public PageTable<VtdSecondStage, Ram> Table { get; }

    /// <summary>Pages set aside for it.</summary>
    public TablePagePool Pages { get; } = new();

    /// <summary>What was unlinked from it.</summary>
    public InvalidationGather Gather { get; } = new();

    /// <summary>Sets aside what a mapping of one page can need, so that it need not be counted.</summary>
    public void FillPool() => Require.That(Pages.TryFill(_frames, VcmManager.PageBytes, Table.Format.LevelCount - 1) == VcmmError.None, "there are table pages");

    /// <summary>Maps 1 GiB in one call, after setting its table pages aside.</summary>
    public void MapGibibyte()
    {
        int missing = Table.CountMissingTables(Gibibyte.First, _memory);
        Require.That(Pages.TryFill(_frames, VcmManager.PageBytes, missing) == VcmmError.None, "there are table pages");
        Table.Map(Gibibyte.First, _memory, Access.ReadWrite, Pages);
        Pages.ReturnAll(_frames);
    }

    /// <summary>Unmaps it in one call and frees its table pages.</summary>
    public void UnmapGibibyte()
    {
        Table.Unmap(Gibibyte, Gather);
        Table.Release(Gather);
        Gather.Clear();
    }

    /// <summary>What an address means; null if nothing.</summary>
    public PhysAddr? Walk(ulong iova) => Table.TryWalk(new(iova), out Translation translation) ? translation.Address : null;

    public void Dispose() => _ram.Dispose();
}
