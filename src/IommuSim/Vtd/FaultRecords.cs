using IommuSim.DeviceSide;
using IommuSim.Machinery;
using Platform;

namespace IommuSim;

/// <summary>The primary fault recording registers, the fault status register, the record of errors of the queue, and the fault event.</summary>
/// <remarks>
/// <para><b>Source.</b> Intel VT-d specification, Non-Recoverable Fault Reporting, Primary Fault Logging; Fault Status
/// Register; Fault Recording Registers. The unit may collapse faults of one source; it does not: every fault has its own
/// record, or is lost with PFO set.</para>
/// <para><b>Threads.</b> Under the unit's lock.</para>
/// </remarks>
internal sealed class FaultRecords(int count, MessageOutbox outbox)
{
    private const ulong Fault = VtdRegisters.Bit63;
    private const uint Cleared = VtdRegisters.PrimaryFaultOverflow | VtdRegisters.InvalidationQueueError
        | VtdRegisters.InvalidationCompletionError | VtdRegisters.InvalidationTimeoutError;
    private readonly RecordBank _records = new(count, wordCount: 2, holds: Fault);
    private QueueErrorInfo _info;
    private ushort _timeoutSource, _completionSource;

    /// <summary>FECTL, FEDATA, FEADDR, FEUADDR.</summary>
    public EventRegisters Event { get; } = new(outbox);

    /// <summary>FSTS.IQE or ITE: no descriptor is fetched.</summary>
    public bool StopsQueue => Event.Line.IsUp(VtdRegisters.InvalidationQueueError | VtdRegisters.InvalidationTimeoutError);

    /// <summary>IQERCD_REG: IQEI, ITESID and ICESID, which stay when their error is cleared.</summary>
    public ulong ErrorRecord => (ulong)_info | (ulong)_timeoutSource << 32 | (ulong)_completionSource << 48;

    /// <summary>FSTS_REG. FRI stays at the record with which PPF came up until PPF goes down.</summary>
    public uint Status => Event.Line.Conditions | (_records.IsAnyHeld ? (uint)_records.FirstHeld << 8 : 0);

    /// <summary>Records a fault; false if it is lost.</summary>
    public bool Record(StreamId source, Iova address, RequestType type, DeviceAccess access, PasidPrefix? prefix, VtdFaultReason reason)
    {
        ulong high = Fault
            | TypeFields(type, access)
            | (ulong)reason << 32
            | PrefixFields(prefix, access)
            | source.Value & 0xFFFF;
        RecordOutcome outcome = _records.Add([address.Value & PageLevels.FrameMask, high], Event.Line.IsUp(VtdRegisters.PrimaryFaultOverflow));
        if (outcome == RecordOutcome.Kept) Event.Line.Raise(VtdRegisters.PrimaryPendingFault);
        else if (outcome == RecordOutcome.Overflowed) Event.Line.Raise(VtdRegisters.PrimaryFaultOverflow);
        return outcome == RecordOutcome.Kept;
    }

    /// <summary>Sets FSTS.IQE.</summary>
    public void SetQueueError(QueueErrorInfo info)
    {
        Event.Line.Raise(VtdRegisters.InvalidationQueueError);
        _info = info;
    }

    /// <summary>Sets FSTS.ITE.</summary>
    public void SetTimeout(ushort source)
    {
        Event.Line.Raise(VtdRegisters.InvalidationTimeoutError);
        _timeoutSource = source;
    }

    /// <summary>Sets FSTS.ICE; the first requester stays until it is cleared.</summary>
    public void SetCompletionError(ushort source)
    {
        if (!Event.Line.IsUp(VtdRegisters.InvalidationCompletionError)) _completionSource = source;
        Event.Line.Raise(VtdRegisters.InvalidationCompletionError);
    }

    /// <summary>Write 1 to clear: PFO, IQE, ICE and ITE. Whether what stopped the queue went away.</summary>
    public bool ClearStatus(uint bits)
    {
        bool wasStopped = StopsQueue;
        Event.Line.Serve(bits & Cleared);
        return wasStopped && !StopsQueue;
    }

    /// <summary>Reads half a record, by its byte offset from the first record.</summary>
    public ulong Load(uint offset) => _records.Load((int)(offset / 8));

    /// <summary>Write 1 to clear: the F bit of a record, which lies in its high half.</summary>
    public void Store(uint offset, ulong value)
    {
        _records.Clear((int)(offset / 8), value);
        if (!_records.IsAnyHeld) Event.Line.Serve(VtdRegisters.PrimaryPendingFault);
    }

    /// <summary>Translation was switched off: the next fault goes to the first register.</summary>
    public void ResetIndex() => _records.ResetIndex();

    /// <summary>T1 and T2, the type of the request: write 00b, page request 01b, read 10b; AT, the type of its address. A translation request is a read.</summary>
    private static ulong TypeFields(RequestType type, DeviceAccess access) => type switch
    {
        RequestType.Page => 1UL << 28,
        RequestType.Translation => 1UL << 62 | 1UL << 60,
        RequestType.Translated => (access == DeviceAccess.Read ? 1UL << 62 : 0) | 2UL << 60,
        _ => access == DeviceAccess.Read ? 1UL << 62 : 0,
    };

    /// <summary>PP, PV, and, only where there is a PASID, EXE of a read and PRIV.</summary>
    private static ulong PrefixFields(PasidPrefix? prefix, DeviceAccess access)
    {
        if (prefix is not { } present) return 0;
        return 1UL << 31
            | (ulong)present.Pasid.Value << 40
            | (present.Execute && access == DeviceAccess.Read ? 1UL << 30 : 0)
            | (present.Privileged ? 1UL << 29 : 0);
    }
}
