using IommuSim.Devices;
using IommuSim.Machinery;
using Platform;

namespace IommuSim.DeviceSide;

/// <summary>The page request queue and its registers: PQH, PQT, PQA, PRS and the page request event.</summary>
/// <remarks>
/// <para><b>Source.</b> Intel VT-d specification, Recoverable Fault Reporting (page request descriptor, handling of page requests),
/// Recoverable Fault Event, and the registers by name.</para>
/// <para><b>Threads.</b> Under the unit's lock.</para>
/// </remarks>
internal sealed class PageRequestQueue(MessageOutbox outbox)
{
    private const int EntryBytesLog2 = 5;
    private const ulong PageGroupRequest = 1;
    private readonly RecordRing _ring = new(RingAt(0), OverflowRule.Stops);
    private ulong _address;

    /// <summary>PECTL, PEDATA, PEADDR, PEUADDR.</summary>
    public EventRegisters Event { get; } = new(outbox);

    /// <summary>PQA_REG: bits 11:3 are reserved.</summary>
    public ulong Address
    {
        get => _address;
        set
        {
            _address = value & ~0xFF8UL;
            _ring.Place(RingAt(_address));
        }
    }

    /// <summary>PQH_REG and PQT_REG: an offset in bits 18:5.</summary>
    public ulong Head
    {
        get => _ring.Consumer;
        set => _ring.Consumer = value & 0x7_FFE0;
    }

    /// <inheritdoc cref="Head"/>
    public ulong Tail
    {
        get => _ring.Producer;
        set => _ring.Producer = value & 0x7_FFE0;
    }

    /// <summary>PRS_REG.</summary>
    public uint Status => Event.Line.Conditions;

    /// <summary>PRO: requests are not queued until software has cleared it.</summary>
    public bool IsOverflowed => Event.Line.IsUp(VtdRegisters.PageRequestOverflow);

    /// <summary>Puts a request into the queue; false if there is no room, or was none since software last looked.</summary>
    public bool TryAdd<TMemory>(TMemory memory, in PageRequest request)
        where TMemory : struct, IPhysicalMemory
    {
        RecordOutcome outcome = _ring.Add(memory, [LowHalf(request), HighHalf(request), 0, 0], IsOverflowed);
        if (outcome == RecordOutcome.Kept) Event.Line.Raise(VtdRegisters.PendingPageRequest);
        else if (outcome == RecordOutcome.Overflowed) Event.Line.Raise(VtdRegisters.PageRequestOverflow);
        return outcome == RecordOutcome.Kept;
    }

    /// <summary>Write 1 to clear: PPR and PRO. Whether PRO went away.</summary>
    public bool ClearStatus(uint bits)
    {
        bool clearsOverflow = IsOverflowed && (bits & VtdRegisters.PageRequestOverflow) != 0;
        Event.Line.Serve(bits & (VtdRegisters.PendingPageRequest | VtdRegisters.PageRequestOverflow));
        return clearsOverflow;
    }

    /// <summary>PQA_REG: 2^(PQS + 7) entries.</summary>
    private static RingLayout RingAt(ulong address) =>
        new(new(address & PageLevels.FrameMask), 7 + (int)(address & 7), EntryBytesLog2, RingPositions.ByteOffset);

    private static ulong LowHalf(in PageRequest request)
    {
        ulong low = PageGroupRequest | (ulong)(request.Source.Value & 0xFFFF) << 16;
        if (request.Prefix is not { } prefix) return low;
        return low | 1UL << 8 | (ulong)prefix.Pasid.Value << 32
            | (prefix.Execute && request.Read ? 1UL << 52 : 0)
            | (prefix.Privileged ? 1UL << 53 : 0);
    }

    private static ulong HighHalf(in PageRequest request) =>
        (request.Page.Value & PageLevels.FrameMask)
        | (request.Read ? 1UL : 0) | (request.Write ? 1UL << 1 : 0) | (request.IsLast ? 1UL << 2 : 0)
        | (ulong)request.Group << 3;
}
