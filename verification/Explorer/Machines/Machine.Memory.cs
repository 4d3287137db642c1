using Explorer.Faults;
using Explorer.Scheduling;
using Platform;
using Vcmm.Spec;

namespace Explorer.Machines;

// Memory as each side has it.
public sealed partial class Machine
{
    // VT-d specification, "Invalidation Queue Address Register": the address is in bits 63:12.
    private const uint QueueAddressRegister = 0x90;
    private const int FrameLog2 = 12;

    private readonly ulong _queue;

    private ControlledMemory Memory(IMemoryObserver observer, MemorySide side) => new(Pool, observer, _weak, side, _races)
    {
        StoresForExchanges = side == MemorySide.Processor && _fault.StoresForExchanges,
    };

    private WeakMemory CreateWeakMemory(MemoryModel model) => new(Pool, model, processorsSynchronize: true)
    {
        Reached = _attempt.Reach,
        IsOver = () => _attempt.IsOver,
        LeavesOutFence = _fault.LeavesOut switch
        {
            LeftOut.DoorbellFence => IsQueue,
            LeftOut.TableFence => address => !IsQueue(address),
            _ => null,
        },
        LeavesOutClean = _fault.LeavesOut switch
        {
            LeftOut.TableClean => (range, _) => !IsQueue(range.First),
            LeftOut.CleanOfAbsent => (range, word) => !IsQueue(range.First) && word == 0,
            _ => null,
        },
    };

    /// <summary>Whether a word is one of the invalidation queue, which is one frame. It is where it was once the driver has started.</summary>
    private bool IsQueue(PhysAddr address) => address.Value >> FrameLog2 == _queue >> FrameLog2;

    /// <summary>No scenario has a driver that queues what the hardware cannot take. If it stops, it took what was not written yet.</summary>
    private void CheckQueue()
    {
        long errors;
        using (Controlled.Quietly()) errors = Iommu.Statistics.QueueErrors;
        _attempt.Check(
            Invariant.Progress, errors == 0,
            () => "the IOMMU stopped at a descriptor that it cannot take",
            () => "the tail is written when the descriptors before it can be seen");
    }
}
