using Platform;

namespace Explorer.Faults;

/// <summary>Registers to which a driver writes that clears the pending status of page requests behind its look at the queue: what comes between is not told.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, "Page Request Queue Head and Tail Register" (C0h, C8h) and "Page Request Status Register" (DCh): PPR is bit 0.</remarks>
/// <param name="registers">The registers.</param>
internal sealed class ClearsLate(IMmio registers) : IMmio
{
    private const uint Head = 0xC0, Tail = 0xC8, Status = 0xDC, Pending = 1;
    private ulong _head;
    private bool _isOwed;

    public uint Read32(uint offset) => registers.Read32(offset);

    public ulong Read64(uint offset)
    {
        ulong value = registers.Read64(offset);
        if (offset != Tail || value != _head || !_isOwed) return value;
        _isOwed = false;
        registers.Write32(Status, Pending);
        return value;
    }

    public void Write32(uint offset, uint value)
    {
        if (offset == Status && value == Pending) _isOwed = true;
        else registers.Write32(offset, value);
    }

    public void Write64(uint offset, ulong value)
    {
        if (offset == Head) _head = value;
        registers.Write64(offset, value);
    }
}
