using Harness.Running;
using IommuSim;
using IommuSim.Cpu;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Cpu;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Library.Regions;

/// <summary>
/// A manager with a region of each other kind: one-to-one with a device that has no IOMMU, a process's with simulated cores, one that
/// has adopted the process's table, and one whose devices' writes are noted. All hardware has one fuse: registers, and what cores are told.
/// </summary>
internal sealed class KindsBench
{
    public const ulong Page = VcmManager.PageBytes;

    private readonly Ram _memory;
    private readonly VtdIommu<Ram, NoSteps> _simulator;
    private readonly VtdDriver<Ram> _driver;
    private readonly FusedCpus _cpus;
    private readonly PhysicalAllocation[] _own;
    private readonly PhysicalAllocation _beyond;

    public KindsBench(RamBlock ram)
    {
        _memory = ram.Port;
        Frames = new(new FrameAllocator(ram.Range), Memory);
        Manager = new(Frames, new() { Memory = _memory });
        _simulator = new(_memory, VtdOptions.Scalable);
        var registers = new FusedRegisters(_simulator, Hardware);
        _driver = VtdDriver<Ram>.Start(_memory, registers, Frames, new() { WaitPolicy = registers, Scalable = true, TracksUse = true, MaximumPasidCount = 1 << 7 });
        _cpus = new(_memory, Hardware);
        Second = _driver.Formats[0];
        First = _cpus.Format;
        Assert.Contains(First, _driver.Formats);
        var mmu = new CpuMmu<X86FirstStage, Ram>(_cpus, _memory);

        OneToOne = Manager.CreateVcm(new(new(ram.Range.First.Value), new(ram.Range.Last.Value)), new() { Kind = VcmKind.OneToOne });
        Process = Manager.CreateVcm(IovaRange.FromLength(new(0x7000_0000_0000), 1UL << 30));
        Noted = Manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        NewOneToOne = Manager.CreateVcm(new(new(ram.Range.Last.Value - (2UL << 20) + 1), new(ram.Range.Last.Value)), new() { Kind = VcmKind.OneToOne });
        Regions.AddRange([OneToOne, Process, Noted, NewOneToOne]);
        var none = new NoIommu();
        Join(OneToOne, Manager.AddDevice(none, new(1))).Activate();
        Join(OneToOne, Manager.AddDevice(_driver, new(0x08)), Second).Activate();
        Five = _driver.Formats.First(static format => format.Encoding == X86FirstStage.Encoding && format.LevelCount == 5);
        IdleFive = Join(OneToOne, Manager.AddDevice(_driver, new(0x48)), Five);
        IdleStraight = Join(OneToOne, Manager.AddDevice(_driver, new(0x40)), Second);
        Join(NewOneToOne, Manager.AddDevice(_driver, new(0x50)), Second);
        Join(NewOneToOne, Manager.AddDevice(none, new(3)));
        Direct = Manager.AddDevice(none, new(2));
        Behind = Manager.AddDevice(_driver, new(0x10));
        Join(Process, Manager.AddDevice(mmu, new(0))).Activate();
        Idle = Join(Process, Manager.AddDevice(mmu, new(1)));
        Cpu = Manager.AddDevice(mmu, new(2));
        Join(Process, Manager.AddDevice(_driver, new(0x18)), First).Activate();
        Assert.True(Process.TryGetTable(First, out IPageTable? table));
        Root = table!.Root;
        Adopted = Manager.AdoptVcm(Process.Range, First, Root);
        Regions.Add(Adopted);
        Join(Adopted, Manager.AddDevice(_driver, new(0x20)), First, 5).Activate();
        IdleAdopted = Join(Adopted, Manager.AddDevice(_driver, new(0x28)), First, 6);
        Join(Noted, Manager.AddDevice(_driver, new(0x30)), Second).Activate();
        Join(Noted, Manager.AddDevice(_driver, new(0x38)), First, 7).Activate();

        Piece = Manager.AllocateContiguous(4 * Page);
        PhysicalAllocation piece = Manager.AllocateContiguous(4 * Page), pages = Allocate(6), behind = Allocate(4);
        Pages = Allocate(4);
        _own = [Piece, piece, pages, behind, Pages];
        _beyond = Manager.Wrap(PhysRange.FromLength(new(1UL << 40), Page));
        Straight = OneToOne.Map(piece);
        StraightFree = OneToOne.ReserveAt(new(Piece.Segments[0].First.Value), 4 * Page);
        Binding = OneToOne.Bind(2 * Page);
        View = Process.ReserveAt(Process.Range.First + 16 * Page, 4 * Page);
        View.Back(behind);
        ViewFree = Process.ReserveAt(Process.Range.First + (1 << 28), 4 * Page);
        Written = Noted.ReserveAt(new(3 * Page), 6 * Page);
        Written.Back(pages);
        for (int core = 0; core < 2; core++) Assert.True(_cpus.Enter(core, 0));
        AssertAllSee();
        Use();
    }

