using Explorer.Machines;
using Explorer.Oracles;
using Explorer.Scheduling;
using IommuSim;
using Microsoft.Coyote.Rewriting;
using Platform;
using Vcmm;
using Vcmm.Spec;

namespace Explorer.Scripts;

/// <summary>
/// What devices of a script do that ask for pages: an access that may not reach its page waits, on the thread that makes it, until the device is answered. Whoever
/// answers goes on with the access, so whose bytes move, and who asks for a page, is known by where in a page each thread's accesses are.
/// </summary>
/// <param name="attempt">Where checks go.</param>
/// <param name="ledger">What accesses are held to.</param>
/// <param name="pump">What consumes answers.</param>
[SkipRewriting("Keeping the books must not add steps to the schedule.")]
internal sealed class PagingDevices(Attempt attempt, Ledger ledger, CommandPump pump)
{
    /// <summary>Where in a page the accesses of the first thread are; those of the next follow.</summary>
    public const ulong FirstOffset = 0x10;

    private const ulong DescriptorBytes = 32, SecondWord = 8, FrameLog2 = 12;
    private readonly Dictionary<ulong, DeviceSide> _sides = [];
    private readonly Dictionary<string, ulong> _lookups = [];

    /// <summary>How many threads wait for a page.</summary>
    public int Waiting { get; private set; }

    /// <summary>Where the hardware's queue of page requests is: one frame.</summary>
    public Func<ulong> Queue { get; init; } = static () => 0;

    /// <summary>Where in a page the accesses of a thread are.</summary>
    public static ulong OffsetOf(int thread) => FirstOffset + (ulong)thread * sizeof(ulong);

    /// <summary>Whose access is at that place of a page; null: nobody's.</summary>
    public DeviceSide? SideAt(ulong offset) => _sides.GetValueOrDefault(offset);

    /// <summary>The calling agent goes on with an access there.</summary>
    public void LookUp(Iova address) => _lookups[Attempt.Agent] = address.Value % Ledger.PageBytes;

    /// <summary>The hardware has written a word: the second of a page request tells of it.</summary>
    public void Written(PhysAddr address, ulong value)
    {
        ulong queue = Queue();
        if (queue == 0 || address.Value >> (int)FrameLog2 != queue >> (int)FrameLog2 || address.Value % DescriptorBytes != SecondWord) return;
        if (SideAt(_lookups[Attempt.Agent])?.Window is not { } window) throw new InvalidOperationException("a page is asked for outside an access");
        if (window.Request is not null) attempt.Reach(States.AskedAgain);
        attempt.Check(Invariant.TablesAreTruth, window.MayBeBlocked, () => $"{window} asks for its page", static () => "mapped all the while, so let through");
        attempt.Check(Invariant.FaultExact, ledger.NoteAsked(window));
    }

    /// <summary>What a device does that may wait.</summary>
    /// <param name="device">The device.</param>
    /// <param name="side">What it is held to.</param>
    /// <param name="hasHook">Whether it has a hook all the while.</param>
    public DeviceMove Play(AtsDevice<ControlledMemory, ControlledSteps> device, DeviceSide side, bool hasHook) => (address, writes, bytes, prefix) =>
    {
        _sides[address.Value % Ledger.PageBytes] = side;
        DeviceAccessWindow window = side.Window!;
        DmaTransfer transfer = writes ? device.Write(address, bytes, prefix) : device.Read(address, bytes.Length, prefix);
        if (transfer.Outcome == AccessOutcome.Stalled) Wait(window, transfer);
        bool isDone = transfer.Outcome == AccessOutcome.Completed;
        if (window.HasWaited)
        {
            attempt.Reach(States.Waited);
            attempt.Reach(isDone ? States.WentOn : States.Failed);
        }

        if (!isDone)
        {
            if (window.HasWaited && (window.Causes & FaultCauses.NotAttached) != 0) attempt.Reach(States.EndedWaiting);
            attempt.Check(Invariant.FaultExact, ledger.NoteRefused(window, hasHook));
        }

        window.Request = null;
        return isDone ? null : $"{transfer.Reason}";
    };

    /// <summary>Until the access is over. It goes on where an answer is consumed.</summary>
    private void Wait(DeviceAccessWindow window, DmaTransfer transfer)
    {
        attempt.Check(Invariant.Progress, ledger.NoteStalled(window, () => IsOver(transfer)));
        Waiting++;
        while (true)
        {
            long seen = pump.Events;
            // A task of a schedule that has ended is not paused any more, and nobody answers it.
            if (transfer.Outcome != AccessOutcome.Stalled || attempt.IsOver) break;
            Controlled.WaitUntil(() => pump.Events != seen);
        }

        Waiting--;
    }

    private static bool IsOver(DmaTransfer transfer)
    {
        using (Controlled.Quietly()) return transfer.Outcome != AccessOutcome.Stalled;
    }
}
