using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm.Vtd;

// What devices translate through: tables, domains, attachments, and what the hardware is told to forget of them.
public sealed partial class VtdDriver<TMemory>
{
    [LockRank(LockRank.Domains)]
    private readonly object _domainGate = new();
    private readonly DomainTags _tags = new();
    private readonly Stack<DomainId> _releasedDomains = new();
    private uint _nextDomain = 1;

    /// <inheritdoc/>
    public bool CanIdentify(StreamId device) => device.Value <= 0xFFFF;

    /// <summary>The last device address that it translates through tables of the first of <see cref="Formats"/>; addresses start at 0.</summary>
    public Iova LastAddress => VtdFormats.LastAddress(_capabilities, Formats[0]);

    /// <summary>
    /// Whether <paramref name="format"/> is one of <see cref="Formats"/> and reaches that far. Of the canonical addresses that
    /// first-stage tables translate it is the lower half.
    /// </summary>
    /// <inheritdoc/>
    public bool CanTranslate(TableFormat format, IovaRange range) =>
        Formats.Contains(format) && range.Last.Value <= VtdFormats.LastAddress(_capabilities, format).Value;

    /// <summary>
    /// Whether <paramref name="format"/> is one of <see cref="Formats"/> and reaches that far: in a first-stage table either half of the
    /// canonical addresses, whatever the guest address width.
    /// </summary>
    /// <inheritdoc/>
    public bool CanShare(TableFormat format, IovaRange range) =>
        CanTranslate(format, range) || (Formats.Contains(format) && VtdFormats.IsCanonical(format, range));

    /// <summary>First-stage tables always; second-stage ones where <see cref="VtdDriverOptions.TracksUse"/> asks for it and the hardware can.</summary>
    /// <inheritdoc/>
    public bool TracksUse(TableFormat format) =>
        Formats.Contains(format) && (VtdFormats.IsFirstStage(format) || (_isScalable && _tracksUse));

    /// <summary>Whether the hardware says so (ECAP.PT).</summary>
    /// <inheritdoc/>
    public bool CanPassThrough => _capabilities.PassThrough;

    /// <inheritdoc/>
    public IPageTable AdoptTable(TableFormat format, PhysAddr root) => VtdFormats.Adopt(_memory, format, root);

    /// <inheritdoc/>
    public VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
    {
        ArgumentNullException.ThrowIfNull(frames);
        return VtdFormats.TryCreate(_memory, format, frames, out table);
    }

    /// <inheritdoc/>
    public VcmmError TryCreateDomain(out DomainId domain)
    {
        lock (_domainGate)
        {
            if (_releasedDomains.TryPop(out domain)) return VcmmError.None;
            // Id 0 tags what hardware in caching mode caches of absent entries: "Caching Mode" in the specification.
            if (_nextDomain >= _capabilities.DomainCount) return VcmmError.NoSpace;
            domain = new(_nextDomain++);
            return VcmmError.None;
        }
    }

    /// <inheritdoc/>
    public void ReleaseDomain(DomainId domain)
    {
        _tags.Forget(domain);
        lock (_domainGate) _releasedDomains.Push(domain);
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">The PASID is 0, or not below <see cref="PasidCount"/>.</exception>
    /// <exception cref="InvalidOperationException">The address space is attached already.</exception>
    public VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table)
    {
        // Without a table the device would be let through to all memory: that takes a call that says so.
        ArgumentNullException.ThrowIfNull(table);
        Stage stage = !_isScalable ? Stage.Legacy : VtdFormats.IsFirstStage(table.Format) ? Stage.First : Stage.Second;
        return AttachTo(new(device, EntryOf(pasid), domain, stage) { Ats = _tlbs.Find(device) }, table);
    }

