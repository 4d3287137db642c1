using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library.Regions;

/// <summary>Look-ups, owners, bounds, clones and copies against oracles of a few lines: dictionaries of pages, an array of bytes.</summary>
public sealed class OracleLaws : IDisposable
{
    private const ulong Page = VcmManager.PageBytes;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(1UL << 20), 128 * Page));

    public void Dispose() => _ram.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void What_maps_what_is_what_was_backed_and_not_unbacked(int seed)
    {
        var world = new World(_ram, seed);
        int found = 0, clones = 0;
        for (int step = 0; step < 400; step++)
        {
            if (world.Step() == "clone") clones++;
            found += world.AssertLookUps();
        }

        Assert.True(found > 1500 && clones >= 3 && world.Refusals > 50, $"{found} mappings, {clones} clones, {world.Refusals} refusals");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void A_copy_moves_bytes_as_if_through_a_buffer(int seed)
    {
        var random = new Random(seed);
        var manager = new VcmManager(new FrameAllocator(_ram.Range), new() { Memory = _ram.Port });
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        PhysicalAllocation one = manager.Allocate(40 * Page, ChunkSizes.Size4K | ChunkSizes.Size64K, scattered: true);
        PhysicalAllocation two = manager.Allocate(8 * Page, ChunkSizes.Size4K, scattered: true);
        Reservation whole = vcm.Map(one);
        Reservation shifted = vcm.Reserve(44 * Page);
        shifted.Back(0, one, 20 * Page, 20 * Page);
        shifted.Back(20 * Page, two, 0, 8 * Page);
        shifted.Back(28 * Page, one, 4 * Page, 16 * Page);
        Reservation gap = vcm.Reserve(6 * Page);
        gap.Back(0, two, Page, 2 * Page);
        gap.Back(3 * Page, two, 3 * Page, 3 * Page);
        Reservation[] reservations = [whole, shifted, gap];

        byte[] bank = new byte[_ram.Range.ByteCount];
        random.NextBytes(bank);
        _ram.Port.Write(_ram.Range.First, bank);
        byte[] seen = new byte[bank.Length];
        int overlapping = 0, refused = 0;
        for (int step = 0; step < 200; step++)
        {
            Reservation source = reservations[random.Next(3)], destination = reservations[random.Next(3)];
            ulong sourceOffset = (ulong)random.NextInt64((long)source.Range.ByteCount), destinationOffset = (ulong)random.NextInt64((long)destination.Range.ByteCount);
            // Near to each other, forwards and backwards.
            if (step % 3 == 0)
            {
                destination = source;
                destinationOffset = (ulong)Math.Clamp((long)sourceOffset + random.Next(-9000, 9000), 0, (long)source.Range.ByteCount - 1);
            }

            ulong most = Math.Min(source.Range.ByteCount - sourceOffset, destination.Range.ByteCount - destinationOffset);
            ulong byteCount = 1 + (ulong)random.NextInt64((long)Math.Min(most, step % 10 == 0 ? most : 3 * Page));
            if (byteCount > most) byteCount = most;
            int[] from = AddressesOf(source, sourceOffset, byteCount), to = AddressesOf(destination, destinationOffset, byteCount);
            VcmmError error = manager.TryCopy(source, sourceOffset, destination, destinationOffset, byteCount);
            bool isBacked = !from.Contains(-1) && !to.Contains(-1);
            Assert.Equal(isBacked ? VcmmError.None : VcmmError.Fault, error);
            if (isBacked)
            {
                byte[] buffer = [.. from.Select(address => bank[address])];
                // Where a byte of the destination stands twice, the later word is the one that stays.
                for (int i = 0; i < buffer.Length; i++) bank[to[i]] = buffer[i];
                if (from.Intersect(to).Any()) overlapping++;
            }
            else
            {
                refused++;
            }

            _ram.Port.Read(_ram.Range.First, seen);
            Assert.True(bank.AsSpan().SequenceEqual(seen), $"seed {seed}, step {step}: {source} +{sourceOffset:x} to {destination} +{destinationOffset:x}, {byteCount:x} bytes");
        }

        Assert.True(overlapping > 30 && refused > 10, $"{overlapping} overlapping, {refused} refused");
    }

    [Fact]
    public void What_was_wrapped_outside_memory_is_not_copied()
    {
        var manager = new VcmManager(new FrameAllocator(_ram.Range), new() { Memory = _ram.Port });
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        Reservation inside = vcm.Bind(2 * Page).Reservation;
        Reservation half = vcm.Reserve(2 * Page);
        half.Back(0, inside.Memory!, 0, Page);
        half.Back(Page, manager.Wrap(PhysRange.FromLength(new(1UL << 40), Page)), 0, Page);
        Assert.Equal(VcmmError.Invalid, manager.TryCopy(half, 0, inside, 0, 2 * Page));
        Assert.Equal(VcmmError.Invalid, manager.TryCopy(inside, 0, half, 0, 2 * Page));
        Assert.Equal(VcmmError.None, manager.TryCopy(half, 0, inside, Page, Page));
    }

    /// <summary>A clone that is made while another thread moves a backing from one reservation to another has it in one of them.</summary>
    [Fact]
    [Trait("Category", "Threads")]
    public void A_clone_is_one_moment_of_its_region()
    {
        var manager = new VcmManager(new FrameAllocator(_ram.Range));
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        PhysicalAllocation memory = manager.Allocate(Page);
        Reservation low = vcm.ReserveAt(new(0), Page), high = vcm.ReserveAt(new(8 * Page), Page);
        low.Back(memory);
        bool stop = false;
        var mover = new Thread(() =>
        {
            // Behind at least one of the two at every moment.
            while (!Volatile.Read(ref stop))
            {
                high.Back(memory);
                low.Unback();
                low.Back(memory);
                high.Unback();
            }
        });
        mover.Start();
        for (int i = 0; i < 2000; i++)
        {
            Vcm clone = vcm.Clone();
            int backed = clone.Reservations.Count(reservation => reservation.IsBacked);
            foreach (Reservation reservation in clone.Reservations) reservation.Unmap();
            clone.Free();
            if (backed == 0)
            {
                Volatile.Write(ref stop, true);
                mover.Join();
                Assert.Fail("a clone has a moment at which nothing was backed, and there was none");
            }
        }

        Volatile.Write(ref stop, true);
        mover.Join();
    }

    /// <summary>The physical address of each byte, from the first of the bank; -1: it is not backed.</summary>
    private int[] AddressesOf(Reservation reservation, ulong offset, ulong byteCount)
    {
        IReadOnlyList<BackedPart> parts = reservation.BackedParts;
        int[] addresses = new int[byteCount];
        Array.Fill(addresses, -1);
        foreach (BackedPart part in parts)
        {
            for (ulong at = Math.Max(part.Offset, offset); at < Math.Min(part.Offset + part.ByteCount, offset + byteCount); at++)
                addresses[at - offset] = (int)(part.Memory.AddressAt(part.MemoryOffset + (at - part.Offset)).Value - _ram.Range.First.Value);
        }

        return addresses;
    }

    /// <summary>Regions of 32 pages, some of them in bounds, and which physical page is behind which.</summary>
    private sealed class World
    {
        private const int RegionPages = 32;

        private readonly Random _random;
        private readonly VcmManager _manager;
        private readonly List<Region> _regions = [];
        private readonly PhysicalAllocation[] _memories;

        public World(RamBlock ram, int seed)
        {
            _random = new(seed);
            _manager = new(new FrameAllocator(ram.Range));
            PhysicalAllocation scattered = _manager.Allocate(6 * Page, ChunkSizes.Size4K, scattered: true);
            // One physical page in three allocations.
            PhysRange twice = PhysRange.FromLength(scattered.AddressAt(2 * Page), Page);
            _memories = [scattered, _manager.Allocate(16 * Page), _manager.Wrap(twice), _manager.Wrap(new(new(twice.First.Value - Page), new(twice.Last.Value + Page)))];
            for (int i = 0; i < 2; i++) _regions.Add(new(_manager.CreateVcm(IovaRange.FromLength(new(0), RegionPages * Page))));
        }

        public int Refusals { get; private set; }

        public string Step()
        {
            Region region = _regions[_random.Next(_regions.Count)];
            int choice = _random.Next(22);
            if (choice == 0 && _regions.Count < 5)
            {
                _regions.Add(region.Clone());
                return "clone";
            }

            bool done = choice switch
            {
                < 3 => Confine(region),
                < 7 => Reserve(region),
                < 8 => Own(region),
                < 9 => LetGo(region),
                < 16 => Back(region),
                < 20 => Unback(region),
                _ => Drop(region),
            };
            if (!done) Refusals++;
            return "";
        }

        public int AssertLookUps()
        {
            var expected = new Dictionary<ulong, List<(Vcm Vcm, ulong Address)>>();
            foreach (Region region in _regions)
            {
                Assert.Equal(region.Live.OrderBy(live => live.Key).Select(live => live.Value.Handle), region.Vcm.Reservations);
                foreach ((ulong page, ulong frame) in region.Frames)
                {
                    if (!expected.TryGetValue(frame, out var places)) expected[frame] = places = [];
                    places.Add((region.Vcm, page));
                }

                for (ulong page = 0; page < RegionPages * Page; page += Page)
                {
                    bool isReserved = region.Vcm.TryFindReservation(new(page), out Reservation found);
                    Assert.Equal(region.Live.Values.Any(live => live.Handle.Range.Contains(new Iova(page))), isReserved);
                    if (isReserved && found.Bound is { } bound) Assert.True(bound.Range.Contains(found.Range));
                    if (isReserved && found.Bound is null) Assert.DoesNotContain(region.Vcm.Bounds, other => other.Range.Overlaps(found.Range));
                }
            }

            int count = 0;
            foreach (ulong frame in _memories.SelectMany(FramesOf).Distinct())
            {
                var mappings = new List<Mapping>();
                VcmmError error = _manager.TryFindMappings(new(frame + 5), mappings);
                var places = expected.GetValueOrDefault(frame, []);
                Assert.Equal(places.Count == 0 ? VcmmError.NotFound : VcmmError.None, error);
                Assert.Equal(
                    places.Select(place => (IndexOf(place.Vcm), place.Address + 5)).Order(),
                    mappings.Select(mapping => (IndexOf(mapping.Reservation.Vcm), mapping.Address.Value)).Order());
                count += places.Count;
                if (places.Count == 0) continue;
                foreach (Region other in _regions)
                {
                    ulong[] there = [.. places.Where(place => place.Vcm == other.Vcm).Select(place => place.Address + 5)];
                    VcmmError translated = places[0].Vcm.TryTranslate(new(places[0].Address + 5), other.Vcm, out Iova address);
                    Assert.Equal(there.Length == 0 ? VcmmError.NotFound : VcmmError.None, translated);
                    if (there.Length != 0) Assert.Equal(there.Min(), address.Value);
                }
            }

            return count;
        }

        private int IndexOf(Vcm vcm) => _regions.FindIndex(region => region.Vcm == vcm);

        private static IEnumerable<ulong> FramesOf(PhysicalAllocation memory)
        {
            for (ulong at = 0; at < memory.ByteCount; at += Page) yield return memory.AddressAt(at).Value;
        }

        private bool Confine(Region region)
        {
            if (region.Vcm.Bounds.Count == 0 || _random.Next(2) == 0) return region.Vcm.TryCreateBound((ulong)_random.Next(1, 9) * Page, Page, out _) == VcmmError.None;
            Bound bound = region.Vcm.Bounds[_random.Next(region.Vcm.Bounds.Count)];
            bool isUsed = region.Live.Values.Any(live => live.Handle.Bound == bound);
            VcmmError error = bound.TryFree();
            Assert.Equal(isUsed ? VcmmError.Busy : VcmmError.None, error);
            return !isUsed;
        }

        private bool Reserve(Region region)
        {
            ulong byteCount = (ulong)_random.Next(1, 7) * Page;
            IReadOnlyList<Bound> bounds = region.Vcm.Bounds;
            VcmmError error;
            Reservation made;
            if (bounds.Count != 0 && _random.Next(2) == 0) error = bounds[_random.Next(bounds.Count)].TryReserve(byteCount, Access.Read, Page, out made);
            else error = region.Vcm.TryReserveAt(new((ulong)_random.Next(RegionPages) * Page), byteCount, Access.Read, out made);
            if (error == VcmmError.None) region.Live.Add(made.Range.First.Value, new(made, 1));
            return error == VcmmError.None;
        }

        private bool Own(Region region)
        {
            if (!TryPick(region, out ulong key)) return true;
            region.Live[key].Handle.Acquire();
            region.Live[key] = region.Live[key] with { Owners = region.Live[key].Owners + 1 };
            return true;
        }

        private bool LetGo(Region region)
        {
            if (!TryPick(region, out ulong key)) return true;
            (Reservation handle, int owners) = region.Live[key];
            bool mustBeLast = _random.Next(2) == 0;
            bool isBusy = (owners == 1 && handle.IsBacked) || (owners > 1 && mustBeLast);
            VcmmError error = mustBeLast ? handle.TryUnreserve() : handle.TryRelease();
            Assert.Equal(isBusy ? VcmmError.Busy : VcmmError.None, error);
            Assert.Equal(owners > 1 || isBusy, handle.IsAlive);
            if (owners > 1 && mustBeLast) return false;
            if (owners > 1) region.Live[key] = new(handle, owners - 1);
            else if (!isBusy) region.Live.Remove(key);
            return !isBusy;
        }

        private bool Drop(Region region)
        {
            if (!TryPick(region, out ulong key)) return true;
            (Reservation handle, int owners) = region.Live[key];
            IovaRange range = handle.Range;
            VcmmError error = handle.TryUnmap();
            Assert.Equal(owners > 1 ? VcmmError.Busy : VcmmError.None, error);
            if (owners > 1) return false;
            region.Live.Remove(key);
            foreach (ulong page in region.Frames.Keys.Where(page => range.Contains(new Iova(page))).ToArray()) region.Frames.Remove(page);
            return true;
        }

        private bool Back(Region region)
        {
            if (!TryPick(region, out ulong key)) return true;
            Reservation handle = region.Live[key].Handle;
            PhysicalAllocation memory = _memories[_random.Next(_memories.Length)];
            ulong offset = (ulong)_random.Next((int)(handle.Range.ByteCount / Page)) * Page;
            ulong memoryOffset = (ulong)_random.Next((int)(memory.ByteCount / Page)) * Page;
            ulong byteCount = (ulong)_random.Next(1, 4) * Page;
            bool isInside = offset + byteCount <= handle.Range.ByteCount && memoryOffset + byteCount <= memory.ByteCount;
            ulong[] pages = [.. PagesOf(key + offset, byteCount)];
            VcmmError expected = !isInside ? VcmmError.Invalid : pages.Any(region.Frames.ContainsKey) ? VcmmError.Busy : VcmmError.None;
            Assert.Equal(expected, handle.TryBack(offset, memory, memoryOffset, byteCount));
            if (expected != VcmmError.None) return false;
            for (int i = 0; i < pages.Length; i++) region.Frames[pages[i]] = memory.AddressAt(memoryOffset + (ulong)i * Page).Value;
            return true;
        }

        private bool Unback(Region region)
        {
            if (!TryPick(region, out ulong key)) return true;
            Reservation handle = region.Live[key].Handle;
            ulong offset = (ulong)_random.Next((int)(handle.Range.ByteCount / Page)) * Page;
            ulong byteCount = (ulong)_random.Next(1, 4) * Page;
            ulong[] pages = [.. PagesOf(key + offset, byteCount)];
            VcmmError expected = offset + byteCount > handle.Range.ByteCount ? VcmmError.Invalid : pages.All(region.Frames.ContainsKey) ? VcmmError.None : VcmmError.NotFound;
            Assert.Equal(expected, handle.TryUnback(offset, byteCount));
            if (expected != VcmmError.None) return false;
            foreach (ulong page in pages) region.Frames.Remove(page);
            return true;
        }

        private bool TryPick(Region region, out ulong key)
        {
            key = region.Live.Count == 0 ? 0 : region.Live.Keys.Order().ElementAt(_random.Next(region.Live.Count));
            return region.Live.Count != 0;
        }

        private static IEnumerable<ulong> PagesOf(ulong first, ulong byteCount)
        {
            for (ulong page = first; page < first + byteCount; page += Page) yield return page;
        }

        private sealed record Live(Reservation Handle, int Owners);

        private sealed class Region(Vcm vcm)
        {
            public Vcm Vcm => vcm;

            public Dictionary<ulong, Live> Live { get; private init; } = [];

            public Dictionary<ulong, ulong> Frames { get; private init; } = [];

            public Region Clone()
            {
                Vcm clone = vcm.Clone();
                Assert.Equal(vcm.Bounds.Select(bound => bound.Range), clone.Bounds.Select(bound => bound.Range));
                Assert.Equal(
                    vcm.Reservations.Select(reservation => (reservation.Range, reservation.Attributes, reservation.Bound?.Range)),
                    clone.Reservations.Select(reservation => (reservation.Range, reservation.Attributes, reservation.Bound?.Range)));
                return new(clone) { Live = clone.Reservations.ToDictionary(handle => handle.Range.First.Value, handle => new Live(handle, 1)), Frames = new(Frames) };
            }
        }
    }
}
