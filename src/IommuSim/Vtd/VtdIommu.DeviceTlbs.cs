using IommuSim.DeviceSide;
using IommuSim.Devices;
using IommuSim.Machinery;
using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

// What devices with TLBs of their own ask for: translations, accesses by them, and pages.
public sealed partial class VtdIommu<TMemory, TSteps>
{
    private readonly PageRequestQueue _pageRequests;

    internal override bool AreRequestsDropped
    {
        get
        {
            lock (_gate) return _pageRequests.IsOverflowed;
        }
    }

    internal override bool IsUntranslatedOnly(Iova address) => IsInterruptRange(address.Value);

    internal override void Connect(DeviceTlb device)
    {
        lock (_gate)
        {
            if (!_caches.Devices.TryAdd(device.Source.Value, device))
                throw new ArgumentException($"{device.Source} has a TLB behind this unit already", nameof(device));
        }
    }

    internal override IReadOnlyList<DeviceTlbLine> LinesOf(DeviceTlb device)
    {
        lock (_gate) return [.. device.Lines];
    }

    internal override AtsOutcome BeginTranslated(
        DeviceTlb device, Iova address, DeviceAccess access, PasidPrefix? prefix, out Passage passage, out CacheTag? tag)
    {
        tag = null;
        TranslationResult result;
        int slot;
        ulong translated;
        _steps.At(SimStep.DeviceTlbLookup, address.Value);
        bool isKnown;
        lock (_gate)
        {
            isKnown = device.TryFind(address.Value, access, prefix, out translated);
            slot = isKnown ? BeginByDevice(device.Source, access) : NoSlot;
            if (isKnown) _caches.Counts.DeviceTlbHits++;
        }

        while (!isKnown)
        {
            var completion = new TranslationCompletion();
            result = AskForTranslation(device, address, access, prefix, completion, out int asking);
            tag = completion.Tag;
            if (!result.Ok)
            {
                Tell(result, NoSlot, out passage);
                return result.Reason.IsRecoverable() ? AtsOutcome.Denied : AtsOutcome.Blocked;
            }

            _steps.At(SimStep.DeviceTlbFill, address.Value);
            lock (_gate)
            {
                // An invalidation has come in between: what was asked for before it is out of date, and is asked for again.
                isKnown = device.InvalidatedAt <= _caches.InFlight.Began(asking);
                if (isKnown)
                {
                    device.Insert(completion.Line);
                    slot = BeginByDevice(device.Source, access);
                }
                else
                {
                    _caches.Counts.DiscardedFills++;
                }
            }

            translated = result.Address.Value;
            EndAccess(asking);
        }

        return GoTranslated(device.Source, translated, access, slot, out passage) ? AtsOutcome.Goes : AtsOutcome.Blocked;
    }

    internal override bool TryBeginTranslated(StreamId source, PhysAddr address, DeviceAccess access, out Passage passage) =>
        GoTranslated(source, address.Value, access, BeginByDevice(source, access), out passage);

    /// <summary>A translated request carries no PASID: that it may is not offered (PTRS).</summary>
    private bool GoTranslated(StreamId source, ulong address, DeviceAccess access, int slot, out Passage passage)
    {
        _steps.At(SimStep.ContextLookup, source.Value);
        TranslationResult result = CheckOrEnd(new(source, new(address), access, null, slot) { Type = RequestType.Translated }, ref slot);
        Tell(result, slot, out passage);
        return result.Ok;
    }

