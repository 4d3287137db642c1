using System.Runtime.CompilerServices;
using IommuSim.DeviceSide;
using IommuSim.Devices;
using IommuSim.Machinery;
using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

public sealed partial class VtdIommu<TMemory, TSteps>
{
    private const int NoSlot = -1;
    private const uint MaxSource = 0xFFFF;

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
    public TranslationResult Translate(StreamId source, Iova address, DeviceAccess access) => Translate(source, address, access, null);

    /// <summary>The same for a request that carries a PASID.</summary>
    /// <param name="source">The requester id, 0 … 0xFFFF.</param>
    /// <param name="address">Where the device wants to go.</param>
    /// <param name="access">Read or write.</param>
    /// <param name="prefix">The request's PASID prefix; null for a request without one.</param>
    /// <returns>The physical address, good to the end of its 4 KiB page, or the reason of the fault.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The requester id has more than 16 bits, or the PASID more than 20.</exception>
    public TranslationResult Translate(StreamId source, Iova address, DeviceAccess access, PasidPrefix? prefix)
    {
        ref InFlightAccesses.Cell cell = ref FindHit(source, address, access, prefix, out ulong reached, out int slot, out LookedUp lookedUp);
        if (!Unsafe.IsNullRef(ref cell))
        {
            cell.End();
            LetGoIfHeld();
            return TranslationResult.At(reached);
        }

        TranslationResult result = GoOnWithout(source, address, access, prefix, lookedUp, ref slot);
        if (slot != NoSlot) EndAccess(slot);
        return result;
    }

    /// <summary>
    /// Whether the address is in the interrupt address range 0xFEEx_xxxx. Writes there without PASID are interrupt requests:
    /// they are not remapped and reach no memory, whatever the tables say; reads there are blocked. Requests with PASID are
    /// translated like any other.
    /// </summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Handling Requests to Interrupt Address Range.</remarks>
    private static bool IsInterruptRange(ulong address) => address >> 20 == 0xFEE;

    internal override bool TryBegin(StreamId source, Iova address, DeviceAccess access, in PasidPrefix? prefix, out Passage passage)
    {
        TranslationResult result = BeginAccess(source, address, access, prefix, out int slot);
        Tell(result, slot, out passage);
        passage.IsInterrupt = access == DeviceAccess.Write && IsInterruptRange(address.Value) && prefix is null;
        return result.Ok;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Tell(in TranslationResult result, int slot, out Passage passage)
    {
        passage.Address = result.Address;
        passage.Slot = slot;
        passage.Fault = result.Reason.ToCode();
        passage.IsInterrupt = false;
    }

    /// <summary>
    /// Translates, and if the access may go on leaves it in flight: <paramref name="slot"/> then goes to
    /// <see cref="EndAccess"/> when the bytes have been moved. Otherwise it is negative.
    /// </summary>
    // By itself: inlined, it leaves its callers no room for the rest of what they do.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private TranslationResult BeginAccess(StreamId source, Iova address, DeviceAccess access, in PasidPrefix? prefix, out int slot)
    {
        ref InFlightAccesses.Cell cell = ref FindHit(source, address, access, prefix, out ulong reached, out slot, out LookedUp lookedUp);
        if (Unsafe.IsNullRef(ref cell)) return GoOnWithout(source, address, access, prefix, lookedUp, ref slot);
        cell.Translated();
        return TranslationResult.At(reached);
    }

    /// <summary>An access begins. What nearly every one is has then a translation that the IOTLB knows.</summary>
    /// <returns>The access; a null reference if it is anything out of the ordinary, which is looked at once more then, and dealt with.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ref InFlightAccesses.Cell FindHit(
        StreamId source, Iova address, DeviceAccess access, in PasidPrefix? prefix, out ulong reached, out int slot, out LookedUp lookedUp)
    {
        CheckRequester(source, prefix);
        _steps.At(SimStep.ContextLookup, source.Value);
        // In flight first, then the look: a change of what is looked at comes before the look, or waits for the access.
        ref InFlightAccesses.Cell cell = ref _caches.InFlight.Begin(source, new(AccessPhase.Translating, access, Translator: null, _caches.Epoch), out slot);
        lookedUp = LookedUp.No;
        reached = 0;
        if (!_settings.IsPlain || prefix is not null || !_caches.Contexts.TryFindPlain(source, out PlainTables tables)
            || (address.Value & tables.Beyond) != 0 || IsInterruptRange(address.Value)) return ref Unsafe.NullRef<InFlightAccesses.Cell>();
        _steps.At(SimStep.IotlbLookup, address.Value);
        Rights needed = access == DeviceAccess.Write ? Rights.Write : Rights.Read;
        Reach reach = _caches.Iotlb.TryReach(tables.Tag, address.Value, needed, out reached);
        if (reach != Reach.Goes || IsInterruptRange(reached))
        {
            // Survives as `(false?…`: performance only, what is not there is looked for once more
            lookedUp = reach == Reach.Absent ? LookedUp.Absent : LookedUp.There;
            return ref Unsafe.NullRef<InFlightAccesses.Cell>();
        }

        unchecked
        {
            cell.Counts.PlainHits++;
        }

        return ref cell;
    }

