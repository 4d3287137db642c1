using Workloads.Fixtures;

namespace Workloads.Bare;

/// <summary>Stores and clears the 262,144 entries that map 1 GiB: the least that <see cref="BulkMap"/> could do.</summary>
public sealed class BareStores : IWorkload
{
    private const ulong FirstAddress = 1UL << 32;

    private readonly BareTable _table = new(FirstAddress);

    /// <inheritdoc/>
    public int OperationsPerBatch => BareTable.PageCount;

    /// <inheritdoc/>
    public void Batch()
    {
        _table.Store(FirstAddress);
        _table.Clear();
    }

    /// <inheritdoc/>
    public void Check()
    {
        _table.Store(FirstAddress);
        Require.That(_table.Walk(0x3FFF_F123) == FirstAddress + 0x3FFF_F123, "the last page is mapped");
        _table.Clear();
        Require.That(_table.Walk(0x3FFF_F123) == 0 && _table.Walk(0) == 0, "nothing is mapped");
    }

    /// <inheritdoc/>
    public void Dispose() => _table.Dispose();
}

/// <summary>
/// Walks to an entry, stores it, fences; walks there again, clears it, fences: the least that mapping and unmapping a page
/// could do where the hardware may be walking.
/// </summary>
public sealed unsafe class BarePage : IWorkload
{
    private readonly BareTable _table;
    private readonly int _operations;

    /// <summary>A table of its own, everything unmapped.</summary>
    /// <param name="operations">A batch.</param>
    public BarePage(int operations = SinglePage.Operations)
    {
        _operations = operations;
        _table = new(0);
        _table.Clear();
    }

    /// <inheritdoc/>
    public int OperationsPerBatch => _operations;

    /// <inheritdoc/>
    public void Batch()
    {
        for (int i = 0; i < _operations; i++)
        {
            ulong iova = SinglePage.IovaOf(i);
            Store(iova, 0x7000_0003);
            Store(iova, 0);
        }
    }

    /// <inheritdoc/>
    public void Check()
    {
        Store(0x5000, 0x7000_0003);
        Require.That(_table.Walk(0x5123) == 0x7000_0123, "the page is mapped");
        Store(0x5000, 0);
        Require.That(_table.Walk(0x5123) == 0, "the page is unmapped");
    }

    /// <inheritdoc/>
    public void Dispose() => _table.Dispose();

    private void Store(ulong iova, ulong entry)
    {
        Volatile.Write(ref *_table.Slot(iova), entry);
        Interlocked.MemoryBarrier();
    }
}

/// <summary>Four loads a look-up, random over 1 GiB.</summary>
public sealed class BareWalk : IWorkload
{
    private const ulong FirstAddress = 1UL << 32;

    private readonly BareTable _table = new(FirstAddress);
    private PageSequence _pages = new(PageSequence.Seed);
    private ulong _sum;

    /// <inheritdoc/>
    public int OperationsPerBatch => WalkTable.Operations;

    /// <inheritdoc/>
    public void Batch()
    {
        ulong sum = 0;
        for (int i = 0; i < WalkTable.Operations; i++) sum = unchecked(sum + _table.Walk(_pages.Next()));
        _sum = sum;
    }

    /// <inheritdoc/>
    public void Check()
    {
        ulong iova = _pages.Next();
        Require.That(_table.Walk(iova) == FirstAddress + iova, "a page of the gibibyte is mapped");
        Batch();
        Require.That(_sum >= FirstAddress, "the look-ups were done");
    }

    /// <inheritdoc/>
    public void Dispose() => _table.Dispose();
}
