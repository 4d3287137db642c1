using System.Runtime.InteropServices;
using Harness.Operations;
using Platform;
using Vcmm.Vtd;

namespace Harness.Running;

/// <summary>Makes things go wrong between the library and its machine, while a step with a mishap runs.</summary>
/// <param name="registers">The machine's registers.</param>
/// <param name="caller">Says who calls, where several call at once and each has mishaps of its own; null: one calls.</param>
public sealed class Mishaps(IMmio registers, Func<string>? caller = null) : IMmio, IWaitPolicy
{
    // The tail of the queue; and where there is none the context command and the IOTLB command, which are busy until they are done.
    private const uint QueueTail = 0x88, ContextCommand = 0x28, IotlbCommand = 0xF8;
    private const ulong Busy = 1UL << 63;

    // Hardware that answers at all answers before the first poll: both machines consume the queue in the write to its tail.
    private const int MostPolls = 16;

    private readonly Armed _one = new();
    private readonly Dictionary<string, Armed> _callers = [];
    private int _toldCount;

    /// <summary>Whether an allocation was refused since <see cref="Arm"/>.</summary>
    public bool MemoryFailed => Now.MemoryFailed;

    /// <summary>Whether a write of the queue's tail, or of a command, was lost since <see cref="Arm"/>.</summary>
    public bool HardwareFailed => Now.HardwareFailed;

    /// <summary>Whether anything that was told the hardware was ever lost.</summary>
    public bool HasBeenUnheard { get; private set; }

    /// <summary>Whether a write of the queue's tail was lost in a step of anybody's that is still under way.</summary>
    public bool IsAnybodyUnheard
    {
        get
        {
            if (caller is null) return _one.HardwareFailed;
            lock (_callers) return _callers.Values.Any(static armed => armed.HardwareFailed);
        }
    }

    /// <summary>Whether what the caller told the hardware last was lost, and nobody has told it anything since: it will not answer.</summary>
    public bool IsUnheard => Now.HardwareFailed && Now.LostAfter == _toldCount;

    private Armed Now
    {
        get
        {
            if (caller is null) return _one;
            lock (_callers) return CollectionsMarshal.GetValueRefOrAddDefault(_callers, caller(), out _) ??= new();
        }
    }

    /// <summary>A step begins.</summary>
    public void Arm(Mishap? mishap)
    {
        Armed now = Now;
        now.Mishap = mishap;
        now.Count = 0;
        now.MemoryFailed = false;
        now.HardwareFailed = false;
    }

    /// <summary>Whether the allocation that is asked for is to be refused.</summary>
    public bool TakesMemoryAway()
    {
        if (!Strikes(MishapKind.Memory)) return false;
        Now.MemoryFailed = true;
        return true;
    }

    /// <inheritdoc/>
    public uint Read32(uint offset) => registers.Read32(offset);

    /// <inheritdoc/>
    public ulong Read64(uint offset)
    {
        ulong value = registers.Read64(offset);
        if (offset is not (ContextCommand or IotlbCommand)) return value;
        Armed now = Now;
        return now.BusyReads != 0 && now.BusyRegister == offset && now.BusyReads-- != 0 ? value | Busy : value;
    }

    /// <inheritdoc/>
    public void Write32(uint offset, uint value) => registers.Write32(offset, value);

    /// <inheritdoc/>
    public void Write64(uint offset, ulong value)
    {
        bool tells = offset is QueueTail or ContextCommand or IotlbCommand;
        if (tells && Strikes(MishapKind.Hardware))
        {
            Armed now = Now;
            now.HardwareFailed = true;
            now.LostAfter = _toldCount;
            // Nobody is told that the command is done, until whoever waits for it has given up.
            if (offset != QueueTail) (now.BusyRegister, now.BusyReads) = (offset, MostPolls);
            HasBeenUnheard = true;
            return;
        }

        if (tells) Interlocked.Increment(ref _toldCount);
        registers.Write64(offset, value);
    }

    /// <inheritdoc/>
    public long Begin() => 0;

    /// <inheritdoc/>
    public bool KeepWaiting(long begun, int attempt) => attempt < MostPolls;

    private bool Strikes(MishapKind kind)
    {
        Armed now = Now;
        return now.Mishap is { } mishap && mishap.Kind == kind && ++now.Count == mishap.Number;
    }

    private sealed class Armed
    {
        public Mishap? Mishap { get; set; }

        public int Count { get; set; }

        public bool MemoryFailed { get; set; }

        public bool HardwareFailed { get; set; }

        public int LostAfter { get; set; }

        public uint BusyRegister { get; set; }

        public int BusyReads { get; set; }
    }
}
