using Harness.Passing;
using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Library.Nesting;

/// <summary>Nested tables and the region around them: what may be nested where, what is told of faults and of use, regions of other kinds.</summary>
public sealed class NestingRegionLaws
{
    private const ulong Page = NestedSystem.Page, Data = NestedSystem.FirstDataPage;

    [Fact]
    public void What_cannot_be_nested_is_refused_and_changes_nothing()
    {
        using var system = new NestedSystem();
        Iova root = system.At(0);
        IovaRange range = system.Region.Range;
        Device device = system.Manager.AddDevice(system.Driver, new(0x99));
        Association association = system.Region.Associate(device);
        TableFormat first = system.Nested, second = system.Driver.Formats[0];
        (AssociationOptions Options, string Why)[] refused =
        [
            (new() { NestedTable = new(second, root) }, "a format that is not nested in another"),
            (new() { NestedTable = new(first with { LevelCount = 3 }, root) }, "a format that there is not"),
            (new() { NestedTable = new(IdentityTable.Format, root) }, "a format that is no table"),
            (new() { Format = first, NestedTable = new(first, root) }, "a format in which nothing is nested"),
            (new() { NestedTable = new(first, root + 8) }, "a root that is no whole page"),
            (new() { NestedTable = new(first, new(range.First.Value - Page)) }, "a root before the region"),
            (new() { NestedTable = new(first, new(range.Last.Value + 1)) }, "a root behind it"),
        ];
        foreach ((AssociationOptions options, string why) in refused)
        {
            Assert.True(association.TrySetOptions(options) == VcmmError.Invalid, why);
            Assert.True(system.Region.TryAssociate(device, options with { Pasid = new Pasid(3) }, out _) == VcmmError.Invalid, why);
            Assert.Null(association.NestedTable);
        }

        Assert.False(system.Region.TryGetTable(first, out _));
        // Where nothing is backed yet is a page of the region as well, and so is its last.
        foreach (Iova at in (Iova[])[system.At(NestedSystem.PageCount + 1), new(range.Last.Value - Page + 1), root])
        {
            var options = new AssociationOptions { Format = second, NestedTable = new(first, at) };
            Assert.Equal(VcmmError.None, association.TrySetOptions(options));
            Assert.Equal((options, options.NestedTable), (association.Options, association.NestedTable));
        }

        Assert.Equal($"{first} at {root}", association.NestedTable.ToString());
        Assert.Equal(VcmmError.Busy, system.Region.TryAssociate(device, new() { NestedTable = new(first, system.At(1)) }, out _));
        association.Activate();
        Assert.Equal(VcmmError.Busy, association.TrySetOptions(AssociationOptions.Default));
    }

    [Fact]
    public void What_cannot_be_told_of_is_refused()
    {
        using var system = new NestedSystem();
        Guest guest = system.AddGuest();
        Association plain = system.Join(null).Association, nested = system.Join(guest).Association;
        Assert.Equal(VcmmError.Invalid, plain.TryInvalidate(Guest.Pages(0, 1)));
        Assert.Equal(VcmmError.Invalid, nested.TryInvalidate(IovaRange.FromLength(Guest.Start + 8, Page)));
        Assert.Equal(VcmmError.Invalid, nested.TryInvalidate(IovaRange.FromLength(Guest.Start, Page / 2)));
        Assert.Equal(VcmmError.None, nested.TryInvalidate(Guest.Pages(0, 1)));
        Assert.Equal(VcmmError.Invalid, Assert.Throws<VcmmException>(() => plain.Invalidate(Guest.Pages(0, 1))).Error);
        // The region is not of a table that somebody else built: of it nobody needs to be told.
        Assert.Equal(VcmmError.Invalid, system.Region.TryInvalidate(system.Pages.Range));
        nested.Deactivate();
        Assert.Equal(VcmmError.None, nested.TryInvalidate(Guest.Pages(0, 1)));
    }

    /// <summary>The domain is there before the hardware can walk: who tells of a change meanwhile has told it.</summary>
    [Fact]
    public void What_is_told_during_the_attach_reaches_the_domain_that_is_being_attached()
    {
        using var system = new NestedSystem();
        Guest guest = system.AddGuest();
        guest.Map(0, system.At(Data));
        var iommu = new LateIommu(system.Driver);
        Association association = system.Region.Associate(system.Manager.AddDevice(iommu, new(0x99)), new() { NestedTable = guest.Table });
        var master = new BusMaster<Ram, StepHook>(system.Simulator, system.Memory, new(0x99));
        byte[] word = new byte[sizeof(ulong)];
        iommu.OnAttached = () =>
        {
            Assert.True(master.Read(Guest.AddressOf(0), word).Ok);
            guest.Unmap(0);
            Assert.False(association.IsActive);
            association.Invalidate(Guest.Pages(0, 1));
            Assert.False(master.Read(Guest.AddressOf(0), word).Ok);
        };
        association.Activate();
        Assert.Equal(Data, BitConverter.ToUInt64(word));
        Assert.False(master.Read(Guest.AddressOf(0), word).Ok);
    }

