using Explorer.Faults;
using Explorer.Scheduling;
using IommuSim;
using Platform;
using Vcmm.Spec;

namespace Explorer.Machines;

// Memory as each side has it.
public sealed partial class Machine
{
    // VT-d specification, "Invalidation Queue Address Register": the address is in bits 63:12.
    private const uint QueueAddressRegister = 0x90;
    private const int FrameLog2 = 12;

    // VT-d specification, "Second-Stage Paging Entries": bits 0 and 1.
    private const ulong Read = 1, ReadAndWrite = 3;

    private readonly ulong _queue;

    private ControlledMemory Memory(IMemoryObserver observer, MemorySide side) => new(Pool, observer, _weak, side, _races)
    {
        StoresForExchanges = side == MemorySide.Processor && _fault.StoresForExchanges,
    };

    /// <summary>Sets a word before the threads start.</summary>
    public void Write(PhysAddr address, ulong value) => Pool.Port.Write64(address, value);

    /// <summary>Memory in which writes lag, with what the fault leaves out of ordering them.</summary>
    internal static WeakMemory CreateWeakMemory(MemoryPool pool, MemoryModel model, Attempt attempt, PlantedFault fault, Func<PhysAddr, bool> isQueue) => new(pool, model, processorsSynchronize: true)
    {
        Reached = attempt.Reach,
        IsOver = () => attempt.IsOver,
        LeavesOutFence = fault.LeavesOut switch
        {
            LeftOut.DoorbellFence => isQueue,
            LeftOut.TableFence => address => !isQueue(address),
            _ => null,
        },
        LeavesOutClean = fault.LeavesOut switch
        {
            LeftOut.CleanOfPresent => (range, word) => !isQueue(range.First) && word != 0,
            LeftOut.CleanOfAbsent => (range, word) => !isQueue(range.First) && word == 0,
            LeftOut.CleanOfReadOnly => (range, word) => !isQueue(range.First) && (word & ReadAndWrite) == Read,
            _ => null,
        },
    };

    /// <summary>Whether a word is one of the invalidation queue, which is one frame. It is where it was once the driver has started.</summary>
    private bool IsQueue(PhysAddr address) => address.Value >> FrameLog2 == _queue >> FrameLog2;

    /// <summary>No scenario has a driver that queues what the hardware cannot take. If it stops, it took what was not written yet.</summary>
    private void CheckQueue() => CheckQueue(_attempt, Iommu);

    /// <inheritdoc cref="CheckQueue()"/>
    internal static void CheckQueue(Attempt attempt, VtdIommu<ControlledMemory, ControlledSteps> iommu)
    {
        long errors;
        using (Controlled.Quietly()) errors = iommu.Statistics.QueueErrors;
        attempt.Check(
            Invariant.Progress, errors == 0,
            () => "the IOMMU stopped at a descriptor that it cannot take",
            () => "the tail is written when the descriptors before it can be seen");
    }
}
