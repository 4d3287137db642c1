using Harness.Foreign;
using Harness.Scenarios;
using IommuSim;
using IommuSim.Cpu;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Spec;
using Vcmm.Tables;
using Vcmm.Vtd;
using DeviceAccess = Vcmm.Spec.DeviceAccess;
using ReservationState = Vcmm.Spec.ReservationState;

namespace Harness.Running;

/// <summary>Parts of the library that stand in for its own: a test plants faults with them.</summary>
public sealed record SubjectParts
{
    /// <summary>The library as it is.</summary>
    public static SubjectParts Own { get; } = new();

    /// <summary>Given the driver; what the manager uses as the IOMMU.</summary>
    public Func<IIommu, IIommu> Iommu { get; init; } = static iommu => iommu;

    /// <summary>Given what stands where devices without an IOMMU have none; what the manager uses.</summary>
    public Func<IIommu, IIommu> NoIommu { get; init; } = static none => none;

    /// <summary>Given the allocator, which is under watch; what the manager uses.</summary>
    public Func<IBankedFrameSource, IFrameSource> Frames { get; init; } = static frames => frames;

    /// <summary>Given the machine's memory and the options of its cores; the cores.</summary>
    public Func<Ram, CpuOptions, SimulatedCpus> Cpus { get; init; } = static (memory, options) => new(memory, options);

    /// <summary>Given the options of the cores; the cores, where they are not to be <see cref="Cpus"/>; null: they are.</summary>
    public Func<CpuOptions, ICores>? ControlledCpus { get; init; }

    /// <summary>Given the machine's memory; what the tables of processes are written through.</summary>
    public Func<IPhysicalMemory, IPhysicalMemory> CpuMemory { get; init; } = static memory => memory;

    /// <summary>Given how regions that have adopted a table are told of its changes; how they are.</summary>
    public Func<Action<PhysAddr, IovaRange>, Action<PhysAddr, IovaRange>> Telling { get; init; } = static tell => tell;

    /// <summary>Given the CPU as a user of regions; what the manager uses as it.</summary>
    public Func<IIommu, IIommu> CpuIommu { get; init; } = static iommu => iommu;

    /// <summary>What hands out addresses; null: the library's own, with its cache before it or without, as the topology says.</summary>
    public Func<IovaRange, IRangeAllocator>? Ranges { get; init; }

    /// <summary>Given the machine's memory; what the manager copies bytes through.</summary>
    public Func<IPhysicalMemory, IPhysicalMemory> Memory { get; init; } = static memory => memory;

    /// <summary>Given the machine's memory as the driver has it; what the driver uses.</summary>
    public Func<IPhysicalMemory, IPhysicalMemory> DriverMemory { get; init; } = static memory => memory;

    /// <summary>How the driver waits for the hardware; null: it polls.</summary>
    public IWaitPolicy? Wait { get; init; }

    /// <summary>Given the manager's options; what it gets.</summary>
    public Func<VcmManagerOptions, VcmManagerOptions> Options { get; init; } = static options => options;

    /// <summary>Says who calls, where several call at once and each has mishaps of its own; null: one calls, or none has.</summary>
    public Func<string>? Caller { get; init; }

    /// <summary>Given the registers as the driver has them; what the driver uses.</summary>
    public Func<IMmio, IMmio> Registers { get; init; } = static registers => registers;

    /// <summary>Given what a hook is told of, and the hook; calls it.</summary>
    public Func<DeviceFault, Func<FaultAnswer>, FaultAnswer> AroundHook { get; init; } = static (_, answer) => answer();

    /// <summary>Invariants of which no violation is told.</summary>
    public InvariantSet Muted { get; init; }

    /// <summary>Given each operation and how to do one; does it.</summary>
    public Func<Operation, Func<Operation, Observation>, Observation> Around { get; init; } = static (operation, run) => run(operation);
}

/// <summary>The library on a machine: does operations and says what was seen of them.</summary>
public sealed partial class Subject
{
    // Room for a directory of one page; more would only be read again and again.
    private const uint MostPasids = 1 << 10;

    // More than devices have outstanding.
    private const uint PageRequestQueueBytes = 4096;

    private readonly Dictionary<ObjectId, Vcm> _vcms = [];
    private readonly Dictionary<ObjectId, Bound> _bounds = [];
    private readonly Dictionary<ObjectId, Reservation> _reservations = [];

    /// <summary>Reservations that were seen before they had a name; each goes by the last number but its place here.</summary>
    private readonly List<Reservation> _nameless = [];
    private readonly Dictionary<ObjectId, PhysicalAllocation> _memories = [];
    private readonly Dictionary<ObjectId, Association> _associations = [];
    private readonly List<PhysRange> _wrapped = [];
    private readonly Device[] _devices;
    private readonly DeviceList _kinds;
    private readonly SubjectParts _parts;
    private readonly VcmManager _manager;
    private readonly CountingIommu _counting;
    private readonly object _gate = new();

