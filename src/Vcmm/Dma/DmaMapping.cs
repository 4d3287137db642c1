using System.Numerics;
using System.Runtime.InteropServices;
using Platform;
using Vcmm.Allocation;
using Vcmm.Invalidations;
using Vcmm.Tables;

namespace Vcmm.Dma;

/// <summary>
/// Buffers for a device, without a VCM and without choosing addresses. What kernels call <c>dma_map_single</c>,
/// <c>dma_map_sg</c> and <c>dma_alloc_coherent</c>.
/// </summary>
/// <typeparam name="TMemory">The memory that the buffers are in.</typeparam>
/// <remarks>
/// <para><b>Pages.</b> A buffer need not start or end on a page: the pages that hold it are mapped, and with them the device
/// reaches what else is in these.</para>
/// <para><b>Access.</b> A direction grants what it needs. Where the format cannot express so little (a write without a read), it
/// is the least that it can.</para>
/// <para><b>Errors.</b> A refused call changes nothing. An unmap must name a mapping as it was made.</para>
/// <para><b>Threads.</b> Any number at once. The lock of the list of mappings is held for a look-up, and no other is taken under it.</para>
/// </remarks>
public sealed partial class DmaMapping<TMemory>
    where TMemory : struct, IPhysicalMemory
{
    private const ulong PageBytes = VcmManager.PageBytes;
    private const ulong PageMask = PageBytes - 1;

    [LockRank(LockRank.DmaMappings)]
    private readonly object _gate = new();
    private readonly Dictionary<ulong, Live> _live = [];
    private readonly Stack<List<PhysRange>> _idleSegments = new();
    private readonly Stack<DeferredUnmap> _idleUnmaps = new();
    private readonly IommuDomain _domain;
    private readonly IRangeAllocator _addresses;
    private readonly TMemory _memory;
    private readonly IFrameSource _frames;
    private readonly DmaMappingOptions _options;
    private readonly MappingAttributes[] _attributes;

    /// <summary>Buffers in a domain.</summary>
    /// <param name="domain">Where they are mapped; the caller attaches devices.</param>
    /// <param name="addresses">Hands out the addresses, whole 4 KiB pages; nobody else maps at what it hands out.</param>
    /// <param name="memory">What the buffers are in.</param>
    /// <param name="frames">Where coherent memory comes from.</param>
    /// <param name="options">How it works.</param>
    public DmaMapping(IommuDomain domain, IRangeAllocator addresses, TMemory memory, IFrameSource frames, DmaMappingOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(domain);
        ArgumentNullException.ThrowIfNull(addresses);
        ArgumentNullException.ThrowIfNull(frames);
        _domain = domain;
        _addresses = addresses;
        _memory = memory;
        _frames = frames;
        _options = options ?? new();
        _attributes = [LeastOf(Access.Read), LeastOf(Access.Write), LeastOf(Access.ReadWrite)];
    }

    /// <summary>How many mappings there are, coherent memory included, those in quarantine not.</summary>
    public int Count
    {
        get
        {
            lock (_gate) return _live.Count;
        }
    }

    /// <summary>Maps a buffer.</summary>
    /// <param name="first">Any.</param>
    /// <param name="byteCount">Not 0.</param>
    /// <param name="direction">What the device will do with it.</param>
    /// <param name="address">What to give the device: the address of the buffer's first byte.</param>
    /// <returns>As <see cref="TryMapScatterGather"/>.</returns>
    public VcmmError TryMapSingle(PhysAddr first, ulong byteCount, DmaDirection direction, out Iova address)
    {
        address = default;
        if (byteCount == 0 || byteCount - 1 > ulong.MaxValue - first.Value) return VcmmError.Invalid;
        PhysRange buffer = PhysRange.FromLength(first, byteCount);
        return TryMapScatterGather(new ReadOnlySpan<PhysRange>(in buffer), direction, out address);
    }

    /// <summary>Maps a buffer.</summary>
    /// <exception cref="VcmmException">As <see cref="TryMapSingle"/>.</exception>
    public Iova MapSingle(PhysAddr first, ulong byteCount, DmaDirection direction)
    {
        VcmmException.ThrowIf(TryMapSingle(first, byteCount, direction, out Iova address), nameof(MapSingle));
        return address;
    }

    /// <summary>Maps pieces of memory as one buffer that the device sees without gaps.</summary>
    /// <param name="segments">
    /// In their order. The first may start and the last may end anywhere; where one ends and the next begins is a 4 KiB boundary.
    /// </param>
    /// <param name="direction">What the device will do with it.</param>
    /// <param name="address">What to give the device: the address of the first byte.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/>: no byte, a joint off a page boundary, memory beyond what the format can address, or no such
    /// direction; <see cref="VcmmError.NoSpace"/> if no free range is left that the device can reach; <see cref="VcmmError.NoMemory"/>
    /// if there is no frame for a table page; <see cref="VcmmError.HardwareFailure"/>.
    /// </returns>
    public VcmmError TryMapScatterGather(ReadOnlySpan<PhysRange> segments, DmaDirection direction, out Iova address)
    {
        address = default;
        if (direction > DmaDirection.Bidirectional || segments.IsEmpty) return VcmmError.Invalid;
        ulong offset = segments[0].First.Value & PageMask;
        // Survives as `segments[^1].First`: performance only, of whole pages what is rounded is the same
        if (offset == 0 && (segments[^1].Last.Value & PageMask) == PageMask) return MapPages(segments, offset, direction, default, out address);

        List<PhysRange> pages;
        // Survives as `[default]`: equivalent, it gets another count and all of its content below
        lock (_gate) pages = _idleSegments.Count != 0 ? _idleSegments.Pop() : [];
        CollectionsMarshal.SetCount(pages, segments.Length);
        Span<PhysRange> rounded = CollectionsMarshal.AsSpan(pages);
        segments.CopyTo(rounded);
        rounded[0] = new(new(rounded[0].First.Value & ~PageMask), rounded[0].Last);
        rounded[^1] = new(rounded[^1].First, new(rounded[^1].Last.Value | PageMask));
        VcmmError error = MapPages(rounded, offset, direction, default, out address);
        lock (_gate) _idleSegments.Push(pages);
        return error;
    }

    /// <summary>Maps pieces of memory as one buffer that the device sees without gaps.</summary>
    /// <exception cref="VcmmException">As <see cref="TryMapScatterGather"/>.</exception>
    public Iova MapScatterGather(ReadOnlySpan<PhysRange> segments, DmaDirection direction)
    {
        VcmmException.ThrowIf(TryMapScatterGather(segments, direction, out Iova address), nameof(MapScatterGather));
        return address;
    }

    /// <summary>Ends a mapping. When this returns the device does not reach the buffer; deferred, when the queue says so.</summary>
    /// <param name="address">As it was given.</param>
    /// <param name="byteCount">Of the whole buffer.</param>
    /// <param name="whenUnreachable">
    /// Told when the buffer can be used for something else: before this returns, or, deferred, by the flush. Null: nobody.
    /// </param>
    /// <returns>
    /// <see cref="VcmmError.NotFound"/> if there is no such mapping; <see cref="VcmmError.HardwareFailure"/>: it is still mapped.
    /// </returns>
    public VcmmError TryUnmap(Iova address, ulong byteCount, IQuarantined? whenUnreachable = null) =>
        Unmap(address, byteCount, isCoherent: false, whenUnreachable);

    /// <summary>Ends a mapping.</summary>
    /// <exception cref="VcmmException">As <see cref="TryUnmap"/>.</exception>
    public void Unmap(Iova address, ulong byteCount, IQuarantined? whenUnreachable = null) =>
        VcmmException.ThrowIf(TryUnmap(address, byteCount, whenUnreachable), nameof(Unmap));

    private VcmmError MapPages(ReadOnlySpan<PhysRange> pages, ulong offset, DmaDirection direction, PhysAddr? block, out Iova address)
    {
        address = default;
        if (!TryMeasure(pages, out ulong byteCount)) return VcmmError.Invalid;
        VcmmError error = TryTakeAddresses(byteCount, out IovaRange range);
        if (error != VcmmError.None) return error;
        error = VcmmError.HardwareFailure;
        try
        {
            if (!_options.IsCoherent) CleanAll(pages);
            error = _domain.TryMap(range.First, pages, _attributes[(int)direction]);
            if (error == VcmmError.NoMemory && TryFlushDeferred()) error = _domain.TryMap(range.First, pages, _attributes[(int)direction]);
        }
        finally
        {
            // Also where a port throws.
            if (error != VcmmError.None) GiveBack(range);
        }

        if (error != VcmmError.None) return error;
        lock (_gate) _live.Add(range.First.Value, new(range, block));
        address = range.First + offset;
        return VcmmError.None;
    }

    private VcmmError Unmap(Iova address, ulong byteCount, bool isCoherent, IQuarantined? whenUnreachable)
    {
        // Whoever takes it off the list ends it: of two who end the same one finds nothing.
        if (!TryTakeLive(address, byteCount, isCoherent, out Live live)) return VcmmError.NotFound;
        VcmmError error = VcmmError.HardwareFailure;
        try
        {
            error = _options.Deferred is { } queue ? Defer(live, queue, whenUnreachable) : _domain.TryUnmap(live.Range);
        }
        finally
        {
            // Also where a port throws.
            if (error != VcmmError.None)
            {
                lock (_gate) _live.Add(live.Range.First.Value, live);
            }
        }

        if (error == VcmmError.None && _options.Deferred is null) End(live, whenUnreachable);
        return error;
    }

    private VcmmError Defer(Live live, FlushQueue queue, IQuarantined? whenUnreachable)
    {
        DeferredUnmap unmap;
        lock (_gate) unmap = _idleUnmaps.Count != 0 ? _idleUnmaps.Pop() : new(this, _domain.CreateGather());
        unmap.Begin(live, whenUnreachable);
        VcmmError error = _domain.TryUnmap(live.Range, unmap.Gather);
        if (error == VcmmError.None) error = _domain.TryDefer(unmap.Gather, queue, unmap);
        if (error != VcmmError.None)
        {
            lock (_gate) _idleUnmaps.Push(unmap);
        }

        return error;
    }

    private void End(Live live, IQuarantined? whenUnreachable)
    {
        GiveBack(live.Range);
        if (live.Block is { } block) _frames.Free(block);
        whenUnreachable?.Release();
    }

    private bool TryTakeLive(Iova address, ulong byteCount, bool isCoherent, out Live live)
    {
        live = default;
        ulong offset = address.Value & PageMask;
        // Survives as `byteCount >= ulong.MaxValue - PageMask - offset`: equivalent, no memory is so long, so no mapping of that length is found below
        if (byteCount == 0 || byteCount > ulong.MaxValue - PageMask - offset) return false;
        ulong pagesBytes = (offset + byteCount + PageMask) & ~PageMask;
        lock (_gate)
        {
            if (!_live.TryGetValue(address.Value - offset, out live)) return false;
            if (live.Range.ByteCount != pagesBytes || live.Block.HasValue != isCoherent) return false;
            _live.Remove(address.Value - offset);
            return true;
        }
    }

    /// <summary>Before the device can look.</summary>
    private void CleanAll(ReadOnlySpan<PhysRange> pages)
    {
        foreach (PhysRange segment in pages) _memory.Clean(segment);
        _memory.Fence();
    }

    private static bool TryMeasure(ReadOnlySpan<PhysRange> pages, out ulong byteCount)
    {
        byteCount = 0;
        foreach (PhysRange segment in pages)
        {
            if ((segment.First.Value & PageMask) != 0 || (segment.Last.Value & PageMask) != PageMask) return false;
            ulong span = segment.Last.Value - segment.First.Value;
            if (span >= ulong.MaxValue - byteCount) return false;
            byteCount += span + 1;
        }

        return true;
    }

    private MappingAttributes LeastOf(Access access)
    {
        foreach (Access wider in (ReadOnlySpan<Access>)[access, Access.ReadWrite, Access.ReadWriteExecute])
        {
            if (_domain.CanExpress(wider)) return wider;
        }

        return access;
    }

    /// <param name="Range">The pages.</param>
    /// <param name="Block">The frames that go with it: coherent memory.</param>
    private readonly record struct Live(IovaRange Range, PhysAddr? Block);

    private sealed class DeferredUnmap(DmaMapping<TMemory> owner, UnmapGather gather) : IQuarantined
    {
        private Live _live;
        private IQuarantined? _whenUnreachable;

        public UnmapGather Gather => gather;

        public void Begin(Live live, IQuarantined? whenUnreachable)
        {
            _live = live;
            _whenUnreachable = whenUnreachable;
        }

        public void Release()
        {
            Live live = _live;
            IQuarantined? whenUnreachable = _whenUnreachable;
            _whenUnreachable = null;
            lock (owner._gate) owner._idleUnmaps.Push(this);
            owner.End(live, whenUnreachable);
        }
    }
}
