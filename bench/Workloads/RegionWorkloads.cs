using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;
using Workloads.Fixtures;

namespace Workloads;

/// <summary>What every workload on a reservation of 64 KiB has: memory of its own, and a region with two active associations.</summary>
public abstract class RegionWorkload : IWorkload
{
    /// <summary>What is reserved and backed.</summary>
    protected const ulong ByteCount = 64UL << 10;

    private readonly VcmSystem? _own;

    // Both ways in are internal: a workload has its system to itself, or shares one that a workload of two threads made.
    private protected RegionWorkload(VcmSystem system, Vcm vcm, int operations, bool owns)
    {
        _own = owns ? system : null;
        Vcm = vcm;
        OperationsPerBatch = operations;
        Memory = system.Manager.Allocate(ByteCount, ChunkSizes.Size64K);
    }

    /// <inheritdoc/>
    public int OperationsPerBatch { get; }

    /// <summary>The region.</summary>
    protected Vcm Vcm { get; }

    /// <summary>64 KiB in one piece.</summary>
    protected PhysicalAllocation Memory { get; }

    /// <inheritdoc/>
    public abstract void Batch();

    /// <inheritdoc/>
    public abstract void Check();

    /// <inheritdoc/>
    public void Dispose() => _own?.Dispose();

    /// <summary>Holds every page of the range to the memory, or to being unmapped.</summary>
    protected void CheckMapped(IovaRange range, bool mapped)
    {
        for (ulong offset = 0; offset < ByteCount; offset += VcmManager.PageBytes)
        {
            VcmmError error = Vcm.TryTranslate(range.First + offset, out Translation translation);
            if (mapped) Require.That(error == VcmmError.None && translation.Address == Memory.Segments[0].First + offset, "what was backed is found");
            else Require.That(error == VcmmError.Fault, "what was unbacked is not mapped");
        }
    }
}

/// <summary>Backs a reservation of 64 KiB and unbacks it.</summary>
public sealed class BackUnback : RegionWorkload
{
    /// <summary>Pairs in a batch.</summary>
    public const int Operations = 1024;

    private readonly Reservation _reservation;

    /// <summary>A region to itself.</summary>
    public BackUnback(int operations = Operations)
        : this(new VcmSystem(), operations)
    {
    }

    internal BackUnback(VcmSystem system, Vcm vcm, int operations, bool owns)
        : base(system, vcm, operations, owns)
    {
        _reservation = vcm.Reserve(ByteCount, Access.ReadWrite, ByteCount);
    }

    private BackUnback(VcmSystem system, int operations)
        : this(system, system.CreateRegion(), operations, owns: true)
    {
    }

    /// <inheritdoc/>
    public override void Batch()
    {
        VcmmError refused = VcmmError.None;
        for (int i = 0; i < OperationsPerBatch; i++)
        {
            refused |= _reservation.TryBack(Memory);
            refused |= _reservation.TryUnback();
        }

        Require.That(refused == VcmmError.None, "nothing is refused");
    }

    /// <inheritdoc/>
    public override void Check()
    {
        IovaRange range = _reservation.Range;
        CheckMapped(range, mapped: false);
        _reservation.Back(Memory);
        CheckMapped(range, mapped: true);
        _reservation.Unback();
        CheckMapped(range, mapped: false);
    }
}

/// <summary>Reserves 64 KiB, backs, unbacks and unreserves them.</summary>
public sealed class FourCalls : RegionWorkload
{
    /// <summary>Cycles in a batch.</summary>
    public const int Operations = 1024;

    /// <summary>A region to itself.</summary>
    public FourCalls(int operations = Operations)
        : this(new VcmSystem(), operations)
    {
    }

    internal FourCalls(VcmSystem system, Vcm vcm, int operations, bool owns)
        : base(system, vcm, operations, owns)
    {
    }

    private FourCalls(VcmSystem system, int operations)
        : this(system, system.CreateRegion(), operations, owns: true)
    {
    }

    /// <inheritdoc/>
    public override void Batch()
    {
        VcmmError refused = VcmmError.None;
        for (int i = 0; i < OperationsPerBatch; i++)
        {
            refused |= Vcm.TryReserve(ByteCount, Access.ReadWrite, ByteCount, out Reservation reservation);
            refused |= reservation.TryBack(Memory);
            refused |= reservation.TryUnback();
            refused |= reservation.TryUnreserve();
        }

        Require.That(refused == VcmmError.None, "nothing is refused");
    }

