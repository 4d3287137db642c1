using Explorer.Faults;
using Explorer.Machines;
using Explorer.Oracles;
using Explorer.Replaying;
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
internal sealed class ScriptMachine : IVtdMachine
{
    private const int FirstSlot = 4;
    private const int FrameLog2 = 12;
    private static readonly MemoryPool Pool = new(SimulatedVtd.MemoryRange);
    private readonly Attempt _attempt;
    private readonly AccessRaces _races;
    private readonly bool _storesForExchanges;
    private readonly KnownRegisters _known;

    /// <summary>A machine with all memory zero.</summary>
    /// <param name="attempt">The schedule.</param>
    /// <param name="topology">The machine.</param>
    /// <param name="isTable">Whether the IOMMU may walk through an address.</param>
    /// <param name="fault">What is wrong on purpose.</param>
    public ScriptMachine(Attempt attempt, Topology topology, Func<PhysAddr, bool> isTable, PlantedFault fault)
    {
        _attempt = attempt;
        _storesForExchanges = fault.StoresForExchanges;
        _races = new(attempt, IsQueue);
        Pool.Reset();
        Iommu = new(new(Pool, new HardwareSide(attempt, isTable), null, MemorySide.Walker, _races), topology.ToOptions() with { Commands = CommandMode.Manual }, new ControlledSteps(attempt));
        Pump = new(Iommu);
        Registers = _known = new(Iommu);
        Devices = [.. topology.Devices.Select((_, index) => new Unwatched(new(Iommu, new(Pool, new Nobody()), StreamId.Pci(0, FirstSlot + index, 0))))];
    }

    private bool IsQueue(PhysAddr word) => word.Value >> FrameLog2 == _known.Queue >> FrameLog2;

    /// <inheritdoc/>
    public string Name => "simulator, controlled";

    /// <inheritdoc/>
    public PhysRange Window => SimulatedVtd.MemoryRange;

    /// <summary>The memory as those see it who look on.</summary>
    public IPhysicalMemory Memory { get; } = new UnseenMemory(Pool);

    /// <summary>The memory as the library and its driver have it.</summary>
    public IPhysicalMemory LibraryMemory => new ControlledMemory(Pool, new LibrarySide(_attempt), races: _races) { StoresForExchanges = _storesForExchanges };

    /// <inheritdoc/>
    public IMmio Registers { get; }

    /// <summary>The devices, for before and after the schedule.</summary>
    public IReadOnlyList<IDmaDevice> Devices { get; }

    /// <summary>The IOMMU.</summary>
    public VtdIommu<ControlledMemory, ControlledSteps> Iommu { get; }

    /// <summary>What consumes its commands.</summary>
    public CommandPump Pump { get; }

    /// <summary>How its pages stand, for who looks on while the schedule is run again.</summary>
    /// <param name="ownerOf">Who has a frame, in a few words.</param>
    public PageStates CreateStates(Func<PhysAddr, string> ownerOf) =>
        new(Memory, Iommu.Options, new(Registers.Read64(KnownRegisters.RootTableAddress)), Iommu.PeekIotlb, ownerOf);

    /// <summary>What a device does in the schedule, in one address space, on one thread.</summary>
    /// <param name="ledger">What it is held to.</param>
    /// <param name="space">The address space, as the ledger knows it.</param>
    /// <param name="device">The device's number.</param>
    /// <param name="pasid">The PASID of its requests; null: they have none.</param>
    /// <param name="isLive">Whether a frame is handed out.</param>
    /// <param name="isMapped">Whether a page is mapped in a table that the device may have.</param>
    public Accessor Play(Ledger ledger, StreamId space, int device, uint? pasid, Func<PhysAddr, bool> isLive, Func<Iova, bool> isMapped)
    {
        var side = new DeviceSide(_attempt, ledger, space, isLive, isMapped);
        var master = new BusMaster<ControlledMemory, ControlledSteps>(Iommu, new(Pool, side), Devices[device].Id);
        PasidPrefix? prefix = pasid is { } given ? new(new(given)) : null;
        string? Move(Iova address, Access kind)
        {
            Span<byte> bytes = stackalloc byte[8];
            DmaResult result = kind == Access.Read ? master.Read(address, bytes, prefix) : master.Write(address, bytes, prefix);
            return result.Ok ? null : $"{result.Reason}";
        }

        return new(_attempt, ledger, side, space, Move);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    private sealed class Unwatched(BusMaster<ControlledMemory, ControlledSteps> master) : IDmaDevice
    {
        public StreamId Id => master.Source;

        public bool Read(Iova address, Span<byte> destination, Pasid? pasid) => master.Read(address, destination, Prefix(pasid)).Ok;

        public bool Write(Iova address, ReadOnlySpan<byte> source, Pasid? pasid) => master.Write(address, source, Prefix(pasid)).Ok;

        private static PasidPrefix? Prefix(Pasid? pasid) => pasid is { } given ? new(new(given.Value)) : null;
    }

    private sealed class Nobody : IMemoryObserver
    {
        public void WordRead(PhysAddr address, ulong value)
        {
        }

        public void WordWritten(PhysAddr address, ulong value)
        {
        }

        public void BytesMoved(PhysAddr address, int byteCount, bool toMemory)
        {
        }
    }

    /// <summary>The registers; where the root table is can be asked without the unit's lock, so by whoever must not wait for it.</summary>
    private sealed class KnownRegisters(IMmio registers) : IMmio
    {
        public const uint RootTableAddress = 0x20;
        private const uint QueueAddress = 0x90;
        private ulong _root = registers.Read64(RootTableAddress);

        /// <summary>The command queue's address, as it was written.</summary>
        public ulong Queue { get; private set; }

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
            if (offset == RootTableAddress) _root = registers.Read64(offset);
        }
    }
}
