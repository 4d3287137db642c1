using Platform;

namespace Vcmm.Vtd;

// What the hardware tells by interrupts of its own, and what is done when it does.
public sealed partial class VtdDriver<TMemory>
{
    private readonly EventRegisters _events;

    /// <summary>
    /// Says where the interrupt of an event goes, and takes its mask away. What has come up before is told at once. <see cref="Stop"/> masks it again.
    /// </summary>
    /// <param name="source">Which event.</param>
    /// <param name="address">Where to the message is written: a multiple of 4. It is not remapped.</param>
    /// <param name="data">What is written.</param>
    /// <returns>
    /// <see cref="VcmmError.NoDevice"/> if there is no such event: completion without an invalidation queue in use, page requests without a queue
    /// for them (<see cref="VtdDriverOptions.PageRequestQueueBytes"/>), or an address of 4 GiB and more where the hardware has 32 bits for it;
    /// <see cref="VcmmError.Invalid"/> if an argument is outside its range.
    /// </returns>
    /// <remarks>
    /// Whoever takes the interrupt calls <see cref="HandleFaultEvent"/>, <see cref="HandleCompletionEvent"/> or <see cref="HandlePageRequestEvent"/>:
    /// until then the hardware does not tell it again. With a <see cref="VcmManager"/>, which gives faults to their hooks, the call for faults and for page
    /// requests is <see cref="VcmManager.DispatchFaults"/>, behind which nothing is pending either. <b>Threads.</b> Any number at once.
    /// <para><b>Source.</b> VT-d specification, "Fault Event Control Register", "Invalidation Event Control Register", "Page Request Event Control Register".</para>
    /// </remarks>
    public VcmmError TryEnableEvent(VtdEvent source, PhysAddr address, uint data)
    {
        if (!Enum.IsDefined(source) || address.Value % sizeof(uint) != 0) return VcmmError.Invalid;
        // Survives as `address.Value >= uint.MaxValue`: equivalent, a multiple of 4 is not that number
        if (address.Value > uint.MaxValue && !_capabilities.ExtendedInterruptMode) return VcmmError.NoDevice;
        if (source == VtdEvent.InvalidationCompletion && !_usesQueue) return VcmmError.NoDevice;
        if (source == VtdEvent.PageRequest && _pageRequests is null) return VcmmError.NoDevice;
        _events.Enable(source, address, data);
        if (source == VtdEvent.InvalidationCompletion) _invalidations.TellWhenDone(true);
        return VcmmError.None;
    }

    /// <summary>Says where the interrupt of an event goes, and takes its mask away.</summary>
    /// <exception cref="VcmmException">As <see cref="TryEnableEvent"/>.</exception>
    public void EnableEvent(VtdEvent source, PhysAddr address, uint data) =>
        VcmmException.ThrowIf(TryEnableEvent(source, address, data), nameof(EnableEvent));

    /// <summary>Masks the interrupt of an event. What comes up from here on is told when it is enabled again. One that is not enabled stays so.</summary>
    /// <param name="source">Which event.</param>
    public void DisableEvent(VtdEvent source)
    {
        bool isThere = source switch
        {
            VtdEvent.Fault => true,
            VtdEvent.InvalidationCompletion => _usesQueue,
            VtdEvent.PageRequest => _pageRequests is not null,
            _ => false,
        };
        if (!isThere) return;
        if (source == VtdEvent.InvalidationCompletion) _invalidations.TellWhenDone(false);
        _events.Disable(source);
    }

    /// <summary>
    /// The interrupt of <see cref="VtdEvent.Fault"/> has come: takes every fault that was recorded, the oldest first, clears an overflow, and starts a queue
    /// that has stopped anew. When it returns nothing is pending, so that what comes next interrupts again.
    /// </summary>
    /// <param name="faults">What was taken is added.</param>
    /// <returns>What the event was about; nothing, if others were first or the hardware is gone.</returns>
    /// <remarks>
    /// Who waits for a queue that is started anew here need not fail: everything has been invalidated. <b>Threads.</b> Any number at once.
    /// <para><b>Source.</b> VT-d specification, "Fault Status Register": while any of its bits is set, another is no new event.</para>
    /// </remarks>
    public FaultEventOutcome HandleFaultEvent(ICollection<DeviceFault> faults)
    {
        ArgumentNullException.ThrowIfNull(faults);
        int count = 0;
        bool hasQueueError = false;
        uint last = 0;
        while (true)
        {
            uint status = _registers.Read32(VtdRegisters.FaultStatus);
            if (status == uint.MaxValue) return new(count, false, hasQueueError);
            if ((status & VtdRegisters.FaultEvents) == 0) break;
            int before = count;
            while (_faults.TryTake(out DeviceFault fault, out _))
            {
                faults.Add(fault);
                count++;
            }

            if ((status & VtdRegisters.InvalidationErrors) != 0)
            {
                hasQueueError = true;
                // A queue that cannot be started now is when it is used next.
                if (!_invalidations.TryClearErrors()) break;
            }

            // What cannot be cleared is not waited for.
            if (count == before && status == last) break;
            last = status;
        }

        return new(count, _faults.TakeOverflow(), hasQueueError);
    }

    /// <summary>
    /// The interrupt of <see cref="VtdEvent.PageRequest"/> has come: takes every request that waits, the oldest first. Each is ended by
    /// <see cref="EndFault"/>.
    /// </summary>
    /// <param name="faults">What was taken is added.</param>
    /// <returns>How many; 0 if others were first.</returns>
    /// <remarks><b>Threads.</b> Any number at once. <b>Source.</b> VT-d specification, "Page Request Status Register".</remarks>
    public int HandlePageRequestEvent(ICollection<DeviceFault> faults)
    {
        ArgumentNullException.ThrowIfNull(faults);
        int count = 0;
        while (_pageRequests is not null && _pageRequests.TryTake(out DeviceFault fault))
        {
            faults.Add(fault);
            count++;
        }

        return count;
    }

    /// <summary>
    /// The interrupt of <see cref="VtdEvent.InvalidationCompletion"/> has come: <see cref="IWaitPolicy.GivenBack"/> is called, so that a policy that sleeps wakes
    /// whoever waits.
    /// </summary>
    /// <returns>False if nothing was complete: others were first.</returns>
    /// <remarks><b>Threads.</b> Any number at once. <b>Source.</b> VT-d specification, "Invalidation Completion Status Register".</remarks>
    public bool HandleCompletionEvent() => _invalidations.TryAcknowledgeCompletion();
}
