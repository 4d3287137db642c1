using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Dma;
using Vcmm.Tables;
using Workloads.Fixtures;

namespace Workloads;

/// <summary>
/// Maps and unmaps one 4 KiB page through an <see cref="IommuDomain"/> that a device is attached to: the pages of
/// <see cref="SinglePage"/>, whose tables are there, an invalidation that costs nothing.
/// </summary>
public sealed class DomainPage : IWorkload
{
    private readonly RamBlock _ram = new(PhysRange.FromLength(new(1UL << 20), 4UL << 20));
    private readonly IommuDomain _domain;
    private readonly PhysRange _frame = PhysRange.FromLength(EngineTable.FirstAddress, VcmManager.PageBytes);

    /// <summary>Makes the tables: a page next to those in use stays mapped.</summary>
    public DomainPage()
    {
        _domain = IommuDomain.Create(new NoCostIommu(_ram.Port), new FrameAllocator(_ram.Range));
        _domain.Attach(new(1));
        _domain.Map(new(511 * VcmManager.PageBytes), _frame, Access.Read);
    }

    /// <inheritdoc/>
    public int OperationsPerBatch => SinglePage.Operations;

    /// <inheritdoc/>
    public void Batch()
    {
        VcmmError refused = VcmmError.None;
        for (int i = 0; i < SinglePage.Operations; i++)
        {
            var page = IovaRange.FromLength(new(SinglePage.IovaOf(i)), VcmManager.PageBytes);
            refused |= _domain.TryMap(page.First, _frame, Access.ReadWrite);
            refused |= _domain.TryUnmap(page);
        }

        Require.That(refused == VcmmError.None, "nothing is refused");
    }

    /// <inheritdoc/>
    public void Check()
    {
        for (int i = 0; i < 256; i++)
        {
            var page = IovaRange.FromLength(new(SinglePage.IovaOf(i)), VcmManager.PageBytes);
            _domain.Map(page.First, _frame, Access.ReadWrite);
            Require.That(_domain.Translate(page.Last).Address == _frame.Last, "what was mapped is found");
            Require.That(_domain.TryMap(page.First, _frame, Access.ReadWrite) == VcmmError.Busy, "what is mapped is not mapped again");
            _domain.Unmap(page);
            Require.That(_domain.TryTranslate(page.First, out Translation _) == VcmmError.Fault, "what was unmapped is not");
            Require.That(_domain.TryUnmap(page) == VcmmError.NotFound, "and cannot be unmapped again");
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _ram.Dispose();
}
