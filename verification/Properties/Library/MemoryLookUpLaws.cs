using System.Runtime.CompilerServices;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library;

/// <summary>The manager finds what maps a physical address by the 16 MiB in which the address lies, and forgets memory that has gone back.</summary>
public sealed class MemoryLookUpLaws : IDisposable
{
    private const ulong Page = SmallSystem.Page;

    // More than 16 MiB: wherever it lies it is of several such blocks.
    private const ulong ByteCount = (17UL << 20) + 3 * Page;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(2UL << 20), 32UL << 20));
    private readonly VcmManager _manager;

    public MemoryLookUpLaws() => _manager = new(new FrameAllocator(_ram.Range));

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void Each_page_of_memory_that_lies_in_several_blocks_is_found()
    {
        Vcm vcm = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        vcm.Associate(_manager.AddDevice(new RecordingIommu(_ram.Port), new StreamId(1))).Activate();
        PhysicalAllocation memory = _manager.AllocateContiguous(ByteCount);
        Reservation reservation = vcm.Reserve(ByteCount);
        reservation.Back(memory);
        for (ulong offset = 0; offset < ByteCount; offset += Page)
        {
            var mappings = new List<Mapping>();
            VcmmError error = _manager.TryFindMappings(memory.AddressAt(offset) + 5, mappings);
            if (error != VcmmError.None) Assert.Fail($"{error} at 0x{offset:x}");
            Mapping mapping = Assert.Single(mappings);
            Assert.Equal((reservation, reservation.Range.First + (offset + 5)), (mapping.Reservation, mapping.Address));
        }

        reservation.Unback();
        Assert.Equal(VcmmError.NotFound, _manager.TryFindMappings(memory.AddressAt(ByteCount - Page), []));
    }

    [Fact]
    public void Memory_is_found_through_the_part_that_it_backs_to_its_last_byte_and_no_further()
    {
        PhysicalAllocation memory = _manager.AllocateContiguous(3 * Page);
        Reservation reservation = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30)).Reserve(3 * Page);
        reservation.Back(0, memory, Page, Page);
        Assert.Equal(VcmmError.NotFound, _manager.TryFindMappings(memory.AddressAt(Page - 1), []));
        foreach (ulong offset in (ulong[])[0, Page - 1])
        {
            var found = new List<Mapping>();
            Assert.Equal(VcmmError.None, _manager.TryFindMappings(memory.AddressAt(Page + offset), found));
            Assert.Equal([new Mapping(reservation, reservation.Range.First + offset)], found);
        }

        Assert.Equal(VcmmError.NotFound, _manager.TryFindMappings(memory.AddressAt(2 * Page), []));
    }

    [Fact]
    public void What_a_clone_maps_is_found_when_the_clone_is_whole()
    {
        Func<VcmmError> look = static () => VcmmError.None;
        var manager = new VcmManager(new FrameAllocator(_ram.Range), new() { RangeAllocator = space => new WatchedRanges(space) { OnTake = () => look() } });
        Vcm region = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        PhysicalAllocation memory = manager.Allocate(Page);
        Reservation[] reservations = [region.Map(memory), region.Map(memory)];
        var seen = new List<int>();
        // Also where the clone has the first of the two and takes the address of the second.
        look = () =>
        {
            seen.Add(Find(manager, memory).Count);
            return VcmmError.None;
        };
        Vcm clone = region.Clone();
        Assert.Equal([2, 2], seen);
        Assert.Equivalent(reservations.Concat(clone.Reservations), Find(manager, memory).Select(static mapping => mapping.Reservation), strict: true);
    }

    /// <summary>Of many look-ups, each of which another thread changes something beside, until three changes have begun and ended in the midst of one.</summary>
    [Fact]
    public void What_stays_is_found_once_beside_what_comes_and_goes()
    {
        PhysicalAllocation memory = _manager.AllocateContiguous(2 * Page);
        Vcm region = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        Reservation comes = region.Reserve(Page);
        // What is looked for is the first and the last that the memory backs; to pass the others takes most of the look-up.
        Reservation[] stay = [Back(0), .. Enumerable.Range(0, 300).Select(_ => Back(Page)), Back(0)];
        HashSet<Iova> places = [stay[0].Range.First, stay[^1].Range.First];
        int begun = 0, ended = 0;
        var changes = new SecondCall(() =>
        {
            try
            {
                for (int round = 1; Await(ref begun, round); round++)
                {
                    comes.Back(0, memory, Page, Page);
                    comes.Unback();
                    Volatile.Write(ref ended, round);
                }

                return VcmmError.None;
            }
            finally
            {
                Volatile.Write(ref ended, int.MaxValue);
            }
        });
        changes.Start();
        try
        {
            for (int round = 1, met = 0; met < 3; round++)
            {
                Volatile.Write(ref begun, round);
                List<Mapping> found = Find(_manager, memory);
                if (Volatile.Read(ref ended) == round) met++;
                if (!Await(ref ended, round)) break;
                Assert.Equal(2, found.Count);
                Assert.True(places.SetEquals(found.Select(static mapping => mapping.Address)));
            }
        }
        finally
        {
            Volatile.Write(ref begun, int.MaxValue);
            Assert.Equal(VcmmError.None, changes.End());
        }

        Reservation Back(ulong memoryOffset)
        {
            Reservation reservation = region.Reserve(Page);
            reservation.Back(0, memory, memoryOffset, Page);
            return reservation;
        }

        // False: there are no more rounds.
        static bool Await(ref int count, int round)
        {
            var spin = new SpinWait();
            while (Volatile.Read(ref count) < round) spin.SpinOnce(sleep1Threshold: -1);
            return Volatile.Read(ref count) != int.MaxValue;
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Memory_that_has_gone_back_is_kept_by_nobody(bool isWrapped)
    {
        WeakReference memory = Free(isWrapped);
        GC.Collect();
        Assert.False(memory.IsAlive);
    }

    /// <summary>Such memory is looked up by itself, and not by the 2^40 blocks that it has.</summary>
    [Fact]
    public void Wrapped_memory_of_nearly_all_addresses_comes_and_goes_at_once()
    {
        PhysicalAllocation memory = _manager.Wrap(new(new(Page), new(ulong.MaxValue)));
        Reservation reservation = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30)).Reserve(Page);
        reservation.Back(0, memory, 1UL << 62, Page);
        Assert.Equal(VcmmError.None, _manager.TryFindMappings(memory.AddressAt(1UL << 62), []));
        reservation.Unback();
        Assert.Equal(VcmmError.None, memory.TryFree());
    }

    private static List<Mapping> Find(VcmManager manager, PhysicalAllocation memory)
    {
        var found = new List<Mapping>();
        manager.TryFindMappings(memory.AddressAt(0), found);
        return found;
    }

    // In a frame of its own, which is gone when the memory is looked for.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private WeakReference Free(bool isWrapped)
    {
        PhysicalAllocation memory = isWrapped ? _manager.Wrap(PhysRange.FromLength(new(1UL << 32), ByteCount)) : _manager.AllocateContiguous(ByteCount);
        memory.Free();
        return new(memory);
    }
}
