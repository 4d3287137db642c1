using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>
/// One region, the real driver in scalable mode, several formats at once: whatever is done, every device reaches the same frames with
/// the same rights, by accesses on the simulator (R2, R6, I3, I4, I7).
/// </summary>
public sealed class TwoFormatLaws
{
    private const ulong Page = VcmManager.PageBytes;
    private const ulong Large = 2UL << 20;

    /// <summary>Behind the small reservation, and behind the large one.</summary>
    private static readonly ulong[] Lengths = [16 * Page, Large];

    [Theory]
    [InlineData(VcmKind.Device, 1)]
    [InlineData(VcmKind.Device, 2)]
    [InlineData(VcmKind.Device, 3)]
    [InlineData(VcmKind.OneToOne, 4)]
    [InlineData(VcmKind.OneToOne, 5)]
    public void Every_device_reaches_the_same_frames_with_the_same_rights(VcmKind kind, int seed)
    {
        using var world = new World(kind);
        var random = new Random(seed);
        var outcomes = new Dictionary<string, int>();
        for (int step = 0; step < 70; step++)
        {
            string outcome = world.Step(random);
            outcomes[outcome] = outcomes.GetValueOrDefault(outcome) + 1;
            world.AssertSeen();
        }

        string all = $"seed {seed}: {string.Join(", ", outcomes)}";
        foreach (string needed in (string[])["back None", "back Busy", "unback None", "unback NotFound", "protect None", "clone None"])
        {
            bool isPromised = needed != "protect None" || kind == VcmKind.Device;
            Assert.True(!isPromised || outcomes.GetValueOrDefault(needed) >= 2, all);
        }

        Assert.True(world.Sight.Accesses is { Done: > 1000, Blocked: > 1000 }, all);
        world.TearDown();
    }

    [Fact]
    public void A_back_for_which_the_last_format_has_no_table_page_leaves_nothing_in_any()
    {
        using var world = new World(VcmKind.Device);
        int refusals = 0;
        ulong free = world.System.Frames.FreeBytes;
        while (world.TryBack(0, 0, 16, refusals) is var error && error != VcmmError.None)
        {
            refusals++;
            Assert.Equal((VcmmError.NoMemory, free), (error, world.System.Frames.FreeBytes));
            world.AssertSeen();
        }

        // Below the roots: three pages each with four levels, two formats of them, and four with five.
        Assert.Equal(3 + 3 + 4, refusals);
        world.AssertSeen();
        world.TearDown();
    }

    [Fact]
    public void A_device_that_promises_nothing_forbids_narrowing_for_all_and_no_longer_than_it_is_there()
    {
        using var world = new World(VcmKind.OneToOne);
        Assert.Equal(VcmmError.None, world.TryBack(0, 0, 16, -1));
        Assert.Equal(VcmmError.Invalid, world.TryProtect(0, Access.Read));
        world.AssertSeen();
        world.EndUntranslated();
        Assert.Equal(VcmmError.None, world.TryProtect(0, Access.Read));
        world.AssertSeen();
        world.TearDown();
    }

    private sealed class World : IDisposable
    {
        private readonly VcmKind _kind;
        private readonly VcmManager _manager;
        private readonly List<(Device Device, AssociationOptions Options)> _devices = [];
        private readonly List<Association> _associations = [];
        private readonly PhysicalAllocation[] _memories;
        private readonly Dictionary<ulong, (PhysAddr Frame, Access Access)> _granted = [];
        private readonly Access[] _access = [Access.ReadWrite, Access.ReadWrite];
        private readonly Iova[] _firsts;
        private Vcm _region;
        private Reservation[] _reservations;

        public World(VcmKind kind)
        {
            _kind = kind;
            _manager = new(System.Frames);
            Sight = new(System);
            _region = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30), new() { Kind = kind });
            _memories = [_manager.Allocate(16 * Page, kind == VcmKind.Device ? ChunkSizes.Size4K : ChunkSizes.Size64K, scattered: true), _manager.Allocate(Large, ChunkSizes.Size2M)];
            _firsts = kind == VcmKind.Device ? [new(8 * Page), new(3 * Large)] : [new(_memories[0].AddressAt(0).Value), new(_memories[1].AddressAt(0).Value)];

            IReadOnlyList<TableFormat> formats = System.Driver.Formats;
            AddDevice(new(0x0391), new() { Format = formats[0] });
            AddDevice(new(0x0392), new() { Format = formats[2] });
            AddDevice(new(0x0393), new() { Format = formats[2], Pasid = new(5) });
            AddDevice(new(0x0493), new() { Format = formats[3], Pasid = new(0x41) });
            AddDevice(new(0x0493), new() { Format = formats[0], Pasid = new(7) });
            if (kind == VcmKind.OneToOne)
            {
                _devices.Add((_manager.AddDevice(new NoIommu(), new(1)), AssociationOptions.Default));
                Sight.AddUntranslated();
            }