    /// <summary>Starts the library.</summary>
    public Subject(IVtdMachine machine, Topology topology, SubjectParts parts)
    {
        Machine = machine;
        Options = topology.ToOptions();
        _parts = parts;
        Mishaps = new(machine.Registers, parts.Caller);
        Stamps = new(machine.Memory);
        Tables = new(machine.Memory, Options);
        Frames = new(new BankedFrames(topology.LayOut(machine.Window.First)), Mishaps, () => Hardware.Reach(this));
        Events = EventWatch.TryListen(machine, Options);
        Driver = VtdDriver<PortMemory>.Start(new(parts.DriverMemory(WithStepsFor(topology, MemoryOfDriver(machine)))), parts.Registers(Mishaps), Frames, new() { WaitPolicy = parts.Wait ?? Mishaps, Scalable = topology.IsScalable, TracksUse = topology.TracksUse, MaximumPasidCount = MostPasids, PageRequestQueueBytes = Options.PageRequests ? PageRequestQueueBytes : 0 });
        EnableAts(topology.Devices);
        DriverFrames = Frames.Live;
        _counting = new(StartEvents(topology));
        IIommu iommu = parts.Iommu(new NotifyingIommu(_counting, parts.Telling(Notify)));
        _flushQueue = new(new()
        {
            Capacity = topology.FlushCapacity,
            FlushAtCount = topology.FlushAtCount,
            FlushAtAge = TimeSpan.FromMilliseconds(topology.FlushAtMilliseconds),
            Time = Clock,
        });
        Func<IovaRange, IRangeAllocator> ranges = parts.Ranges ?? (topology.RangeCache ? new VcmManagerOptions().RangeAllocator : static space => new RangeAllocator(space));
        _manager = new(parts.Frames(Frames), parts.Options(new() { RangeAllocator = ranges, Memory = parts.Memory(machine.Memory) }));
        IIommu none = parts.NoIommu(new NoIommu());
        _devices = [.. machine.Devices.Zip(topology.Devices, (device, kind) => _manager.AddDevice(kind == DeviceKind.Direct ? none : iommu, device.Id))];
        _kinds = topology.Devices;
        StartCpu(topology);
    }

    /// <summary>The machine.</summary>
    public IVtdMachine Machine { get; }

    /// <summary>The simulator's insides; null on a machine of others.</summary>
    public VtdIommu<NonCoherentPort<Ram>, EagerSteps>? Insides => (Machine as SimulatedVtd)?.Iommu;

    /// <summary>What the hardware can do.</summary>
    public VtdOptions Options { get; }

    /// <summary>The IOMMU's interrupts; null on a machine of others.</summary>
    public EventWatch? Events { get; }

    /// <summary>What can go wrong.</summary>
    public Mishaps Mishaps { get; }

    /// <summary>Physical memory under watch.</summary>
    public WatchedFrames Frames { get; }

    /// <summary>The marks on data.</summary>
    public Stamps Stamps { get; }

    /// <summary>Decodes tables.</summary>
    public TableReader Tables { get; }

    /// <summary>The driver.</summary>
    public VtdDriver<PortMemory> Driver { get; }

    /// <summary>How often the IOMMU was told to forget.</summary>
    public InvalidationCount Invalidations => _counting.Count;

    /// <summary>What the driver took when it started.</summary>
    public IReadOnlyList<PhysRange> DriverFrames { get; }

    /// <summary>The model of the hardware.</summary>
    public IommuModel Model => new(
        Driver.LastAddress.Value, [.. Driver.ReservedRegions.Select(region => new AddressRange(region.First.Value, region.Last.Value))])
    {
        Devices = [.. _kinds.Select(ToModel)],
        Memory = new(Machine.Window.First.Value, Machine.Window.Last.Value),
        PasidCount = Driver.PasidCount,
        PassesThrough = Driver.CanPassThrough,
        Nests = Driver.CanNest(FormatOf(TableKind.SecondStage), GuestFormat),
        CachesAbsent = Driver.CachesAbsent,
        NotesUse = Driver.TracksUse(FormatOf(TableKind.SecondStage)),
        OtherTables = [.. Driver.Formats.Select(TableKinds.Of).Where(static kind => kind != TableKind.SecondStage).Select(kind => TableKinds.Describe(kind, Options))],
        // A context table; in scalable mode a directory and a table of PASIDs, too.
        MostAttachBytes = (Options.ScalableMode ? 3UL : 1UL) * World.PageBytes,
    };

    /// <summary>What a device is.</summary>
    public DeviceKind KindOf(ObjectId device) => _kinds[device.Number];

    private static DeviceModel ToModel(DeviceKind kind) =>
        new() { IsTranslated = kind != DeviceKind.Direct, HasTlb = kind is DeviceKind.Ats or DeviceKind.Paging, AsksForPages = kind == DeviceKind.Paging, WritesInHalves = kind == DeviceKind.ScatterGather };

