using Explorer.Faults;
using Explorer.Machines;
using Explorer.Oracles;
using Explorer.Replaying;
using Explorer.Races;
using Explorer.Scheduling;
using Harness.Foreign;
using Harness.Scenarios;
using IommuSim;
using Platform;
using Vcmm;

namespace Explorer.Scripts;

/// <summary>
/// The simulator as the machine of a script: the library's words of memory and the IOMMU's steps are steps of the schedule, and what looks on from outside sees
/// memory and the root pointer without making any.
/// </summary>
internal sealed partial class ScriptMachine : IVtdMachine
{
    private const int FirstSlot = 4;
    private const int FrameLog2 = 12;
    private static readonly MemoryPool Pool = new(SimulatedVtd.MemoryRange);
    private readonly Attempt _attempt;
    private readonly AccessRaces _races;
    private readonly PlantedFault _fault;
    private readonly WeakMemory? _weak;
    private readonly ScriptDevice[] _devices;
    private readonly bool _interrupts, _hasQueue;
    private bool _isAtWork;
    private readonly KnownRegisters _known;

    /// <summary>A machine with all memory zero.</summary>
    /// <param name="attempt">The schedule.</param>
    /// <param name="topology">The machine.</param>
    /// <param name="isTable">Whether the IOMMU may walk through an address.</param>
    /// <param name="fault">What is wrong on purpose.</param>
    /// <param name="ledger">What accesses are held to that wait for pages.</param>
    public ScriptMachine(Attempt attempt, Topology topology, Func<PhysAddr, bool> isTable, PlantedFault fault, Ledger ledger)
    {
        _attempt = attempt;
        _coreSides = new(attempt, isTable);
        _fault = fault;
        (_interrupts, _hasQueue) = (topology.Events != EventUse.Polled, topology.QueuedInvalidation);
        attempt.Races = _races = new(attempt, IsOfQueues);
        Pool.Reset();
        if (!topology.CoherentWalk) _weak = Machine.CreateWeakMemory(Pool, MemoryModel.NonCoherentWalks, attempt, fault, IsQueue);
        Memory = new UnseenMemory(Pool, _weak);
        bool arePaging = topology.Devices.Contains(DeviceKind.Paging);
        var hardware = new HardwareSide(attempt, isTable) { Written = arePaging ? (address, value) => Paging!.Written(address, value) : static (_, _) => { } };
        var steps = new ControlledSteps(attempt) { LookedUp = arePaging ? address => Paging!.LookUp(address) : null };
        Iommu = new(new(Pool, hardware, _weak, MemorySide.Walker, _races), topology.ToOptions() with { Commands = CommandMode.Manual }, steps);
        Pump = new(Iommu) { Idle = _weak is null ? null : () => Machine.CheckQueue(attempt, Iommu) };
        _known = new(Iommu);
        Registers = new WatchedRegisters(_known, _races);
        Paging = new(attempt, ledger, Pump) { Queue = () => _known.PageRequests };
        _devices = [.. topology.Devices.Select((kind, index) => new ScriptDevice(Iommu, side => new(Pool, side, _weak, MemorySide.Device, _races), kind, StreamId.Pci(0, FirstSlot + index, 0), new ControlledSteps(attempt), Paging))];
    }

    private bool IsOfQueues(PhysAddr word) =>
        IsQueue(word) || (_known.PageRequests != 0 && word.Value >> FrameLog2 == _known.PageRequests >> FrameLog2);

    private bool IsQueue(PhysAddr word) => word.Value >> FrameLog2 == _known.Queue >> FrameLog2;

    /// <inheritdoc/>
    public string Name => "simulator, controlled";

    /// <inheritdoc/>
    public PhysRange Window => SimulatedVtd.MemoryRange;

    /// <summary>The memory as those see it who look on.</summary>
    public IPhysicalMemory Memory { get; }

    /// <summary>The memory as the library and its driver have it.</summary>
    public IPhysicalMemory LibraryMemory => new ControlledMemory(Pool, new LibrarySide(_attempt), _weak, races: _races) { StoresForExchanges = _fault.StoresForExchanges };

    /// <summary>The memory as the driver has it.</summary>
    public IPhysicalMemory DriverMemory =>
        _fault.LeavesDeviceTlbsOut ? new NoDeviceTlbs(LibraryMemory, IsQueue)
        : _fault.LeavesDrainsOut ? new NoDrains(LibraryMemory, IsQueue)
        : _fault.AnswersAtDetach != WrongAnswers.None ? new AnswersAtDetach(LibraryMemory, IsQueue, _fault.AnswersAtDetach)
        : LibraryMemory;

    /// <inheritdoc/>
    public IMmio Registers { get; }

    /// <summary>The devices, for before and after the schedule.</summary>
    public IReadOnlyList<IDmaDevice> Devices => _devices;

    /// <inheritdoc/>
    /// <remarks>Where software does not wait for interrupts nobody asks for any, which would be steps.</remarks>
    public bool TryListen(Action<InterruptMessage> listener)
    {
        if (_interrupts) Iommu.Interrupt += listener;
        return _interrupts;
    }

    /// <inheritdoc/>
    /// <remarks>While threads run nothing: the harness asks while it holds a lock of its own. <see cref="WhoElseReaches"/> is asked then.</remarks>
    public IReadOnlyList<DeviceTlbEntry> TlbOf(int device) => _isAtWork ? [] : _devices[device].Ats?.Tlb ?? [];

    /// <summary>The IOMMU.</summary>
    public VtdIommu<ControlledMemory, ControlledSteps> Iommu { get; }

    /// <summary>What devices do that ask for pages.</summary>
    public PagingDevices Paging { get; }

    /// <summary>What consumes its commands.</summary>
    public CommandPump Pump { get; }

    /// <summary>How its pages stand, for who looks on while the schedule is run again.</summary>
    /// <param name="ownerOf">Who has a frame, in a few words.</param>
    public PageStates CreateStates(Func<PhysAddr, string> ownerOf) =>
        new(Memory, Iommu.Options, new(Registers.Read64(KnownRegisters.RootTableAddress)), Iommu.PeekIotlb, ownerOf);

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    /// <summary>The registers; where the root table is can be asked without the unit's lock, so by whoever must not wait for it.</summary>
    private sealed class KnownRegisters(IMmio registers) : IMmio
    {
        public const uint RootTableAddress = 0x20;
        private const uint QueueAddress = 0x90, PageRequestQueueAddress = 0xD0;
        private ulong _root = registers.Read64(RootTableAddress);

        /// <summary>The command queue's address, as it was written.</summary>
        public ulong Queue { get; private set; }

        /// <summary>The page request queue's address, as it was written.</summary>
        public ulong PageRequests { get; private set; }

        public uint Read32(uint offset) => registers.Read32(offset);

        public void Write32(uint offset, uint value)
        {
            registers.Write32(offset, value);
            if (offset is RootTableAddress or RootTableAddress + sizeof(uint)) _root = registers.Read64(RootTableAddress);
        }

        public ulong Read64(uint offset) => offset == RootTableAddress ? _root : registers.Read64(offset);

        public void Write64(uint offset, ulong value)
        {
            registers.Write64(offset, value);
            if (offset == QueueAddress) Queue = value;
            if (offset == PageRequestQueueAddress) PageRequests = value;
            if (offset == RootTableAddress) _root = registers.Read64(offset);
        }
    }
}
