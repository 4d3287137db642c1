using Platform;
using Properties.Library.Regions;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Dma;
using Vcmm.Invalidations;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>
/// A port that throws where it should answer: the exception comes out, everything is as it was, no lock is left held, and the next call
/// works (I6, I12).
/// </summary>
public sealed class ThrowingPortLaws : IDisposable
{
    private const ulong Page = 4096;
    private const ulong Large = 2UL << 20;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 256 * Page));
    private readonly MemoryWatch _watch = new();
    private readonly FrameAllocator _frames;
    private readonly RecordingIommu _hardware;
    private readonly IommuDomain _domain;
    private int _callsBeforeThrow = -1;
    private int _writesBeforeThrow = -1;
    private VcmmError _outcome;

    /// <summary>What the next calls come to; null: they throw.</summary>
    private readonly Queue<VcmmError?> _answers = new();

    public ThrowingPortLaws()
    {
        _frames = new(_ram.Range);
        Assert.Equal(VcmmError.None, _frames.TryAllocate(Page, out _));
        _hardware = new(_ram.Port)
        {
            CachesAbsent = true,
            OnCall = _ => _answers.TryDequeue(out VcmmError? answer) ? answer ?? throw new BrokenPort() : _callsBeforeThrow >= 0 && _callsBeforeThrow-- == 0 ? throw new BrokenPort() : _outcome,
        };
        _watch.BeforeWrite = (_, _) =>
        {
            if (_writesBeforeThrow >= 0 && _writesBeforeThrow-- == 0) throw new BrokenPort();
        };
        _domain = IommuDomain.Create(new WatchedTables<VtdSecondStage>(_hardware, _ram.Port, _watch), new WatchedFrames(_frames, _watch));
        _domain.Attach(new(1));
        _domain.Map(new(2 * Large), PhysRange.FromLength(new(4 * Large), Large), Access.ReadWrite);
        for (ulong page = 0; page < 4; page++) _domain.Map(new(page * Page), PhysRange.FromLength(new((20 - page) * Page), Page), Access.ReadWrite);
    }

    public void Dispose() => _ram.Dispose();

    public static TheoryData<string> Calls => new(
        "map", "map a large leaf over an empty table", "unmap", "unmap a large leaf", "unmap a part of a large leaf", "protect", "protect a part of a large leaf",
        "attach", "detach", "sync");

    [Theory]
    [MemberData(nameof(Calls))]
    public void Where_the_hardware_throws_a_call_has_changed_nothing_and_works_the_next_time(string name)
    {
        _domain.Map(new(Large), PhysRange.FromLength(new(Page), Page), Access.Read);
        _domain.Unmap(IovaRange.FromLength(new(Large), Page));
        UnmapGather gather = _domain.CreateGather();
        if (name == "sync") Assert.Equal(VcmmError.None, _domain.TryUnmap(IovaRange.FromLength(new(Page), Page), gather));
        Func<VcmmError> call = name switch
        {
            "map" => () => _domain.TryMap(new(8 * Page), PhysRange.FromLength(new(7 * Page), Page), Access.Read),
            "map a large leaf over an empty table" => () => _domain.TryMap(new(Large), PhysRange.FromLength(new(6 * Large), Large), Access.Read),
            "unmap" => () => _domain.TryUnmap(IovaRange.FromLength(new(0), 4 * Page)),
            "unmap a large leaf" => () => _domain.TryUnmap(IovaRange.FromLength(new(2 * Large), Large)),
            "unmap a part of a large leaf" => () => _domain.TryUnmap(IovaRange.FromLength(new(2 * Large + Page), Page)),
            "protect" => () => _domain.TryProtect(IovaRange.FromLength(new(0), 2 * Page), Access.Read),
            "protect a part of a large leaf" => () => _domain.TryProtect(IovaRange.FromLength(new(2 * Large), Page), Access.Read),
            "attach" => () => _domain.TryAttach(new(2)),
            "detach" => () => _domain.TryDetach(new(1)),
            _ => () => _domain.TrySync(gather),
        };
        string before = Mapping();
        _callsBeforeThrow = 0;
        Assert.Throws<BrokenPort>(() => call());
        Assert.Equal(-1, _callsBeforeThrow);
        Assert.Equal(before, Mapping());
        AssertNoLockIsHeld();
        Assert.Equal(VcmmError.None, call());
        Assert.Equal(name is "attach" or "detach" or "sync", before == Mapping());
        if (name == "sync") _domain.Map(new(Page), PhysRange.FromLength(new(5 * Page), Page), Access.Read);
        _domain.TryDetach(new(1));
        _domain.TryDetach(new(2));
        _domain.Free();
        Assert.Equal(_frames.TotalBytes - Page, _frames.FreeBytes);
    }

    [Theory]
    [InlineData(null)]
    [InlineData(VcmmError.HardwareFailure)]
    public void After_an_attach_that_was_not_done_there_is_no_device_that_must_forget(VcmmError? failure)
    {
        _domain.Detach(new(1));
        _answers.Enqueue(failure);
        VcmmError error = VcmmError.HardwareFailure;
        Exception? thrown = Record.Exception(() => error = _domain.TryAttach(new(2)));
        Assert.Equal((failure is null, VcmmError.HardwareFailure), (thrown is BrokenPort, error));
        _hardware.Calls.Clear();
        _domain.Unmap(IovaRange.FromLength(new(0), 4 * Page));
        Assert.Empty(_hardware.Calls);
    }

    /// <summary>What the hardware was not made to forget is in its place again: a later call on the same stripes has nothing of it to put back or to free.</summary>
    [Fact]
    public void An_empty_table_that_could_not_be_dropped_is_in_its_place_again()
    {
        _domain.Map(new(Large), PhysRange.FromLength(new(Page), Page), Access.Read);
        _domain.Unmap(IovaRange.FromLength(new(Large), Page));
        ulong free = _frames.FreeBytes;
        _callsBeforeThrow = 0;
        Assert.Throws<BrokenPort>(() => _domain.TryMap(new(Large), PhysRange.FromLength(new(6 * Large), Large), Access.Read));
        Assert.Equal(free, _frames.FreeBytes);
        _domain.Map(new(Large), PhysRange.FromLength(new(Page), Page), Access.Read);
        // The table is there, and takes no page.
        Assert.Equal(free, _frames.FreeBytes);
        _outcome = VcmmError.HardwareFailure;
        Assert.Equal(VcmmError.HardwareFailure, _domain.TryUnmap(IovaRange.FromLength(new(Large), Page)));
        _outcome = VcmmError.None;
        Assert.Equal(new PhysAddr(Page), _domain.Translate(new(Large)).Address);
        _domain.Detach(new(1));
        _domain.Free();
        Assert.Equal(_frames.TotalBytes - Page, _frames.FreeBytes);
    }

    /// <summary>The hardware may have walked to the memory, and cannot be made to forget it: whoever was told that nothing is mapped would free it.</summary>
    [Theory]
    [InlineData(null, null)]
    [InlineData(null, VcmmError.HardwareFailure)]
    [InlineData(VcmmError.HardwareFailure, null)]
    [InlineData(VcmmError.HardwareFailure, VcmmError.HardwareFailure)]
    public void A_mapping_that_cannot_be_taken_back_stands_and_is_no_refusal(VcmmError? first, VcmmError? second)
    {
        string before = Mapping();
        // A table of its own: the undo unlinks it.
        var range = IovaRange.FromLength(new(8 * Large), 2 * Page);
        _answers.Enqueue(first);
        _answers.Enqueue(second);
        Assert.Equal(VcmmError.None, _domain.TryMap(range.First, PhysRange.FromLength(new(7 * Page), 2 * Page), Access.Read));
        Assert.Empty(_answers);
        Assert.NotEqual(before, Mapping());
        Assert.Equal(new PhysAddr(8 * Page), _domain.Translate(range.First + Page).Address);
        AssertNoLockIsHeld();
        Assert.Equal(VcmmError.None, _domain.TryUnmap(range));
        Assert.Equal(before, Mapping());
        _domain.Detach(new(1));
        _domain.Free();
        Assert.Equal(_frames.TotalBytes - Page, _frames.FreeBytes);
    }

    [Theory]
    [InlineData(VcmmError.None)]
    [InlineData(VcmmError.HardwareFailure)]
    public void Where_memory_throws_a_map_is_taken_back_or_stands(VcmmError undo)
    {
        int thrown = 0;
        // All of the first writes, and then some: a new table is word after word. Pages at which memory threw are lost.
        for (bool throws = true; throws; thrown += thrown < 24 ? 1 : 61)
        {
            string before = Mapping();
            var range = IovaRange.FromLength(new((8 + (ulong)thrown) * Large), 4 * Page);
            if (undo != VcmmError.None) _answers.Enqueue(undo);
            VcmmError error = VcmmError.None;
            _writesBeforeThrow = thrown;
            Exception? exception = Record.Exception(() => error = _domain.TryMap(range.First, PhysRange.FromLength(new(7 * Page), 4 * Page), Access.Read));
            throws = _writesBeforeThrow == -1;
            _writesBeforeThrow = -1;
            _answers.Clear();
            Assert.True(exception is null or BrokenPort, exception?.ToString());
            AssertNoLockIsHeld();
            // Where memory threw nothing the map itself met the answer.
            Assert.Equal(throws ? VcmmError.None : undo, error);
            if (exception is not null || error != VcmmError.None)
            {
                Assert.Equal(before, Mapping());
                continue;
            }

            for (ulong page = 0; page < 4; page++) Assert.Equal(new PhysAddr((7 + page) * Page), _domain.Translate(range.First + page * Page).Address);
            _domain.Unmap(range);
            Assert.Equal(before, Mapping());
        }

        Assert.True(thrown > 4, $"memory threw {thrown} times");
    }

    /// <summary>What a failed unmap was to put back is not put back by a later one.</summary>
    [Fact]
    public void An_unmap_of_which_memory_threw_twice_leaves_nothing_for_the_next_to_map_again()
    {
        for (int thrown = 0; thrown < 4; thrown++)
        {
            _outcome = VcmmError.HardwareFailure;
            // The four entries are cleared; then they are written again.
            _writesBeforeThrow = 4 + thrown;
            Assert.Throws<BrokenPort>(() => _domain.TryUnmap(IovaRange.FromLength(new(0), 4 * Page)));
            _outcome = VcmmError.None;
            for (ulong page = 0; page < 4; page++) _domain.TryUnmap(IovaRange.FromLength(new(page * Page), Page));
            // The memory is another's now.
            string before = Mapping();
            _domain.Map(new(0), PhysRange.FromLength(new(30 * Page), Page), Access.ReadWrite);
            _outcome = VcmmError.HardwareFailure;
            Assert.Equal(VcmmError.HardwareFailure, _domain.TryUnmap(IovaRange.FromLength(new(0), Page)));
            _outcome = VcmmError.None;
            Assert.Equal(VcmmError.None, _domain.TryUnmap(IovaRange.FromLength(new(0), Page)));
            Assert.Equal(before, Mapping());
            for (ulong page = 0; page < 4; page++) _domain.Map(new(page * Page), PhysRange.FromLength(new((20 - page) * Page), Page), Access.ReadWrite);
        }
    }

    /// <summary>What a failed protect was to undo is not undone by a later call that shares one of its stripes.</summary>
    [Fact]
    public void A_protect_of_which_memory_threw_twice_leaves_nothing_for_the_next_to_map_again()
    {
        // A page on each side of where one stripe ends.
        var pages = IovaRange.FromLength(new(63 * Page), 2 * Page);
        _domain.Map(pages.First, PhysRange.FromLength(new(40 * Page), 2 * Page), Access.ReadWrite);
        _outcome = VcmmError.HardwareFailure;
        // Two entries are changed; then they are changed back.
        _writesBeforeThrow = 2 + 1;
        Record.Exception(() => _domain.TryProtect(pages, Access.Read));
        Assert.Equal(-1, _writesBeforeThrow);
        AssertNoLockIsHeld();
        _outcome = VcmmError.None;
        // The memory is another's now.
        _domain.Unmap(IovaRange.FromLength(pages.First + Page, Page));
        string before = Mapping();
        _outcome = VcmmError.HardwareFailure;
        Assert.Equal(VcmmError.HardwareFailure, _domain.TryUnmap(IovaRange.FromLength(new(0), Page)));
        _outcome = VcmmError.None;
        Assert.Equal(before, Mapping());
    }

    /// <summary>Pages that were set aside to cut two leaves with, and of which memory threw at the first, are not lost with it.</summary>
    [Fact]
    public void Where_memory_throws_while_leaves_are_cut_nothing_has_changed_and_what_was_set_aside_goes_back()
    {
        _domain.Map(new(3 * Large), PhysRange.FromLength(new(6 * Large), Large), Access.ReadWrite);
        var range = IovaRange.FromLength(new(2 * Large + Page), Large);
        string before = Mapping();
        int thrown = 0;
        for (bool throws = true; throws; thrown += thrown < 4 ? 1 : 97)
        {
            ulong free = _frames.FreeBytes;
            _writesBeforeThrow = thrown;
            throws = Record.Exception(() => _domain.TryProtect(range, Access.Read)) is BrokenPort;
            _writesBeforeThrow = -1;
            AssertNoLockIsHeld();
            if (!throws) break;
            Assert.Equal(before, Mapping());
            // Each table that was being filled, or is linked, at most.
            Assert.InRange(free - _frames.FreeBytes, Page, thrown < 512 ? Page : 2 * Page);
        }

        Assert.True(thrown > 512, $"memory threw at {thrown} writes");
        Assert.NotEqual(before, Mapping());
    }

    /// <summary>By itself or by a flush queue, which is then given nothing.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Where_memory_throws_while_a_failed_sync_is_taken_back_the_next_sync_takes_it_back(bool isDeferred)
    {
        var queue = new FlushQueue(new() { Time = new Cli.FakeClock() });
        string before = Mapping();
        int thrown = 0;
        for (bool throws = true; throws; thrown++)
        {
            UnmapGather gather = _domain.CreateGather();
            Assert.Equal(VcmmError.None, _domain.TryUnmap(IovaRange.FromLength(new(Page), 2 * Page), gather));
            Assert.Equal(VcmmError.None, _domain.TryUnmap(IovaRange.FromLength(new(0), Page), gather));
            Assert.Equal(VcmmError.None, _domain.TryUnmap(IovaRange.FromLength(new(2 * Large), Large), gather));
            _outcome = VcmmError.HardwareFailure;
            _writesBeforeThrow = thrown;
            throws = Record.Exception(() => _domain.TrySync(gather)) is BrokenPort;
            _writesBeforeThrow = -1;
            _outcome = VcmmError.None;
            AssertNoLockIsHeld();
            if (throws)
            {
                // The hardware answers now, and yet: a part of it is mapped again.
                Assert.Equal(VcmmError.HardwareFailure, isDeferred ? _domain.TryDefer(gather, queue) : _domain.TrySync(gather));
            }

            Assert.Equal((0, 0, before), (queue.Count, gather.Count, Mapping()));
        }

        Assert.True(thrown > 3, $"memory threw {thrown} times");
    }

    /// <summary>What a device may still reach must not be called gone: the sync says so, and all of the gather is what it was.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Where_memory_throws_at_an_unmap_into_a_gather_the_next_sync_takes_all_of_it_back(bool isDeferred)
    {
        var queue = new FlushQueue(new() { Time = new Cli.FakeClock() });
        string before = Mapping();
        for (int thrown = 0; thrown < 4; thrown++)
        {
            UnmapGather gather = _domain.CreateGather();
            Assert.Equal(VcmmError.None, _domain.TryUnmap(IovaRange.FromLength(new(2 * Large), Large), gather));
            _writesBeforeThrow = thrown;
            Assert.Throws<BrokenPort>(() => _domain.TryUnmap(IovaRange.FromLength(new(0), 4 * Page), gather));
            AssertNoLockIsHeld();
            Assert.Equal(VcmmError.Busy, _domain.TryMap(new(0), PhysRange.FromLength(new(0), Page), Access.Read));
            Assert.Equal(VcmmError.HardwareFailure, isDeferred ? _domain.TryDefer(gather, queue) : _domain.TrySync(gather));
            Assert.Equal((0, 0, before), (queue.Count, gather.Count, Mapping()));
        }

        UnmapGather last = _domain.CreateGather();
        Assert.Equal(VcmmError.None, _domain.TryUnmap(IovaRange.FromLength(new(0), 4 * Page), last));
        _hardware.Calls.Clear();
        _domain.Sync(last);
        Assert.Equal(IovaRange.FromLength(new(0), 4 * Page), Assert.IsType<RecordingIommu.Invalidated>(Assert.Single(_hardware.Calls)).Range);
    }

    [Fact]
    public void Where_an_IOMMU_throws_a_flush_releases_nothing_and_forgets_nothing()
    {
        var queue = new FlushQueue(new() { Capacity = 4, FlushAtCount = 2, Time = new Cli.FakeClock() });
        var held = new Held();
        PendingInvalidation[] one = [new(_hardware, new(1), IovaRange.FromLength(new(0), Page), true)];
        Assert.Equal(VcmmError.None, queue.TryAdd(one, held));
        _callsBeforeThrow = 0;
        Assert.Throws<BrokenPort>(() => queue.TryFlush());
        Assert.Equal((1, 0), (queue.Count, held.Releases));
        Assert.Equal(VcmmError.None, queue.TryFlush());
        Assert.Equal((0, 1), (queue.Count, held.Releases));

        // One that is due is no refusal of what was added.
        Assert.Equal(VcmmError.None, queue.TryAdd(one, held));
        _callsBeforeThrow = 0;
        Assert.Equal(VcmmError.None, queue.TryAdd(one, held));
        Assert.Equal((-1, 2, 1), (_callsBeforeThrow, queue.Count, held.Releases));
        Assert.Equal(VcmmError.None, queue.TryAdd(one, held));
        Assert.Equal(VcmmError.None, queue.TryAdd(one, held));

        // One for which there must be room is.
        _callsBeforeThrow = 0;
        Assert.Throws<BrokenPort>(() => queue.TryAdd(one, held));
        Assert.Equal((4, 1), (queue.Count, held.Releases));
        queue.Flush();
        Assert.Equal((0, 5), (queue.Count, held.Releases));
    }

    /// <summary>It is out of reach, and so are the others: nobody would release them later.</summary>
    [Fact]
    public void A_release_that_throws_comes_out_when_the_others_are_released()
    {
        var queue = new FlushQueue(new() { Capacity = 4, FlushAtCount = 4, Time = new Cli.FakeClock() });
        Held first = new(), broken = new() { Throws = true }, last = new();
        foreach (Held held in (Held[])[first, broken, last])
            Assert.Equal(VcmmError.None, queue.TryAdd([new(_hardware, new(1), IovaRange.FromLength(new(0), Page), true)], held));
        Assert.Throws<BrokenPort>(() => queue.TryFlush());
        Assert.Equal((0, 1, 1, 1), (queue.Count, first.Releases, broken.Releases, last.Releases));
        Assert.Equal(VcmmError.None, queue.TryAdd([], first));
        queue.Flush();
        Assert.Equal((0, 2, 1, 1), (queue.Count, first.Releases, broken.Releases, last.Releases));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Where_the_hardware_throws_a_buffer_stays_mapped_or_is_not(bool isDeferred)
    {
        FlushQueue? queue = isDeferred ? new(new() { Capacity = 2, FlushAtCount = 1, Time = new Cli.FakeClock() }) : null;
        var addresses = new RangeAllocator(IovaRange.FromLength(new(16 * Page), 4 * Page));
        var mapping = new DmaMapping<Ram>(_domain, addresses, _ram.Port, _frames, new() { Deferred = queue });
        string before = Mapping();
        ulong free = _frames.FreeBytes;
        _callsBeforeThrow = 0;
        Assert.Throws<BrokenPort>(() => mapping.TryMapSingle(new(9 * Page), Page, DmaDirection.ToDevice, out _));
        _callsBeforeThrow = 0;
        Assert.Throws<BrokenPort>(() => mapping.TryAllocateCoherent(Page, out _, out _));
        Assert.Equal((0, before, free), (mapping.Count, Mapping(), _frames.FreeBytes));
        Iova address = mapping.MapSingle(new(9 * Page), 4 * Page, DmaDirection.ToDevice);
        var held = new Held();
        string mapped = Mapping();
        _callsBeforeThrow = 0;
        if (isDeferred)
        {
            // The flush that is due throws; the buffer waits for the next one.
            mapping.Unmap(address, 4 * Page, held);
            Assert.Equal((-1, 0, 0, before), (_callsBeforeThrow, mapping.Count, held.Releases, Mapping()));
            queue!.Flush();
        }
        else
        {
            Assert.Throws<BrokenPort>(() => mapping.TryUnmap(address, 4 * Page, held));
            Assert.Equal((1, 0, mapped), (mapping.Count, held.Releases, Mapping()));
            AssertNoLockIsHeld();
            mapping.Unmap(address, 4 * Page, held);
        }

        Assert.Equal((1, before), (held.Releases, Mapping()));
        Assert.Equal(VcmmError.None, addresses.TryAllocateAt(addresses.Space));
    }

    private string Mapping() => string.Join(' ', RegionPicture.Joined(_hardware.AdoptTable(_domain.Format, _domain.Root).Leaves()));

    /// <summary>A lock that its own thread holds does not stop that thread.</summary>
    private void AssertNoLockIsHeld()
    {
        VcmmError error = VcmmError.Invalid;
        var thread = new Thread(() => error = _domain.TryUnmap(new(new(0), new((1UL << 48) - 1)))) { IsBackground = true };
        thread.Start();
        Assert.True(thread.Join(TimeSpan.FromSeconds(60)), "a lock was left held");
        Assert.Equal(VcmmError.NotFound, error);
    }

    private sealed class Held : IQuarantined
    {
        public int Releases { get; private set; }

        public bool Throws { get; init; }

        public void Release()
        {
            Releases++;
            if (Throws) throw new BrokenPort();
        }
    }
}
