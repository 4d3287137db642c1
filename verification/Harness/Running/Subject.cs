using System.Collections.Immutable;
using Harness.Foreign;
using Harness.Scenarios;
using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Spec;
using Vcmm.Vtd;
using DeviceAccess = Vcmm.Spec.DeviceAccess;

namespace Harness.Running;

/// <summary>Parts of the library that stand in for its own: a test plants faults with them.</summary>
public sealed record SubjectParts
{
    /// <summary>The library as it is.</summary>
    public static SubjectParts Own { get; } = new();

    /// <summary>Given the driver; what the manager uses as the IOMMU.</summary>
    public Func<IIommu, IIommu> Iommu { get; init; } = static iommu => iommu;

    /// <summary>Given the allocator, which is under watch; what the manager uses.</summary>
    public Func<IFrameSource, IFrameSource> Frames { get; init; } = static frames => frames;

    /// <summary>What hands out addresses; the library's own by default.</summary>
    public Func<IovaRange, IRangeAllocator> Ranges { get; init; } = new VcmManagerOptions().RangeAllocator;

    /// <summary>Given each operation and how to do one; does it.</summary>
    public Func<Operation, Func<Operation, Observation>, Observation> Around { get; init; } = static (operation, run) => run(operation);
}

/// <summary>The library on a machine: does operations and says what was seen of them.</summary>
public sealed class Subject
{
    private readonly Dictionary<ObjectId, Vcm> _vcms = [];
    private readonly Dictionary<ObjectId, Reservation> _reservations = [];
    private readonly Dictionary<ObjectId, PhysicalAllocation> _memories = [];
    private readonly Dictionary<ObjectId, Association> _associations = [];
    private readonly Device[] _devices;
    private readonly SubjectParts _parts;
    private readonly VcmManager _manager;
    private readonly object _gate = new();

    /// <summary>Starts the library.</summary>
    public Subject(IVtdMachine machine, Topology topology, SubjectParts parts)
    {
        Machine = machine;
        Options = topology.ToOptions();
        _parts = parts;
        Mishaps = new(machine.Registers);
        Stamps = new(machine.Memory);
        Tables = new(machine.Memory, Options);
        Bank = PhysRange.FromLength(machine.Window.First, (ulong)topology.MemoryMiB << 20);
        Frames = new(new FrameAllocator(Bank), Mishaps, () => Hardware.Reach(this));
        Driver = VtdDriver<PortMemory>.Start(new(machine.Memory), Mishaps, Frames, new() { WaitPolicy = Mishaps });
        DriverFrames = Frames.Live;
        IIommu iommu = parts.Iommu(Driver);
        _manager = new(parts.Frames(Frames), new() { RangeAllocator = parts.Ranges });
        _devices = [.. machine.Devices.Select(device => _manager.AddDevice(iommu, device.Id))];
    }

    /// <summary>The machine.</summary>
    public IVtdMachine Machine { get; }

    /// <summary>The simulator's insides; null on a machine of others.</summary>
    public VtdIommu<Ram, NoSteps>? Insides => (Machine as SimulatedVtd)?.Iommu;

    /// <summary>What the hardware can do.</summary>
    public VtdOptions Options { get; }

    /// <summary>What can go wrong.</summary>
    public Mishaps Mishaps { get; }

    /// <summary>Physical memory under watch.</summary>
    public WatchedFrames Frames { get; }

    /// <summary>The marks on data.</summary>
    public Stamps Stamps { get; }

    /// <summary>Decodes tables.</summary>
    public TableReader Tables { get; }

    /// <summary>Physical memory that the library may use.</summary>
    public PhysRange Bank { get; }

    /// <summary>The driver.</summary>
    public VtdDriver<PortMemory> Driver { get; }

    /// <summary>What the driver took when it started.</summary>
    public IReadOnlyList<PhysRange> DriverFrames { get; }

    /// <summary>The model of the hardware.</summary>
    public IommuModel Model => new(
        Driver.LastAddress.Value, [.. Driver.ReservedRegions.Select(region => new AddressRange(region.First.Value, region.Last.Value))]);

    /// <summary>Where a write is looked for first, so that memory is searched only after one that went astray.</summary>
    public Func<DeviceAccess, ulong?>? Expected { get; set; }

    /// <summary>The library's region of that name.</summary>
    public Vcm Region(ObjectId vcm) => _vcms[vcm];

    /// <summary>Does an operation.</summary>
    public Observation Do(Operation operation)
    {
        Frames.Begin();
        return _parts.Around(operation, DoNow);
    }

    /// <summary>Does an operation if its objects were made; null: one was not.</summary>
    public Observation? TryDo(Operation operation) => operation.Uses.All(Has) ? Do(operation) : null;

