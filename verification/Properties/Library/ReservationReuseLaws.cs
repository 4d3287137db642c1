using Harness;
using Platform;
using Vcmm;

namespace Properties.Library;

/// <summary>What a reservation is made of is used again: nothing is allocated for the next, and who has a handle of the last does nothing to the next.</summary>
public sealed class ReservationReuseLaws : IDisposable
{
    private const ulong Page = SmallSystem.Page;

    private readonly SmallSystem _system = new();

    public static TheoryData<string> Uses => new(UsesByName.Keys);

    private static Dictionary<string, Func<Reservation, PhysicalAllocation, VcmmError>> UsesByName { get; } = new()
    {
        ["back"] = static (handle, memory) => handle.TryBack(memory),
        ["back a part"] = static (handle, memory) => handle.TryBack(2 * Page, memory, 0, Page),
        ["unback"] = static (handle, _) => handle.TryUnback(),
        ["unback a part"] = static (handle, _) => handle.TryUnback(0, Page),
        ["set attributes"] = static (handle, _) => handle.TrySetAttributes(Access.Read),
        ["collect dirty"] = static (handle, _) => handle.TryCollectDirty(0, Page, clear: false, []),
        ["collect accessed"] = static (handle, _) => handle.TryCollectAccessed(0, Page, clear: false, []),
        ["acquire"] = static (handle, _) => handle.TryAcquire(),
        ["release"] = static (handle, _) => handle.TryRelease(),
        ["unreserve"] = static (handle, _) => handle.TryUnreserve(),
        ["unmap"] = static (handle, _) => handle.TryUnmap(),
    };

    public void Dispose() => _system.Dispose();

    [Theory]
    [MemberData(nameof(Uses))]
    public void A_handle_of_what_has_ended_does_nothing_to_what_came_after_it(string use)
    {
        Vcm vcm = _system.CreateVcm();
        Reservation ended = vcm.Reserve(3 * Page);
        ended.Unreserve();
        Reservation next = vcm.Reserve(3 * Page);
        PhysicalAllocation memory = _system.Manager.Allocate(2 * Page);
        next.Back(0, memory, 0, 2 * Page);
        PhysicalAllocation other = _system.Manager.Allocate(3 * Page);

        Assert.Equal(VcmmError.Invalid, UsesByName[use](ended, other));
        Assert.Equal([new BackedPart(0, 2 * Page, memory, 0)], next.BackedParts);
        Assert.Equal((MappingAttributes)Access.ReadWrite, next.Attributes);
        Assert.Equal(VcmmError.Busy, next.TryUnreserve());
    }

    [Fact]
    public void Backing_again_what_was_unbacked_in_parts_allocates_nothing()
    {
        Reservation reservation = _system.CreateVcm().Reserve(3 * Page);
        PhysicalAllocation memory = _system.Manager.AllocateContiguous(4 * Page);
        Round();
        Assert.Equal(0, Allocations.Of(() =>
        {
            for (int i = 0; i < 100; i++) Round();
        }));

        void Round()
        {
            VcmmError backed = reservation.TryBack(0, memory, Page, 3 * Page);
            VcmmError cut = reservation.TryUnback(Page, Page);
            VcmmError first = reservation.TryUnback(0, Page);
            VcmmError last = reservation.TryUnback(2 * Page, Page);
            if ((backed, cut, first, last) != default) throw new InvalidOperationException($"{backed}, {cut}, {first}, {last}");
        }
    }
}