    public Fuse Memory { get; } = new();

    public Fuse Hardware { get; } = new();

    public FusedFrames Frames { get; }

    public VcmManager Manager { get; }

    public TableFormat First { get; }

    public TableFormat Second { get; }

    public TableFormat Five { get; }

    public List<Vcm> Regions { get; } = [];

    public List<Association> Associations { get; } = [];

    /// <summary>What was told of what devices did.</summary>
    public List<IovaRange> Told { get; } = [];

    public Vcm OneToOne { get; }

    /// <summary>Nothing is backed in it, so that its table has no tables below it.</summary>
    public Vcm NewOneToOne { get; }

    public Vcm Process { get; }

    public Vcm Adopted { get; }

    public Vcm Noted { get; }

    public PhysAddr Root { get; }

    public Device Direct { get; }

    public Device Behind { get; }

    public Device Cpu { get; }

    public Association Idle { get; }

    public Association IdleAdopted { get; }

    public Association IdleStraight { get; }

    /// <summary>The only one of its format.</summary>
    public Association IdleFive { get; }

    public PhysicalAllocation Piece { get; }

    public PhysicalAllocation Pages { get; }

    public Reservation Straight { get; }

    public Reservation StraightFree { get; }

    public Reservation View { get; }

    public Reservation ViewFree { get; }

    public Reservation Written { get; }

    public Binding Binding { get; }

    /// <summary>Everything that a refusal must not change.</summary>
    public string Picture => string.Join(Environment.NewLine, (string[])
    [
        RegionPicture.Of(Regions, _own),
        .. Associations.Select(association => $"{association.Device} {association.Format} {association.Pasid} {(association.IsActive ? "active" : "idle")}"),
        $"processes {string.Join(' ', _cpus.Loaded.Select(loaded => $"{loaded.Key}:{loaded.Value.Root}"))}",
        $"told {string.Join(' ', Told)}",
    ]);

    /// <summary>Tables say what backings say.</summary>
    public void AssertSound()
    {
        foreach (Vcm region in Regions.Where(region => region.Kind != VcmKind.Prebuilt)) RegionPicture.AssertTablesAgree(Manager, region, [First, Second, Five]);
    }

    /// <summary>Who may read reads what is there, and nobody else reads anything: devices, devices under PASIDs, and cores.</summary>
    public void AssertAllSee()
    {
        // As the owner of a table does that others have adopted, whatever it has done.
        Adopted.Invalidate(Process.Range);
        foreach (Association association in Associations.Where(static association => association.Device.Iommu is not NoIommu))
        {
            Vcm owner = association.Vcm == Adopted ? Process : association.Vcm;
            Dictionary<ulong, Leaf> granted = owner.Reservations.SelectMany(RegionPicture.LeavesOf).ToDictionary(static leaf => leaf.Range.First.Value);
            foreach (ulong page in ProbesOf(owner))
            {
                bool isGranted = association.IsActive && granted.ContainsKey(page);
                ulong? seen = Read(association, new(page));
                Assert.True(seen.HasValue == isGranted, $"{association.Device} reads 0x{page:x} of {owner}: {seen}, and it {(isGranted ? "is" : "is not")} granted");
                if (seen is { } word) Assert.Equal(_memory.Read64(granted[page].First), word);
            }
        }
    }