            Join();
            _reservations = [.. _firsts.Select((first, i) => _region.ReserveAt(first, Lengths[i]))];
            AssertSeen();
        }

        public ScalableSystem System { get; } = new();

        public Sight Sight { get; }

        public void Dispose() => System.Dispose();

        public string Step(Random random)
        {
            int which = random.Next(2);
            ulong pages = Lengths[which] / Page;
            bool isWhole = which == 1 && random.Next(3) == 0;
            ulong offset = isWhole ? 0 : (ulong)random.Next(which == 0 ? 12 : 5);
            // Of the large one: its start, or nearly all of it.
            ulong count = isWhole ? pages : which == 1 && random.Next(3) == 0 ? pages - offset - (ulong)random.Next(3) : (ulong)random.Next(1, 5);
            switch (random.Next(11))
            {
                case < 4: return $"back {TryBack(which, offset, count, random.Next(3) == 0 ? random.Next(6) : -1)}";
                case < 7: return $"unback {TryUnback(which, offset, count)}";
                case 7: return $"unback {TryUnback(which, 0, pages, all: true)}";
                case < 10: return $"protect {TryProtect(which, random.Next(2) == 0 ? Access.Read : Access.ReadWrite)}";
                default: return $"clone {Clone()}";
            }
        }

        public VcmmError TryBack(int which, ulong offset, ulong count, int failAt)
        {
            // One-to-one memory is where its addresses are; else it is taken in another order than it lies.
            ulong memoryOffset = _kind == VcmKind.OneToOne || which == 1 ? offset : 16 - count - (offset % (17 - count));
            ulong[] pages = [.. PagesOf(which, offset, count)];
            System.Frames.AllocationsBeforeFailure = failAt;
            VcmmError error = _reservations[which].TryBack(offset * Page, _memories[which], memoryOffset * Page, count * Page);
            bool wasMet = failAt >= 0 && System.Frames.AllocationsBeforeFailure < 0;
            System.Frames.AllocationsBeforeFailure = -1;
            Assert.Equal(pages.Any(_granted.ContainsKey) ? VcmmError.Busy : wasMet ? VcmmError.NoMemory : VcmmError.None, error);
            if (error != VcmmError.None) return error;
            for (ulong i = 0; i < count; i++) _granted.Add(pages[i], (_memories[which].AddressAt((memoryOffset + i) * Page), _access[which]));
            return error;
        }

        public VcmmError TryProtect(int which, Access access)
        {
            VcmmError error = _reservations[which].TrySetAttributes(access);
            if (error != VcmmError.None) return error;
            _access[which] = access;
            foreach (ulong page in PagesOf(which, 0, Lengths[which] / Page).Where(_granted.ContainsKey).ToArray()) _granted[page] = (_granted[page].Frame, access);
            return error;
        }

        public void AssertSeen() => Sight.AssertGranted(_granted, Probes());

        /// <summary>The device without an IOMMU leaves; it is looked at no more than before, since it sees everything anyway.</summary>
        public void EndUntranslated()
        {
            _associations[^1].Deactivate();
            _associations[^1].Deassociate();
            _associations.RemoveAt(_associations.Count - 1);
            _devices.RemoveAt(_devices.Count - 1);
            Sight.RemoveUntranslated();
        }

        public void TearDown()
        {
            foreach (Reservation reservation in _reservations) reservation.Unmap();
            _granted.Clear();
            AssertSeen();
            Leave();
            _region.Free();
            foreach (PhysicalAllocation memory in _memories) memory.Free();
            Assert.True(System.Simulator.Statistics.IotlbHits > 0);
            Assert.Equal(0, System.Simulator.Statistics.QueueErrors);
            System.Driver.Stop();
            Assert.Equal(System.Frames.TotalBytes, System.Frames.FreeBytes);
        }

        private VcmmError TryUnback(int which, ulong offset, ulong count, bool all = false)
        {
            ulong[] pages = [.. PagesOf(which, offset, count)];
            VcmmError error = all ? _reservations[which].TryUnback() : _reservations[which].TryUnback(offset * Page, count * Page);
            bool isThere = all ? pages.Any(_granted.ContainsKey) : pages.All(_granted.ContainsKey);
            Assert.Equal(isThere ? VcmmError.None : VcmmError.NotFound, error);
            foreach (ulong page in error == VcmmError.None ? pages : []) _granted.Remove(page);
            return error;
        }

        /// <summary>The devices move to a clone; what then becomes of the first does not show.</summary>
        private VcmmError Clone()
        {
            Vcm former = _region;
            Reservation[] formerReservations = _reservations;
            _region = former.Clone();
            _reservations = [.. _firsts.Select(first => _region.TryFindReservation(first, out Reservation found) ? found : default)];
            Leave();
            Sight.AssertGranted(new Dictionary<ulong, (PhysAddr, Access)>(), Probes());
            Join();
            AssertSeen();
            formerReservations[0].TryUnback();
            formerReservations[1].Unmap();
            AssertSeen();
            formerReservations[0].Unreserve();
            former.Free();
            return VcmmError.None;
        }

        private void AddDevice(StreamId id, AssociationOptions options)
        {
            Device device = _devices.Find(known => known.Device.Id == id).Device ?? _manager.AddDevice(System.Driver, id);
            _devices.Add((device, options));
            Sight.Add(id, options.Pasid);
        }

        private void Join()
        {
            foreach ((Device device, AssociationOptions options) in _devices)
            {
                Association association = _region.Associate(device, options);
                association.Activate();
                _associations.Add(association);
            }
        }

        private void Leave()
        {
            foreach (Association association in _associations)
            {
                association.Deactivate();
                association.Deassociate();
            }

            _associations.Clear();
        }

        private IEnumerable<ulong> PagesOf(int which, ulong offset, ulong count)
        {
            for (ulong i = 0; i < count; i++) yield return _firsts[which].Value + (offset + i) * Page;
        }

        /// <summary>All of the small reservation, the ends and the middle of the large one, and their neighbours.</summary>
        private IEnumerable<ulong> Probes()
        {
            for (ulong page = 0; page < 20; page++) yield return _firsts[0].Value + page * Page - 2 * Page;
            foreach (ulong page in (ulong[])[0, 1, 2, 3, 4, 5, 8, 9, 10, 257, 511, 512, 513, 514]) yield return _firsts[1].Value + page * Page - 2 * Page;
        }
    }
}
