using Platform;
using Vcmm.Allocation;
using Vcmm.Invalidations;
using Vcmm.Tables;

namespace Vcmm.Cpu;

/// <summary>
/// The CPU as one more user of a virtual region: an address space of the CPU is associated with a VCM as a device is, and only
/// then has CPU mappings. The stream id names the address space.
/// </summary>
/// <typeparam name="TFormat">The encoding that the cores walk.</typeparam>
/// <typeparam name="TMemory">The memory that holds the tables.</typeparam>
/// <remarks>
/// <para><b>Cost.</b> Changing CPU mappings interrupts every core. One <see cref="Invalidate"/> is one shootdown, however many
/// commands it has; ranges that touch are one, and past <see cref="FullFlushPageCount"/> pages an address space is forgotten as
/// a whole. What becomes present costs none. <see cref="Counters"/> says what was spent; a region without a CPU spends nothing.</para>
/// <para><b>Threads.</b> As <see cref="IIommu"/>.</para>
/// </remarks>
public sealed class CpuMmu<TFormat, TMemory> : IIommu
    where TFormat : struct, IPageTableFormat
    where TMemory : struct, IPhysicalMemory
{
    /// <summary>More pages of one address space than this are not forgotten one by one.</summary>
    public const ulong FullFlushPageCount = 32;

    private const uint LastUntaggedDomain = 0xFFFF;

    [LockRank(LockRank.Domains)]
    private readonly object _gate = new();
    private readonly ICpuPort _port;
    private readonly CountingMemory<TMemory> _memory;
    private readonly WriteCount _entryWrites = new();
    private readonly Stack<DomainId> _releasedDomains = new();
    private readonly Stack<CoverSet> _idleCovers = new();
    private uint _nextDomain = 1;
    private long _shootdowns;
    private long _ranges;
    private long _fullFlushes;
    private long _rootLoads;

    /// <summary>The CPUs behind <paramref name="port"/>.</summary>
    /// <param name="port">The CPUs.</param>
    /// <param name="memory">Where their tables are.</param>
    /// <exception cref="ArgumentException">They walk another encoding than <typeparamref name="TFormat"/>.</exception>
    public CpuMmu(ICpuPort port, TMemory memory)
    {
        ArgumentNullException.ThrowIfNull(port);
        if (port.Format.Encoding != TFormat.Encoding)
            throw new ArgumentException($"the CPUs walk {port.Format}, not {TFormat.Encoding}", nameof(port));
        _port = port;
        _memory = new(memory, _entryWrites);
        Formats = [port.Format];
    }

    /// <summary>What changes of CPU mappings have cost so far.</summary>
    public CpuMmuCounters Counters => new(
        Volatile.Read(ref _shootdowns), Volatile.Read(ref _ranges), Volatile.Read(ref _fullFlushes), Volatile.Read(ref _rootLoads), _entryWrites.Value);

    /// <inheritdoc/>
    public IReadOnlyList<TableFormat> Formats { get; }

    /// <inheritdoc/>
    public uint PasidCount => 0;

    /// <inheritdoc/>
    public IReadOnlyList<IovaRange> ReservedRegions => [];

    /// <summary>False: a core caches no absent entry, so that what becomes present costs no shootdown.</summary>
    /// <remarks><b>Source.</b> Intel SDM, volume 3A, "Details of TLB Use": "no TLB entry … if the P flag is 0".</remarks>
    public bool CachesAbsent => false;

    /// <inheritdoc/>
    public uint HardwareVersion => _port.HardwareVersion;

    /// <inheritdoc/>
    public bool CanIdentify(StreamId device) => device.Value < _port.AddressSpaceCount;

    /// <inheritdoc/>
    public bool CanTranslate(TableFormat format, IovaRange range)
    {
        int bits = TFormat.GranuleLog2 + TFormat.IndexBits * Formats[0].LevelCount;
        if (format != Formats[0] || bits >= 64) return format == Formats[0];
        if (!TFormat.IsSignExtended) return range.Last.Value >> bits == 0;
        // One half or the other: the bits above all equal the highest.
        return range.Last.Value >> (bits - 1) == 0 || range.First.Value >= ulong.MaxValue << (bits - 1);
    }

    /// <summary>Whether the tables are x86-64's, in which processors set both bits.</summary>
    /// <remarks><b>Source.</b> Intel SDM, volume 3A, "Accessed and Dirty Flags".</remarks>
    public bool TracksUse(TableFormat format) => format == Formats[0] && TFormat.Encoding == X86FirstStage.Encoding;

    /// <inheritdoc/>
    public VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
    {
        ArgumentNullException.ThrowIfNull(frames);
        VcmmError error = PageTable<TFormat, CountingMemory<TMemory>>.TryCreate(_memory, frames, format, out PageTable<TFormat, CountingMemory<TMemory>>? created);
        table = created;
        return error;
    }

    /// <inheritdoc/>
    public IPageTable AdoptTable(TableFormat format, PhysAddr root) => PageTable<TFormat, CountingMemory<TMemory>>.Adopt(_memory, format, root);

    /// <inheritdoc/>
    public VcmmError TryCreateDomain(out DomainId domain)
    {
        uint last = _port.TagCount == 0 ? LastUntaggedDomain : _port.TagCount - 1;
        lock (_gate)
        {
            if (_releasedDomains.TryPop(out domain)) return VcmmError.None;
            // Tag 0 is the one of whoever uses no tags.
            if (_nextDomain > last) return VcmmError.NoSpace;
            domain = new(_nextDomain++);
            return VcmmError.None;
        }
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">It is not taken.</exception>
    public void ReleaseDomain(DomainId domain)
    {
        lock (_gate)
        {
            if (domain.Value == 0 || domain.Value >= _nextDomain || _releasedDomains.Contains(domain))
                throw new ArgumentException($"{domain} is not taken", nameof(domain));
            _releasedDomains.Push(domain);
        }
    }

    /// <inheritdoc/>
    /// <returns>
    /// Also <see cref="VcmmError.NoDevice"/> if there is no such address space, and <see cref="VcmmError.Invalid"/> with a PASID or with a
    /// table that the cores do not walk.
    /// </returns>
    public VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table)
    {
        ArgumentNullException.ThrowIfNull(table);
        if (!CanIdentify(device)) return VcmmError.NoDevice;
        if (pasid is not null || table.Format != Formats[0]) return VcmmError.Invalid;
        _memory.Fence();
        VcmmError error = _port.LoadRoot(device, domain, table.Root);
        if (error == VcmmError.None) Interlocked.Increment(ref _rootLoads);
        return error;
    }

    /// <inheritdoc/>
    /// <returns>As <see cref="Attach"/>.</returns>
    public VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain)
    {
        if (!CanIdentify(device)) return VcmmError.NoDevice;
        if (pasid is not null) return VcmmError.Invalid;
        Interlocked.Increment(ref _shootdowns);
        Interlocked.Increment(ref _fullFlushes);
        return _port.UnloadRoot(device, domain);
    }

    /// <inheritdoc/>
    public VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        if (commands.IsEmpty) return VcmmError.None;
        CoverSet covers;
        lock (_gate) covers = _idleCovers.Count != 0 ? _idleCovers.Pop() : new();
        foreach (Invalidation command in commands) covers.Of(null, command.Domain).Add(command.Range, command.LeavesOnly);
        VcmmError error = Shootdown(covers);
        covers.Clear();
        lock (_gate) _idleCovers.Push(covers);
        return error;
    }

    /// <inheritdoc/>
    /// <remarks>CPU faults are the operating system's: there is none to take.</remarks>
    public bool TryTakeFault(out DeviceFault fault)
    {
        fault = default;
        return false;
    }

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">Always: no access waits.</exception>
    public VcmmError EndFault(in DeviceFault fault, bool retry) => throw new InvalidOperationException($"{fault} does not wait");

    private VcmmError Shootdown(CoverSet covers)
    {
        const int mostOnStack = 64;
        int most = covers.Count * DomainCover.Limit;
        // Survives as `most < mostOnStack`: performance only, where the stack would just do it need not be used
        Span<CpuFlush> flushes = most <= mostOnStack ? stackalloc CpuFlush[mostOnStack] : new CpuFlush[most];
        int count = 0;
        for (int i = 0; i < covers.Count; i++)
        {
            DomainCover cover = covers[i];
            if (PageCountOf(cover) > FullFlushPageCount)
            {
                flushes[count++] = new(cover.Domain, DomainCover.Everything, IsAll: true, LeavesOnly: false);
                Interlocked.Increment(ref _fullFlushes);
                continue;
            }

            foreach (IovaRange range in cover.Ranges) flushes[count++] = new(cover.Domain, range, IsAll: false, cover.LeavesOnly);
            Interlocked.Add(ref _ranges, cover.Count);
        }

        Interlocked.Increment(ref _shootdowns);
        return _port.Shootdown(flushes[..count]);
    }

    private static ulong PageCountOf(DomainCover cover)
    {
        ulong pages = 0;
        foreach (IovaRange range in cover.Ranges)
        {
            ulong more = (range.Last.Value >> TFormat.GranuleLog2) - (range.First.Value >> TFormat.GranuleLog2);
            // Survives as `more > FullFlushPageCount`: equivalent, of one page more than that the sum says so
            if (more >= FullFlushPageCount) return ulong.MaxValue;
            pages += more + 1;
        }

        return pages;
    }
}