    /// <summary>
    /// Lets an address space of a device through to memory as it is: it reaches every address, of whoever's memory, and no region and no reservation
    /// confines it. For a device that is trusted with all of it, and that pays for no translation. <see cref="Detach(StreamId, Pasid?, DomainId)"/> ends it. Where there is a
    /// <see cref="VcmManager"/>, <see cref="Device.TryPassThrough"/> calls it.
    /// </summary>
    /// <param name="device">The device.</param>
    /// <param name="pasid">Of which requests; null: of those without a PASID.</param>
    /// <param name="domain">A domain of its own: nothing else is attached under it.</param>
    /// <returns>
    /// <see cref="VcmmError.NoDevice"/> if the hardware lets nothing through (ECAP.PT), or cannot identify the device; <see cref="VcmmError.Invalid"/> if the device has a
    /// TLB of its own; <see cref="VcmmError.NoMemory"/>; <see cref="VcmmError.HardwareFailure"/>. Then it is not let through.
    /// </returns>
    /// <exception cref="ArgumentOutOfRangeException">The PASID is 0, or not below <see cref="PasidCount"/>.</exception>
    /// <exception cref="InvalidOperationException">The address space is attached already.</exception>
    /// <remarks>
    /// <b>Threads.</b> As <see cref="Attach"/>. <b>Source.</b> VT-d specification, "Context Entry" (TT 10b, which takes no translation requests) and "Scalable-Mode PASID
    /// Table Entry" (PGTT 100b).
    /// </remarks>
    public VcmmError AttachPassThrough(StreamId device, Pasid? pasid, DomainId domain)
    {
        if (!_capabilities.PassThrough || !CanIdentify(device)) return VcmmError.NoDevice;
        Attachment attachment = new(device, EntryOf(pasid), domain, _isScalable ? Stage.Second : Stage.Legacy);
        return _tlbs.Find(device) is null ? AttachTo(attachment, table: null) : VcmmError.Invalid;
    }

    private VcmmError AttachTo(in Attachment attachment, IPageTable? table)
    {
        // From here on an invalidation of the domain reaches what the hardware may cache under this PASID, and the device.
        if (attachment.Stage is Stage.First or Stage.Nested) _tags.Add(attachment.Domain, attachment.Pasid, attachment.Stage == Stage.Nested);
        if (attachment.Tlb is { } tlb) _tlbs.Add(attachment.Domain, tlb);
        if (attachment.AsksForPages) _pageRequests!.Open(attachment.Device, attachment.PasidOrNull);
        bool isAttached = false;
        try
        {
            _memory.Fence();
            VcmmError error = _tables.TryAttach(attachment, table, out bool contextChanged);
            isAttached = error == VcmmError.None;
            if (!isAttached || !CachesAbsent) return error;

            Span<InvalidationDescriptor> commands = stackalloc InvalidationDescriptor[InvalidationGuidance.MostCommands];
            int count = InvalidationGuidance.AfterAttach(_capabilities, attachment, contextChanged, commands);
            try
            {
                error = _invalidations.Submit(commands[..count]);
            }
            catch
            {
                if (IsDetachedAgain(attachment)) throw;
                return VcmmError.None;
            }

            return error == VcmmError.None || IsDetachedAgain(attachment) ? error : VcmmError.None;
        }
        finally
        {
            if (!isAttached)
            {
                if (attachment.AsksForPages) _pageRequests!.Undo(attachment.Device, attachment.PasidOrNull);
                Untag(attachment);
            }
        }
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">The PASID is 0, or not below <see cref="PasidCount"/>.</exception>
    /// <exception cref="InvalidOperationException">The address space is not attached under the domain.</exception>
    public VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain)
    {
        Stage stage = !_isScalable ? Stage.Legacy : _tags.Find(domain) is not { } tag ? Stage.Second : tag.IsNested ? Stage.Nested : Stage.First;
        return Detach(new Attachment(device, EntryOf(pasid), domain, stage) { Ats = _tlbs.Find(device) });
    }

    /// <inheritdoc/>
    public VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        Span<InvalidationDescriptor> room = stackalloc InvalidationDescriptor[CountDescriptors(commands)];
        var batch = new InvalidationBatch(_invalidations, room);
        Span<PageBlock> blocks = stackalloc PageBlock[PageCover.MostBlocks];
        foreach (ref readonly Invalidation command in commands)
        {
            int count = PageCover.Cover(_capabilities, command.Range, blocks);
            // A range of a nested domain is one of the second stage. What came through it by way of the first goes with it, wherever that was:
            // "IOTLB Invalidate".
            if (_tags.Find(command.Domain) is { IsNested: false } tag) AddFirstStage(ref batch, command, tag.Pasids, blocks[..count]);
            else AddSecondStage(ref batch, command, blocks[..count]);
        }

        // The devices come after, or they fetch again what is to go.
        for (int i = 0; i < commands.Length; i++)
        {
            ref readonly Invalidation command = ref commands[i];
            ReadOnlySpan<DeviceTlb> tlbs = _tlbs.Of(command.Domain);
            if (!tlbs.IsEmpty)
            {
                // By which of their own addresses they came through the range nobody knows: all that they have goes, once.
                bool isNested = _tags.Find(command.Domain) is { IsNested: true };
                if (isNested && i != 0 && commands[i - 1].Domain == command.Domain) continue;
                int count = isNested ? 0 : PageCover.Cover(_capabilities, command.Range, blocks);
                AddDevices(ref batch, tlbs, blocks[..count]);
            }
        }

