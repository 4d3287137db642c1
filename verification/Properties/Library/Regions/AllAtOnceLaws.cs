using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>Look-ups find all of what is being made or ended, or nothing of it, at whatever moment they come; and what they tell was so at one moment.</summary>
public sealed class AllAtOnceLaws : IDisposable
{
    private const ulong Page = SmallSystem.Page;

    private readonly SmallSystem _system = new();

    public void Dispose() => _system.Dispose();

    [Fact]
    public void A_clone_of_which_a_part_is_there_is_found_from_no_memory()
    {
        PhysicalAllocation? first = null;
        VcmManager? manager = null;
        var seen = new List<int>();
        manager = new(_system.Frames, new()
        {
            RangeAllocator = space => new WatchedRanges(space)
            {
                OnTake = () =>
                {
                    if (first is not null) seen.Add(CountMappings(manager!, first));
                    return VcmmError.None;
                },
            },
        });
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        Reservation[] reservations = [.. Enumerable.Range(0, 3).Select(_ => vcm.Reserve(Page))];
        PhysicalAllocation[] memories = [.. reservations.Select(_ => manager.Allocate(Page))];
        for (int i = 0; i < reservations.Length; i++) reservations[i].Back(memories[i]);
        first = memories[0];
        Vcm clone = vcm.Clone();
        Assert.Equal([1, 1, 1], seen);
        Assert.Equal(3, clone.Reservations.Count);
        Assert.All(memories, memory => Assert.Equal(2, CountMappings(manager, memory)));
    }

    [Fact]
    public void Where_a_new_region_s_allocator_refuses_what_is_free_there_is_no_clone()
    {
        bool refuses = false;
        VcmManager manager = new(_system.Frames, new() { RangeAllocator = space => new WatchedRanges(space) { OnTake = () => refuses ? VcmmError.NoSpace : VcmmError.None } });
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        vcm.Reserve(Page);
        refuses = true;
        Assert.Throws<InvalidOperationException>(() => vcm.TryClone(out _));
        refuses = false;
        Assert.Single(vcm.Clone().Reservations);
    }

    /// <summary>The memory goes back to its source, and may be another's from then on.</summary>
    [Fact]
    public void When_the_memory_of_a_binding_goes_back_its_reservation_is_not_found_any_more()
    {
        Action<PhysAddr>? onFree = null;
        var frames = new GivingFrames(_system.Frames, block => onFree?.Invoke(block));
        var manager = new VcmManager(frames);
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        Binding binding = vcm.Bind(Page);
        Iova address = binding.Reservation.Range.First;
        PhysAddr memory = binding.Memory.AddressAt(0);
        int given = 0;
        onFree = block =>
        {
            given++;
            Assert.Equal(memory, block);
            Assert.False(vcm.TryFindReservation(address, out _));
            Assert.Equal(VcmmError.NotFound, manager.TryFindMappings(memory, []));
            Assert.Equal(VcmmError.Fault, vcm.TryTranslate(address, vcm, out _));
        };
        Assert.Equal(VcmmError.None, vcm.TryUnbind(binding));
        Assert.Equal(1, given);
    }

    /// <summary>Between the two looks at the table its owner maps the address to what other memory is behind.</summary>
    [Fact]
    public void Where_a_table_of_somebody_else_changes_meanwhile_it_is_told_where_the_later_memory_is()
    {
        RecordingIommu iommu = _system.AddIommu();
        Vcm owner = _system.CreateVcm(), other = _system.CreateVcm();
        _system.Activate(owner, iommu);
        PhysicalAllocation early = _system.Manager.Allocate(Page), late = _system.Manager.Allocate(Page);
        Reservation owned = owner.ReserveAt(new(5 * Page), Page);
        owned.Back(early);
        other.ReserveAt(new(9 * Page), Page).Back(early);
        other.ReserveAt(new(11 * Page), Page).Back(late);
        int walks = 0;
        var watched = new WatchedIommu(iommu)
        {
            OnWalk = () =>
            {
                if (++walks != 2) return;
                owned.Unback();
                owned.Back(late);
            },
        };
        Vcm adopted = _system.Manager.AdoptVcm(owner.Range, iommu.Format, SmallSystem.TableOf(owner, iommu).Root);
        adopted.Associate(_system.Manager.AddDevice(watched, new(100))).Activate();
        Assert.Equal(VcmmError.None, adopted.TryTranslate(new(5 * Page), other, out Iova translated));
        Assert.Equal(11 * Page, translated.Value);
        Assert.Equal(4, walks);
    }

    private static int CountMappings(VcmManager manager, PhysicalAllocation memory)
    {
        var mappings = new List<Mapping>();
        manager.TryFindMappings(memory.AddressAt(0), mappings);
        return mappings.Count;
    }

    private sealed class GivingFrames(IFrameSource inner, Action<PhysAddr> onFree) : IFrameSource
    {
        public ulong TotalBytes => inner.TotalBytes;

        public ulong FreeBytes => inner.FreeBytes;

        public VcmmError TryAllocate(ulong byteCount, out PhysAddr block) => inner.TryAllocate(byteCount, out block);

        public VcmmError TryFree(PhysAddr block)
        {
            onFree(block);
            return inner.TryFree(block);
        }
    }

    private sealed class WatchedIommu(IIommu inner) : PassingIommu(inner)
    {
        public Action OnWalk { get; init; } = static () => { };

        public override IPageTable AdoptTable(TableFormat format, PhysAddr root) => new WatchedTable(base.AdoptTable(format, root), OnWalk);
    }

    private sealed class WatchedTable(IPageTable inner, Action onWalk) : PassingTable(inner)
    {
        public override bool TryWalk(Iova address, out Translation translation)
        {
            onWalk();
            return base.TryWalk(address, out translation);
        }
    }
}
