using Platform;

namespace Vcmm.Vtd;

/// <summary>The invalidation registers: one command at a time, done when its register says so. For legacy mode.</summary>
/// <remarks>
/// <para>What a command did is reported beside it. Hardware may do more than it was asked for, never less: what reports less has done nothing
/// that can be relied on.</para>
/// <para>After an error or a time-out everything is invalidated before anything else is asked for, as soon as the hardware is done with what
/// it was given: a register that is not is not written to.</para>
/// <para><b>Threads.</b> Any number at once, one after the other: the lock is held until the hardware is done.</para>
/// <para><b>Source.</b> VT-d specification, "Register-based Invalidation Interface", "Context Command Register", "IOTLB Invalidate Register",
/// "Invalidate Address Register".</para>
/// </remarks>
internal sealed class InvalidationRegisters(IMmio registers, GlobalCommand command, VtdCapabilities capabilities, IWaitPolicy policy) : IInvalidations
{
    /// <summary>CCMD.ICC and IOTLB.IVT: set with the command, clear when it is done.</summary>
    private const ulong Busy = 1UL << 63;

    // CIRG, CAIG, and IIRG, IAIG: what is asked for and what was done. 1 is everything, 2 a domain, 3 a device or pages, 0 nothing.
    private const int ContextAsked = 61;
    private const int ContextDone = 59;
    private const int IotlbAsked = 60;
    private const int IotlbDone = 57;
    private const uint GranularityMask = 3;

    private const int ContextSourceShift = 16;
    private const int IotlbDomainShift = 32;
    private const ulong DrainWrites = 1UL << 48;
    private const ulong DrainReads = 1UL << 49;

    private readonly uint _address = capabilities.InvalidationRegisterOffset;

    [LockRank(LockRank.Queue)]
    private readonly object _gate = new();
    private bool _isBroken;

    /// <inheritdoc/>
    /// <remarks>There is no queue to fill: what is more is only asked for later.</remarks>
    public int Capacity => 64;

    private uint IotlbCommand => _address + 8;

    /// <inheritdoc/>
    public bool TryStart()
    {
        lock (_gate)
        {
            // While the queue is on the registers do nothing. Whoever had it before may have left something in it.
            if (!command.IsSet(VtdRegisters.QueuedInvalidationEnable)) return true;
            long begun = policy.Begin();
            for (int attempt = 1; !IsQueueEmpty() && policy.KeepWaiting(begun, attempt); attempt++)
            {
            }

            return command.TryClear(VtdRegisters.QueuedInvalidationEnable);
        }
    }

    /// <inheritdoc/>
    public bool TryForgetEverything()
    {
        lock (_gate) return TryInvalidateEverything();
    }

    /// <inheritdoc/>
    public VcmmError Submit(ReadOnlySpan<InvalidationDescriptor> commands, bool drainsPageRequests = false, bool isLostByRestart = false)
    {
        lock (_gate)
        {
            if (_isBroken && !TryInvalidateEverything()) return VcmmError.HardwareFailure;
            // Also where a port throws: how far it has let a command come is not known.
            _isBroken = true;
            foreach (InvalidationDescriptor one in commands)
            {
                if (TryDo(one)) continue;
                _isBroken = !TryInvalidateEverything();
                return VcmmError.HardwareFailure;
            }

            _isBroken = false;
            return VcmmError.None;
        }
    }

    /// <inheritdoc/>
    /// <remarks>Registers do not interrupt.</remarks>
    public void TellWhenDone(bool interrupts)
    {
    }

    /// <inheritdoc/>
    public bool TryAcknowledgeCompletion() => false;

    /// <inheritdoc/>
    /// <remarks>They have no errors but what they report of each command; what somebody left of a queue goes with its flags.</remarks>
    public bool TryClearErrors()
    {
        registers.Write32(VtdRegisters.FaultStatus, VtdRegisters.InvalidationErrors);
        return true;
    }

    private bool TryInvalidateEverything()
    {
        // Whoever was before may have left a command under way.
        if (!TryAwait(VtdRegisters.ContextCommand, out _) || !TryAwait(IotlbCommand, out _)) return false;
        Span<InvalidationDescriptor> commands = stackalloc InvalidationDescriptor[InvalidationGuidance.MostCommands];
        int count = InvalidationGuidance.Everything(capabilities, isScalable: false, commands);
        foreach (InvalidationDescriptor one in commands[..count])
        {
            if (!TryDo(one)) return false;
        }

        return true;
    }

    private bool TryDo(InvalidationDescriptor one)
    {
        // Each command is done before the next is given.
        if (one.IsFence) return true;
        if (one.IsContext) return TryDoContext(one);
        // Survives as `(true?…`: unreachable by contract, other commands are of PASIDs and of the TLBs of devices, and both are refused without a queue
        return one.IsIotlb ? TryDoIotlb(one) : throw new InvalidOperationException($"0x{one.Low:X} needs a queue");
    }

    private bool TryDoContext(InvalidationDescriptor one)
    {
        registers.Write64(
            VtdRegisters.ContextCommand,
            Busy | (ulong)one.Granularity << ContextAsked | (ulong)one.Source << ContextSourceShift | one.Domain);
        return TryAwait(VtdRegisters.ContextCommand, out ulong done) && IsEnough(done >> ContextDone, one.Granularity);
    }

    private bool TryDoIotlb(InvalidationDescriptor one)
    {
        // The address is taken with the command, and stands until that is done.
        if (one.IsOfPages) registers.Write64(_address, one.High);
        registers.Write64(
            IotlbCommand,
            Busy | (ulong)one.Granularity << IotlbAsked | (one.DrainsReads ? DrainReads : 0) | (one.DrainsWrites ? DrainWrites : 0)
                | (ulong)one.Domain << IotlbDomainShift);
        return TryAwait(IotlbCommand, out ulong done) && IsEnough(done >> IotlbDone, one.Granularity);
    }

    private bool TryAwait(uint register, out ulong value)
    {
        long begun = policy.Begin();
        for (int attempt = 1; ((value = registers.Read64(register)) & Busy) != 0; attempt++)
        {
            if (!policy.KeepWaiting(begun, attempt)) return false;
        }

        return true;
    }

    private static bool IsEnough(ulong done, uint asked)
    {
        uint granularity = (uint)(done & GranularityMask);
        return granularity != 0 && granularity <= asked;
    }

    private bool IsQueueEmpty() =>
        registers.Read64(VtdRegisters.InvalidationQueueHead) == registers.Read64(VtdRegisters.InvalidationQueueTail);
}
