using Platform;

namespace IommuSim.Machinery;

/// <summary>Who consumes the commands of a ring.</summary>
internal interface ICommandConsumer
{
    /// <summary>Consumes the next command, and those that follow on if it likes.</summary>
    /// <returns>How many, at most <paramref name="most"/>; 0 if there is none, or none that can be consumed now.</returns>
    int ConsumeNext(int most);
}

/// <summary>
/// A ring of commands: software writes them and moves the producer's position on, the hardware fetches them one after the other. A command
/// that cannot be taken stops the ring where it is, until software has seen to it.
/// </summary>
/// <remarks>
/// <para><b>Source.</b> Stopping at an error, with the consumer's position at the command: Intel VT-d specification, Hardware Handling of
/// Queued Invalidation Interface Errors (FSTS.IQE, ITE); Arm SMMUv3 architecture specification (IHI 0070), 7.1 Command queue errors
/// (GERROR.CMDQ_ERR); RISC-V IOMMU specification 1.0, <c>cqcsr</c> (<c>cqmf</c>, <c>cmd_to</c>, <c>cmd_ill</c>); AMD I/O Virtualization
/// Technology specification (48882), Command Buffer (CmdBufRun).</para>
/// <para><b>Threads.</b> Under the unit's lock, but for <see cref="Consume"/>, which must be called without it; who fetches a command looks
/// without the lock, and asks <see cref="IsStill"/> under it before the command takes effect.</para>
/// </remarks>
internal sealed class CommandRing
{
    // Held over a whole command, so that commands take effect one after the other; taken before the unit's lock, never after it.
    private readonly object _turn = new();
    private bool _isConsuming;
    private RingLayout _layout;
    private bool _isOn;
    private readonly Func<bool> _isStopped;
    private ulong _generation;
    private ulong _producer;
    private ulong _consumer;

    /// <param name="layout">Where the ring is.</param>
    /// <param name="isStopped">Whether an error stands that software has not seen to: whoever tells software of errors knows. The consumer's position then stays.</param>
    public CommandRing(in RingLayout layout, Func<bool> isStopped) => (_layout, _isStopped) = (layout, isStopped);

    /// <summary>Software changes it while the ring is off.</summary>
    public ref readonly RingLayout Layout => ref _layout;

    /// <summary>Behind the last command: as software wrote it, so perhaps no position of an entry. Then nothing is consumed.</summary>
    public ulong Producer
    {
        get => _producer;
        set => _producer = value;
    }

    /// <summary>The next command, or the one that stopped the ring.</summary>
    public ulong Consumer => _consumer;

    /// <summary>Whether software has switched the ring on.</summary>
    public bool IsOn => _isOn;

    /// <summary>Whether commands are fetched: not while an error stands.</summary>
    public bool IsRunning => _isOn && !_isStopped();

    /// <summary>Which time it is that the ring is on: what was fetched before is of no effect after.</summary>
    public ulong Generation => Volatile.Read(ref _generation);

    public bool HasPending => _consumer != _producer && _layout.IsEntry(_producer);

    public PhysAddr NextAddress => _layout.AddressOf(_consumer);

    public void Place(in RingLayout layout) => _layout = layout;

    /// <summary>The ring goes on or off, and begins anew at the consumer's position.</summary>
    public void Switch(bool isOn, ulong consumer)
    {
        _isOn = isOn;
        _consumer = consumer;
        // Last: who looks without the lock and sees it sees what comes before it.
        Volatile.Write(ref _generation, _generation + 1);
    }

    /// <summary>The command is consumed.</summary>
    public void Advance() => _consumer = _layout.Next(_consumer);

    /// <summary>Whether what was fetched in <paramref name="generation"/> may still take effect.</summary>
    public bool IsStill(ulong generation) => generation == _generation && IsRunning;

    /// <summary>Consumes commands while there are any, as the only one who does.</summary>
    /// <returns>How many, at most <paramref name="most"/>; 0 for who is called by a command that is being consumed.</returns>
    public int Consume(ICommandConsumer consumer, int most)
    {
        lock (_turn)
        {
            // A step of a command that itself asks for the next one: it is not its turn.
            if (_isConsuming) return 0;
            _isConsuming = true;
            try
            {
                int count = 0;
                while (count < most)
                {
                    int consumed = consumer.ConsumeNext(most - count);
                    if (consumed == 0) break;
                    count += consumed;
                }

                return count;
            }
            finally
            {
                _isConsuming = false;
            }
        }
    }
}
