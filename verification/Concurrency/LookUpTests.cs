using Explorer.Machines;
using Explorer.Scheduling;
using Harness;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Spec;

namespace Concurrency;

/// <summary>
/// Look-ups take no lock: beside a thread that changes what is backed with what, each finds what was so at an instant. Every field is a step here, so that
/// a schedule can stop a look-up between any two that it reads, and a change between any two that it writes.
/// </summary>
public sealed class LookUpTests
{
    private const ulong Page = 4096;
    private const ulong PageCount = 4;
    private const uint Seed = 1;
    private const int Schedules = 2_000;

    private static readonly Iova First = new(1 << 20);

    /// <summary>The memory behind a reservation is another, from its middle, so that what is put together of the two is a page that neither had there.</summary>
    [Fact]
    public void What_is_behind_an_address_is_of_one_backing() => Explore(
        static world =>
        {
            world.Reservation.Unback();
            world.Reservation.Back(0, world.Memories[1], 2 * Page, 2 * Page);
        },
        static world => world.LeadsTo(First + Page, world.Elsewhere[0] + Page, world.Elsewhere[1] + 3 * Page));

    /// <summary>A part goes from the front: the rest begins later, at the address and in the memory.</summary>
    [Fact]
    public void What_is_behind_an_address_stays_so_while_a_part_beside_it_goes() => Explore(
        static world => world.Reservation.Unback(0, Page),
        static world => world.LeadsTo(First + 2 * Page, world.Elsewhere[0] + 2 * Page) && world.Error == VcmmError.None);

    /// <summary>A part goes from the middle: there are two afterwards.</summary>
    [Fact]
    public void What_lies_behind_a_part_that_goes_is_found_all_the_while() => Explore(
        static world => world.Reservation.Unback(Page, Page),
        static world => world.LeadsTo(First + 3 * Page, world.Elsewhere[0] + 3 * Page) && world.Error == VcmmError.None);

    [Fact]
    public void A_page_is_found_where_it_is_and_nowhere_else() => Explore(
        static world =>
        {
            world.Reservation.Unback(0, 2 * Page);
            world.Reservation.Back(0, world.Memories[1], 2 * Page, 2 * Page);
        },
        static world => world.LastPageIsAt(world.Elsewhere[0] + 3 * Page, First + 3 * Page));

    private static void Explore(Action<World> change, Func<World, bool> isRight)
    {
        Exploration result = Controlled.Explore(
            // Fair enough for a look-up that waits for the end of a change; bound 3: a task is left at one step of eight.
            new(Strategy.Probabilistic, Seed, Schedules) { Bound = 3, Grain = Grain.PlainFields },
            attempt =>
            {
                World world;
                using (Controlled.Quietly()) world = new();
                bool found = false;
                Task[] tasks = [Task.Run(() => change(world)), Task.Run(() => found = isRight(world))];
                Task.WaitAll(tasks);
                attempt.Check(Invariant.Linearizable, found, () => world.ToString(), () => "what was so at an instant");
            });
        Assert.Empty(result.Uncontrolled);
        Assert.True(result.Failure is null, result.Failure?.Violation.Observed);
    }

    /// <summary>A region that changes, and another in which two memories lie all the while.</summary>
    private sealed class World
    {
        private readonly VcmManager _manager = new(new FrameAllocator(PhysRange.FromLength(new(1 << 24), 64 * Page)));
        private Iova _found;

        public World()
        {
            Changing = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
            Other = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
            Memories = [_manager.AllocateContiguous(PageCount * Page), _manager.AllocateContiguous(PageCount * Page)];
            Elsewhere = Array.ConvertAll(Memories, memory => Other.Map(memory).Range.First);
            Reservation = Changing.ReserveAt(First, PageCount * Page);
            Reservation.Back(Memories[0]);
        }

        public Vcm Changing { get; }

        public Vcm Other { get; }

        public PhysicalAllocation[] Memories { get; }

        public Iova[] Elsewhere { get; }

        public Reservation Reservation { get; }

        public VcmmError Error { get; private set; }

        /// <summary>Whether an address leads to nothing or to one of these.</summary>
        public bool LeadsTo(Iova address, params ReadOnlySpan<Iova> allowed)
        {
            Error = Changing.TryTranslate(address, Other, out _found);
            return Error == VcmmError.Fault || (Error == VcmmError.None && allowed.Contains(_found));
        }

        /// <summary>Whether the last page of the first memory is found at these addresses and at no other.</summary>
        public bool LastPageIsAt(Iova elsewhere, Iova here)
        {
            var mappings = new List<Vcmm.Mapping>();
            Error = _manager.TryFindMappings(Memories[0].AddressAt(3 * Page), mappings);
            return mappings.Select(static mapping => mapping.Address).Order().SequenceEqual([elsewhere, here]);
        }

        public override string ToString() => $"{Error} {_found}";
    }
}
