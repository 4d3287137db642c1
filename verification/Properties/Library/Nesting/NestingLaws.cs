using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library.Nesting;

/// <summary>Devices whose accesses go through a guest's table and then through the region's: what they reach, and what they no longer reach (I2, I4, I8).</summary>
public sealed class NestingLaws
{
    private const ulong Data = NestedSystem.FirstDataPage;

    /// <summary>With a PASID or without, in a device with a TLB or without, where what is absent is cached or not.</summary>
    public static TheoryData<uint?, bool, bool> Kinds => new()
    {
        { null, false, false }, { 5u, false, false }, { null, true, false }, { 5u, true, false },
        { null, false, true }, { 5u, false, true }, { null, true, true }, { 5u, true, true },
    };

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_device_goes_through_the_guests_table_and_what_that_yields_goes_through_the_region(uint? pasid, bool hasTlb, bool cachesAbsent)
    {
        using var system = new NestedSystem(cachesAbsent);
        Guest guest = system.AddGuest();
        for (ulong page = 0; page < 8; page++) guest.Map(page, system.At(Data + 2 * page), page % 2 == 0 ? Access.ReadWrite : Access.Read);
        Probe device = system.Join(guest, pasid, hasTlb);
        for (ulong page = 0; page < 8; page++)
        {
            Assert.Equal(Data + 2 * page, device.Read(page));
            Assert.Equal(page % 2 == 0, device.Write(page, 0xD00D + page));
            if (page % 2 == 0) Assert.Equal(0xD00D + page, system.Memory.Read64(system.Behind.AddressAt((Data + 2 * page) * Guest.Page)));
        }

        Assert.Null(device.Read(8));
        // What is an address of the region is none of the device's.
        Assert.Null(device.Read(system.At(Data)));
        // Both stages have a say: the region takes away what the guest grants.
        system.Pages.SetAttributes(Access.Read);
        Assert.Equal((0xD00DUL, false), (device.Read(0), device.Write(0, 0)));
        // The guest's tables cannot be written to either, so that no flag can be set in an entry that has not been used yet.
        guest.Map(9, system.At(Data));
        Assert.Null(device.Read(9));
        system.Pages.SetAttributes(Access.ReadWrite);
        Assert.Equal((0xD00DUL, true), (device.Read(9), device.Write(0, 0)));
    }

    [Fact]
    public void A_large_page_of_the_guest_is_cut_by_the_small_pages_of_the_region()
    {
        using var system = new NestedSystem();
        Guest guest = system.AddGuest();
        guest.Write(guest.EntryOf(2), system.Region.Range.First.Value | Guest.Grants | Guest.LargeLeaf);
        Probe device = system.Join(guest);
        for (ulong page = Data; page < NestedSystem.PageCount; page++) Assert.Equal(page, device.Read(page));
        Assert.Null(device.Read(NestedSystem.PageCount));
        system.Pages.Unback((Data + 3) * Guest.Page, Guest.Page);
        Assert.Null(device.Read(Data + 3));
        Assert.Equal(Data + 4, device.Read(Data + 4));
    }

    /// <summary>The page was reached by two addresses, neither of which is the region's; the hardware and the device fetch what they can meanwhile.</summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public void After_an_unback_no_device_reaches_the_page_by_whichever_address(uint? pasid, bool hasTlb, bool cachesAbsent)
    {
        using var system = new NestedSystem(cachesAbsent);
        Guest guest = system.AddGuest();
        ulong[] pages = [0, 7, 8];
        foreach (ulong page in pages) guest.Map(page, system.At(page == 8 ? Data + 1 : Data));
        Probe device = system.Join(guest, pasid, hasTlb);
        foreach (ulong page in pages) Assert.NotNull(device.Read(page));
        int between = 0;
        system.OnStep = (step, _) =>
        {
            if (step != SimStep.CommandExecute) return;
            system.OnStep = static (_, _) => { };
            foreach (ulong page in pages)
            {
                if (device.Fetch(Guest.AddressOf(page)) | device.Read(page) is not null) between++;
            }
        };
        system.Pages.Unback(Data * Guest.Page, Guest.Page);
        Assert.NotEqual(0, between);
        Assert.Equal([null, null, Data + 1], pages.Select(device.Read));
        // And what is put there is reached at once.
        PhysicalAllocation memory = system.Manager.Allocate(Guest.Page);
        system.Memory.Write64(memory.AddressAt(0), 0xBEE);
        system.Pages.Back(Data * Guest.Page, memory, 0, Guest.Page);
        Assert.Equal([0xBEEUL, 0xBEEUL, Data + 1], pages.Select(device.Read));
    }