    private void EnableAts(DeviceList kinds)
    {
        for (int i = 0; i < kinds.Count; i++)
        {
            if (kinds[i] is DeviceKind.Ats or DeviceKind.Paging) Driver.EnableAts(Machine.Devices[i].Id, new() { PageRequests = kinds[i] == DeviceKind.Paging });
        }
    }

    /// <summary>The format of a kind of table, also where the IOMMU has none such.</summary>
    public TableFormat FormatOf(TableKind kind)
    {
        if (kind == TableKind.Identity) return IdentityTable.Format;
        foreach (TableFormat format in Driver.Formats)
        {
            if (TableKinds.Of(format) == kind) return format;
        }

        return Cpus is not null && kind == TableKinds.Of(Cpus.Format) ? Cpus.Format : new(X86FirstStage.Encoding, TableKinds.LevelsOf(kind), 0b1110);
    }

    /// <summary>Where a write is looked for first, so that memory is searched only after one that went astray.</summary>
    public Func<DeviceAccess, ulong?>? Expected { get; set; }

    /// <summary>The frames behind both parts of a copy. Every word of them is looked at.</summary>
    public Func<Copy, IReadOnlySet<ulong>>? Copied { get; set; }

    /// <summary>The memory that is in use, where a copy may have gone astray.</summary>
    public Func<IEnumerable<AddressRange>>? InUse { get; set; }

    /// <summary>All memory that was used.</summary>
    public IEnumerable<PhysRange> Touched => Frames.Touched.Concat(_wrapped);

    /// <summary>The library's region of that name.</summary>
    public Vcm Region(ObjectId vcm) => Of(_vcms, vcm);

    /// <summary>The library's association of that name.</summary>
    public Association Joined(ObjectId association) => Of(_associations, association);

    /// <summary>The library's reservation of that name; what stands in its place where others made it while it was cloned, before it had a name.</summary>
    public Reservation Reservation(ObjectId reservation, ReservationState state)
    {
        lock (_gate)
        {
            if (_reservations.TryGetValue(reservation, out Reservation known)) return known;
        }

        return Region(state.Vcm).TryFindReservation(new(state.Range.First), out Reservation found) ? found : default;
    }

    /// <summary>Gives names to what has none: to copies of what others made while it was cloned, before it had a name.</summary>
    /// <param name="world">The model.</param>
    public void NameAll(World world)
    {
        foreach ((ObjectId id, ReservationState state) in world.Reservations)
        {
            if (!state.IsEnded && !Has(id)) Put(_reservations, id, Reservation(id, state));
        }

        foreach ((ObjectId id, BoundState state) in world.Bounds)
        {
            if (!state.IsFreed && !Has(id) && Region(state.Vcm).Bounds.FirstOrDefault(bound => Range(bound.Range) == state.Range) is { } found) Put(_bounds, id, found);
        }
    }

    /// <summary>What was seen, with the names that reservations have by now which had none then.</summary>
    public Observation Named(Observation seen)
    {
        if (seen.Places.IsEmpty) return seen;
        lock (_gate)
        {
            return seen with
            {
                Places = [.. seen.Places.Select(place =>
                    int.MaxValue - place.Reservation.Number < _nameless.Count ? place with { Reservation = NameOf(_nameless[int.MaxValue - place.Reservation.Number]) } : place).Order()],
            };
        }
    }

    /// <summary>The name of memory; null: it has none.</summary>
    public ObjectId? NameOf(PhysicalAllocation memory)
    {
        lock (_gate)
        {
            foreach ((ObjectId id, PhysicalAllocation known) in _memories)
            {
                if (known == memory) return id;
            }
        }

        return null;
    }

    /// <summary>Does an operation.</summary>
    public Observation Do(Operation operation)
    {
        Frames.Begin();
        return WithEnded(_parts.Around(operation, DoNow));
    }

    /// <summary>Does an operation if its objects were made; null: one was not.</summary>
    public Observation? TryDo(Operation operation) => operation.Uses.All(Has) ? Do(operation) : null;

    /// <summary>Whether an object of that name was made.</summary>
    public bool Has(ObjectId id)
    {
        lock (_gate)
        {
            return id.Kind switch
            {
                ObjectKind.Vcm => _vcms.ContainsKey(id),
                ObjectKind.Bound => _bounds.ContainsKey(id),
                ObjectKind.Reservation => _reservations.ContainsKey(id),
                ObjectKind.Memory => _memories.ContainsKey(id),
                ObjectKind.Association => _associations.ContainsKey(id),
                ObjectKind.Guest => _guests.ContainsKey(id),
                _ => true,
            };
        }
    }

    private static AddressRange Range(IovaRange range) => new(range.First.Value, range.Last.Value);

    private T Of<T>(Dictionary<ObjectId, T> objects, ObjectId id)
    {
        lock (_gate) return objects[id];
    }

    private void Put<T>(Dictionary<ObjectId, T> objects, ObjectId id, T made)
    {
        lock (_gate) objects[id] = made;
    }
}