        return batch.Submit();
    }

    /// <returns>False if the entries stand: undone is only what the hardware can be made to forget, and a later call meets the failure.</returns>
    private bool IsDetachedAgain(in Attachment attachment)
    {
#pragma warning disable CA1031 // Whatever a port throws here, it has failed twice.
        try
        {
            return Detach(attachment) == VcmmError.None;
        }
        catch (Exception)
        {
            return false;
        }
#pragma warning restore CA1031
    }

    private VcmmError Detach(in Attachment attachment)
    {
        bool contextChanged = _tables.Detach(attachment);
        Span<InvalidationDescriptor> commands = stackalloc InvalidationDescriptor[InvalidationGuidance.MostCommands];
        int count = InvalidationGuidance.AfterDetach(_capabilities, attachment, contextChanged, commands);
        bool isDone = false;
        try
        {
            VcmmError error = _invalidations.Submit(commands[..count], drainsPageRequests: attachment.AsksForPages);
            // What waits in the address space is over, and was told so, before the space is: "Revoking PASIDs with Pending Page Faults".
            if (error == VcmmError.None && attachment.AsksForPages)
                error = _pageRequests!.Close(attachment.Device, attachment.PasidOrNull, attachment.Tlb!.Value);
            if (error != VcmmError.None) return error;
            isDone = true;
        }
        finally
        {
            // Also where a port throws.
            if (!isDone) _tables.Restore(attachment, contextChanged);
        }

        _tables.Forget(attachment, contextChanged);
        Untag(attachment);
        return VcmmError.None;
    }

    private void Untag(in Attachment attachment)
    {
        if (attachment.Stage is Stage.First or Stage.Nested) _tags.Remove(attachment.Domain, attachment.Pasid);
        if (attachment.Tlb is { } tlb) _tlbs.Remove(attachment.Domain, tlb);
    }

    /// <summary>Requests without a PASID take entry 0: RID_PASID.</summary>
    private uint EntryOf(Pasid? pasid)
    {
        if (pasid is not { } named) return 0;
        if (named.Value == 0 || named.Value >= PasidCount)
            throw new ArgumentOutOfRangeException(nameof(pasid), named, $"PASIDs are 1 to below {PasidCount}");
        return named.Value;
    }

    private int CountDescriptors(ReadOnlySpan<Invalidation> commands)
    {
        int count = 1;
        foreach (ref readonly Invalidation command in commands)
        {
            int tags = _tags.Find(command.Domain) is { IsNested: false } tag ? tag.Pasids.Length : 1;
            count += (tags + _tlbs.Of(command.Domain).Length) * PageCover.MostBlocks;
            // Survives as `count > _invalidations.Capacity`: equivalent, where the two are the same there is nothing to choose
            if (count >= _invalidations.Capacity) return _invalidations.Capacity;
        }

        return count;
    }

    private static void AddDevices(ref InvalidationBatch batch, ReadOnlySpan<DeviceTlb> tlbs, ReadOnlySpan<PageBlock> blocks)
    {
        foreach (DeviceTlb tlb in tlbs)
        {
            if (blocks.IsEmpty) batch.Add(InvalidationDescriptor.DeviceTlbAll(tlb));
            foreach (PageBlock block in blocks) batch.Add(InvalidationDescriptor.DeviceTlbPages(tlb, block));
        }
    }

    private void AddSecondStage(ref InvalidationBatch batch, in Invalidation command, ReadOnlySpan<PageBlock> blocks)
    {
        if (blocks.IsEmpty) batch.Add(InvalidationDescriptor.IotlbOfDomain(_capabilities, command.Domain));
        foreach (PageBlock block in blocks)
            batch.Add(InvalidationDescriptor.IotlbOfPages(_capabilities, command.Domain, block, command.LeavesOnly));
    }

    private static void AddFirstStage(
        ref InvalidationBatch batch, in Invalidation command, ReadOnlySpan<uint> pasids, ReadOnlySpan<PageBlock> blocks)
    {
        foreach (uint pasid in pasids)
        {
            if (blocks.IsEmpty) batch.Add(InvalidationDescriptor.IotlbOfPasid(command.Domain, pasid));
            foreach (PageBlock block in blocks)
                batch.Add(InvalidationDescriptor.IotlbOfPasidPages(command.Domain, pasid, block, command.LeavesOnly));
        }
    }
}
