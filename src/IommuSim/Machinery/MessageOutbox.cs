namespace IommuSim.Machinery;

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