    /// <summary>The guest's tables lie in the region, too: one that is taken away leads nowhere, whatever hardware has read there.</summary>
    [Theory]
    [InlineData(4, false)]
    [InlineData(3, false)]
    [InlineData(2, false)]
    [InlineData(1, false)]
    [InlineData(1, true)]
    public void After_an_unback_of_a_guests_table_nothing_is_reached_through_it(int level, bool hasTlb)
    {
        using var system = new NestedSystem();
        Guest guest = system.AddGuest();
        guest.Map(0, system.At(Data));
        guest.Map(1, system.At(Data + 1));
        Probe device = system.Join(guest, hasTlb: hasTlb);
        Assert.Equal(Data, device.Read(0));
        ulong offset = guest.TableAt(level).Value - system.Region.Range.First.Value;
        system.Pages.Unback(offset, Guest.Page);
        Assert.Null(device.Read(0));
        Assert.Null(device.Read(1));
        // Other memory there is another table: nothing is known of what was in the one before.
        PhysicalAllocation other = system.Manager.Allocate(Guest.Page);
        system.Memory.Write(other.AddressAt(0), new byte[Guest.Page]);
        system.Pages.Back(offset, other, 0, Guest.Page);
        Assert.Null(device.Read(0));
        if (level != 1) guest.Write(guest.EntryOf(level), guest.TableAt(level - 1).Value | Guest.Grants);
        else guest.Map(1, system.At(Data + 5));
        Assert.Equal(level == 1 ? Data + 5 : Data + 1, device.Read(1));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void What_the_guest_takes_away_is_out_of_reach_when_that_was_said(uint? pasid, bool hasTlb, bool cachesAbsent)
    {
        using var system = new NestedSystem(cachesAbsent);
        Guest guest = system.AddGuest();
        for (ulong page = 0; page < 16; page++) guest.Map(page, system.At(Data + page));
        Probe device = system.Join(guest, pasid, hasTlb);
        // As many pages as one command names, as several do, and as only a whole address space is.
        foreach ((ulong first, ulong count) in new (ulong, ulong)[] { (3, 1), (5, 7), (0, 16) })
        {
            for (ulong page = 0; page < 16; page++) Assert.Equal(Data + page, device.Read(page));
            for (ulong page = first; page < first + count; page++) guest.Map(page, system.At(Data + 16 + page));
            // They are cached, or the law shows nothing.
            Assert.Equal(Data + first, device.Read(first));
            device.Invalidate(first, count);
            for (ulong page = 0; page < 16; page++) Assert.Equal(page >= first && page < first + count ? Data + 16 + page : Data + page, device.Read(page));
            for (ulong page = first; page < first + count; page++) guest.Unmap(page);
            device.Invalidate(first, count);
            for (ulong page = 0; page < 16; page++) Assert.Equal(page >= first && page < first + count, device.Read(page) is null);
            for (ulong page = first; page < first + count; page++) guest.Map(page, system.At(Data + page));
            if (cachesAbsent) device.Invalidate(first, count);
        }

        for (ulong page = 0; page < 16; page++) Assert.Equal(Data + page, device.Read(page));
        guest.Unmap(2);
        device.Association.Invalidate(new(new(0), new(ulong.MaxValue)));
        Assert.Null(device.Read(2));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_table_that_the_guest_replaces_leads_nowhere_when_that_was_said(bool hasTlb)
    {
        using var system = new NestedSystem();
        Guest guest = system.AddGuest();
        guest.Map(0, system.At(Data));
        // Its flag is set: hardware that would have to set it goes there from the root.
        guest.Write(guest.EntryOfPage(1), system.At(Data + 1).Value | Guest.Grants | Guest.Accessed);
        guest.Write(Guest.EntryIn(guest.SpareTable, 1), system.At(Data + 2).Value | Guest.Grants);
        guest.Write(Guest.EntryIn(guest.SpareTable, 1) + sizeof(ulong), system.At(Data + 3).Value | Guest.Grants);
        Probe device = system.Join(guest, hasTlb: hasTlb);
        Assert.Equal(Data, device.Read(0));
        guest.Write(guest.EntryOf(2), guest.SpareTable.Value | Guest.Grants);
        // Page 1 was never read: it is the pointer to the table that is still known.
        Assert.Equal(Data + 1, device.Read(1));
        device.Invalidate(0, 512);
        Assert.Equal((Data + 2, Data + 3), (device.Read(0), device.Read(1)));
        guest.Write(guest.EntryOf(2), guest.TableAt(1).Value | Guest.Grants | Guest.Accessed);
        // One page is enough to name the pointer that leads to it.
        device.Invalidate(1);
        Assert.Equal(Data + 1, device.Read(1));
    }

    [Fact]
    public void All_address_spaces_that_a_nested_table_is_are_told()
    {
        using var system = new NestedSystem();
        Guest guest = system.AddGuest();
        guest.Map(0, system.At(Data));
        Probe[] devices = [system.Join(guest), system.Join(guest, 5), system.Join(guest, 6, hasTlb: true), system.Join(guest, 5, hasTlb: true)];
        Assert.All(devices, device => Assert.Equal(Data, device.Read(0)));
        Assert.Single(system.Simulator.Iotlb.Where(static line => line.Range.First == Guest.Start).Select(static line => line.Domain).Distinct());
        guest.Map(0, system.At(Data + 1));
        devices[1].Invalidate(0);
        Assert.All(devices, device => Assert.Equal(Data + 1, device.Read(0)));
        // One of two with the same PASID goes: the other is told all the same.
        devices[3].Association.Deactivate();
        guest.Map(0, system.At(Data + 2));
        devices[0].Invalidate(0);
        Assert.All(devices[..3], device => Assert.Equal(Data + 2, device.Read(0)));
        Assert.Null(devices[3].Read(0));
        Assert.Equal(VcmmError.None, devices[3].Association.TryInvalidate(Guest.Pages(0, 1)));
    }

    /// <summary>All of them have the same PASID, or none: only the domain tells their translations apart.</summary>
    [Theory]
    [InlineData(null, false)]
    [InlineData(5u, false)]
    [InlineData(null, true)]
    public void Guests_of_one_region_do_not_see_each_others_translations(uint? pasid, bool hasTlb)
    {
        using var system = new NestedSystem();
        Guest one = system.AddGuest(), two = system.AddGuest(1);
        // The third has the addresses of the region, and both guests map addresses of the region's to other pages of it.
        Probe[] devices = [system.Join(one, pasid, hasTlb), system.Join(two, pasid, hasTlb), system.Join(null, pasid, hasTlb)];
        one.Map(0, system.At(Data));
        two.Map(0, system.At(Data + 1));
        for (int round = 0; round < 2; round++)
        {
            Assert.Equal([Data, Data + 1, null], devices.Select(static device => device.Read(0)));
            Assert.Equal([null, null, Data + 2], devices.Select(device => device.Read(system.At(Data + 2))));
        }

        // What the one takes away the other keeps, and what the region takes away both lose.
        one.Unmap(0);
        devices[0].Invalidate(0);
        Assert.Equal([null, Data + 1, null], devices.Select(static device => device.Read(0)));
        one.Map(0, system.At(Data + 1));
        Assert.Equal([Data + 1, Data + 1, null], devices.Select(static device => device.Read(0)));
        Assert.Equal(Data + 1, devices[2].Read(system.At(Data + 1)));
        system.Pages.Unback((Data + 1) * Guest.Page, Guest.Page);
        Assert.Equal([null, null, null], devices.Select(static device => device.Read(0)));
        Assert.Null(devices[2].Read(system.At(Data + 1)));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void After_a_deactivation_nothing_is_reached_and_what_comes_next_is_the_next_guests(uint? pasid, bool hasTlb, bool cachesAbsent)
    {
        using var system = new NestedSystem(cachesAbsent);
        Guest one = system.AddGuest(), two = system.AddGuest(1);
        one.Map(0, system.At(Data));
        one.Map(1, system.At(Data + 1));
        two.Map(0, system.At(Data + 2));
        Probe device = system.Join(one, pasid, hasTlb);
        Association association = device.Association;
        // Another address space of the device stays, so that its context entry does: what is then cached as absent is this one's own.
        system.Region.Associate(device.Device, new() { Pasid = new Pasid(9) }).Activate();
        Assert.Equal((Data, Data + 1), (device.Read(0), device.Read(1)));
        association.Deactivate();
        Assert.Equal((null, null), (device.Read(0), device.Read(1)));
        association.SetOptions(association.Options with { NestedTable = two.Table });
        association.Activate();
        Assert.Equal((Data + 2, null), (device.Read(0), device.Read(1)));
        association.Deactivate();
        association.SetOptions(association.Options with { NestedTable = null });
        association.Activate();
        Assert.Equal((null, Data), (device.Read(0), device.Read(system.At(Data))));
        association.Deactivate();
        association.SetOptions(association.Options with { NestedTable = one.Table });
        association.Activate();
        Assert.Equal((Data, null), (device.Read(0), device.Read(system.At(Data))));
        association.Deactivate();
        association.Deassociate();
        Assert.Equal(VcmmError.Invalid, association.TryInvalidate(Guest.Pages(0, 1)));
    }

    /// <summary>
    /// Nothing of what a walk of either stage has met is kept under a domain that somebody else is given next: another guest of the region, or
    /// one of another region that has other memory at the same addresses.
    /// </summary>
    [Fact]
    public void A_domain_that_is_given_back_knows_nothing_of_the_guest_before()
    {
        using var system = new NestedSystem();
        Vcm region = system.Manager.CreateVcm(system.Region.Range);
        region.Associate(system.Manager.AddDevice(system.Driver, new(0x11)));
        PhysicalAllocation memory = system.Manager.Allocate(system.Behind.ByteCount, ChunkSizes.Size4K, scattered: true);
        region.ReserveAt(region.Range.First, memory.ByteCount).Back(memory);
        system.Memory.Write64(memory.AddressAt((Data + 1) * Guest.Page), 0xA11);
        Guest one = system.AddGuest(), two = system.AddGuest(1), three = new(system.Memory, region, system.At(0), system.Nested);
        one.Map(0, system.At(Data));
        one.Map(1, system.At(Data + 1));
        two.Map(1, system.At(Data + 3));
        three.Map(1, system.At(Data + 1));
        // Another address space of the device stays, so that its context entry does.
        Probe device = system.Join(one, 5);
        Association ofRegion = device.Association, ofOther = region.Associate(device.Device, new() { Pasid = new Pasid(5), NestedTable = three.Table });
        system.Region.Associate(device.Device).Activate();
        ofRegion.Deactivate();
        var domains = new HashSet<uint>();
        for (int round = 0; round < 3; round++)
        {
            foreach ((Guest guest, ulong? first, ulong second) in new (Guest, ulong?, ulong)[] { (one, Data, Data + 1), (two, null, Data + 3), (three, null, 0xA11) })
            {
                Association association = guest == three ? ofOther : ofRegion;
                association.SetOptions(association.Options with { NestedTable = guest.Table });
                association.Activate();
                Assert.Equal((first, second), (device.Read(0), device.Read(1)));
                domains.UnionWith(system.Simulator.Iotlb.Where(static line => line.Pasid?.Value == 5).Select(static line => (uint)line.Domain.Value));
                association.Deactivate();
                Assert.Null(device.Read(1));
            }
        }

        Assert.Single(domains);
    }
}
