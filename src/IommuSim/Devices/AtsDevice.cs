using IommuSim.Devices;
using IommuSim.Machinery;
using Platform;

namespace IommuSim;

/// <summary>What a device with a TLB can do.</summary>
public sealed record AtsDeviceOptions
{
    /// <summary>Translations that it keeps: 0 ….</summary>
    public int TlbEntries { get; init; } = 16;

    /// <summary>Whether it asks for pages (PRI) that it may not reach; otherwise such an access fails.</summary>
    public bool PageRequests { get; init; } = true;

    /// <summary>
    /// Whether it asks for a translation again as soon as an invalidation of some pages has taken it, as a device does that goes on to
    /// use them. What an invalidation of everything takes it leaves alone.
    /// </summary>
    public bool Refetches { get; init; }

    /// <summary>Groups of page requests that it has outstanding at most: 1 … 512. Further accesses wait their turn.</summary>
    public int OutstandingGroups { get; init; } = 32;

    /// <summary>Pages of one transfer that it asks for in one group: 1 ….</summary>
    public int PagesInGroup { get; init; } = 1;
}

/// <summary>A translation that a device keeps.</summary>
/// <param name="Range">The page: 4 KiB, 2 MiB or 1 GiB.</param>
/// <param name="Address">The physical address of its first byte.</param>
/// <param name="Read">Whether the device may read there.</param>
/// <param name="Write">Whether the device may write there.</param>
/// <param name="Pasid">The PASID of the requests that it is for; null for those without.</param>
public readonly record struct DeviceTlbEntry(IovaRange Range, PhysAddr Address, bool Read, bool Write, Pasid? Pasid);

