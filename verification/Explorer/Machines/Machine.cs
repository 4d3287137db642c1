using Explorer.Faults;
using Explorer.Oracles;
using Explorer.Races;
using Explorer.Scheduling;
using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Spec;
using Vcmm.Vtd;

namespace Explorer.Machines;

/// <summary>The library on a simulated IOMMU, for one schedule: the parts, the oracles that watch them, and the tasks that run on them.</summary>
public sealed partial class Machine
{
    private static readonly PhysRange Bank = PhysRange.FromLength(new(0x1000_0000), 6UL << 20);
    private static readonly MemoryPool Pool = new(Bank);

    private readonly Attempt _attempt;
    private readonly CommandPump _pump;
    private readonly VtdDriver<ControlledMemory> _driver;
    private readonly List<(string Name, Action Body)> _threads = [];
    private readonly List<PhysRange> _data = [];
    private readonly List<Vcm> _regions = [];
    private readonly PlantedFault _fault;
    private readonly WeakMemory? _weak;
    private readonly AccessRaces _races;
    private readonly ulong _freeAtStart;

    /// <summary>A machine at rest; call it under <see cref="Controlled.Quietly"/>.</summary>
    /// <param name="attempt">The schedule.</param>
    /// <param name="options">The IOMMU.</param>
    /// <param name="fault">What is wrong on purpose.</param>
    /// <param name="model">How far writes may lag while threads run.</param>
    public Machine(Attempt attempt, VtdOptions options, PlantedFault fault, MemoryModel model = MemoryModel.Sequential)
    {
        _attempt = attempt;
        _fault = fault;
        // The thread may have been another's before, and its name decides which slots are used.
        Attempt.Agent = Attempt.SetUpAgent;
        Pool.Reset();
        Ledger = new();
        Frames = new(new FrameAllocator(Bank), attempt, WhoReaches);
        _freeAtStart = Frames.FreeBytes;
        attempt.Races = _races = new(attempt, IsQueue);
        var steps = new ControlledSteps(attempt);
        if (model != MemoryModel.Sequential) _weak = CreateWeakMemory(Pool, model, attempt, fault, IsQueue);
        options = options with { Commands = CommandMode.Manual, CoherentWalk = options.CoherentWalk || model == MemoryModel.StoreBuffers };
        Iommu = new(Memory(new HardwareSide(attempt, IsTable), MemorySide.Walker), options, steps);
        _pump = new(Iommu) { Idle = _weak is null ? null : CheckQueue };
        var driver = new VtdDriverOptions { WaitPolicy = _pump, Scalable = options.ScalableMode };
        _driver = VtdDriver<ControlledMemory>.Start(Memory(new LibrarySide(attempt), MemorySide.Processor), new WatchedRegisters(Iommu, _races), Frames, driver);
        Port = fault.Apply(_driver);
        _queue = Iommu.Read64(QueueAddressRegister);
        if (attempt.Watcher is { } watcher) watcher.Begin(_states = CreateStates());
        // The runtime's numbers of threads differ from run to run; a schedule must not.
        Manager = new(Frames, new()
        {
            RangeAllocator = static space => new CachedRangeAllocator(new RangeAllocator(space), slotCount: 2, static () => Attempt.Agent[^1]),
            StripeCount = 2,
            Thread = static () => Attempt.Agent[^1],
        });
    }

    /// <summary>What devices may see.</summary>
    public Ledger Ledger { get; }

    /// <summary>The hardware.</summary>
    public VtdIommu<ControlledMemory, ControlledSteps> Iommu { get; }

    /// <summary>How the driver waits for it.</summary>
    public IWaitPolicy WaitPolicy => _pump;

    /// <summary>The library's port to it, with the planted fault if there is one.</summary>
    public IIommu Port { get; }

    /// <summary>The library.</summary>
    public VcmManager Manager { get; }

    private TrackedFrames Frames { get; }

    /// <summary>A region under watch.</summary>
    public Vcm CreateVcm(ulong first, ulong byteCount)
    {
        Vcm vcm = Manager.CreateVcm(IovaRange.FromLength(new(first), byteCount));
        _regions.Add(vcm);
        return vcm;
    }

    /// <summary>A device behind the IOMMU, with the bus master that plays it.</summary>
    public DeviceUnderTest AddDevice(StreamId id, Vcm region)
    {
        var side = new DeviceSide(_attempt, Ledger, id, Frames.IsLive, page => IsMappedInTable(region, page));
        var master = new BusMaster<ControlledMemory, ControlledSteps>(Iommu, Memory(side, MemorySide.Device), id);
        string? Move(Iova address, Access kind)
        {
            Span<byte> bytes = stackalloc byte[8];
            DmaResult result = kind == Access.Read ? master.Read(address, bytes) : master.Write(address, bytes);
            return result.Ok ? null : $"{result.Reason}";
        }

        _states?.AddDevice(id, id, null);
        return new(new(_attempt, Ledger, side, id, Move), Manager.AddDevice(Port, id));
    }

    /// <summary>Operations of the library, told to the ledger.</summary>
    public Software Software => new(_attempt, this);