    /// <inheritdoc/>
    public override void Check()
    {
        Reservation reservation = Vcm.Reserve(ByteCount, Access.ReadWrite, ByteCount);
        IovaRange range = reservation.Range;
        Require.That(Vcm.Range.Contains(range) && range.ByteCount == ByteCount && range.First.IsAligned(ByteCount), "the reservation is what was asked for");
        reservation.Back(Memory);
        CheckMapped(range, mapped: true);
        reservation.Unback();
        CheckMapped(range, mapped: false);
        reservation.Unreserve();
        Require.That(!reservation.IsAlive && !Vcm.TryFindReservation(range.First, out _), "the reservation has ended");
    }
}

/// <summary>What <see cref="FourCalls"/> does to the table, and nothing else: 64 KiB mapped and unmapped by the engine.</summary>
public sealed class EngineRange : IWorkload
{
    private const ulong ByteCount = 64UL << 10;

    private readonly EngineTable _engine = new();
    private readonly PhysRange[] _memory = [PhysRange.FromLength(EngineTable.FirstAddress, ByteCount)];

    /// <summary>Makes the tables: a page next to the range stays mapped.</summary>
    public EngineRange()
    {
        _engine.FillPool();
        _engine.Table.Map(new(511 * VcmManager.PageBytes), [PhysRange.FromLength(EngineTable.FirstAddress, VcmManager.PageBytes)], Access.Read, _engine.Pages);
        _engine.FillPool();
    }

    /// <inheritdoc/>
    public int OperationsPerBatch => FourCalls.Operations;

    /// <inheritdoc/>
    public void Batch()
    {
        for (int i = 0; i < FourCalls.Operations; i++)
        {
            _engine.Table.Map(new(0), _memory, Access.ReadWrite, _engine.Pages);
            _engine.Table.Unmap(IovaRange.FromLength(new(0), ByteCount), _engine.Gather);
            _engine.Gather.Clear();
        }
    }

    /// <inheritdoc/>
    public void Check()
    {
        _engine.Table.Map(new(0), _memory, Access.ReadWrite, _engine.Pages);
        Require.That(_engine.Walk(0xFFFF) == EngineTable.FirstAddress + 0xFFFF, "what was mapped is found");
        _engine.Table.Unmap(IovaRange.FromLength(new(0), ByteCount), _engine.Gather);
        Require.That(_engine.Walk(0) is null && !_engine.Gather.HasTables, "what was unmapped is not, and the table stays");
        _engine.Gather.Clear();
    }

    /// <inheritdoc/>
    public void Dispose() => _engine.Dispose();
}

/// <summary>Looks addresses of a region up, random over 1 GiB of 4 KiB pages.</summary>
public sealed class Translate : IWorkload
{
    /// <summary>Look-ups in a batch.</summary>
    public const int Operations = WalkTable.Operations;

    private const ulong ByteCount = 1UL << 30;

    private readonly VcmSystem _system = new();
    private readonly Vcm _vcm;
    private readonly Iova _first;
    private readonly PhysicalAllocation _memory;
    private PageSequence _pages = new(PageSequence.Seed);
    private ulong _sum;

    /// <summary>Backs a gibibyte in chunks of 2 MiB, which an IOMMU that knows only 4 KiB sees as pages of that size.</summary>
    public Translate()
    {
        _vcm = _system.CreateRegion();
        _memory = _system.Manager.Allocate(ByteCount, ChunkSizes.Size2M, scattered: true);
        Reservation reservation = _vcm.Reserve(ByteCount, Access.ReadWrite, ByteCount);
        _first = reservation.Range.First;
        reservation.Back(_memory);
    }

    /// <inheritdoc/>
    public int OperationsPerBatch => Operations;

    /// <inheritdoc/>
    public void Batch()
    {
        ulong sum = 0;
        VcmmError refused = VcmmError.None;
        for (int i = 0; i < Operations; i++)
        {
            refused |= _vcm.TryTranslate(new(_first.Value + _pages.Next()), out Translation translation);
            sum = unchecked(sum + translation.Address.Value);
        }

        _sum = sum;
        Require.That(refused == VcmmError.None, "every page is mapped");
    }

    /// <inheritdoc/>
    public void Check()
    {
        PageSequence same = _pages;
        Batch();
        ulong sum = 0;
        for (int i = 0; i < Operations; i++)
        {
            ulong offset = same.Next();
            ulong expected = _memory.Segments[(int)(offset >> 21)].First.Value + (offset & (1 << 21) - 1);
            sum = unchecked(sum + expected);
        }

        Require.That(_sum == sum, "every look-up of a batch gives what was backed");
        Require.That(_vcm.TryTranslate(_first, out Translation page) == VcmmError.None && page.LeafBytes == VcmManager.PageBytes, "the pages are of 4 KiB");
        Require.That(_vcm.TryTranslate(new(_first.Value + ByteCount), out _) == VcmmError.Fault, "beyond the gibibyte nothing is mapped");
    }

    /// <inheritdoc/>
    public void Dispose() => _system.Dispose();
}