    private bool Has(ObjectId id)
    {
        lock (_gate)
        {
            return id.Kind switch
            {
                ObjectKind.Vcm => _vcms.ContainsKey(id),
                ObjectKind.Reservation => _reservations.ContainsKey(id),
                ObjectKind.Memory => _memories.ContainsKey(id),
                ObjectKind.Association => _associations.ContainsKey(id),
                _ => true,
            };
        }
    }

    private Observation DoNow(Operation operation) => operation switch
    {
        CreateVcm o => Do(o),
        FreeVcm o => new((Outcome)Of(_vcms, o.Vcm).TryFree()),
        Vcmm.Spec.Reserve o => Reserved(o.Reservation, Of(_vcms, o.Vcm).TryReserve(o.ByteCount, (Access)o.Permissions, o.Alignment, out Reservation made), made),
        ReserveAt o => Reserved(o.Reservation, Of(_vcms, o.Vcm).TryReserveAt(new(o.First), o.ByteCount, (Access)o.Permissions, out Reservation made), made),
        Unreserve o => new((Outcome)Of(_reservations, o.Reservation).TryUnreserve()),
        FindReservation o => Of(_vcms, o.Vcm).TryFindReservation(new(o.Address), out Reservation found)
            ? new(Outcome.None) { Ranges = [Range(found.Range)] }
            : new(Outcome.NotFound),
        ListReservations o => new(Outcome.None) { Ranges = [.. Of(_vcms, o.Vcm).Reservations.Select(reservation => Range(reservation.Range))] },
        AllocateMemory o => Do(o),
        FreeMemory o => new((Outcome)Of(_memories, o.Memory).TryFree()),
        Back o => new((Outcome)Of(_reservations, o.Reservation).TryBack(Of(_memories, o.Memory))),
        Unback o => new((Outcome)Of(_reservations, o.Reservation).TryUnback()),
        Associate o => Do(o),
        Deassociate o => new((Outcome)Of(_associations, o.Association).TryDeassociate()),
        Activate o => new((Outcome)Of(_associations, o.Association).TryActivate()),
        Deactivate o => new((Outcome)Of(_associations, o.Association).TryDeactivate()),
        Translate o => Do(o),
        DeviceAccess o => Do(o),
        _ => throw new ArgumentException($"{operation.GetType().Name} is not an operation that can be run", nameof(operation)),
    };

    private Observation Do(CreateVcm create)
    {
        VcmmError error = _manager.TryCreateVcm(new(new(create.Range.First), new(create.Range.Last)), out Vcm? made);
        if (made is not null) Put(_vcms, create.Vcm, made);
        return new((Outcome)error);
    }

    private Observation Do(AllocateMemory allocate)
    {
        VcmmError error = _manager.TryAllocate(allocate.ByteCount, (ChunkSizes)allocate.ChunkSizes, allocate.Scattered, out PhysicalAllocation? made);
        if (made is null) return new((Outcome)error);
        Put(_memories, allocate.Memory, made);
        ImmutableArray<AddressRange> chunks = [.. made.Segments.Select(segment => new AddressRange(segment.First.Value, segment.Last.Value))];
        foreach (AddressRange chunk in chunks)
        {
            lock (_gate) Stamps.MarkAll(chunk);
        }

        return new((Outcome)error) { Ranges = chunks };
    }

    private Observation Do(Associate associate)
    {
        VcmmError error = Of(_vcms, associate.Vcm).TryAssociate(_devices[associate.Device.Number], out Association? made);
        if (made is not null) Put(_associations, associate.Association, made);
        return new((Outcome)error);
    }

    private Observation Do(Translate translate)
    {
        VcmmError error = Of(_vcms, translate.Vcm).TryTranslate(new(translate.Address), out Vcmm.Tables.Translation found);
        if (error != VcmmError.None) return new((Outcome)error);
        return new(Outcome.None)
        {
            Translation = new(found.Address.Value, found.Access.HasFlag(Access.Read), found.Access.HasFlag(Access.Write)),
        };
    }

    private Observation Do(DeviceAccess access)
    {
        IDmaDevice device = Machine.Devices[access.Device.Number];
        if (access.Kind == Permissions.Read)
        {
            Span<byte> word = stackalloc byte[sizeof(ulong)];
            return device.Read(new(access.Address), word) ? new(Outcome.None) { Reached = Stamps.WhereRead(word) } : new(Outcome.Fault);
        }

        bool wasDone = device.Write(new(access.Address), Stamps.Token);
        if (!wasDone) Stamps.NoteBlockedWrite(access.Address % World.PageBytes);
        return new(wasDone ? Outcome.None : Outcome.Fault) { Reached = Expected?.Invoke(access) is { } expected && Stamps.TakeToken(expected) ? expected : wasDone ? Stamps.FindToken(access.Address % World.PageBytes) : null };
    }

    private Observation Reserved(ObjectId id, VcmmError error, Reservation made)
    {
        if (error != VcmmError.None) return new((Outcome)error);
        Put(_reservations, id, made);
        return new(Outcome.None) { Ranges = [Range(made.Range)] };
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
