using Vcmm.Spec;

namespace Harness.Running;

// What devices of guests have met.
public sealed partial class InterestingStates
{
    private void NoteNested(World world, DeviceAccess access, Observation seen)
    {
        if (access.IsStray || world.ActiveAssociationOf(access.Device, access.Pasid) is not { Guest: { } id } association) return;
        GuestState guest = world.Guests[id];
        Translation? now = world.Sees(access.Device, access.Address, access.Pasid);
        if (seen.Reached is { } reached)
        {
            bool isNow = now is { } meaning && meaning.Target == reached && meaning.Grants(access.Kind);
            counts.Reach(isNow ? "a device reached memory through a guest's table" : "a device reached what its guest, or the region, has taken away and not told of");
            return;
        }

        if (access.Address is < World.GuestFirst or >= World.GuestFirst + (World.GuestPages * World.PageBytes)) return;
        if (guest.Entries[(int)((access.Address - World.GuestFirst) / World.PageBytes)] is not { } entry) return;
        if (now is not null) counts.Reach("a device was kept from writing by its guest's table, or the region's");
        else if (Enumerable.Range(0, World.GuestTables).Any(table => world.MeaningOf(association.Vcm, guest.Root + ((ulong)table * World.PageBytes)) is null)) counts.Reach("a device was blocked where the region has taken its guest's tables away");
        else if (world.MeaningOf(association.Vcm, entry.Target) is null) counts.Reach("a device was blocked where its guest maps what the region has not");
    }
}