    /// <summary>The cause of a fault, by what is wrong, and the address that the device used.</summary>
    [Fact]
    public void A_fault_is_told_with_the_devices_address_and_its_cause()
    {
        using var system = new NestedSystem();
        Guest guest = system.AddGuest();
        guest.Map(0, system.At(Data));
        guest.Map(1, system.At(NestedSystem.PageCount));        // in the region, and nothing is there
        guest.Map(2, new(0x1000));                               // outside the region
        guest.Map(3, system.At(Data), Access.Read);
        guest.Write(guest.EntryOfPage(5), 1UL << 47 | 1UL << 48 | Guest.Grants);     // wider than the region's table
        guest.Write(guest.EntryOf(2) + 8, 0x2000 | Guest.Grants);                    // a table outside the region
        guest.Write(guest.EntryOf(2) + 16, 1UL << 48 | Guest.Grants);
        Probe device = system.Join(guest, 5);
        var told = new List<DeviceFault>();
        device.Device.FaultHook = fault =>
        {
            told.Add(fault);
            return FaultAnswer.Refuse;
        };
        (Iova At, bool Writes, FaultCause Cause)[] expected =
        [
            (Guest.AddressOf(1), false, FaultCause.NotPermitted), (Guest.AddressOf(2), false, FaultCause.NotPermitted), (Guest.AddressOf(3), true, FaultCause.NotPermitted),
            (Guest.AddressOf(4), false, FaultCause.NotMapped), (Guest.AddressOf(5), false, FaultCause.Misprogrammed),
            (Guest.Start + Guest.Large, false, FaultCause.NotPermitted), (Guest.Start + 2 * Guest.Large, false, FaultCause.Misprogrammed),
            (new(0x8000_0000_0000), false, FaultCause.OutOfRange), (system.At(Data), false, FaultCause.NotMapped),
        ];
        foreach ((Iova at, bool writes, FaultCause cause) in expected)
        {
            Assert.False(writes ? device.Write(at, 0) : device.Read(at) is not null);
            Assert.Equal(1, system.Manager.DispatchFaults());
            DeviceFault fault = told[^1];
            Assert.Equal((device.Device.Id, new Pasid(5), at, writes ? Access.Write : Access.Read, cause), (fault.Device, fault.Pasid!.Value, fault.Address, fault.Access, fault.Cause));
        }

        // The tables themselves, where the region does not let hardware set their flags.
        guest.Map(9, system.At(Data));
        system.Pages.SetAttributes(Access.Read);
        Assert.Null(device.Read(9));
        system.Manager.DispatchFaults();
        Assert.Equal((Guest.AddressOf(9), FaultCause.Misprogrammed), (told[^1].Address, told[^1].Cause));
        Assert.Equal(expected.Length + 1, told.Count);
    }

    /// <summary>The hook is told of the device's address; what it does is up to whose table it is.</summary>
    [Theory]
    [InlineData(null)]
    [InlineData(5u)]
    public void A_page_that_either_stage_lacks_can_be_asked_for(uint? pasid)
    {
        using var system = new NestedSystem();
        Guest guest = system.AddGuest();
        guest.Map(1, system.At(NestedSystem.PageCount));
        Probe device = system.Join(guest, pasid, hasTlb: true, asksForPages: true);
        Reservation late = system.Region.ReserveAt(system.At(NestedSystem.PageCount), Page);
        var asked = new List<Iova>();
        device.Device.FaultHook = fault =>
        {
            asked.Add(fault.Address);
            if (fault.Address == Guest.AddressOf(0)) guest.Map(0, system.At(Data));
            else if (!late.IsBacked) late.Back(system.Manager.Allocate(Page));
            return FaultAnswer.Retry;
        };
        DmaTransfer[] transfers = [.. ((ulong[])[0, 1]).Select(page => device.Ats!.Read(Guest.AddressOf(page), 8, device.Prefix))];
        Assert.All(transfers, static transfer => Assert.Equal(AccessOutcome.Stalled, transfer.Outcome));
        Assert.Equal(2, system.Manager.DispatchFaults());
        Assert.Equal([Guest.AddressOf(0), Guest.AddressOf(1)], asked);
        Assert.All(transfers, static transfer => Assert.Equal(AccessOutcome.Completed, transfer.Outcome));
        Assert.Equal(Data, BitConverter.ToUInt64(transfers[0].Data));

        // What waits when the address space ends has failed.
        DmaTransfer last = device.Ats!.Read(Guest.AddressOf(2), 8, device.Prefix);
        Assert.Equal(AccessOutcome.Stalled, last.Outcome);
        device.Association.Deactivate();
        Assert.Equal(AccessOutcome.Failed, last.Outcome);
    }

