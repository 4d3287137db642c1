using CsCheck;
using Harness.Generating;
using IommuSim;
using Platform;
using Properties.Library;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Properties.Sequences;

/// <summary>Two ways of doing the same thing end in the same tables.</summary>
public sealed class MetamorphicPairs
{
    private const ulong Page = VtdSystem.Page;
    private const ulong Large = VtdSystem.Large;
    private const string Seed = "0N0XIzNsQ0O2";

    /// <summary>Where a reservation lies, in pages from slot to slot of 2 MiB, how long it is, what it grants, and how its memory is cut.</summary>
    private sealed record Part(int Slot, int Page, int Pages, Access Access, bool Scattered);

    private static readonly Gen<Part> Parts = Gen.Select(
        Gen.Int[0, 3], Gen.Int[0, 500], Gen.OneOf(Gen.Int[1, 8], Gen.Const(512)), Gen.Int[1, 3], Gen.Bool,
        static (slot, page, pages, access, scattered) => new Part(slot, pages == 512 ? 0 : page, pages, (Access)access, scattered));

    private static readonly Gen<Part[]> Layouts = Parts.Array[1, 5].Select(static parts => parts.DistinctBy(part => part.Slot).ToArray());

    [Fact]
    public void The_order_of_backing_does_not_matter() =>
        Layouts.ForAll(60, static layout => Same(layout, static reservations => BackAll(reservations), static reservations => BackAll(reservations.Reverse())));

    [Fact]
    public void Backing_again_is_backing_once() => Layouts.ForAll(
        60,
        static layout => Same(layout, static reservations => BackAll(reservations), static reservations =>
        {
            BackAll(reservations);
            foreach ((Reservation reservation, PhysicalAllocation memory) in reservations)
            {
                reservation.Unback();
                reservation.Back(memory);
            }
        }));

    [Fact]
    public void Backed_first_or_attached_first_is_the_same() => Layouts.ForAll(
        60,
        static layout =>
        {
            using var first = new VtdSystem();
            using var second = new VtdSystem();
            (Vcm early, _, _) = first.CreateRegion();
            BackAll(Reserve(first, early, layout));
            Vcm late = second.Manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 32));
            // Frames are taken in another order, so where data lies is compared by what is mapped together.
            BackAll(Reserve(second, late, layout));
            late.Associate(second.Manager.AddDevice(second.Driver, new(0x20))).Activate();
            Assert.Equal(Shape(early, first), Shape(late, second));
        });

    [Fact]
    public void Leaf_sizes_do_not_change_what_an_address_means() => Layouts.ForAll(
        30,
        static layout =>
        {
            using var large = new VtdSystem();
            using var small = new VtdSystem(VtdOptions.Default with { Pages2M = false, Pages1G = false });
            (Vcm ofLarge, _, _) = large.CreateRegion();
            (Vcm ofSmall, _, _) = small.CreateRegion();
            BackAll(Reserve(large, ofLarge, layout));
            BackAll(Reserve(small, ofSmall, layout));
            foreach (Part part in layout)
            {
                for (int page = -1; page <= part.Pages; page++)
                {
                    ulong address = unchecked((ulong)part.Slot * Large + (ulong)(part.Page + page) * Page);
                    VcmmError error = ofLarge.TryTranslate(new(address), out Translation one);
                    Assert.Equal(error, ofSmall.TryTranslate(new(address), out Translation two));
                    Assert.Equal(one.Access, two.Access);
                    Assert.Equal(OffsetInMemory(large, one), OffsetInMemory(small, two));
                }
            }
        });

    private static void Same(
        Part[] layout, Action<IEnumerable<(Reservation, PhysicalAllocation)>> one, Action<IEnumerable<(Reservation, PhysicalAllocation)>> other)
    {
        using var first = new VtdSystem();
        using var second = new VtdSystem();
        (Vcm left, _, _) = first.CreateRegion();
        (Vcm right, _, _) = second.CreateRegion();
        one(Reserve(first, left, layout));
        other(Reserve(second, right, layout));
        Assert.NotEmpty(Leaves(left, first));
        Assert.Equal(Leaves(left, first), Leaves(right, second));
    }

    /// <summary>Reservations and memory for them, before any table takes a frame.</summary>
    private static (Reservation Reservation, PhysicalAllocation Memory)[] Reserve(VtdSystem system, Vcm vcm, Part[] layout) =>
    [
        .. layout.Select(part => (
            vcm.ReserveAt(new((ulong)part.Slot * Large + (ulong)part.Page * Page), (ulong)part.Pages * Page, part.Access),
            system.Manager.Allocate((ulong)part.Pages * Page, part.Scattered ? ChunkSizes.Size4K : ChunkSizes.All, part.Scattered))),
    ];

    private static void BackAll(IEnumerable<(Reservation Reservation, PhysicalAllocation Memory)> pairs)
    {
        foreach ((Reservation reservation, PhysicalAllocation memory) in pairs) reservation.Back(memory);
    }

    private static DecodedLeaf[] Leaves(Vcm vcm, VtdSystem system)
    {
        Assert.True(vcm.TryGetTable(system.Driver.Formats[0], out IPageTable? table));
        return [.. VtdTables.Leaves(system.Memory, table!.Root, table.Format.LevelCount)];
    }

    /// <summary>Leaves without where they lead: only whether each continues the one before.</summary>
    private static (Iova First, ulong ByteCount, bool Read, bool Write, bool Continues)[] Shape(Vcm vcm, VtdSystem system)
    {
        DecodedLeaf[] leaves = Leaves(vcm, system);
        return
        [
            .. leaves.Select((leaf, i) => (
                leaf.First, leaf.ByteCount, leaf.Read, leaf.Write, i > 0 && leaves[i - 1].Address + leaves[i - 1].ByteCount == leaf.Address)),
        ];
    }

    private static ulong OffsetInMemory(VtdSystem system, Translation translation) =>
        translation.Access == Access.None ? 0 : translation.Address.Value - system.Frames.Bank.First.Value;
}
