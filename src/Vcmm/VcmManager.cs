using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm;

/// <summary>The parts of a manager that can be replaced.</summary>
public sealed record VcmManagerOptions
{
    /// <summary>What hands out the addresses of a VCM; default <see cref="CachedRangeAllocator"/> before <see cref="Allocation.RangeAllocator"/>.</summary>
    public Func<IovaRange, IRangeAllocator> RangeAllocator { get; init; } = static space => new CachedRangeAllocator(new RangeAllocator(space));

    /// <summary>How many threads can reserve in one region without waiting for each other: 1 … 64.</summary>
    public int StripeCount { get; init; } = 16;

    /// <summary>A number for the thread that calls, by which it gets its stripe; null: threads are numbered as they come.</summary>
    public Func<int>? Thread { get; init; }

    /// <summary>The physical memory, for <see cref="VcmManager.TryCopy"/>; null: nothing can be copied.</summary>
    public IPhysicalMemory? Memory { get; init; }
}

/// <summary>The system-wide view of device mappings: devices, physical memory, and the virtual regions that join them.</summary>
/// <remarks>
/// <para><b>Locks.</b> Their order, and what is allowed beyond it, is stated at <see cref="LockRank"/> and checked by a test.</para>
/// <para><b>Threads.</b> Any number at once.</para>
/// </remarks>
public sealed partial class VcmManager
{
    /// <summary>The smallest page that anything is made of.</summary>
    public const ulong PageBytes = 4096;

    [LockRank(LockRank.Devices)]
    private readonly object _gate = new();
    private readonly Dictionary<(IIommu Iommu, StreamId Id), Device> _devices = [];
    private long _lastOrder;

