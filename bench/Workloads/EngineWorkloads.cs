using Platform;
using Vcmm;
using Vcmm.Tables;
using Workloads.Fixtures;

namespace Workloads;

/// <summary>Maps 1 GiB as 4 KiB pages in one call and unmaps it in one; table pages are taken, zeroed and freed each time.</summary>
public sealed class BulkMap : IWorkload
{
    /// <summary>Pages in a batch.</summary>
    public const int Operations = 1 << 18;

    private readonly EngineTable _engine = new();

    /// <inheritdoc/>
    public int OperationsPerBatch => Operations;

    /// <inheritdoc/>
    public void Batch()
    {
        _engine.MapGibibyte();
        _engine.UnmapGibibyte();
    }

    /// <inheritdoc/>
    public void Check()
    {
        _engine.MapGibibyte();
        foreach (ulong iova in (ulong[])[0, 0x1FF123, 0x200000, 0x3FFF_FFFF])
            Require.That(_engine.Walk(iova) == EngineTable.FirstAddress + iova, "what was mapped is found");
        _engine.UnmapGibibyte();
        // The gibibyte is one entry of the table below the root, which stays.
        Require.That(!_engine.Table.Leaves().Any() && _engine.Table.TablePages().Count() == 2, "after the unmap nothing is mapped, and the tables are gone");
    }

    /// <inheritdoc/>
    public void Dispose() => _engine.Dispose();
}

/// <summary>Maps and unmaps one 4 KiB page; its tables are there already. The pages lie in 2 MiB, in no simple order.</summary>
public sealed class SinglePage : IWorkload
{
    /// <summary>Pairs of map and unmap in a batch.</summary>
    public const int Operations = 4096;

    private readonly EngineTable _engine = new();
    private readonly PhysRange[] _frame = [PhysRange.FromLength(EngineTable.FirstAddress, VcmManager.PageBytes)];

    /// <summary>Makes the tables: a page next to those in use stays mapped.</summary>
    public SinglePage()
    {
        _engine.FillPool();
        _engine.Table.Map(new(511 * VcmManager.PageBytes), _frame, Access.Read, _engine.Pages);
        _engine.FillPool();
    }

    /// <inheritdoc/>
    public int OperationsPerBatch => Operations;

    /// <inheritdoc/>
    public void Batch()
    {
        for (int i = 0; i < Operations; i++)
        {
            var page = IovaRange.FromLength(new(IovaOf(i)), VcmManager.PageBytes);
            Map(page);
            Unmap(page);
        }
    }

    /// <inheritdoc/>
    public void Check()
    {
        for (int i = 0; i < 256; i++)
        {
            var page = IovaRange.FromLength(new(IovaOf(i)), VcmManager.PageBytes);
            Map(page);
            Require.That(_engine.Walk(page.Last.Value) == _frame[0].Last, "what was mapped is found");
            Unmap(page);
            Require.That(_engine.Walk(page.First.Value) is null, "what was unmapped is not");
        }

        Require.That(_engine.Table.Leaves().Count() == 1, "only the page next to them is left");
    }

    /// <inheritdoc/>
    public void Dispose() => _engine.Dispose();

    /// <summary>The page of an operation: one of the first 256 of 2 MiB.</summary>
    internal static ulong IovaOf(int operation) => (ulong)(operation * 37 & 0xFF) * VcmManager.PageBytes;

    private void Map(IovaRange page) => _engine.Table.Map(page.First, _frame, Access.ReadWrite, _engine.Pages);

    private void Unmap(IovaRange page)
    {
        _engine.Table.Unmap(page, _engine.Gather);
        // The invalidation, if there were hardware, and what must follow it.
        if (_engine.Gather.HasTables) _engine.Table.Release(_engine.Gather);
        _engine.Gather.Clear();
    }
}

/// <summary>Looks addresses up in the table, random over 1 GiB of 4 KiB pages.</summary>
public sealed class WalkTable : IWorkload
{
    /// <summary>Look-ups in a batch.</summary>
    public const int Operations = 1 << 14;

    private readonly EngineTable _engine = new();
    private PageSequence _pages = new(PageSequence.Seed);
    private ulong _sum;

    /// <summary>Maps the gibibyte.</summary>
    public WalkTable() => _engine.MapGibibyte();

    /// <inheritdoc/>
    public int OperationsPerBatch => Operations;

    /// <inheritdoc/>
    public void Batch()
    {
        ulong sum = 0;
        bool mapped = true;
        for (int i = 0; i < Operations; i++)
        {
            mapped &= _engine.Table.TryWalk(new(_pages.Next()), out Translation translation);
            sum = unchecked(sum + translation.Address.Value);
        }

        _sum = sum;
        Require.That(mapped, "every page is mapped");
    }

    /// <inheritdoc/>
    public void Check()
    {
        for (int i = 0; i < 100; i++)
        {
            ulong iova = _pages.Next() + 0x123;
            Require.That(_engine.Walk(iova) == EngineTable.FirstAddress + iova, "a look-up gives what was mapped");
        }

        Require.That(_engine.Walk(1UL << 30) is null, "beyond the gibibyte nothing is mapped");
        PageSequence same = _pages;
        Batch();
        ulong sum = 0;
        for (int i = 0; i < Operations; i++) sum = unchecked(sum + EngineTable.FirstAddress.Value + same.Next());
        Require.That(_sum == sum, "every look-up of a batch gives what was mapped");
    }

    /// <inheritdoc/>
    public void Dispose() => _engine.Dispose();
}