/// <summary>
/// A device with a TLB of its own (ATS), which may ask for the pages that it lacks (PRI): an access to such a page waits until
/// the page group response, and is then tried again or fails.
/// </summary>
/// <remarks>
/// <para><b>Source.</b> PCI Express Base Specification, Address Translation Services and its Page Request Interface.</para>
/// <para><b>Accesses.</b> Page by page, in order. Requests without PASID to where the unit takes interrupts are made untranslated.</para>
/// <para><b>Waiting.</b> Nothing blocks: a call returns a transfer that has stalled. It goes on, on the thread that consumes the
/// response from the command queue, or, where the unit had no room for the request, on the thread that makes room.
/// A response that nobody waits for is ignored, and counted.</para>
/// <para><b>Threads.</b> Any number at once.</para>
/// </remarks>
/// <typeparam name="TMemory">The memory behind the IOMMU.</typeparam>
/// <typeparam name="TSteps">The interleaving seam.</typeparam>
public sealed class AtsDevice<TMemory, TSteps> : IAtsPort
    where TMemory : struct, IPhysicalMemory
    where TSteps : struct, ISteps
{
    private const ulong PageBytes = 4096;
    private readonly AtsUnit<TSteps> _iommu;
    private readonly TMemory _memory;
    private readonly TSteps _steps;
    private readonly AtsDeviceOptions _options;
    private readonly DeviceTlb _tlb;
    private readonly PageRequestInterface _requests;
    private bool _pageRequestsEnabled = true;

    /// <summary>A device behind <paramref name="iommu"/>.</summary>
    /// <param name="iommu">What translates its addresses.</param>
    /// <param name="memory">The memory that its accesses reach.</param>
    /// <param name="source">Its requester id, as large as the unit knows any; no other device with a TLB has it.</param>
    /// <param name="options">What it can do.</param>
    /// <exception cref="ArgumentOutOfRangeException">The requester id has more bits, or an option is outside its range.</exception>
    /// <exception cref="ArgumentException">The requester id is another's.</exception>
    public AtsDevice(AtsUnit<TSteps> iommu, TMemory memory, StreamId source, AtsDeviceOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(iommu);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(source.Value, iommu.LargestSource, nameof(source));
        _options = options ?? new();
        ArgumentOutOfRangeException.ThrowIfNegative(_options.TlbEntries, nameof(options));
        ArgumentOutOfRangeException.ThrowIfLessThan(_options.OutstandingGroups, 1, nameof(options));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(_options.OutstandingGroups, PageRequestInterface.GroupCount, nameof(options));
        ArgumentOutOfRangeException.ThrowIfLessThan(_options.PagesInGroup, 1, nameof(options));
        _iommu = iommu;
        _memory = memory;
        _steps = iommu.Steps;
        _tlb = new(source, _options.TlbEntries, this) { KeepsLost = _options.Refetches };
        _requests = new(_options.OutstandingGroups);
        iommu.Connect(_tlb);
    }

    /// <summary>The device's requester id.</summary>
    public StreamId Source => _tlb.Source;

    /// <summary>What its TLB holds, at one instant.</summary>
    public IReadOnlyList<DeviceTlbEntry> Tlb => [.. _iommu.LinesOf(_tlb).Select(ToEntry)];

    /// <summary>What its TLB holds as it stands, for whoever looks on: a debugger, or the picture of a schedule.</summary>
    /// <returns>The entries.</returns>
    /// <remarks>
    /// <b>Threads.</b> Any that runs while no other uses the device; it takes no lock and waits for nobody, which <see cref="Tlb"/> may.
    /// </remarks>
    public IReadOnlyList<DeviceTlbEntry> PeekTlb() => [.. _tlb.Lines.Select(ToEntry)];

    /// <summary>
    /// Enable, in the Page Request Control Register: software may clear it at any time. Meanwhile the device asks for no page, and
    /// accesses fail that would. What waits goes on to wait. At first it is set.
    /// </summary>
    public bool PageRequestsEnabled
    {
        get => Volatile.Read(ref _pageRequestsEnabled);
        set => Volatile.Write(ref _pageRequestsEnabled, value);
    }

    /// <summary>
    /// Whether it answers invalidations of its TLB. One that hangs does not: it keeps what it has, and goes on to use it when it is told to; the
    /// unit waits in vain, and reports that (VT-d: FSTS.ITE). At first it does.
    /// </summary>
    public bool IsResponding
    {
        get => _tlb.IsResponding;
        set => _tlb.IsResponding = value;
    }

    /// <summary>Page group responses that it did not wait for: of another group, or of another PASID.</summary>
    public int UnexpectedResponses => _requests.UnexpectedResponses;

    /// <summary>Whether a response said that something is broken: it asks for no page since.</summary>
    public bool HasStoppedAsking => _requests.HasStopped;

    /// <summary>Reads memory at <paramref name="address"/>.</summary>
    /// <param name="address">Any address; it wraps at 2^64.</param>
    /// <param name="byteCount">0 ….</param>
    /// <param name="prefix">The PASID prefix of each request; null for none.</param>
    /// <returns>The transfer, which is over or has stalled.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The PASID has more than 20 bits.</exception>
    /// <exception cref="OverflowException"><paramref name="byteCount"/> is negative.</exception>
    public DmaTransfer Read(Iova address, int byteCount, PasidPrefix? prefix = null) =>
        Begin(new(address, DeviceAccess.Read, new byte[byteCount], prefix));

    /// <summary>Writes <paramref name="source"/> to memory at <paramref name="address"/>.</summary>
    /// <param name="address">Any address; it wraps at 2^64.</param>
    /// <param name="source">Any length. It is copied.</param>
    /// <param name="prefix">The PASID prefix of each request; null for none.</param>
    /// <returns>The transfer, which is over or has stalled.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The PASID has more than 20 bits.</exception>
    public DmaTransfer Write(Iova address, ReadOnlySpan<byte> source, PasidPrefix? prefix = null) =>
        Begin(new(address, DeviceAccess.Write, source.ToArray(), prefix));

    void IAtsPort.Answer(in PageGroupResponse response)
    {
        if (_requests.TryEnd(response, out DmaTransfer? transfer)) GoOn(transfer!, response.Code);
        TakeTurns();
    }

    void IAtsPort.AskAgain()
    {
        foreach (DmaTransfer transfer in _requests.TakeDropped()) Continue(transfer);
        TakeTurns();
    }

    void IAtsPort.Refetch(in DeviceTlbLine line)
    {
        PasidPrefix? prefix = line.Pasid is { } pasid ? new(pasid, line.Privileged, line.Execute) : null;
        DeviceAccess access = line.Write ? DeviceAccess.Write : DeviceAccess.Read;
        if (_iommu.BeginTranslated(_tlb, line.Range.First, access, prefix, out Passage passage, out _) == AtsOutcome.Goes) _iommu.EndAccess(passage.Slot);
    }

    private static DeviceTlbEntry ToEntry(DeviceTlbLine line) => new(line.Range, new(line.Target), line.Read, line.Write, line.Pasid);

    private static Iova PageOf(Iova address) => new(address.Value & ~(PageBytes - 1));

    private DmaTransfer Begin(DmaTransfer transfer)
    {
        if (transfer.Prefix is { } prefix) ArgumentOutOfRangeException.ThrowIfGreaterThan(prefix.Pasid.Value, Pasid.Largest, nameof(prefix));
        Continue(transfer);
        return transfer;
    }

    /// <summary>Lets those go on that have waited for one of the groups that may be outstanding.</summary>
    private void TakeTurns()
    {
        while (_requests.TryTakeTurn(out DmaTransfer? next)) Continue(next!);
    }

    private void GoOn(DmaTransfer transfer, PageResponseCode code)
    {
        if (code is not (PageResponseCode.Success or PageResponseCode.InvalidRequest)) _requests.Stop();
        if (code == PageResponseCode.Success) Continue(transfer);
        else transfer.Fail(transfer.Fault);
    }

    /// <summary>Goes on until the transfer is over or stalls. A transfer is one thread's at a time.</summary>
    private void Continue(DmaTransfer transfer)
    {
        while (transfer.BytesLeft != 0)
        {
            if (!TryMovePage(transfer)) return;
        }

        transfer.Complete();
    }

    /// <summary>False if the transfer is over, or is not this thread's any more.</summary>
    private bool TryMovePage(DmaTransfer transfer)
    {
        Iova at = transfer.FaultAddress;
        Passage passage;
        CacheTag? tag = null;
        AtsOutcome outcome;
        if (transfer.Prefix is null && _iommu.IsUntranslatedOnly(at))
        {
            outcome = _iommu.TryBegin(Source, at, transfer.Access, null, out passage) ? AtsOutcome.Goes : AtsOutcome.Blocked;
        }
        else
        {
            outcome = _iommu.BeginTranslated(_tlb, at, transfer.Access, transfer.Prefix, out passage, out tag);
        }

        switch (outcome)
        {
            case AtsOutcome.Goes:
                return TryMoveBytes(transfer, at, passage);
            case AtsOutcome.Denied when _options.PageRequests && PageRequestsEnabled && !_requests.HasStopped:
                Stall(transfer, passage.Fault, tag);
                return false;
            default:
                transfer.Fail(passage.Fault);
                return false;
        }
    }

    private bool TryMoveBytes(DmaTransfer transfer, Iova at, in Passage passage)
    {
        int byteCount = (int)Math.Min((ulong)transfer.BytesLeft, PageBytes - at.Value % PageBytes);
        Span<byte> bytes = transfer.Remaining[..byteCount];
        try
        {
            _steps.At(SimStep.MemoryAccess, passage.Address.Value);
            if (!passage.IsInterrupt)
            {
                if (!_memory.Contains(PhysRange.FromLength(passage.Address, (ulong)byteCount)))
                {
                    transfer.Fail(default);
                    return false;
                }

                if (transfer.Access == DeviceAccess.Write) _memory.Write(passage.Address, bytes);
                else _memory.Read(passage.Address, bytes);
            }
        }
        finally
        {
            _iommu.EndAccess(passage.Slot);
        }

        transfer.Advance(byteCount);
        return true;
    }

    /// <summary>Asks for the page, and with it for what else the transfer lacks of the next ones; the answer is to all of them.</summary>
    private void Stall(DmaTransfer transfer, FaultCode fault, CacheTag? tag)
    {
        List<(Iova Page, CacheTag? Tag)> pages = [(PageOf(transfer.FaultAddress), tag)];
        ulong end = transfer.FaultAddress.Value % PageBytes + (ulong)transfer.BytesLeft;
        for (int i = 1; i < _options.PagesInGroup && (ulong)i * PageBytes < end; i++)
        {
            Iova page = new(unchecked(pages[0].Page.Value + (ulong)i * PageBytes));
            AtsOutcome outcome = _iommu.BeginTranslated(_tlb, page, transfer.Access, transfer.Prefix, out Passage passage, out CacheTag? pageTag);
            if (outcome == AtsOutcome.Goes) _iommu.EndAccess(passage.Slot);
            if (outcome == AtsOutcome.Blocked) break;
            if (outcome == AtsOutcome.Denied) pages.Add((page, pageTag));
        }

        transfer.Stall(fault);
        PasidPrefix? prefix = transfer.Prefix;
        bool writes = transfer.Access == DeviceAccess.Write;
        if (!_requests.TryBegin(transfer, out int group)) return;

        // From the first request on the answer may come, on another thread, and the transfer is that thread's.
        PageResponseCode? own = null;
        for (int i = 0; i < pages.Count; i++)
        {
            var request = new PageRequest(Source, prefix, pages[i].Page, !writes, writes, IsLast: i == pages.Count - 1, group);
            own = _iommu.AskForPage(request, pages[i].Tag);
        }

        if (own == PageResponseCode.Success)
        {
            _requests.Drop(group);
            // Room may have been made before the device knew that it has to ask again.
            if (!_iommu.AreRequestsDropped) ((IAtsPort)this).AskAgain();
        }
        else if (own is { } code)
        {
            ((IAtsPort)this).Answer(new((ushort)Source.Value, prefix?.Pasid, group, code));
        }
    }
}
