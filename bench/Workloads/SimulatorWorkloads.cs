using IommuSim;
using Platform;
using Workloads.Fixtures;

namespace Workloads;

/// <summary>Translates accesses of one device to pages in no simple order.</summary>
public sealed class Translations : IWorkload
{
    /// <summary>Accesses in a batch.</summary>
    public const int Operations = 4096;

    private readonly SimulatedUnit _unit;
    private readonly bool _owns;
    private readonly StreamId _device;
    private readonly int _firstPage;
    private readonly int _pageMask;
    private readonly int _operations;

    /// <summary>On a unit of its own.</summary>
    /// <param name="options">Its caches.</param>
    /// <param name="pages">How many pages are used: a power of two to 512.</param>
    /// <param name="operations">A batch.</param>
    public Translations(VtdOptions options, int pages, int operations = Operations)
        : this(new(options), 0, pages, operations, owns: true)
    {
    }

    private Translations(SimulatedUnit unit, int device, int pages, int operations, bool owns)
    {
        _unit = unit;
        _owns = owns;
        _device = SimulatedUnit.Device(device);
        _firstPage = device * pages;
        _pageMask = pages - 1;
        _operations = operations;
    }

    /// <inheritdoc/>
    public int OperationsPerBatch => _operations;

    /// <summary>Everything that is used fits into the IOTLB.</summary>
    public static Translations Hits() => new(VtdOptions.Default, 64);

    /// <summary>No IOTLB; the paging-structure caches know the last table.</summary>
    public static Translations WarmWalks() => new(VtdOptions.Default with { IotlbSets = 0 }, SimulatedUnit.PageCount);

    /// <summary>The same with an IOTLB of one line, which each translation replaces.</summary>
    public static Translations Fills() => new(VtdOptions.Default with { IotlbSets = 1, IotlbWays = 1 }, SimulatedUnit.PageCount);

    /// <summary>No IOTLB and no paging-structure cache: four reads.</summary>
    public static Translations Walks() => new(VtdOptions.Default with { IotlbSets = 0, WalkCacheEntriesPerLevel = 0 }, SimulatedUnit.PageCount);

    /// <summary>What <see cref="OnTwoThreads"/> is compared with.</summary>
    public static Translations OfOneDevice() => new(VtdOptions.Default, 64, TwoThreads.BareOperationsOfEach);

    /// <summary>Two devices behind one unit, each on a thread of its own, each with pages of its own in the IOTLB.</summary>
    public static TwoThreads OnTwoThreads()
    {
        var unit = new SimulatedUnit(VtdOptions.Default);
        return new(
            new Translations(unit, 0, 64, TwoThreads.BareOperationsOfEach, owns: false), new Translations(unit, 1, 64, TwoThreads.BareOperationsOfEach, owns: false), unit);
    }

    /// <inheritdoc/>
    public void Batch()
    {
        for (int i = 0; i < _operations; i++) Require.That(_unit.Iommu.Translate(_device, SimulatedUnit.PageAt(PageOf(i)), AccessOf(i)).Ok, "the access goes on");
    }

    /// <inheritdoc/>
    public void Check()
    {
        for (int i = 0; i < _operations; i++)
        {
            TranslationResult result = _unit.Iommu.Translate(_device, SimulatedUnit.PageAt(PageOf(i)) + 8, AccessOf(i));
            Require.That(result.Ok && result.Address == SimulatedUnit.FrameAt(PageOf(i)) + 8, "each page has its frame");
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_owns) _unit.Dispose();
    }

    private static DeviceAccess AccessOf(int i) => (i & 1) == 0 ? DeviceAccess.Read : DeviceAccess.Write;

    // An odd factor: every page once before the first again.
    private int PageOf(int i) => _firstPage + (i * 37 & _pageMask);
}

/// <summary>A device reads 4 KiB: one page, whose translation is in the IOTLB.</summary>
public sealed class PageDma : IWorkload
{
    /// <summary>Transfers in a batch.</summary>
    public const int Operations = 1024;

    private const int Pages = 64;

    private readonly SimulatedUnit _unit = new(VtdOptions.Default);
    private readonly BusMaster<Ram, NoSteps> _device;
    private readonly byte[] _buffer = new byte[SimulatedUnit.PageBytes];
    private readonly bool _isBare;

    /// <summary>The device's transfer.</summary>
    /// <param name="isBare">Or the least that it could be: the translation, and a copy out of memory.</param>
    public PageDma(bool isBare = false)
    {
        _isBare = isBare;
        _device = new(_unit.Iommu, _unit.Memory, SimulatedUnit.Device(0));
        for (int page = 0; page < Pages; page++) _unit.Memory.Write64(SimulatedUnit.FrameAt(page), (ulong)page);
    }

    /// <inheritdoc/>
    public int OperationsPerBatch => Operations;

    /// <inheritdoc/>
    public void Batch()
    {
        for (int i = 0; i < Operations; i++) Transfer(i % Pages);
    }

    /// <inheritdoc/>
    public void Check()
    {
        for (int page = 0; page < Pages; page++)
        {
            Transfer(page);
            Require.That(BitConverter.ToUInt64(_buffer) == (ulong)page, "the page was read");
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _unit.Dispose();

    private void Transfer(int page)
    {
        if (_isBare)
        {
            TranslationResult result = _unit.Iommu.Translate(SimulatedUnit.Device(0), SimulatedUnit.PageAt(page), DeviceAccess.Read);
            Require.That(_unit.Memory.TryGetWords(result.Address, SimulatedUnit.PageBytes / sizeof(ulong), out Span<ulong> words), "the words are there");
            System.Runtime.InteropServices.MemoryMarshal.AsBytes(words).CopyTo(_buffer);
        }
        else
        {
            Require.That(_device.Read(SimulatedUnit.PageAt(page), _buffer).Ok, "the transfer is done");
        }
    }
}

/// <summary>A hundred page-selective invalidations in the queue and a wait; software writes them all, and the tail once.</summary>
public sealed class Syncs : IWorkload
{
    /// <summary>Syncs in a batch.</summary>
    public const int Operations = 64;

    private const int Invalidations = 100;

    private readonly SimulatedUnit _unit = new(VtdOptions.Default);

    /// <summary>Fills the IOTLB.</summary>
    public Syncs() => Touch();

    /// <inheritdoc/>
    public int OperationsPerBatch => Operations;

    /// <inheritdoc/>
    public void Batch()
    {
        for (int i = 0; i < Operations; i++) _unit.InvalidateAndSync(0, Invalidations);
    }

    /// <inheritdoc/>
    public void Check()
    {
        Touch();
        int before = _unit.Iommu.Iotlb.Count;
        _unit.InvalidateAndSync(0, Invalidations);
        Require.That(_unit.Iommu.Iotlb.Count == before - Invalidations, "what was named is gone, and nothing else");
        Touch();
    }

    /// <inheritdoc/>
    public void Dispose() => _unit.Dispose();

    private void Touch()
    {
        for (int page = 0; page < 128; page++) Require.That(_unit.Iommu.Translate(SimulatedUnit.Device(0), SimulatedUnit.PageAt(page), DeviceAccess.Read).Ok, "the access goes on");
    }
}
