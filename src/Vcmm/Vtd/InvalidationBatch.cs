namespace Vcmm.Vtd;

/// <summary>Commands that the hardware is given together and waited for once; more than it takes at once go in several parts.</summary>
internal ref struct InvalidationBatch
{
    private readonly IInvalidations _invalidations;
    private readonly Span<InvalidationDescriptor> _commands;
    private int _count;
    private VcmmError _error;

    /// <param name="invalidations">How the hardware is told.</param>
    /// <param name="commands">Room for 1 … <see cref="IInvalidations.Capacity"/> commands.</param>
    public InvalidationBatch(IInvalidations invalidations, Span<InvalidationDescriptor> commands)
    {
        _invalidations = invalidations;
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
        VcmmError error = _invalidations.Submit(_commands[.._count]);
        if (error != VcmmError.None) _error = error;
        _count = 0;
    }
}
