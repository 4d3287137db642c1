using IommuSim.Machinery;

namespace IommuSim;

/// <summary>The control, data and address registers of one of the unit's three events (fault, invalidation completion, page request).</summary>
/// <remarks>
/// <para><b>Source.</b> Intel VT-d specification, Fault Event Control Register, Invalidation Event Control Register, Page Request
/// Event Control Register.</para>
/// <para><b>Threads.</b> Under the unit's lock.</para>
/// </remarks>
internal sealed class EventRegisters(MessageOutbox outbox)
{
    private const uint Mask = 1u << 31;
    private const uint Pending = 1u << 30;

    /// <summary>The conditions are bits of the event's status register.</summary>
    public EventLine Line { get; } = new(outbox, MessageRule.First, MaskRule.KeepsPending);

    public ulong ControlAndData => (Line.IsMasked ? Mask : 0) | (Line.IsPending ? Pending : 0) | (ulong)Line.Message.Data << 32;

    public ulong Address => Line.Message.Address.Value;

    /// <summary>A message that is pending goes out when the mask goes.</summary>
    public void StoreControlAndData(ulong value)
    {
        Line.Message = Line.Message with { Data = (uint)(value >> 32) };
        Line.IsMasked = (value & Mask) != 0;
    }

    public void StoreAddress(ulong value) => Line.Message = Line.Message with { Address = new(value & ~3UL) };
}
