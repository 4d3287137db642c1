using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>
/// Memory that throws while a region's tables are written: nothing that a table says is freed, no lock is left held, and the region can
/// be used and ended (I5, I6, I12). A table page may be lost, no other frame is.
/// </summary>
[Collection(QuickFirst.Last + nameof(ThrowingMemoryLaws))]
public sealed class ThrowingMemoryLaws : IDisposable
{
    private const ulong Page = VcmManager.PageBytes;
    private const ulong LargeBytes = 2UL << 20;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(LargeBytes), 4 * LargeBytes));

    private static readonly SortedDictionary<string, Func<World, VcmmError>> Calls = new(StringComparer.Ordinal)
    {
        ["back pages"] = static world => world.Free.TryBack(0, world.Pages, 0, 4 * Page),
        ["back a large leaf over an empty table"] = static world => world.OverEmptyTable.TryBack(world.Piece),
        ["unback pages"] = static world => world.Small.TryUnback(),
        ["unback a large leaf"] = static world => world.Large.TryUnback(),
        ["unback all of a table"] = static world => world.Whole.TryUnback(),
        ["unback a part of a large leaf"] = static world => world.Large.TryUnback(3 * Page, Page),
        ["narrow"] = static world => world.Small.TrySetAttributes(Access.Read),
        ["narrow a large leaf"] = static world => world.Large.TrySetAttributes(Access.Read),
        ["map"] = static world => world.Vcm.TryMap(world.Pages, Access.Read, Page, out _),
        ["unmap"] = static world => world.Small.TryUnmap(),
        ["bind"] = static world => world.Vcm.TryBind(4 * Page, Access.Read, MemoryOptions.Default, out _),
        ["unbind"] = static world => world.Vcm.TryUnbind(world.Binding),
        ["associate"] = static world => world.Associate(),
    };

    public static TheoryData<string, bool> Cases
    {
        get
        {
            var cases = new TheoryData<string, bool>();
            foreach (string name in Calls.Keys)
            {
                cases.Add(name, false);
                cases.Add(name, true);
            }

            return cases;
        }
    }

    public void Dispose() => _ram.Dispose();

    [Theory]
    [MemberData(nameof(Cases))]
    public void Where_memory_throws_nothing_that_a_table_says_is_freed_and_the_region_goes_on(string name, bool stays)
    {
        int thrown = 0;
        // All of the first writes, and then some: what follows is entry after entry.
        for (bool throws = true; throws; thrown += thrown < 24 ? 1 : 61)
        {
            var world = new World(_ram);
            world.Arm(thrown, stays);
            Exception? exception = Record.Exception(() => Calls[name](world));
            world.Disarm();
            throws = exception is not null;
            try
            {
                Assert.True(exception is null or BrokenPort, exception?.ToString());
                world.AssertSafe();
                world.AssertNoLockIsHeld();
                world.TearDown(mayLosePages: throws);
            }
            catch (Exception failure)
            {
                throw new InvalidOperationException($"{name}, write {thrown}: {failure.Message}", failure);
            }
        }

        // The last round threw nothing.
        Assert.True(thrown > 1, $"{name} wrote to no table");
    }

    private sealed class World
    {
        private readonly MemoryWatch _watch = new();
        private readonly FrameAllocator _frames;
        private readonly VcmManager _manager;
        private readonly PhysicalAllocation[] _memories;
        private int _writesBeforeThrow = -1;
        private bool _stays;

        public World(RamBlock ram)
        {
            _frames = new(ram.Range);
            _manager = new(new WatchedFrames(_frames, _watch));
            _watch.BeforeWrite = (_, _) =>
            {
                if (_writesBeforeThrow < 0 || (_writesBeforeThrow != 0 && _writesBeforeThrow-- != 0)) return;
                if (!_stays) _writesBeforeThrow = -1;
                throw new BrokenPort();
            };
            var fuse = new Fuse();
            IIommu second = new WatchedIommu<VtdSecondStage>(new LedgerIommu(ram.Port, fuse, LedgerIommu.SecondStage) { CachesAbsent = true }, ram.Port, _watch);
            IIommu first = new WatchedIommu<X86FirstStage>(new LedgerIommu(ram.Port, fuse, LedgerIommu.FirstStage), ram.Port, _watch);
            IIommu third = new WatchedIommu<VtdSecondStage>(new LedgerIommu(ram.Port, fuse, LedgerIommu.SecondStage with { LevelCount = 3 }), ram.Port, _watch);
            Vcm = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
            foreach (IIommu iommu in (IIommu[])[second, first])
            {
                Associations.Add(Vcm.Associate(_manager.AddDevice(iommu, new((uint)Associations.Count + 1))));
                Associations[^1].Activate();
            }

            Stranger = _manager.AddDevice(third, new(3));
            Pages = _manager.Allocate(4 * Page, ChunkSizes.Size4K, scattered: true);
            Piece = _manager.Allocate(LargeBytes, ChunkSizes.Size2M);
            PhysicalAllocation behindWhole = _manager.Wrap(PhysRange.FromLength(new(1UL << 32 | Page), LargeBytes));
            Small = Vcm.ReserveAt(new(3 * Page), 4 * Page);
            PhysicalAllocation behindSmall = _manager.Allocate(4 * Page, ChunkSizes.Size4K, scattered: true);
            PhysicalAllocation behindLarge = _manager.Allocate(LargeBytes, ChunkSizes.Size2M);
            _memories = [Pages, Piece, behindSmall, behindLarge];
            Small.Back(behindSmall);
            Free = Vcm.ReserveAt(new(9 * Page), 6 * Page);
            Large = Vcm.ReserveAt(new(2 * LargeBytes), LargeBytes);
            Large.Back(behindLarge);
            Whole = Vcm.ReserveAt(new(4 * LargeBytes), LargeBytes);
            Whole.Back(behindWhole);
            OverEmptyTable = Vcm.ReserveAt(new(6 * LargeBytes), LargeBytes);
            OverEmptyTable.Back(Page, Pages, 0, Page);
            OverEmptyTable.Unback();
            Binding = Vcm.Bind(2 * Page);
        }

        public Vcm Vcm { get; }

        public List<Association> Associations { get; } = [];

        public Device Stranger { get; }

        public PhysicalAllocation Pages { get; }

        public PhysicalAllocation Piece { get; }

        public Reservation Small { get; }

        public Reservation Free { get; }

        public Reservation Large { get; }

        public Reservation Whole { get; }

        public Reservation OverEmptyTable { get; }

        public Binding Binding { get; }

        public VcmmError Associate()
        {
            VcmmError error = Vcm.TryAssociate(Stranger, out Association? association);
            if (association is not null) Associations.Add(association);
            return error;
        }

        public void Arm(int writesBeforeThrow, bool stays)
        {
            _stays = stays;
            _writesBeforeThrow = writesBeforeThrow;
        }

        public void Disarm() => _writesBeforeThrow = -1;

        /// <summary>What a table says, a backing says; and what that names is in use.</summary>
        public void AssertSafe()
        {
            foreach (TableFormat format in (TableFormat[])[LedgerIommu.SecondStage, LedgerIommu.FirstStage])
            {
                Assert.True(Vcm.TryGetTable(format, out IPageTable? table));
                foreach (Leaf leaf in table!.Leaves())
                {
                    for (ulong at = 0; at < leaf.Range.ByteCount;)
                    {
                        Iova address = leaf.Range.First + at;
                        if (!Vcm.TryFindReservation(address, out Reservation reservation)) Assert.Fail($"{address} is mapped and not reserved");
                        ulong offset = address.Value - reservation.Range.First.Value;
                        BackedPart part = Assert.Single(reservation.BackedParts, part => offset >= part.Offset && offset - part.Offset < part.ByteCount);
                        Assert.Equal(VcmmError.Busy, part.Memory.TryFree());
                        ulong behind = part.Offset + part.ByteCount;
                        for (; offset < behind && at < leaf.Range.ByteCount; offset += Page, at += Page)
                        {
                            PhysAddr expected = part.Memory.AddressAt(part.MemoryOffset + (offset - part.Offset));
                            if (leaf.First + at != expected) Assert.Fail($"{leaf.Range.First + at} is {leaf.First + at} in the table and {expected} behind the reservation");
                        }
                    }
                }

                foreach (PhysAddr page in table.TablePages()) Assert.Contains(page.Value, _watch.Taken);
            }
        }

        /// <summary>A lock that its own thread holds does not stop that thread.</summary>
        public void AssertNoLockIsHeld()
        {
            VcmmError error = VcmmError.Invalid;
            var thread = new Thread(() => error = Vcm.TryFree()) { IsBackground = true };
            thread.Start();
            Assert.True(thread.Join(TimeSpan.FromSeconds(60)), "a lock was left held");
            Assert.Equal(VcmmError.Busy, error);
        }

        public void TearDown(bool mayLosePages)
        {
            HashSet<PhysicalAllocation> bound = [];
            foreach (Reservation reservation in Vcm.Reservations)
            {
                bound.UnionWith(reservation.BackedParts.Select(part => part.Memory));
                Assert.Equal(VcmmError.None, reservation.TryUnmap());
            }

            foreach (PhysicalAllocation memory in _memories) Assert.Equal(VcmmError.None, memory.TryFree());
            // A binding's memory is nobody else's.
            foreach (PhysicalAllocation memory in bound.Except(_memories)) Assert.Equal(VcmmError.None, memory.TryFree());
            foreach (Association association in Associations)
            {
                if (association.IsActive) association.Deactivate();
                association.Deassociate();
            }

            Vcm.Free();
            ulong lost = _frames.TotalBytes - _frames.FreeBytes;
            Assert.InRange(lost, 0UL, mayLosePages ? 8 * Page : 0);
        }
    }

    private sealed class WatchedIommu<TFormat>(IIommu inner, Ram ram, MemoryWatch watch) : PassingIommu(inner)
        where TFormat : struct, IPageTableFormat
    {
        public override VcmmError TryCreateTable(TableFormat format, IFrameSource frames, out IPageTable? table)
        {
            VcmmError error = PageTable<TFormat, WatchedMemory>.TryCreate(new(ram, watch), frames, format, out PageTable<TFormat, WatchedMemory>? created);
            table = created;
            return error;
        }
    }
}
