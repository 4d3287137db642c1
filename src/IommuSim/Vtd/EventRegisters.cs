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
    private uint _control = Mask;
    private uint _data;
    private ulong _address;

    public ulong ControlAndData => _control | (ulong)_data << 32;

    public ulong Address => _address;

    /// <summary>A message that is pending goes out when the mask goes.</summary>
    public void StoreControlAndData(ulong value)
    {
        _control = (_control & Pending) | ((uint)(value & 0xFFFF_FFFF) & Mask);
        _data = (uint)(value >> 32);
        if (_control != Pending) return;
        _control = 0;
        Send();
    }

    public void StoreAddress(ulong value) => _address = value & ~3UL;

    /// <summary>The condition of the event came up: while the event is masked the message stays pending.</summary>
    public void Raise()
    {
        if ((_control & Mask) != 0) _control |= Pending;
        else Send();
    }

    /// <summary>Software served everything that the pending message was about.</summary>
    public void Serve() => _control &= ~Pending;

    private void Send() => outbox.Add(new(new(_address), _data));
}

/// <summary>The messages that go out as soon as no lock is held.</summary>
/// <remarks><b>Threads.</b> Under the unit's lock; whether there are any can be asked without.</remarks>
internal sealed class MessageOutbox
{
    private readonly List<InterruptMessage> _messages = [];
    private volatile bool _isFilled;

    public bool IsFilled => _isFilled;

    public void Add(InterruptMessage message)
    {
        _messages.Add(message);
        _isFilled = true;
    }

    public InterruptMessage[] TakeAll()
    {
        InterruptMessage[] taken = [.. _messages];
        _messages.Clear();
        _isFilled = false;
        return taken;
    }
}