    internal override PageResponseCode? AskForPage(in PageRequest page, CacheTag? tag)
    {
        int slot = _caches.InFlight.Begin(page.Source, new(AccessPhase.Asking, DeviceAccess.Read, Translator: null, _caches.Epoch));
        try
        {
            _steps.At(SimStep.PageRequest, page.Page.Value);
            var request = new Request(page.Source, page.Page, DeviceAccess.Read, page.Prefix, slot) { Type = RequestType.Page };
            VtdFaultReason fault = CheckPageRequest(request, out bool isSilenced);
            if (fault != VtdFaultReason.None)
            {
                RecordFault(request, fault, isSilenced);
                return page.IsLast ? PageResponseCode.InvalidRequest : null;
            }

            lock (_gate)
            {
                if (tag is { } known) _caches.ForgetAskedFor(known, page.Page, _options.HasNesting);
                _caches.Counts.PageRequests++;
                if (_pageRequests.TryAdd(_memory, page)) return null;
                _caches.Counts.PageRequestsLost++;
                // "Success" makes the device ask for the translation again, and then for the page.
                return page.IsLast ? PageResponseCode.Success : null;
            }
        }
        finally
        {
            EndAccess(slot);
            SendMessages();
        }
    }

    internal override void TakeCompletion(StreamId source)
    {
        if (!_options.DeviceTlbs) return;
        lock (_gate) _faults.SetCompletionError((ushort)(source.Value & MaxSource));
        SendMessages();
    }

    /// <summary>Begins an access by a translation that the device has; what may it reach is looked at all the same.</summary>
    private int BeginByDevice(StreamId source, DeviceAccess access) =>
        _caches.InFlight.Begin(source, new(AccessPhase.Translating, access, source.Value, _caches.Epoch));

    private TranslationResult AskForTranslation(
        DeviceTlb device, Iova address, DeviceAccess access, PasidPrefix? prefix, TranslationCompletion completion, out int slot)
    {
        lock (_gate)
        {
            _caches.Counts.TranslationRequests++;
            slot = _caches.InFlight.Begin(device.Source, new(AccessPhase.Translating, access, Translator: null, _caches.Epoch));
        }

        _steps.At(SimStep.ContextLookup, device.Source.Value);
        return CheckOrEnd(new(device.Source, address, access, prefix, slot) { Type = RequestType.Translation, Completion = completion }, ref slot);
    }

    private VtdFaultReason CheckPageRequest(in Request request, out bool isSilenced)
    {
        isSilenced = false;
        RootPointer root = _settings.Root;
        bool known = _caches.Contexts.TryFind(request.Source, root.IsScalable, out CachedContext context);
        VtdFaultReason fault = root.Check(_options, hasPasid: false);
        if (fault != VtdFaultReason.None) return fault;
        if (!root.IsScalable) return VtdFaultReason.PageRequestInLegacyMode;                             // RTA.3
        if (!known) context = FetchContext(request, root);
        isSilenced = context.FaultProcessingDisabled;
        if (context.Fault != VtdFaultReason.None) return context.Fault;
        if (!context.Scalable.IsPageRequestEnabled) return VtdFaultReason.PageRequestNotEnabled;         // SCT.8
        if (request.Prefix is { } prefix) fault = context.Scalable.CheckPasid(prefix.Pasid, _options, isPageRequest: true);
        if (fault != VtdFaultReason.None) return fault;
        CachedPasid found = FindPasid(request, context.Scalable.Directory, request.Prefix?.Pasid ?? context.Scalable.RidPasid);    // SPD.1 to SPT.4
        isSilenced |= found.FaultProcessingDisabled;
        return found.Fault;
    }

    /// <summary>Gives every device that was told to ask again the chance to.</summary>
    private void AskAgain()
    {
        DeviceTlb[] devices;
        lock (_gate) devices = [.. _caches.Devices.Values.OrderBy(static device => device.Source)];
        foreach (DeviceTlb device in devices) device.Port.AskAgain();
    }

    /// <summary>Lets a device ask again for what an invalidation took, if it is such a one.</summary>
    private void LetRefetch(ushort source)
    {
        DeviceTlb? device;
        DeviceTlbLine[] lost = [];
        lock (_gate)
        {
            if (_caches.Devices.TryGetValue(source, out device)) lost = device.TakeLost();
        }

        foreach (DeviceTlbLine line in lost) device!.Port.Refetch(line);
    }

    /// <summary>A page group response reaches its device.</summary>
    private void Deliver(in PageGroupResponse response)
    {
        DeviceTlb? device;
        lock (_gate) _caches.Devices.TryGetValue(response.Source, out device);
        device?.Port.Answer(response);
    }
}
