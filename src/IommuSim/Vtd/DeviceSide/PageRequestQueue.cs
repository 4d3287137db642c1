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
    public const ulong EntryBytes = 32;
    private const ulong PageGroupRequest = 1;
    private ulong _address;
    private ulong _head;
    private ulong _tail;
    private bool _pending;
    private bool _overflow;

    /// <summary>PECTL, PEDATA, PEADDR, PEUADDR.</summary>
    public EventRegisters Event { get; } = new(outbox);

    /// <summary>PQA_REG: bits 11:3 are reserved.</summary>
    public ulong Address
    {
        get => _address;
        set => _address = value & ~0xFF8UL;
    }

    /// <summary>PQH_REG and PQT_REG: an offset in bits 18:5.</summary>
    public ulong Head
    {
        get => _head;
        set => _head = value & 0x7_FFE0;
    }

    /// <inheritdoc cref="Head"/>
    public ulong Tail
    {
        get => _tail;
        set => _tail = value & 0x7_FFE0;
    }

    /// <summary>PRS_REG.</summary>
    public uint Status => (_pending ? VtdRegisters.PendingPageRequest : 0) | (_overflow ? VtdRegisters.PageRequestOverflow : 0);

    /// <summary>PRO: requests are not queued until software has cleared it.</summary>
    public bool IsOverflowed => _overflow;

    /// <summary>2^(PQS + 7) entries.</summary>
    private ulong Bytes => 4096UL << (int)(_address & 7);

    /// <summary>Puts a request into the queue; false if there is no room, or was none since software last looked.</summary>
    public bool TryAdd<TMemory>(TMemory memory, in PageRequest request)
        where TMemory : struct, IPhysicalMemory
    {
        if (_overflow) return false;
        ulong next = (_tail + EntryBytes) % Bytes;
        if (next == _head)
        {
            RaiseIfQuiet();
            _overflow = true;
            return false;
        }

        var at = new PhysAddr((_address & PageLevels.FrameMask) + _tail);
        // A write to where no memory is goes nowhere; the unit does not learn of it.
        if (memory.Contains(PhysRange.FromLength(at, EntryBytes))) Write(memory, at, request);
        _tail = next;
        RaiseIfQuiet();
        _pending = true;
        return true;
    }

    /// <summary>Write 1 to clear: PPR and PRO. Whether PRO went away.</summary>
    public bool ClearStatus(uint bits)
    {
        bool clearsOverflow = _overflow && (bits & VtdRegisters.PageRequestOverflow) != 0;
        if (clearsOverflow) _overflow = false;
        if ((bits & VtdRegisters.PendingPageRequest) != 0) _pending = false;
        if (!_pending && !_overflow) Event.Serve();
        return clearsOverflow;
    }

    private static void Write<TMemory>(TMemory memory, PhysAddr at, in PageRequest request)
        where TMemory : struct, IPhysicalMemory
    {
        ulong low = PageGroupRequest | (ulong)(request.Source.Value & 0xFFFF) << 16;
        if (request.Prefix is { } prefix)
        {
            low |= 1UL << 8 | (ulong)prefix.Pasid.Value << 32
                | (prefix.Execute && request.Read ? 1UL << 52 : 0)
                | (prefix.Privileged ? 1UL << 53 : 0);
        }

        ulong high = (request.Page.Value & PageLevels.FrameMask)
            | (request.Read ? 1UL : 0) | (request.Write ? 1UL << 1 : 0) | (request.IsLast ? 1UL << 2 : 0)
            | (ulong)request.Group << 3;
        memory.Write64(at, low);
        memory.Write64(at + 8, high);
        memory.Write64(at + 16, 0);
        memory.Write64(at + 24, 0);
    }

    /// <summary>The event is for the first of what software has not served yet, whichever of the two it is.</summary>
    private void RaiseIfQuiet()
    {
        if (!_pending && !_overflow) Event.Raise();
    }
}