    /// <summary>A manager that takes physical memory, for chunks and for page tables, from <paramref name="frames"/>.</summary>
    public VcmManager(IFrameSource frames, VcmManagerOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(frames);
        Frames = frames;
        Options = options ?? new();
        ArgumentOutOfRangeException.ThrowIfLessThan(Options.StripeCount, 1, nameof(options));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Options.StripeCount, 64, nameof(options));
    }

    /// <summary>Where physical memory comes from.</summary>
    public IFrameSource Frames { get; }

    internal VcmManagerOptions Options { get; }

    /// <summary>The root pages of the tables of deferred regions.</summary>
    internal ConcurrentDictionary<PhysAddr, Vcm> DeferredRoots { get; } = new();

    /// <summary>Makes a device known.</summary>
    /// <param name="iommu">The IOMMU that translates its accesses.</param>
    /// <param name="id">The identity under which its accesses reach the IOMMU.</param>
    /// <param name="device">The device.</param>
    /// <returns><see cref="VcmmError.NoDevice"/> if the IOMMU cannot tell such a device apart, <see cref="VcmmError.Busy"/> if it is known already.</returns>
    public VcmmError TryAddDevice(IIommu iommu, StreamId id, out Device? device)
    {
        ArgumentNullException.ThrowIfNull(iommu);
        device = null;
        if (!iommu.CanIdentify(id)) return VcmmError.NoDevice;
        lock (_gate)
        {
            var added = new Device(this, iommu, id);
            if (!_devices.TryAdd((iommu, id), added)) return VcmmError.Busy;
            device = added;
            return VcmmError.None;
        }
    }

    /// <summary>Makes a device known.</summary>
    /// <exception cref="VcmmException">As <see cref="TryAddDevice"/>.</exception>
    public Device AddDevice(IIommu iommu, StreamId id)
    {
        VcmmException.ThrowIf(TryAddDevice(iommu, id, out Device? device), nameof(AddDevice));
        return device!;
    }

    /// <summary>Makes a virtual region.</summary>
    /// <param name="range">Starts and ends on 4 KiB boundaries.</param>
    /// <param name="options">Of which kind.</param>
    /// <param name="vcm">The region, without reservations and associations.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> if the range is not made of whole pages, or the kind is <see cref="VcmKind.Prebuilt"/>:
    /// that takes <see cref="TryAdoptVcm"/>.
    /// </returns>
    public VcmmError TryCreateVcm(IovaRange range, VcmOptions options, out Vcm? vcm)
    {
        ArgumentNullException.ThrowIfNull(options);
        vcm = null;
        if (!IsWholePages(range) || options.Kind is not (VcmKind.Device or VcmKind.OneToOne)) return VcmmError.Invalid;
        vcm = new(this, range, options);
        return VcmmError.None;
    }

    /// <summary>Makes a virtual region of device addresses of its own.</summary>
    /// <returns>As with options.</returns>
    public VcmmError TryCreateVcm(IovaRange range, out Vcm? vcm) => TryCreateVcm(range, VcmOptions.Default, out vcm);

    /// <summary>Makes a virtual region.</summary>
    /// <exception cref="VcmmException">As <see cref="TryCreateVcm(IovaRange, VcmOptions, out Vcm?)"/>.</exception>
    public Vcm CreateVcm(IovaRange range, VcmOptions? options = null)
    {
        VcmmException.ThrowIf(TryCreateVcm(range, options ?? VcmOptions.Default, out Vcm? vcm), nameof(CreateVcm));
        return vcm!;
    }

    /// <summary>
    /// Makes a region of a table that somebody else built, changes and frees, such as a CPU's of a process. Its owner calls
    /// <see cref="Vcm.TryInvalidate"/> after each change that takes something away; where an IOMMU of the region caches absent entries
    /// (<see cref="IIommu.CachesAbsent"/>), after every change.
    /// </summary>
    /// <param name="range">What of the table's addresses is the region. Starts and ends on 4 KiB boundaries.</param>
    /// <param name="format">The table's.</param>
    /// <param name="root">Its root page. It lives longer than every association of the region.</param>
    /// <param name="vcm">The region.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> if the range is not made of whole pages, the root is not a whole page, or the table is one of a region
    /// of this manager that has a <see cref="VcmOptions.FlushQueue"/>: the queue may be flushed in the midst of any call, after which memory is
    /// others', and before that nobody could call <see cref="Vcm.TryInvalidate"/>.
    /// </returns>
    public VcmmError TryAdoptVcm(IovaRange range, TableFormat format, PhysAddr root, out Vcm? vcm)
    {
        vcm = null;
        if (!IsWholePages(range) || !root.IsAligned(PageBytes) || DeferredRoots.ContainsKey(root)) return VcmmError.Invalid;
        vcm = new(this, range, format, root);
        return VcmmError.None;
    }

    /// <summary>Makes a region of a table that somebody else built, changes and frees.</summary>
    /// <exception cref="VcmmException">As <see cref="TryAdoptVcm"/>.</exception>
    public Vcm AdoptVcm(IovaRange range, TableFormat format, PhysAddr root)
    {
        VcmmException.ThrowIf(TryAdoptVcm(range, format, root, out Vcm? vcm), nameof(AdoptVcm));
        return vcm!;
    }

    /// <summary>Takes every fault that the IOMMUs have, and gives each to its device's hook.</summary>
    /// <returns>How many there were, those without a hook among them.</returns>
    /// <remarks>
    /// Call it when an IOMMU interrupts, or now and then. An access that waits is ended by its hook's answer; without a hook it is
    /// refused. What comes in answer to the answers, such as the same page once more, is for the next call. What a hook
    /// or an IOMMU throws comes out when all have had their turn, the first of it; a hook's own access is refused. <b>Threads.</b> Any number at
    /// once; no lock is held while a hook runs.
    /// </remarks>
    public int DispatchFaults()
    {
        IIommu[] iommus;
        lock (_gate) iommus = [.. _devices.Keys.Select(static key => key.Iommu).Distinct()];
        var faults = new List<(IIommu Iommu, DeviceFault Fault)>();
        ExceptionDispatchInfo? thrown = null;
        foreach (IIommu iommu in iommus)
        {
            try
            {
                while (iommu.TryTakeFault(out DeviceFault fault)) faults.Add((iommu, fault));
            }
            catch (Exception exception)
            {
                // What was taken before is answered all the same: nobody gives it again.
                thrown ??= ExceptionDispatchInfo.Capture(exception);
            }
        }

        foreach ((IIommu iommu, DeviceFault fault) in faults)
        {
            try
            {
                Answer(iommu, fault);
            }
            catch (Exception exception)
            {
                thrown ??= ExceptionDispatchInfo.Capture(exception);
            }
        }

        thrown?.Throw();
        return faults.Count;
    }

    internal long NextOrder() => Interlocked.Increment(ref _lastOrder);

    private void Answer(IIommu iommu, in DeviceFault fault)
    {
        Device? device;
        lock (_gate) _devices.TryGetValue((iommu, fault.Device), out device);
        var answer = FaultAnswer.Refuse;
        try
        {
            answer = device?.FaultHook?.Invoke(fault) ?? FaultAnswer.Refuse;
        }
        finally
        {
            // What could not be sent the IOMMU sends before it gives the next fault.
            if (fault.IsStalled) iommu.EndFault(fault, retry: answer == FaultAnswer.Retry);
        }
    }

    internal static bool IsWholePages(IovaRange range) =>
        range.First.IsAligned(PageBytes) && (range.Last.Value & (PageBytes - 1)) == PageBytes - 1;
}
