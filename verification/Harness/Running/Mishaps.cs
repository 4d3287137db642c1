using Harness.Operations;
using Platform;
using Vcmm.Vtd;

namespace Harness.Running;

/// <summary>Makes things go wrong between the library and its machine, while a step with a mishap runs.</summary>
public sealed class Mishaps(IMmio registers) : IMmio, IWaitPolicy
{
    private const uint QueueTail = 0x88;

    // Hardware that answers at all answers before the first poll: both machines consume the queue in the write to its tail.
    private const int MostPolls = 16;

    private Mishap? _armed;
    private int _count;

    /// <summary>Whether an allocation was refused since <see cref="Arm"/>.</summary>
    public bool MemoryFailed { get; private set; }

    /// <summary>Whether a write of the queue's tail was lost since <see cref="Arm"/>.</summary>
    public bool HardwareFailed { get; private set; }

    /// <summary>A step begins.</summary>
    public void Arm(Mishap? mishap)
    {
        _armed = mishap;
        _count = 0;
        MemoryFailed = false;
        HardwareFailed = false;
    }

    /// <summary>Whether the allocation that is asked for is to be refused.</summary>
    public bool TakesMemoryAway()
    {
        if (!Strikes(MishapKind.Memory)) return false;
        MemoryFailed = true;
        return true;
    }

    /// <inheritdoc/>
    public uint Read32(uint offset) => registers.Read32(offset);

    /// <inheritdoc/>
    public ulong Read64(uint offset) => registers.Read64(offset);

    /// <inheritdoc/>
    public void Write32(uint offset, uint value) => registers.Write32(offset, value);

    /// <inheritdoc/>
    public void Write64(uint offset, ulong value)
    {
        if (offset == QueueTail && Strikes(MishapKind.Hardware)) HardwareFailed = true;
        else registers.Write64(offset, value);
    }

    /// <inheritdoc/>
    public long Begin() => 0;

    /// <inheritdoc/>
    public bool KeepWaiting(long begun, int attempt) => attempt < MostPolls;

    private bool Strikes(MishapKind kind) => _armed is { } mishap && mishap.Kind == kind && ++_count == mishap.Number;
}
