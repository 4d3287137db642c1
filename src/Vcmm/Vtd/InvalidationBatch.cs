using Platform;

namespace Vcmm.Vtd;

/// <summary>Commands that the hardware is given together and waited for once; more than its queue holds go in several parts.</summary>
internal ref struct InvalidationBatch<TMemory>
    where TMemory : struct, IPhysicalMemory
{
    private readonly InvalidationQueue<TMemory> _queue;
    private readonly Span<InvalidationDescriptor> _commands;
    private int _count;
    private VcmmError _error;

    /// <param name="queue">The queue.</param>
    /// <param name="commands">Room for 1 … <see cref="InvalidationQueue{TMemory}.Capacity"/> commands.</param>
    public InvalidationBatch(InvalidationQueue<TMemory> queue, Span<InvalidationDescriptor> commands)
    {
        _queue = queue;
        _commands = commands;
    }

    public void Add(InvalidationDescriptor command)
    {
        // Ranges of one domain that both take all of it.
        if (_count != 0 && _commands[_count - 1] == command) return;
        if (_count == _commands.Length) Flush();
        _commands[_count++] = command;
    }

    /// <summary>Waits until everything that was added is complete.</summary>
    /// <returns><see cref="VcmmError.HardwareFailure"/> if a part of it is not known to be.</returns>
    public VcmmError Submit()
    {
        if (_count != 0) Flush();
        return _error;
    }

    private void Flush()
    {
        VcmmError error = _queue.Submit(_commands[.._count]);
        if (error != VcmmError.None) _error = error;
        _count = 0;
    }
}
