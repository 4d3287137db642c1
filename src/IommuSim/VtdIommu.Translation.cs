using Platform;

namespace IommuSim;

public sealed partial class VtdIommu<TMemory, TSteps>
{
    private const int NoSlot = -1;

    /// <summary>Translates one address for one access of a device, through all caches; a blocked request is recorded.</summary>
    /// <param name="source">The requester id, 0 … 0xFFFF.</param>
    /// <param name="address">Where the device wants to go.</param>
    /// <param name="access">Read or write.</param>
    /// <returns>The physical address, good to the end of its 4 KiB page, or the reason of the fault.</returns>
    /// <remarks>
    /// The access ends with the translation: a wait descriptor does not let a later use of the result drain. Where it must,
    /// use a <see cref="BusMaster{TMemory,TSteps}"/>.
    /// </remarks>
    /// <exception cref="ArgumentOutOfRangeException">The requester id has more than 16 bits.</exception>
    public TranslationResult Translate(StreamId source, Iova address, DeviceAccess access)
    {
        TranslationResult result = BeginAccess(source, address, access, out int slot);
        if (slot != NoSlot) EndAccess(slot);
        return result;
    }

    /// <summary>
    /// Whether the address is in the interrupt address range 0xFEEx_xxxx. Writes there are interrupt requests: they are not
    /// remapped and reach no memory, whatever the tables say; reads there are blocked.
    /// </summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Handling Requests to Interrupt Address Range.</remarks>
    internal static bool IsInterruptRange(ulong address) => address >> 20 == 0xFEE;

    /// <summary>
    /// Translates, and if the access may go on leaves it in flight: <paramref name="slot"/> then goes to
    /// <see cref="EndAccess"/> when the bytes have been moved. Otherwise it is negative.
    /// </summary>
    internal TranslationResult BeginAccess(StreamId source, Iova address, DeviceAccess access, out int slot)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(source.Value, 0xFFFFu, nameof(source));
        _steps.At(SimStep.ContextLookup, source.Value);
        PhysAddr root;
        bool known;
        CachedContext context;
        lock (_gate)
        {
            _caches.Counts.Translations++;
            slot = _caches.InFlight.Begin(access, _caches.Epoch);
            if (!_translationEnabled || (access == DeviceAccess.Write && IsInterruptRange(address.Value)))
                return GoOn(slot, address.Value);
            root = _root;
            known = _caches.Contexts.TryFind(source, out context);
        }

        var request = new Request(source, address, access, slot);
        bool goesOn = false;
        try
        {
            if (!known) context = FetchContext(request, root);
            TranslationResult result = TranslateWith(request, context);
            goesOn = result.Ok;
            if (!result.Ok) RecordFault(request, result.Reason, context.Entry.FaultProcessingDisabled);
            return result;
        }
        finally
        {
            if (!goesOn)
            {
                EndAccess(slot);
                slot = NoSlot;
            }
        }
    }

    /// <summary>The access is over. If a wait descriptor stood still for it, the queue goes on.</summary>
    internal void EndAccess(int slot)
    {
        bool rings;
        lock (_gate)
        {
            _caches.InFlight.End(slot);
            rings = _waitHeld && _caches.IsDrained;
            if (rings) _waitHeld = false;
        }

        if (rings) Ring();
    }

    private TranslationResult TranslateWith(in Request request, in CachedContext context)
    {
        ulong iova = request.Address.Value;
        if (IsInterruptRange(iova)) return TranslationResult.Blocked(VtdFaultReason.Read);
        if (context.Fault != VtdFaultReason.None) return TranslationResult.Blocked(context.Fault);
        if (context.Entry.IsPassThrough) return PassThrough(request);

        // LGN.1: beyond the smaller of what the unit (MGAW) and the device's tables (AGAW) can translate.
        int width = Math.Min(_options.GuestAddressWidth, VtdEntries.Width(context.Entry.Levels));
        if (iova >> width != 0) return TranslationResult.Blocked(VtdFaultReason.AddressBeyondMgaw);

        _steps.At(SimStep.IotlbLookup, iova);
        lock (_gate)
        {
            int index = FindInIotlb(context.Entry.Domain.Value, iova);
            if (index >= 0)
            {
                _caches.Counts.IotlbHits++;
                return Resolve(request, _caches.Iotlb[index]);
            }

            _caches.Counts.Walks++;
        }

        return Walk(request, context.Entry);
    }

    private TranslationResult PassThrough(in Request request)
    {
        if (request.Address.Value >> _options.GuestAddressWidth != 0) return TranslationResult.Blocked(VtdFaultReason.AddressBeyondMgaw);
        lock (_gate) return GoOn(request.Slot, request.Address.Value);
    }

    private int FindInIotlb(ushort domain, ulong iova)
    {
        int index = -1;
        for (int level = 1; level <= 3 && index < 0; level++) index = _caches.Iotlb.Find(domain, iova, level);
        return index;
    }

    /// <summary>
    /// Applies a cached or walked translation to the access. A cached one without the permission is final: software that
    /// widens permissions must invalidate (Capability Register, CM).
    /// </summary>
    private TranslationResult Resolve(in Request request, in CacheLine line)
    {
        if (line.Fault != VtdFaultReason.None) return TranslationResult.Blocked(line.Fault.For(request.Access));
        bool permitted = request.Access == DeviceAccess.Write ? line.Write : line.Read;
        if (!permitted) return TranslationResult.Blocked(VtdFaultReasons.Denied(request.Access));    // LGN.2, LGN.3
        ulong address = line.Target | (request.Address.Value & VtdEntries.PageMask(line.Level));
        if (IsInterruptRange(address)) return TranslationResult.Blocked(VtdFaultReason.InterruptAddressOutput);    // LGN.4
        return GoOn(request.Slot, address);
    }

    private TranslationResult GoOn(int slot, ulong address)
    {
        _caches.InFlight.Translated(slot);
        return TranslationResult.At(address);
    }

    private void RecordFault(in Request request, VtdFaultReason reason, bool faultProcessingDisabled)
    {
        _steps.At(SimStep.FaultRecord, request.Address.Value);
        lock (_gate)
        {
            _caches.Counts.Faults++;
            if (faultProcessingDisabled && reason.IsQualified()) _caches.Counts.FaultsSilenced++;
            else if (!_faults.Record(request.Source, request.Address, request.Access, reason)) _caches.Counts.FaultsLost++;
        }
    }

    /// <summary>One access of one device on its way through the unit.</summary>
    private readonly record struct Request(StreamId Source, Iova Address, DeviceAccess Access, int Slot);
}
