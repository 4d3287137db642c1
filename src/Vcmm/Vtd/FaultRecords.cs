using Platform;

namespace Vcmm.Vtd;

/// <summary>The fault recording registers, a ring.</summary>
/// <remarks>
/// <b>Threads.</b> Any number at once. <b>Source.</b> VT-d specification, "Fault Recording Registers", "Fault Status Register".
/// </remarks>
internal sealed class FaultRecords(IMmio registers, VtdCapabilities capabilities)
{
    // Bits of the record's second word.
    private const int Fault = 63;
    private const int ReadType = 62;
    private const int PasidShift = 40;
    private const ulong PasidMask = 0xF_FFFF;
    private const int ReasonShift = 32;
    private const int HasPasid = 31;
    private const int Executes = 30;
    private const int Privileged = 29;
    private const int SecondType = 28;

    [LockRank(LockRank.Faults)]
    private readonly object _gate = new();
    private uint _next;

    /// <summary>Whether faults were lost since somebody asked.</summary>
    private bool _hasOverflowed;

    /// <summary>Takes the oldest fault. Hardware that has lost some records no more until it is told to: it is told when all are taken.</summary>
    /// <param name="fault">The fault.</param>
    /// <param name="hasStopped">If there is none, whether the status says that the invalidation queue stands still at an error.</param>
    public bool TryTake(out DeviceFault fault, out bool hasStopped)
    {
        lock (_gate)
        {
            fault = default;
            hasStopped = false;
            if (!Bit(registers.Read64(OffsetOf(_next) + 8), Fault))
            {
                // The hardware may have begun elsewhere, at the record that FSTS.FRI names. It names one only while a fault is
                // pending: without one the ring goes on where it is, or the next look could begin in the middle of what comes.
                uint status = registers.Read32(VtdRegisters.FaultStatus);
                if ((status & VtdRegisters.PrimaryPendingFault) == 0)
                {
                    ClearOverflow(status);
                    hasStopped = (status & VtdRegisters.InvalidationErrors) != 0;
                    return false;
                }

                _next = (status >> 8 & 0xFF) % capabilities.FaultRecordCount;
            }

            uint record = OffsetOf(_next);
            ulong high = registers.Read64(record + 8);
            ulong low = registers.Read64(record);
            // Hardware that is gone reads as all ones, for ever.
            if (!Bit(high, Fault) || high == ulong.MaxValue) return false;
            fault = Decode(low, high);
            // Writing F, in the record's last word, clears it.
            // Survives as `Fault + 32`: equivalent, a word of 32 bits is shifted by the count modulo 32
            registers.Write32(record + 12, 1u << (Fault - 32));
            _next = (_next + 1) % capabilities.FaultRecordCount;
            return true;
        }
    }

    public bool TakeOverflow()
    {
        lock (_gate)
        {
            ClearOverflow(registers.Read32(VtdRegisters.FaultStatus));
            bool hasOverflowed = _hasOverflowed;
            _hasOverflowed = false;
            return hasOverflowed;
        }
    }

    private void ClearOverflow(uint status)
    {
        if ((status & VtdRegisters.PrimaryFaultOverflow) == 0) return;
        registers.Write32(VtdRegisters.FaultStatus, VtdRegisters.PrimaryFaultOverflow);
        _hasOverflowed = true;
    }

    private static DeviceFault Decode(ulong low, ulong high)
    {
        // Execute and privilege were asked for only by requests that can ask: those with a PASID.
        bool hasPasid = Bit(high, HasPasid);
        Access access = (Bit(high, ReadType), Bit(high, SecondType)) switch
        {
            (false, false) => Access.Write,
            (true, true) => Access.ReadWrite,    // an atomic operation
            (false, true) => Access.None,    // a page request: the record does not say what for
            (true, false) => Access.Read,
        };
        uint reason = (uint)(high >> ReasonShift & 0xFF);
        return new(
            new StreamId((uint)(high & 0xFFFF)),
            hasPasid ? new Pasid((uint)(high >> PasidShift & PasidMask)) : null,
            new Iova(low & ~0xFFFUL),
            hasPasid && Bit(high, Executes) ? access | Access.Execute : access,
            reason)
        {
            Cause = FaultReasons.CauseOf(reason),
            IsPrivileged = hasPasid && Bit(high, Privileged),
        };
    }

    private static bool Bit(ulong word, int bit) => (word >> bit & 1) != 0;

    private uint OffsetOf(uint index) => capabilities.FaultRecordOffset + index * VtdRegisters.FaultRecordBytes;
}