    [Fact]
    public void What_devices_used_of_the_region_is_known_by_way_of_their_tables_too()
    {
        using var system = new NestedSystem(tracksUse: true);
        Guest guest = system.AddGuest();
        for (ulong page = 0; page < 4; page++) guest.Map(page, system.At(Data + page));
        Probe[] devices = [system.Join(guest), system.Join(guest, 5, hasTlb: true)];
        foreach (Probe device in devices)
        {
            Assert.Equal(Data, device.Read(0));
            Assert.True(device.Write(1, 1));
        }

        // Both have the pages cached, as dirty, and after this must find them anew.
        var dirty = new List<IovaRange>();
        for (int round = 0; round < 2; round++)
        {
            dirty.Clear();
            Assert.Equal(VcmmError.None, system.Pages.TryCollectDirty(Data * Page, 8 * Page, clear: true, dirty));
            Assert.Equal([IovaRange.FromLength(system.At(Data + 1), Page)], dirty);
            Assert.True(devices[round].Write(1, 1));
        }

        // The guest's tables are memory of the region, too: hardware reads them, and sets flags in them.
        dirty.Clear();
        Assert.Equal(VcmmError.None, system.Pages.TryCollectDirty(0, Guest.TablePages * Page, clear: true, dirty));
        Assert.Equal(IovaRange.FromLength(guest.TableAt(4), 4 * Page), new IovaRange(dirty[0].First, dirty[^1].Last));
    }

    [Fact]
    public void A_guests_tables_can_lie_in_a_one_to_one_region()
    {
        using var system = new NestedSystem();
        Vcm region = system.Manager.CreateVcm(IovaRange.FromLength(new(2UL << 20), 4UL << 20), new() { Kind = VcmKind.OneToOne });
        region.Associate(system.Manager.AddDevice(system.Driver, new(0x11)));
        Binding binding = region.Bind(8 * Page);
        Iova first = binding.Reservation.Range.First;
        var guest = new Guest(system.Memory, region, first, system.Nested);
        guest.Map(0, first + 6 * Page);
        guest.Map(1, new(first.Value + 9 * Page));
        Probe device = system.Join(guest, region: region);
        system.Memory.Write64(binding.Memory.AddressAt(6 * Page), 0xABC);
        Assert.Equal((0xABCUL, null), (device.Read(0), device.Read(1)));
        region.Unbind(binding);
        Assert.Null(device.Read(0));
        // A device without an IOMMU takes part in such a region, and nests nothing.
        Assert.Equal(VcmmError.Invalid, region.TryAssociate(system.Manager.AddDevice(new NoIommu(), new(1)), new() { NestedTable = guest.Table }, out _));
    }

    [Fact]
    public void A_guests_tables_can_lie_in_a_region_whose_table_somebody_else_built()
    {
        using var system = new NestedSystem();
        Guest guest = system.AddGuest();
        guest.Map(0, system.At(Data));
        Assert.True(system.Region.TryGetTable(system.Driver.Formats[0], out IPageTable? table));
        Vcm adopted = system.Manager.AdoptVcm(system.Region.Range, table!.Format, table.Root);
        Probe device = system.Join(guest, 5, region: adopted);
        Assert.Equal(Data, device.Read(0));
        system.Pages.Unback(Data * Page, Page);
        Assert.Equal(Data, device.Read(0));
        adopted.Invalidate(IovaRange.FromLength(system.At(Data), Page));
        Assert.Null(device.Read(0));
        guest.Map(0, system.At(Data + 1));
        device.Invalidate(0);
        Assert.Equal(Data + 1, device.Read(0));
    }

    /// <summary>Until the flush a device reaches what it did or nothing, and the memory is nobody else's.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void In_a_deferred_region_nothing_is_reached_after_the_flush(bool hasTlb)
    {
        using var system = new NestedSystem(region: new() { FlushQueue = new(new() { Time = new Cli.FakeClock() }) });
        Guest guest = system.AddGuest();
        guest.Map(0, system.At(Data));
        guest.Map(1, system.At(Data));
        Probe device = system.Join(guest, hasTlb: hasTlb);
        Assert.Equal(Data, device.Read(0));
        system.Pages.Unback(Data * Page, Page);
        Assert.Equal(Data, device.Read(0));
        system.Region.Flush();
        Assert.Equal((null, null), (device.Read(0), device.Read(1)));
    }

    /// <summary>An IOMMU in whose attach something happens when it is done.</summary>
    private sealed class LateIommu(IIommu inner) : PassingIommu(inner)
    {
        public Action OnAttached { get; set; } = static () => { };

        public override VcmmError AttachNested(StreamId device, Pasid? pasid, DomainId domain, IPageTable table, NestedTable nested)
        {
            VcmmError error = base.AttachNested(device, pasid, domain, table, nested);
            OnAttached();
            return error;
        }
    }
}
