using Vcmm.Spec;

namespace Harness.ModelChecking;

// Guests: their tables in regions, what they write there and tell, and who goes through them.
public sealed partial class Behaviours
{
    /// <summary>A page of the region in which a guest's device looks at an address of that.</summary>
    private const ulong RegionPage = 0;

    private IEnumerable<ulong> GuestAddresses => Enumerable.Range(0, _scope.GuestPages).Select(static page => World.GuestFirst + ((ulong)page * Page));

    /// <summary>Those of which something is left, and of those of which nothing is, one.</summary>
    private IEnumerable<ObjectId> NestedGuests => _world.Guests.Keys.Where(guest => guest.Number == 0 || !_world.HasEnded(guest));

    private void Guests()
    {
        if (_scope.Guests == 0) return;
        if (_world.Guests.Keys.Count(guest => !_world.HasEnded(guest)) < _scope.Guests)
        {
            foreach (ObjectId reservation in _world.Reservations.Keys) AddDone(new CreateGuest(Next(ObjectKind.Guest, _world.Guests), reservation) { IsOnePage = true });
        }

        foreach (ObjectId guest in _world.Guests.Keys)
        {
            for (int page = 0; page < _scope.GuestPages; page++)
            {
                foreach (ulong target in AddressesOf(_world.Guests[guest].Vcm))
                {
                    foreach (Permissions permissions in (ReadOnlySpan<Permissions>)[Permissions.Read, Permissions.ReadWrite]) AddDone(new GuestMap(guest, page, target, permissions));
                }

                AddDone(new GuestUnmap(guest, page));
            }
        }

        foreach (ObjectId association in _world.Associations.Keys)
        {
            foreach (ulong address in GuestAddresses) AddInvalidation(association, address, Page);
            AddInvalidation(association, World.GuestFirst, World.GuestPages * Page);
            AddInvalidation(association, World.GuestFirst, Page / 2);
        }
    }

    private void AddInvalidation(ObjectId association, ulong first, ulong byteCount) =>
        AddDone(new GuestInvalidate(association, RangeOf(first, byteCount)), Outcome.Invalid, Outcome.HardwareFailure);

    /// <summary>A device, or a process, joins with a guest's table.</summary>
    private void AddNested(Associate associate)
    {
        foreach (ObjectId guest in NestedGuests)
        {
            AddAssociate(associate with { Guest = guest });
            if (_scope.Formats > 1) AddAssociate(associate with { Guest = guest, Kind = TableKind.FirstStage });
        }
    }

    /// <summary>Where a device looks: a guest's at the guest's addresses, and at one of the region.</summary>
    private IEnumerable<ulong> AddressesFor(ObjectId device) => _world.ActiveAssociationOf(device, null) switch
    {
        { Guest: not null } => [.. GuestAddresses, RegionPage],
        { Vcm: var active } => AddressesOf(active),
        // What a device does that is active nowhere is the same wherever it does it.
        null => _world.PassesThrough(device, null) ? [.. _frames] : [0],
    };
}