    /// <summary>Ends everything; every frame comes back.</summary>
    public void TearDown()
    {
        // Those that have adopted a table end before its owner.
        foreach (Association association in Enumerable.Reverse(Associations))
        {
            if (association.IsActive) association.Deactivate();
            association.TryDeassociate();
        }

        HashSet<PhysicalAllocation> bound = [];
        foreach (Vcm region in Regions)
        {
            foreach (Reservation reservation in region.Reservations)
            {
                bound.UnionWith(reservation.BackedParts.Select(static part => part.Memory));
                reservation.Unmap();
            }

            Assert.Equal(VcmmError.None, region.TryFree());
        }

        bound.UnionWith(_own);
        foreach (PhysicalAllocation memory in bound) Assert.Equal(VcmmError.None, memory.TryFree());
        _beyond.Free();
        _driver.Stop();
        Assert.Equal(Frames.TotalBytes, Frames.FreeBytes);
    }

    public VcmmError Associate(Vcm region, Device device, AssociationOptions options)
    {
        VcmmError error = region.TryAssociate(device, options, out Association? association);
        if (association is not null) Associations.Add(association);
        return error;
    }

    private Association Join(Vcm region, Device device, TableFormat? format = null, uint? pasid = null)
    {
        Assert.Equal(VcmmError.None, Associate(region, device, new() { Format = format, Pasid = pasid is { } space ? new Pasid(space) : null }));
        return Associations[^1];
    }

    private PhysicalAllocation Allocate(ulong pages)
    {
        PhysicalAllocation memory = Manager.Allocate(pages * Page, ChunkSizes.Size4K, scattered: true);
        for (ulong at = 0; at < memory.ByteCount; at += Page) _memory.Write64(memory.AddressAt(at), memory.AddressAt(at).Value ^ 0xF00D);
        return memory;
    }

    /// <summary>All pages of the region whose use is noted are used, and two are written to; each by a device of another format.</summary>
    private void Use()
    {
        Assert.True(new BusMaster<Ram, NoSteps>(_simulator, _memory, new(0x30)).Write(Written.Range.First + Page, [1]).Ok);
        Assert.True(new BusMaster<Ram, NoSteps>(_simulator, _memory, new(0x38)).Write(Written.Range.First + 3 * Page, [1], new PasidPrefix(new(7))).Ok);
    }

    private ulong? Read(Association association, Iova address)
    {
        byte[] word = new byte[sizeof(ulong)];
        bool isRead = association.Device.Iommu is VtdDriver<Ram>
            ? new BusMaster<Ram, NoSteps>(_simulator, _memory, association.Device.Id).Read(address, word, association.Pasid is { } pasid ? new PasidPrefix(new(pasid.Value)) : null).Ok
            : _cpus.Enter(0, association.Device.Id.Value) && _cpus.Load(0, address, word, fetches: false).Ok;
        return isRead ? BitConverter.ToUInt64(word) : null;
    }

    private IEnumerable<ulong> ProbesOf(Vcm region)
    {
        if (region.Kind != VcmKind.OneToOne)
        {
            for (ulong page = 0; page < 24; page++) yield return region.Range.First.Value + page * Page;
        }

        foreach (Reservation reservation in region.Reservations)
        {
            for (ulong at = 0; at < reservation.Range.ByteCount; at += Page)
            {
                ulong page = reservation.Range.First.Value + at;
                if (region.Kind == VcmKind.OneToOne || page - region.Range.First.Value >= 24 * Page) yield return page;
            }
        }
    }

    /// <summary>Cores that are not told where the fuse says so.</summary>
    private sealed class FusedCpus(Ram memory, Fuse fuse) : SimulatedCpus(memory, new() { CoreCount = 2 })
    {
        public override VcmmError LoadRoot(StreamId addressSpace, DomainId tag, PhysAddr root) =>
            fuse.Blows() ? VcmmError.HardwareFailure : base.LoadRoot(addressSpace, tag, root);

        public override VcmmError UnloadRoot(StreamId addressSpace, DomainId tag) =>
            fuse.Blows() ? VcmmError.HardwareFailure : base.UnloadRoot(addressSpace, tag);

        public override VcmmError Shootdown(ReadOnlySpan<CpuFlush> flushes) => fuse.Blows() ? VcmmError.HardwareFailure : base.Shootdown(flushes);
    }
}
