using CsCheck;
using Harness.Generating;
using Harness;
using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Dma;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>An address space without a VCM against a dictionary of pages: I2, I4, I6, I11.</summary>
[Collection(QuickFirst.Last + nameof(IommuDomainLaws))]
public sealed class IommuDomainLaws : IDisposable
{
    private const ulong Page = 4096;
    private const ulong Large = 2UL << 20;
    private const int PageCount = 1040;

    private static readonly Gen<int> Pages = Gen.Frequency((5, Gen.Int[0, 5]), (3, Gen.Int[508, 516]), (1, Gen.Int[1020, 1028]), (3, Gen.Const(512)));
    private static readonly Gen<int> Counts = Gen.Frequency((8, Gen.Int[1, 3]), (3, Gen.Const(512)), (1, Gen.Int[510, 516]));
    private static readonly Gen<Access> Accesses = Gen.Int[1, 3].Select(value => (Access)value);

    private static readonly Gen<Step> Steps = Gen.Frequency(
        (2, Gen.Int[0, 3].Select(memory => (Step)new MapStep(512, 512, memory, Access.ReadWrite, Scattered: false))),
        (2, Gen.Int[512, 1020].Select(page => (Step)new UnmapStep(page, 1, page % 2 == 0))),
        (5, Gen.Select(Pages, Counts, Gen.Int[0, 3], Accesses, Gen.Bool, (page, count, memory, access, scattered) => (Step)new MapStep(page, count, memory, access, scattered))),
        (4, Gen.Select(Pages, Counts, Gen.Bool, (page, count, gathered) => (Step)new UnmapStep(page, count, gathered))),
        (2, Gen.Select(Pages, Counts, Accesses, (page, count, access) => (Step)new ProtectStep(page, count, access))),
        (1, Gen.Const((Step)new SyncStep())),
        (2, Gen.Int[0, 1].Select(after => (Step)new FailStep(after, Hardware: true))),
        (3, Gen.Int[0, 1].Select(after => (Step)new FailStep(after, Hardware: false))));

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 128 * Page));
    private readonly FailingFrames _frames;
    private readonly TlbIommu _iommu;
    private readonly IommuDomain _domain;

    public IommuDomainLaws()
    {
        _frames = new(new FrameAllocator(_ram.Range));
        // Frame 0 stays taken: an address of 0 in an entry must not be mistaken for a table.
        Assert.Equal(VcmmError.None, _frames.TryAllocate(Page, out _));
        _iommu = new(new RecordingIommu(_ram.Port));
        _domain = IommuDomain.Create(_iommu, _frames);
        _domain.Attach(new(1));
    }

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void Any_calls_do_what_a_dictionary_of_pages_does()
    {
        var seen = new Dictionary<string, int>();
        Steps.Array[1, 40].ForAll(
            250,
            steps =>
            {
                using var world = new IommuDomainLaws();
                world.Run(steps, seen);
            });
        foreach (string outcome in (string[])["Map None", "Map Busy", "Map NoMemory", "Unmap None", "Unmap NotFound", "Unmap HardwareFailure", "Unmap NoMemory", "Protect None", "Protect HardwareFailure", "Sync None", "Sync HardwareFailure"])
            Assert.True(seen.GetValueOrDefault(outcome) >= 5, $"{outcome} came {seen.GetValueOrDefault(outcome)} times: {string.Join(", ", seen)}");
    }

    private void Run(Step[] steps, Dictionary<string, int> seen)
    {
        var model = new Dictionary<int, (ulong Memory, Access Access)>();
        var pending = new Dictionary<int, (ulong Memory, Access Access)>();
        UnmapGather gather = _domain.CreateGather();
        int failAfter = -1;
        _iommu.Outcome = () => failAfter >= 0 && failAfter-- == 0 ? VcmmError.HardwareFailure : VcmmError.None;
        foreach (Step step in steps)
        {
            _iommu.TouchAll(PageCount);
            string bytes = Snapshot();
            bool cuts = step is SpanStep span && (CutsLeaf(span.Range, span.Range.First) || CutsLeaf(span.Range, span.Range.Last));
            bool hasSplit = false;
            VcmmError outcome = VcmmError.None;
            switch (step)
            {
                case MapStep map:
                    (IovaRange range, PhysRange[] segments) = map.Arguments();
                    outcome = _domain.TryMap(range.First, segments, map.Access);
                    bool free = !map.Span.Any(page => model.ContainsKey(page) || pending.ContainsKey(page));
                    Assert.Equal(free, outcome != VcmmError.Busy);
                    // Empty tables in the place of a large leaf go first, and stay gone.
                    hasSplit = map.Count >= 512;
                    if (outcome == VcmmError.None) foreach (int page in map.Span) model[page] = (map.MemoryOf(page), map.Access);
                    break;
                case UnmapStep unmap:
                    outcome = unmap.Gathered ? _domain.TryUnmap(unmap.Range, gather) : _domain.TryUnmap(unmap.Range);
                    Assert.Equal(unmap.Span.All(model.ContainsKey), outcome != VcmmError.NotFound);
                    foreach (int page in outcome == VcmmError.None ? unmap.Span : [])
                    {
                        if (unmap.Gathered) pending.Add(page, model[page]);
                        model.Remove(page);
                    }

                    hasSplit = cuts;
                    break;
                case ProtectStep protect:
                    outcome = _domain.TryProtect(protect.Range, protect.Access);
                    Assert.Equal(protect.Span.All(model.ContainsKey), outcome != VcmmError.NotFound);
                    foreach (int page in outcome == VcmmError.None ? protect.Span : []) model[page] = (model[page].Memory, protect.Access);
                    hasSplit = cuts;
                    break;
                case SyncStep:
                    outcome = _domain.TrySync(gather);
                    Assert.Equal(0, gather.Count);
                    hasSplit = true;
                    if (outcome != VcmmError.None) foreach ((int page, (ulong, Access) what) in pending) model.Add(page, what);
                    pending.Clear();
                    break;
                case FailStep { Hardware: true } fail:
                    failAfter = fail.After;
                    break;
                case FailStep fail:
                    _frames.AllocationsBeforeFailure = fail.After;
                    break;
            }

            string name = $"{step.GetType().Name.Replace("Step", "", StringComparison.Ordinal)} {outcome}";
            seen[name] = seen.GetValueOrDefault(name) + 1;
            Compare(model);
            _iommu.AssertNothingStale(page => pending.ContainsKey((int)page));
            // A leaf that was split for a call that then failed stays split; everything else is as it was, to the byte.
            if (outcome != VcmmError.None && !hasSplit) Assert.Equal(bytes, Snapshot());
        }

        TearDown(gather);
    }

    private void TearDown(UnmapGather gather)
    {
        _iommu.Outcome = static () => VcmmError.None;
        _frames.AllocationsBeforeFailure = -1;
        if (gather.Count != 0) Assert.Equal(VcmmError.Busy, DetachAndFree());
        _domain.Sync(gather);
        Assert.Equal(VcmmError.None, DetachAndFree());
        Assert.Equal(VcmmError.Invalid, _domain.TryFree());
        Assert.Equal(_frames.TotalBytes - Page, _frames.FreeBytes);
    }

    private VcmmError DetachAndFree()
    {
        VcmmError error = _domain.TryDetach(new(1));
        return error is VcmmError.None or VcmmError.NotFound ? _domain.TryFree() : error;
    }

    private bool CutsLeaf(IovaRange range, Iova end)
    {
        if (!Look().TryWalk(end, out Translation leaf)) return false;
        ulong first = end.Value & ~(leaf.LeafBytes - 1);
        return first < range.First.Value || first + (leaf.LeafBytes - 1) > range.Last.Value;
    }

    private IPageTable Look() => _iommu.AdoptTable(_domain.Format, _domain.Root);

    private void Compare(Dictionary<int, (ulong Memory, Access Access)> model)
    {
        TableAudit audit = Look().Audit();
        Assert.Empty(audit.Malformed);
        int count = 0;
        foreach (Leaf leaf in audit.Mapping)
        {
            for (ulong offset = 0; offset < leaf.Range.ByteCount; offset += Page, count++)
            {
                int page = (int)((leaf.Range.First.Value + offset) / Page);
                if (!model.TryGetValue(page, out (ulong, Access) what)) Assert.Fail($"page {page} is mapped");
                if (what != (leaf.First.Value + offset, leaf.Access)) Assert.Fail($"page {page} is {leaf} and should be {what}");
            }
        }

        Assert.Equal(model.Count, count);
    }

    /// <summary>Every byte of every table page, and what is free.</summary>
    private string Snapshot()
    {
        using var hash = System.Security.Cryptography.IncrementalHash.CreateHash(System.Security.Cryptography.HashAlgorithmName.SHA256);
        byte[] bytes = new byte[Page];
        foreach (PhysAddr page in Look().TablePages())
        {
            _ram.Port.Read(page, bytes);
            hash.AppendData(bytes);
        }

        return $"{Convert.ToHexString(hash.GetHashAndReset())} {_frames.FreeBytes}";
    }

    /// <summary>A device may use at once what a protect grants. If that is refused, or stands after all, no hardware knows it otherwise than the table.</summary>
    [Theory]
    [InlineData(1, VcmmError.HardwareFailure)]
    [InlineData(2, VcmmError.None)]
    [InlineData(3, VcmmError.None)]
    public void What_a_protect_grants_that_the_hardware_fails_is_cached_nowhere_or_stands(int failures, VcmmError expected)
    {
        var range = IovaRange.FromLength(new(Page), 2 * Page);
        _domain.Map(new(0), PhysRange.FromLength(new(64 * Page), 4 * Page), Access.Read);
        _iommu.Outcome = () =>
        {
            _iommu.TouchAll(8);
            return failures-- > 0 ? VcmmError.HardwareFailure : VcmmError.None;
        };
        Assert.Equal(expected, _domain.TryProtect(range, Access.ReadWrite));
        Assert.InRange(_iommu.CachedCount, 2, 4);
        _iommu.AssertNothingStale();
        Assert.Equal(expected == VcmmError.None ? Access.ReadWrite : Access.Read, _domain.Translate(range.First).Access);
        Assert.Equal(Access.Read, _domain.Translate(new(3 * Page)).Access);
        failures = 0;
        _domain.Protect(range, Access.ReadWrite);
        _domain.Protect(range, Access.Read);
        _iommu.AssertNothingStale();
    }

    /// <summary>What is taken away must not be called gone, and is not.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void A_protect_that_takes_away_and_that_the_hardware_fails_has_taken_nothing_away(int failures)
    {
        var range = IovaRange.FromLength(new(Page), 2 * Page);
        _domain.Map(new(0), PhysRange.FromLength(new(64 * Page), 4 * Page), Access.ReadWrite);
        _iommu.TouchAll(8);
        _iommu.Outcome = () => failures-- > 0 ? VcmmError.HardwareFailure : VcmmError.None;
        Assert.Equal(VcmmError.HardwareFailure, _domain.TryProtect(range, Access.Read));
        Assert.Equal(Access.ReadWrite, _domain.Translate(range.First).Access);
        _iommu.AssertNothingStale();
        _domain.Protect(range, Access.Read);
        _iommu.AssertNothingStale();
        Assert.Equal(Access.Read, _domain.Translate(range.First).Access);
    }

    [Fact]
    public void A_device_reaches_what_is_mapped_and_nothing_once_unmap_returns()
    {
        using var system = new VtdSystem();
        IommuDomain domain = IommuDomain.Create(system.Driver, system.Frames);
        domain.Attach(new(0x20));
        var device = new BusMaster<Ram, NoSteps>(system.Simulator, system.Memory, new(0x20));
        Assert.Equal(VcmmError.None, system.Frames.TryAllocate(Large, out PhysAddr memory));
        var all = IovaRange.FromLength(new(Large), Large);
        domain.Map(all.First, PhysRange.FromLength(memory, Large), Access.ReadWrite);
        Assert.True(device.Write(all.First + 5 * Page, [1, 2, 3]).Ok);
        byte[] found = new byte[3];
        system.Memory.Read(memory + 5 * Page, found);
        Assert.Equal([1, 2, 3], found);
        Assert.False(device.Write(new(2 * Large), [1]).Ok);

        // A page out of the middle of a large leaf that the hardware has cached.
        Assert.Equal(Large, domain.Translate(all.First).LeafBytes);
        domain.Unmap(IovaRange.FromLength(all.First + 5 * Page, Page));
        Assert.False(device.Read(all.First + 5 * Page, found).Ok);
        Assert.True(device.Read(all.First + 4 * Page, found).Ok);
        domain.Protect(IovaRange.FromLength(all.First, 2 * Page), Access.Read);
        Assert.False(device.Write(all.First, [1]).Ok);
        Assert.True(device.Write(all.First + 2 * Page, [1]).Ok);

        UnmapGather gather = domain.CreateGather();
        Assert.Equal(VcmmError.None, domain.TryUnmap(IovaRange.FromLength(all.First, 5 * Page), gather));
        Assert.Equal(VcmmError.None, domain.TryUnmap(new(all.First + 6 * Page, all.Last), gather));
        domain.Sync(gather);
        for (ulong page = 0; page < 512; page++) Assert.False(device.Read(all.First + page * Page, found).Ok);
        domain.Detach(new(0x20));
        domain.Free();
    }

    [Fact]
    public void Many_unmaps_in_a_gather_cost_one_sync_and_free_table_pages_after_it()
    {
        for (ulong i = 0; i < 512; i++) _domain.Map(new(i * Page), PhysRange.FromLength(new((i ^ 1) * Page), Page), Access.Read);
        ulong free = _frames.FreeBytes;
        UnmapGather gather = _domain.CreateGather();
        Assert.Equal(VcmmError.None, _domain.TryUnmap(IovaRange.FromLength(new(0), 512 * Page), gather));
        _domain.Map(new(600 * Page), PhysRange.FromLength(new(0), Page), Access.Read);
        _domain.Map(new(700 * Page), PhysRange.FromLength(new(0), Page), Access.Read);
        Assert.Equal(VcmmError.None, _domain.TryUnmap(IovaRange.FromLength(new(600 * Page), Page), gather));
        Assert.Equal(VcmmError.None, _domain.TryUnmap(IovaRange.FromLength(new(700 * Page), Page), gather));
        ulong after = _frames.FreeBytes;
        Assert.True(after <= free);
        Assert.Empty(_iommu.Batches);
        Assert.Equal(VcmmError.Busy, _domain.TryMap(new(0), PhysRange.FromLength(new(0), Page), Access.Read));
        _domain.Sync(gather);
        Assert.Equal(3, Assert.Single(_iommu.Batches).Length);
        Assert.All(_iommu.Batches[0], command => Assert.False(command.LeavesOnly));
        Assert.Equal(after + Page, _frames.FreeBytes);
        _domain.Map(new(0), PhysRange.FromLength(new(0), Page), Access.Read);
    }

    [Fact]
    public void What_was_absent_costs_no_invalidation_and_without_a_device_nothing_does()
    {
        _domain.Map(new(0), PhysRange.FromLength(new(0), 8 * Page), Access.Read);
        Assert.Empty(_iommu.Batches);
        _domain.Unmap(IovaRange.FromLength(new(0), 4 * Page));
        Assert.Equal([new Invalidation(_domain.Id, IovaRange.FromLength(new(0), 4 * Page), LeavesOnly: true)], Assert.Single(_iommu.Batches));
        _domain.Detach(new(1));
        _domain.Unmap(IovaRange.FromLength(new(4 * Page), 4 * Page));
        Assert.Single(_iommu.Batches);
    }

    public static TheoryData<ulong, ulong, ulong, Access> Nonsense => new()
    {
        { 0, 0, 0, Access.Read },
        { 1, 0, Page, Access.Read },
        { 0, 1, Page, Access.Read },
        { 0, 0, Page + 1, Access.Read },
        { ulong.MaxValue - Page + 1, 0, Page, Access.Read },
        { ulong.MaxValue - Page + 1, 0, 2 * Page, Access.Read },
        { 1UL << 48, 0, Page, Access.Read },
        { (1UL << 48) - Page, 0, 2 * Page, Access.Read },
        { 0, ulong.MaxValue - Page + 1, Page, Access.Read },
        { 0, ulong.MaxValue - Page + 1, 2 * Page, Access.Read },
        { 0, 1UL << 52, Page, Access.Read },
        { 0, (1UL << 52) - Page, 2 * Page, Access.Read },
        { 0, 0, ulong.MaxValue, Access.Read },
        { 0, 0, ulong.MaxValue & ~(Page - 1), Access.Read },
        { 0, 0, Page, Access.None },
        { 0, 0, Page, (Access)8 },
        { 0, 0, Page, Access.Execute },
    };

    [Theory]
    [MemberData(nameof(Nonsense))]
    public void Nonsense_is_invalid_and_changes_nothing(ulong first, ulong memory, ulong byteCount, Access access)
    {
        string bytes = Snapshot();
        Assert.Equal(VcmmError.Invalid, _domain.TryMap(new(first), new PhysAddr(memory), byteCount, access));
        Assert.Equal(bytes, Snapshot());
        Assert.Empty(_iommu.Batches);
    }

    [Fact]
    public void A_PASID_that_is_kept_for_requests_without_one_is_refused()
    {
        using var system = new ScalableSystem();
        IommuDomain domain = IommuDomain.Create(system.Driver, system.Frames);
        Assert.Equal(VcmmError.Invalid, domain.TryAttach(ScalableSystem.Device, new Pasid(0)));
        Assert.Equal(VcmmError.None, domain.TryAttach(ScalableSystem.Device, new Pasid(1)));
        Assert.Equal(VcmmError.Invalid, domain.TryAttach(ScalableSystem.Device, new Pasid(system.Driver.PasidCount)));
    }

    [Fact]
    public void Other_refusals_have_their_codes()
    {
        Assert.Equal(VcmmError.Invalid, _domain.TryMap(new(0), [], Access.Read));
        Assert.Equal(VcmmError.Invalid, _domain.TryMap(new(0), [PhysRange.FromLength(new(0), Page), new(new(0), new(ulong.MaxValue))], Access.Read));
        Assert.Equal(VcmmError.Invalid, _domain.TryUnmap(new(new(0), new(ulong.MaxValue))));
        Assert.Equal(VcmmError.Invalid, _domain.TryUnmap(new(new(1), new(Page))));
        Assert.Equal(VcmmError.Invalid, _domain.TryUnmap(new(new(1), new(Page - 1))));
        Assert.Equal(VcmmError.Invalid, _domain.TryUnmap(new(new(0), new(Page / 2 - 1))));
        Assert.Equal(VcmmError.NotFound, _domain.TryUnmap(IovaRange.FromLength(new(0), 1UL << 48)));
        Assert.Equal(VcmmError.Invalid, _domain.TryProtect(IovaRange.FromLength(new(0), Page), Access.Execute));
        Assert.Equal(VcmmError.Fault, _domain.TryTranslate(new(ulong.MaxValue), out _));
        Assert.Equal(VcmmError.Busy, _domain.TryAttach(new(1)));
        Assert.Equal(VcmmError.NoDevice, _domain.TryAttach(new(0x1_0000)));
        Assert.Equal(VcmmError.Invalid, _domain.TryAttach(new(2), new Pasid(0)));
        Assert.Equal(VcmmError.NotFound, _domain.TryDetach(new(2)));
        Assert.Equal(VcmmError.Busy, _domain.TryFree());
        Assert.Equal(VcmmError.Invalid, IommuDomain.TryCreate(_iommu, new("odd", 4, 2), _frames, out _));
        IommuDomain other = IommuDomain.Create(_iommu, _frames);
        Assert.Equal(VcmmError.Invalid, _domain.TryUnmap(IovaRange.FromLength(new(0), Page), other.CreateGather()));
        Assert.Equal(VcmmError.Invalid, _domain.TrySync(other.CreateGather()));

        _iommu.Outcome = static () => VcmmError.HardwareFailure;
        Assert.Equal(VcmmError.HardwareFailure, _domain.TryDetach(new(1)));
        Assert.Equal(VcmmError.HardwareFailure, other.TryAttach(new(2)));
        Assert.Equal(VcmmError.NotFound, other.TryDetach(new(2)));
        other.Free();
        Assert.Equal(VcmmError.Invalid, other.TryMap(new(0), PhysRange.FromLength(new(0), Page), Access.Read));
        Assert.Equal(VcmmError.Invalid, other.TryUnmap(IovaRange.FromLength(new(0), Page)));
        Assert.Equal(VcmmError.Invalid, other.TryAttach(new(2)));
        Assert.Throws<VcmmException>(() => _domain.Free());
    }

    [Fact]
    public void A_create_that_runs_out_takes_nothing()
    {
        ulong free = _frames.FreeBytes;
        _frames.AllocationsBeforeFailure = 0;
        Assert.Equal(VcmmError.NoMemory, IommuDomain.TryCreate(_iommu, _domain.Format, _frames, out _));
        Assert.Equal(free, _frames.FreeBytes);
    }

    [Fact]
    public void Map_and_unmap_allocate_nothing_in_steady_state()
    {
        var quiet = new QuietIommu(new RecordingIommu(_ram.Port));
        IommuDomain domain = IommuDomain.Create(quiet, _frames);
        var pages = IovaRange.FromLength(new(5 * Page), Page);
        UnmapGather gather = domain.CreateGather();
        void Round()
        {
            domain.TryMap(pages.First, PhysRange.FromLength(new(0), Page), Access.ReadWrite);
            domain.TryUnmap(pages);
            domain.TryMap(pages.First, PhysRange.FromLength(new(0), Page), Access.ReadWrite);
            domain.TryUnmap(pages, gather);
            domain.TrySync(gather);
        }

        for (int i = 0; i < 100; i++) Round();
        Assert.Equal(0, Allocations.Of(() =>
        {
            for (int i = 0; i < 1000; i++) Round();
        }));
    }

    [Fact]
    [Trait("Category", "Threads")]
    public void Threads_that_want_the_same_pages_take_turns_and_lose_none()
    {
        var quiet = new QuietIommu(new RecordingIommu(_ram.Port));
        IommuDomain domain = IommuDomain.Create(quiet, _frames);
        int[] balance = new int[2];
        Thread[] threads = [.. Enumerable.Range(0, 2).Select(id => new Thread(() =>
        {
            // 0 … 1 pages apart, so that most calls collide; across the boundary of two stripes and of two tables.
            ulong state = 77 + (ulong)id;
            for (int i = 0; i < 20_000; i++)
            {
                state = unchecked(state * 6364136223846793005 + 1442695040888963407);
                ulong page = 508 + (state >> 33) % 8;
                ulong count = 1 + (state >> 40) % 3;
                var range = IovaRange.FromLength(new(page * Page), count * Page);
                if ((state >> 50) % 2 == 0)
                {
                    if (domain.TryMap(range.First, PhysRange.FromLength(new(page * Page), count * Page), Access.Read) == VcmmError.None) balance[id] += (int)count;
                }
                else if (domain.TryUnmap(range) == VcmmError.None)
                {
                    balance[id] -= (int)count;
                }
            }
        }))];
        foreach (Thread thread in threads) thread.Start();
        foreach (Thread thread in threads) thread.Join();
        Leaf[] leaves = [.. quiet.AdoptTable(domain.Format, domain.Root).Leaves()];
        Assert.Equal(balance.Sum(), leaves.Length);
        Assert.All(leaves, leaf => Assert.Equal(leaf.Range.First.Value, leaf.First.Value));
        domain.Free();
    }

    private abstract record Step;

    private abstract record SpanStep(int First, int Count) : Step
    {
        public IEnumerable<int> Span => Enumerable.Range(First, Count);

        public IovaRange Range => IovaRange.FromLength(new((ulong)First * Page), (ulong)Count * Page);
    }

    private sealed record MapStep(int First, int Count, int Memory, Access Access, bool Scattered) : SpanStep(First, Count)
    {
        /// <summary>Congruent to the address, so that large leaves fit, unless scattered.</summary>
        public ulong MemoryOf(int page) => (ulong)Memory * 4 * Large + (ulong)(Scattered ? page ^ 1 : page) * Page;

        public (IovaRange Range, PhysRange[] Segments) Arguments() =>
            (Range, Scattered ? [.. Span.Select(page => PhysRange.FromLength(new(MemoryOf(page)), Page))] : [PhysRange.FromLength(new(MemoryOf(First)), (ulong)Count * Page)]);
    }

    private sealed record UnmapStep(int First, int Count, bool Gathered) : SpanStep(First, Count);

    private sealed record ProtectStep(int First, int Count, Access Access) : SpanStep(First, Count);

    private sealed record SyncStep : Step;

    private sealed record FailStep(int After, bool Hardware) : Step;
}