    /// <summary>An access goes on that the IOTLB did not just let through.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private TranslationResult GoOnWithout(StreamId source, Iova address, DeviceAccess access, in PasidPrefix? prefix, LookedUp lookedUp, ref int slot)
    {
        _caches.InFlight.CountsOf(slot).Translations++;
        // What is not there is walked for at once.
        if (lookedUp == LookedUp.Absent && _settings.IsPlain && _caches.Contexts.TryFindRoot(source, address, out PlainRoot root))
            return WalkOrEnd(source, address, access, root, ref slot);
        return CheckOrEnd(new(source, address, access, prefix, slot) { LookedUp = lookedUp }, ref slot);
    }

    /// <summary>Walks for a request that is in flight, by the tables of a context entry of legacy mode; one that does not go on is over.</summary>
    private TranslationResult WalkOrEnd(StreamId source, Iova address, DeviceAccess access, in PlainRoot root, ref int slot)
    {
        bool goesOn = false;
        try
        {
            _caches.InFlight.CountsOf(slot).Walks++;
            var request = new Request(source, address, access, null, slot);
            var space = new AddressSpace(TranslationStage.SecondStage, root.Table, root.Levels, root.Domain, Pasid: null);
            TranslationResult result = Walk<SecondStageEntry>(request, space);
            goesOn = result.Ok;
            if (!goesOn) RecordFault(request, result.Reason, root.FaultProcessingDisabled);
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

    private static void CheckRequester(StreamId source, in PasidPrefix? prefix)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(source.Value, MaxSource, nameof(source));
        if (prefix is { } present) ArgumentOutOfRangeException.ThrowIfGreaterThan(present.Pasid.Value, Pasid.Largest, nameof(prefix));
    }

    /// <summary>Looks at a request that is in flight; one that does not go on is over.</summary>
    private TranslationResult CheckOrEnd(in Request request, ref int slot)
    {
        bool goesOn = false;
        try
        {
            TranslationResult result = Check(request);
            goesOn = result.Ok;
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

    /// <summary>
    /// From the root table on. While translation is off requests go where they want, but there are no translations to ask for:
    /// the reason is then none.
    /// </summary>
    private TranslationResult Check(in Request request)
    {
        Settings settings = _settings;
        bool isUntranslated = request.Type == RequestType.Untranslated;
        bool isInterrupt = isUntranslated && request.Access == DeviceAccess.Write && request.Prefix is null && IsInterruptRange(request.Address.Value);
        if (!settings.TranslationEnabled && request.Type == RequestType.Translation) return TranslationResult.Blocked(VtdFaultReason.None);
        if (!settings.TranslationEnabled || isInterrupt) return GoOn(request.Slot, request.Address.Value);
        TranslationResult result = TranslateFrom(request, settings.Root, out bool isSilenced);
        bool isQuiet = request.Type == RequestType.Prefetch || (request.Type == RequestType.Translation && result.Reason.IsTheDevicesAlone());
        if (!result.Ok && !isQuiet) RecordFault(request, result.Reason, isSilenced);
        return result;
    }

    /// <summary>The access is over. If a wait descriptor stood still for it, the queue goes on.</summary>
    internal override void EndAccess(int slot)
    {
        _caches.InFlight.End(slot);
        LetGoIfHeld();
    }

    private void LetGoIfHeld()
    {
        // Seen unset, though a wait begins to stand still just now: that one looks again, and sees that the access is over.
        if (_waitHeld) LetGo();
    }

    private void LetGo()
    {
        bool rings;
        lock (_gate)
        {
            rings = _waitHeld && _caches.IsDrained;
            if (rings) _waitHeld = false;
        }

        if (rings) Ring();
    }

    /// <summary>
    /// From the root pointer on. <paramref name="isSilenced"/>: an entry on the way has FPD set, which silences the qualified
    /// faults, whether or not the entry is present.
    /// </summary>
    private TranslationResult TranslateFrom(in Request request, RootPointer root, out bool isSilenced)
    {
        isSilenced = false;
        VtdFaultReason fault = root.Check(_options, request.Prefix is not null);
        if (fault != VtdFaultReason.None) return TranslationResult.Blocked(fault);
        if (!_caches.Contexts.TryFind(request.Source, root.IsScalable, out CachedContext context)) context = FetchContext(request, root);
        isSilenced = context.FaultProcessingDisabled;
        bool isTranslated = request.Type == RequestType.Translated;
        if (request.Prefix is null && !isTranslated && IsInterruptRange(request.Address.Value))
            return TranslationResult.Blocked(root.IsScalable ? VtdFaultReason.ScalableRead : VtdFaultReason.Read);
        if (context.Fault != VtdFaultReason.None) return TranslationResult.Blocked(context.Fault);
        if (request.Type is RequestType.Translation or RequestType.Translated && !context.IsDeviceTlbEnabled)
            return TranslationResult.Blocked(root.IsScalable ? VtdFaultReason.DeviceTlbNotEnabled : VtdFaultReason.TranslationTypeBlocks);
        if (isTranslated) return GoWhereItSays(request, root.IsScalable);

        return context.IsScalable
            ? TranslateScalable(request, context.Scalable, ref isSilenced)
            : TranslateWith(request, context.Entry.ToAddressSpace());
    }

    /// <summary>A translated request: the unit believes the device that this is where a translation led, if a translation could have led there.</summary>
    private TranslationResult GoWhereItSays(in Request request, bool isScalable)
    {
        ulong address = request.Address.Value;
        if ((address & PageLevels.BitsFrom(_options.HostAddressWidth)) != 0)
            return TranslationResult.Blocked(isScalable ? VtdFaultReason.AddressBeyondHostWidth : VtdFaultReason.AddressBeyondMgaw);    // SGN.4.1, LGN.1.2
        if (IsInterruptRange(address))
            return TranslationResult.Blocked(isScalable ? VtdFaultReason.ScalableInterruptAddressOutput : VtdFaultReason.InterruptAddressOutput);    // SGN.8.3, LGN.4
        return GoOn(request.Slot, address);
    }

    private TranslationResult TranslateWith(in Request request, in AddressSpace space)
    {
        if (request.Completion is { } completion) completion.Tag = space.Tag;
        if (space.Stage == TranslationStage.PassThrough) return PassThrough(request, space);
        ulong iova = request.Address.Value;
        if (!space.Reaches(iova, _options)) return TranslationResult.Blocked(space.Faults.BeyondWidth);    // LGN.1, SGN.1, SGN.5

        if (request.LookedUp == LookedUp.No) _steps.At(SimStep.IotlbLookup, iova);
        ref AccessCounts counts = ref _caches.InFlight.CountsOf(request.Slot);
        if (request.LookedUp != LookedUp.Absent && TryFindInIotlb(space.Tag, iova, out CacheLine line) && !MustDirty(request, space, line))
        {
            counts.IotlbHits++;
            return Resolve(request, space, line);
        }

        counts.Walks++;
        return space.IsFirstStage ? Walk<FirstStageEntry>(request, space) : Walk<SecondStageEntry>(request, space);
    }

    private TranslationResult PassThrough(in Request request, in AddressSpace space)
    {
        ulong address = request.Address.Value;
        if ((address & PageLevels.BitsFrom(_options.HostAddressWidth)) != 0)
            return TranslationResult.Blocked(space.Pasid is null ? VtdFaultReason.AddressBeyondMgaw : VtdFaultReason.AddressBeyondHostWidth);    // LGN.1.3, SGN.4.2
        if (space.Pasid is not null && IsInterruptRange(address))
            return TranslationResult.Blocked(VtdFaultReason.ScalableInterruptAddressOutput);             // SGN.8

        if (request.Completion is not null)
            Complete(request, space, LineFor(space.Tag, request, level: 1, space.IsFirstStage, target: 0, Rights.All), address);
        return GoOn(request.Slot, address);
    }

    private bool TryFindInIotlb(CacheTag tag, ulong iova, out CacheLine line) =>
        _caches.Iotlb.TryFind(tag, iova, 1, out line) || _caches.Iotlb.TryFind(tag, iova, 2, out line) || _caches.Iotlb.TryFind(tag, iova, 3, out line);

    /// <summary>
    /// Whether the cached translation lets a write through whose dirty flag is not known to be set: the hardware then goes to
    /// the entry to set it (Accessed and Dirty Flags).
    /// </summary>
    private static bool MustDirty(in Request request, in AddressSpace space, in CacheLine line) =>
        space.KeepsFlags && request.Access == DeviceAccess.Write && !line.Dirty
        && line.Fault == 0 && Denial(request, space, line.Rights) == VtdFaultReason.None;

    /// <summary>
    /// Applies a cached or walked translation to the access. A cached one without the permission is final: software that
    /// widens permissions must invalidate (Capability Register, CM).
    /// </summary>
    private TranslationResult Resolve(in Request request, in AddressSpace space, in CacheLine line)
    {
        if (line.Fault != 0) return TranslationResult.Blocked(((VtdFaultReason)line.Fault).For(request.Access));
        VtdFaultReason denial = Denial(request, space, line.Rights);
        if (denial != VtdFaultReason.None) return TranslationResult.Blocked(denial);
        ulong address = line.Target | (request.Address.Value & PageLevels.PageMask(line.Level));
        if (IsInterruptRange(address)) return TranslationResult.Blocked(space.Faults.InterruptOutput);    // LGN.4, SGN.8
        if (request.Completion is not null) Complete(request, space, line, address);
        return GoOn(request.Slot, address);
    }

    /// <summary>
    /// What a translation request is told: all that the translation permits. A write where the dirty flag is not set yet must
    /// come back.
    /// </summary>
    private static void Complete(in Request request, in AddressSpace space, in CacheLine line, ulong address)
    {
        ulong mask = PageLevels.PageMask(line.Level);
        bool permitsWrite = Denial(request with { Access = DeviceAccess.Write }, space, line.Rights) == VtdFaultReason.None;
        Request reads = request with { Access = DeviceAccess.Read };
        request.Completion!.Line = new(
            request.Prefix?.Pasid,
            request.Prefix is { Privileged: true },
            new(new(request.Address.Value & ~mask), new(request.Address.Value | mask)),
            address & ~mask,
            Read: Denial(reads, space, line.Rights) == VtdFaultReason.None,
            Write: permitsWrite && (!space.KeepsFlags || line.Dirty || request.Access == DeviceAccess.Write),
            Execute: reads.Execute);
    }

    /// <summary>The fault of an access that the entries of the walk together do not permit; None if they do.</summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Access Rights of first-stage and of second-stage translation.</remarks>
    private static VtdFaultReason Denial(in Request request, in AddressSpace space, Rights rights)
    {
        bool isWrite = request.Access == DeviceAccess.Write;
        if (space.IsFirstStage)
        {
            if (!request.Privileged && (rights & Rights.User) == 0) return VtdFaultReason.UserPrivilege;                  // SGN.2
            if (request.Execute && (rights & Rights.Execute) == 0) return VtdFaultReason.ExecuteDisabled;                 // SGN.3
            // Present first-stage entries grant reads, and writes of a supervisor unless WPE is set: the second stage need not.
            Rights needed = !isWrite ? Rights.Read : request.Privileged && !space.IsWriteProtected ? Rights.SupervisorWrite : Rights.Write;
            return (rights & needed) == 0 ? space.Faults.Denied(request.Access) : VtdFaultReason.None;                    // SGN.6, SGN.7
        }

        if ((rights & (Rights.Read | Rights.Write)) == 0) return space.Faults.Absent(request.Access);                       // SSS.2
        bool permitted = (rights & (isWrite ? Rights.Write : Rights.Read)) != 0;
        return permitted ? VtdFaultReason.None : space.Faults.Denied(request.Access);                    // LGN.2, LGN.3, SGN.6, SGN.7
    }

    private TranslationResult GoOn(int slot, ulong address)
    {
        _caches.InFlight.Translated(slot);
        return TranslationResult.At(address);
    }

    private void RecordFault(in Request request, VtdFaultReason reason, bool isSilenced)
    {
        _steps.At(SimStep.FaultRecord, request.Address.Value);
        lock (_gate)
        {
            _caches.Counts.Faults++;
            if (isSilenced && reason.IsQualified()) _caches.Counts.FaultsSilenced++;
            else if (!_faults.Record(request.Source, request.Address, request.Type, request.Access, request.Prefix, reason)) _caches.Counts.FaultsLost++;
        }

        SendMessages();
    }

    /// <summary>What is known of a request's line in the IOTLB.</summary>
    private enum LookedUp : byte
    {
        No,
        Absent,
        There,
    }

    /// <summary>
    /// One access of one device on its way through the unit. Without a prefix <paramref name="Privileged"/> comes from the
    /// context entry (RID_PRIV).
    /// </summary>
    private readonly record struct Request(
        StreamId Source, Iova Address, DeviceAccess Access, PasidPrefix? Prefix, int Slot, bool Privileged = false)
    {
        public RequestType Type { get; init; }

        /// <summary>Whether it has come to the look-up in the IOTLB before, and what that said.</summary>
        public LookedUp LookedUp { get; init; }

        /// <summary>What a translation request has found out.</summary>
        public TranslationCompletion? Completion { get; init; }

        /// <summary>Execute requests are reads.</summary>
        public bool Execute => Prefix is { Execute: true } && Access == DeviceAccess.Read;
    }
}