    /// <summary>What a thread or a device does, once <see cref="Run"/> starts it.</summary>
    public void AddThread(string name, Action body) => _threads.Add((name, body));

    /// <summary>Runs every thread, device and the IOMMU's command pump until all are done.</summary>
    public void Run()
    {
        var faulty = Port as FaultyIommu;
        faulty?.Start();
        _weak?.Begin();
        Task pump = _pump.Start();
        Task[] tasks = [.. _threads.Select(thread => Task.Run(() =>
        {
            Attempt.Agent = thread.Name;
            thread.Body();
        }))];
        Task.WaitAll(tasks);
        faulty?.Stop();
        _pump.Stop();
        pump.Wait();
        _weak?.End();
        // Whoever waits may have run a task himself.
        Attempt.Agent = Attempt.SetUpAgent;
        if (Iommu.Statistics.WaitsHeld != 0) _attempt.Reach(States.Drained);
        if (Iommu.Statistics.DiscardedFills != 0) _attempt.Reach(States.DiscardedFill);
    }

    /// <summary>At rest again: the tables say what the ledger says.</summary>
    public void CheckTables()
    {
        foreach (Vcm vcm in _regions)
        {
            if (!vcm.TryGetTable(Port.Formats[0], out var table)) continue;
            string[] expected = [.. Ledger.MappingOf(vcm).OrderBy(page => page.Key).Select(page => $"{page.Key} {page.Value.Frame} {page.Value.Access}")];
            // Found once: to look through the tables takes longer than most schedules.
            string[] found = [.. VtdTables.Leaves(Pool.Port, table!.Root, Port.Formats[0].LevelCount, Iommu.Options).SelectMany(Pages)
                .Select(page => $"{page.Page} {page.Target.Frame} {page.Target.Access}")];
            string[] missing = [.. expected.Except(found)];
            string[] surplus = [.. found.Except(expected)];
            _attempt.Check(
                Invariant.TablesAreTruth, missing.Length == 0 && surplus.Length == 0,
                () => $"the tables lack [{string.Join(", ", missing)}] and have [{string.Join(", ", surplus)}]",
                () => "the tables map what was backed, and nothing else");
            CheckReservations(vcm);
        }
    }

    /// <summary>After tear-down: every frame is back.</summary>
    public void CheckFrames()
    {
        _driver.Stop();
        _attempt.Check(
            Invariant.Conservation, Frames.FreeBytes == _freeAtStart,
            () => $"{_freeAtStart - Frames.FreeBytes} bytes are not free after tear-down", () => "every frame comes back");
    }

    /// <summary>The last table page of a region that the library linked.</summary>
    public PhysAddr TableBelow(Vcm vcm) => vcm.TryGetTable(Port.Formats[0], out var table) ? table!.TablePages().Last() : default;

    internal void NoteData(PhysicalAllocation memory) => _data.AddRange(memory.Segments);

    internal void NoteDataEnds(PhysicalAllocation memory) => _data.RemoveAll(memory.Segments.Contains);

    private void CheckReservations(Vcm vcm)
    {
        IReadOnlyList<Reservation> reservations = vcm.Reservations;
        for (int i = 0; i < reservations.Count; i++)
        {
            IovaRange range = reservations[i].Range;
            bool apart = vcm.Range.Contains(range) && (i == 0 || reservations[i - 1].Range.Last.Value < range.First.Value);
            _attempt.Check(Invariant.NoOverlap, apart, () => $"{range} overlaps another or leaves the region", () => "reservations lie apart");
        }
    }

    private static IEnumerable<(Iova Page, Target Target)> Pages(DecodedLeaf leaf)
    {
        Access access = (leaf.Read ? Access.Read : Access.None) | (leaf.Write ? Access.Write : Access.None);
        for (ulong offset = 0; offset < leaf.ByteCount; offset += Ledger.PageBytes)
            yield return (leaf.First + offset, new(leaf.Address + offset, access));
    }

    private bool IsTable(PhysAddr address)
    {
        if (!Frames.IsLive(address)) return false;
        foreach (PhysRange segment in _data)
        {
            if (segment.Contains(address)) return false;
        }

        return true;
    }

    private bool IsMappedInTable(Vcm vcm, Iova page)
    {
        using (Controlled.Quietly()) return vcm.TryTranslate(page, out _) == VcmmError.None;
    }

    /// <summary>The IOMMU may reach what its caches name, and what the tables map.</summary>
    private string? WhoReaches(PhysRange block)
    {
        using (Controlled.Quietly())
        {
            foreach (IotlbEntry entry in Iommu.Iotlb)
            {
                if (entry.Fault == VtdFaultReason.None && PhysRange.FromLength(entry.Address, entry.Range.ByteCount).Overlaps(block))
                    return $"the IOTLB has {entry.Range} of {entry.Domain} there";
            }

            foreach (WalkCacheEntry entry in Iommu.WalkCache)
            {
                if (entry.Fault == VtdFaultReason.None && block.Contains(entry.Table)) return $"the walk cache has the table of {entry.Range} there";
            }

            return WhoElseReaches(block);
        }
    }
}
