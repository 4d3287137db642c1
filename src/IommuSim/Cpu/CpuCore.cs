using IommuSim.Machinery;
using Platform;

namespace IommuSim.Cpu;

/// <summary>
/// One simulated x86-64 core, as far as addresses go: CR3, a TLB, paging-structure caches, page walks, the instructions that
/// invalidate, and interrupts by which others make it invalidate.
/// </summary>
/// <remarks>
/// <para><b>Source.</b> Intel SDM, volume 3A, "Paging". Software relies on an invalidation covering what it names and must not rely on it
/// covering more, so that every one here covers exactly what it names.</para>
/// <para><b>An access</b> is the translation of one page and the transfer of its bytes. Interrupts are taken between accesses, so that
/// whoever acknowledged one has ended every access before it.</para>
/// <para><b>Threads.</b> A core executes on one thread at a time. Any other may interrupt it, look into its caches, and count.</para>
/// </remarks>
/// <typeparam name="TMemory">Where tables and data are.</typeparam>
/// <typeparam name="TSteps">The interleaving seam.</typeparam>
public sealed partial class CpuCore<TMemory, TSteps>
    where TMemory : struct, IPhysicalMemory
    where TSteps : struct, ISteps
{
    private const ulong PageBytes = 4096;
    private const int LowestTableLevel = 2;

    private readonly object _gate = new();
    private readonly TMemory _memory;
    private readonly TSteps _steps;
    private readonly CpuOptions _options;
    private readonly TranslationCache<PageLevels> _tlb;
    private readonly TranslationCache<PageLevels>[] _structures;
    private bool _isExecuting;
    private bool _hasTable;
    private ulong _root;
    private ushort _pcid;
    private ulong _epoch;
    private CpuStatistics _counts;

    internal CpuCore(int number, TMemory memory, CpuOptions options, TSteps steps)
    {
        Number = number;
        _memory = memory;
        _steps = steps;
        _options = options;
        _tlb = new(options.TlbSets, options.TlbWays, CacheReplacement.LeastRecentlyUsed);
        _structures = new TranslationCache<PageLevels>[options.Levels + 1];
        for (int level = LowestTableLevel; level <= options.Levels; level++) _structures[level] = new(sets: 1, options.PagingStructureEntriesPerLevel, CacheReplacement.LeastRecentlyUsed);
    }

    /// <summary>Which core: 0 ….</summary>
    public int Number { get; }

    /// <summary>EFLAGS.AC: where SMAP is on, lets a supervisor read and write user pages.</summary>
    public bool AlignmentCheck { get; set; }

    /// <summary>The table that CR3 points at and the PCID in it; null: the core runs on a table that maps nothing.</summary>
    public (PhysAddr Root, Pcid Pcid)? Cr3
    {
        get
        {
            lock (_gate) return _hasTable ? (new(_root), new(_pcid)) : null;
        }
    }

    /// <summary>What this core has done so far.</summary>
    public CpuStatistics Statistics
    {
        get
        {
            lock (_gate) return _counts;
        }
    }

    /// <summary>What the TLB holds, at one instant.</summary>
    public IReadOnlyList<TlbEntry> Tlb
    {
        get
        {
            var entries = new List<TlbEntry>();
            lock (_gate)
            {
                foreach (ref readonly CacheLine line in _tlb.Lines)
                {
                    if (line.Valid) entries.Add(ToEntry(line));
                }
            }

            return entries;
        }
    }

    /// <summary>What the paging-structure caches hold, at one instant.</summary>
    public IReadOnlyList<PagingStructureEntry> PagingStructures
    {
        get
        {
            var entries = new List<PagingStructureEntry>();
            lock (_gate)
            {
                for (int level = LowestTableLevel; level <= _options.Levels; level++)
                {
                    foreach (ref readonly CacheLine line in _structures[level].Lines)
                    {
                        if (line.Valid) entries.Add(new(CpuTags.PcidOf(line.Tag), line.Range<PageLevels>(), new(line.Target), level));
                    }
                }
            }

            return entries;
        }
    }

    /// <summary>Reads memory into <paramref name="destination"/>, page by page.</summary>
    /// <param name="address">A linear address; it wraps at 2^64.</param>
    /// <param name="destination">Any length. After a fault only the first <see cref="CpuResult.BytesDone"/> bytes are from memory.</param>
    /// <param name="privilege">As which the core reads.</param>
    /// <returns>Whether all was read; otherwise where it stopped and why.</returns>
    /// <exception cref="InvalidOperationException">The core is executing on another thread.</exception>
    public CpuResult Read(Iova address, Span<byte> destination, CpuPrivilege privilege = CpuPrivilege.User) => Load(address, destination, CpuAccess.Read, privilege);

    /// <summary>Fetches instruction bytes into <paramref name="destination"/>, page by page.</summary>
    /// <param name="address">A linear address; it wraps at 2^64.</param>
    /// <param name="destination">As for <see cref="Read"/>.</param>
    /// <param name="privilege">As which the core fetches.</param>
    /// <returns>Whether all was fetched; otherwise where it stopped and why.</returns>
    /// <exception cref="InvalidOperationException">The core is executing on another thread.</exception>
    public CpuResult Fetch(Iova address, Span<byte> destination, CpuPrivilege privilege = CpuPrivilege.User) => Load(address, destination, CpuAccess.Fetch, privilege);

    /// <summary>Writes <paramref name="source"/> to memory, page by page.</summary>
    /// <param name="address">A linear address; it wraps at 2^64.</param>
    /// <param name="source">Any length. After a fault the first <see cref="CpuResult.BytesDone"/> bytes have been written, and no other.</param>
    /// <param name="privilege">As which the core writes.</param>
    /// <returns>Whether all was written; otherwise where it stopped and why.</returns>
    /// <exception cref="InvalidOperationException">The core is executing on another thread.</exception>
    public CpuResult Write(Iova address, ReadOnlySpan<byte> source, CpuPrivilege privilege = CpuPrivilege.User)
    {
        int done = 0;
        while (done < source.Length)
        {
            Iova at = Next(address, done, source.Length, out int byteCount);
            CpuTranslation result = Begin(at, CpuAccess.Write, privilege);
            try
            {
                if (result.Ok) result = Store(result, source.Slice(done, byteCount));
            }
            finally
            {
                End();
            }

            if (!result.Ok) return new(result.Outcome, (ulong)done, result.Code, at);
            done += byteCount;
        }

        return new(CpuOutcome.Done, (ulong)done, PageFaultCode.None, default);
    }

    /// <summary>Translates an address as an access would, and transfers nothing.</summary>
    /// <param name="address">A linear address.</param>
    /// <param name="access">What the core wants; a write sets the dirty flag.</param>
    /// <param name="privilege">As which.</param>
    /// <returns>Where the access would go, or its fault.</returns>
    /// <exception cref="InvalidOperationException">The core is executing on another thread.</exception>
    public CpuTranslation Translate(Iova address, CpuAccess access, CpuPrivilege privilege = CpuPrivilege.User)
    {
        CpuTranslation result = Begin(address, access, privilege);
        End();
        return result;
    }

    private static TlbEntry ToEntry(in CacheLine line) => new(
        CpuTags.PcidOf(line.Tag),
        line.Range<PageLevels>(),
        new(line.Target),
        line.Rights.HasFlag(Rights.Write),
        line.Rights.HasFlag(Rights.User),
        line.Rights.HasFlag(Rights.Execute),
        line.Tag == CpuTags.Global,
        line.Dirty);

    private CpuResult Load(Iova address, Span<byte> destination, CpuAccess access, CpuPrivilege privilege)
    {
        int done = 0;
        while (done < destination.Length)
        {
            Iova at = Next(address, done, destination.Length, out int byteCount);
            CpuTranslation result = Begin(at, access, privilege);
            try
            {
                if (result.Ok) result = LoadPage(result, destination.Slice(done, byteCount));
            }
            finally
            {
                End();
            }

            if (!result.Ok) return new(result.Outcome, (ulong)done, result.Code, at);
            done += byteCount;
        }

        return new(CpuOutcome.Done, (ulong)done, PageFaultCode.None, default);
    }

    private CpuTranslation LoadPage(CpuTranslation at, Span<byte> destination)
    {
        _steps.At(SimStep.MemoryAccess, at.Address.Value);
        if (!IsMemory(at.Address, destination.Length)) return at with { Outcome = CpuOutcome.NoMemory };
        _memory.Read(at.Address, destination);
        return at;
    }

    private CpuTranslation Store(CpuTranslation at, ReadOnlySpan<byte> source)
    {
        _steps.At(SimStep.MemoryAccess, at.Address.Value);
        if (!IsMemory(at.Address, source.Length)) return at with { Outcome = CpuOutcome.NoMemory };
        _memory.Write(at.Address, source);
        return at;
    }

    /// <summary>The core begins to execute, and translates; <see cref="End"/> must follow, unless this throws.</summary>
    private CpuTranslation Begin(Iova address, CpuAccess access, CpuPrivilege privilege)
    {
        TakeInterrupts();
        _steps.At(SimStep.TlbLookup, address.Value);
        var request = new Request(address.Value, access, privilege);
        lock (_gate)
        {
            if (_isExecuting) throw new InvalidOperationException($"core {Number} executes on another thread");
            _isExecuting = true;
            request.Epoch = _epoch;
            request.Pcid = _pcid;
            request.Root = _root;
            _counts.Translations++;
            // "Linear addresses are canonical": checked before anything is looked up.
            if (!IsCanonical(address.Value)) return new(CpuOutcome.GeneralProtection, default, PageFaultCode.None);
            if (TryFind(request, out CpuTranslation known)) return known;
            if (!_hasTable) return NotPresent(request);
            _counts.Walks++;
        }

        try
        {
            return Walk(request);
        }
        catch
        {
            // A step may throw where a schedule is given up.
            End();
            throw;
        }
    }

    private void End()
    {
        lock (_gate)
        {
            _isExecuting = false;
            if (_broadcasts.Count != 0) EndBroadcasts();
        }

        TakeInterrupts();
    }

    private bool IsCanonical(ulong address)
    {
        long sign = unchecked((long)address) >> (PageLevels.Width(_options.Levels) - 1);
        return sign is 0 or -1;
    }

    private bool IsMemory(PhysAddr address, int byteCount) => _memory.Contains(PhysRange.FromLength(address, (ulong)byteCount));

    private static Iova Next(Iova start, int done, int total, out int byteCount)
    {
        ulong at = unchecked(start.Value + (ulong)done);
        byteCount = (int)Math.Min((ulong)(total - done), PageBytes - at % PageBytes);
        return new(at);
    }

    private struct Request(ulong address, CpuAccess access, CpuPrivilege privilege)
    {
        public readonly ulong Address = address;
        public readonly CpuAccess Access = access;
        public readonly CpuPrivilege Privilege = privilege;
        public ulong Epoch;
        public ulong Root;
        public ushort Pcid;

        public readonly bool IsUser => Privilege == CpuPrivilege.User;
    }
}
