using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>Regions of tables that somebody else builds, each law by itself; generated sequences have them, too.</summary>
public sealed class PrebuiltLaws
{
    private const ulong Page = VtdSystem.Page;
    private const uint DeviceId = 0x28;

    private static readonly IovaRange Range = IovaRange.FromLength(new(0), 1UL << 32);

    private readonly byte[] _word = new byte[sizeof(ulong)];

    [Fact]
    public void A_device_reaches_what_the_owner_of_the_table_maps_and_no_longer_than_that()
    {
        using var system = new VtdSystem();
        (Vcm owner, _, _) = system.CreateRegion();
        Reservation mapped = owner.ReserveAt(new(0x5000), Page);
        PhysicalAllocation memory = system.Manager.Allocate(Page);
        system.Memory.Write64(memory.AddressAt(0), 0xC0FFEE);
        mapped.Back(memory);
        Vcm vcm = Adopt(system, owner);
        BusMaster<Ram, NoSteps> device = Join(system, vcm);

        Assert.True(device.Read(new(0x5000), _word).Ok);
        Assert.Equal(0xC0FFEEUL, BitConverter.ToUInt64(_word));
        Assert.Equal(VcmmError.None, vcm.TryTranslate(new(0x5000), out Translation meaning));
        Assert.Equal(memory.AddressAt(0), meaning.Address);

        // The owner's own unback invalidates for the owner's devices only: this one has the page cached under another domain.
        mapped.Unback();
        Assert.True(device.Read(new(0x5000), _word).Ok);
        Assert.Equal(VcmmError.None, vcm.TryInvalidate(IovaRange.FromLength(new(0x5000), Page)));
        Assert.False(device.Read(new(0x5000), _word).Ok);
    }

    [Fact]
    public void Where_absent_entries_are_cached_the_owner_tells_of_what_it_adds_too()
    {
        using var system = new VtdSystem(VtdOptions.Default with { CachingMode = true });
        (Vcm owner, _, _) = system.CreateRegion();
        Vcm vcm = Adopt(system, owner);
        BusMaster<Ram, NoSteps> device = Join(system, vcm);
        Assert.False(device.Read(new(0x5000), _word).Ok);
        owner.ReserveAt(new(0x5000), Page).Back(system.Manager.Allocate(Page));
        Assert.False(device.Read(new(0x5000), _word).Ok);
        Assert.Equal(VcmmError.None, vcm.TryInvalidate(IovaRange.FromLength(new(0x5000), Page)));
        Assert.True(device.Read(new(0x5000), _word).Ok);
    }

    [Fact]
    public void What_belongs_to_its_owner_is_left_alone()
    {
        using var system = new VtdSystem();
        (Vcm owner, _, _) = system.CreateRegion();
        owner.ReserveAt(new(0x5000), Page).Back(system.Manager.Allocate(Page));
        ulong free = system.Frames.FreeBytes;
        Vcm vcm = Adopt(system, owner);
        Association association = vcm.Associate(system.Manager.AddDevice(system.Driver, new(DeviceId)));
        association.Deassociate();
        Assert.Equal(VcmmError.None, vcm.TryFree());
        Assert.Equal(free, system.Frames.FreeBytes);
        Assert.Equal(VcmmError.None, owner.TryTranslate(new(0x5000), out _));
    }

    [Fact]
    public void What_would_change_the_table_is_refused()
    {
        using var system = new VtdSystem();
        (Vcm owner, _, _) = system.CreateRegion();
        Vcm vcm = Adopt(system, owner);
        PhysicalAllocation memory = system.Manager.Allocate(Page);
        Assert.Equal(VcmmError.Invalid, vcm.TryReserve(Page, Access.Read, Page, out _));
        Assert.Equal(VcmmError.Invalid, vcm.TryReserveAt(new(0x5000), Page, Access.Read, out _));
        Assert.Equal(VcmmError.Invalid, vcm.TryCreateBound(Page, Page, out _));
        Assert.Equal(VcmmError.Invalid, vcm.TryMap(memory, Access.Read, Page, out _));
        Assert.Equal(VcmmError.Invalid, vcm.TryClone(out _));
    }

    [Fact]
    public void Only_whole_pages_of_a_prebuilt_region_are_invalidated()
    {
        using var system = new VtdSystem();
        (Vcm owner, _, _) = system.CreateRegion();
        Vcm vcm = Adopt(system, owner);
        Assert.Equal(VcmmError.Invalid, owner.TryInvalidate(IovaRange.FromLength(new(0), Page)));
        Assert.Equal(VcmmError.Invalid, vcm.TryInvalidate(IovaRange.FromLength(new(8), Page)));
        Assert.Equal(VcmmError.Invalid, vcm.TryInvalidate(IovaRange.FromLength(new(0), 8)));
        Assert.Equal(VcmmError.Invalid, vcm.TryInvalidate(IovaRange.FromLength(new(Range.Last.Value + 1), Page)));
        Assert.Equal(VcmmError.None, vcm.TryInvalidate(IovaRange.FromLength(new(0), Page)));
    }

    [Fact]
    public void A_table_that_cannot_be_one_is_not_adopted()
    {
        using var system = new VtdSystem();
        TableFormat format = system.Driver.Formats[0];
        Assert.Equal(VcmmError.Invalid, system.Manager.TryAdoptVcm(Range, format, new(0x123456), out _));
        Assert.Equal(VcmmError.Invalid, system.Manager.TryAdoptVcm(IovaRange.FromLength(new(8), Page), format, new(0x200000), out _));
        Assert.Equal(VcmmError.Invalid, system.Manager.TryAdoptVcm(IovaRange.FromLength(new(0), 8), format, new(0x200000), out _));
        Assert.Equal(VcmmError.Invalid, system.Manager.TryCreateVcm(Range, new VcmOptions { Kind = VcmKind.Prebuilt }, out _));
        // Another format than the table has.
        Vcm vcm = system.Manager.AdoptVcm(Range, format with { LevelCount = format.LevelCount - 1 }, new(0x200000));
        Assert.Equal(VcmmError.Invalid, vcm.TryAssociate(system.Manager.AddDevice(system.Driver, new(DeviceId)), out _));
    }

    /// <summary>Its queue may be flushed in the midst of any call, and memory is others' before anybody could tell devices of an adopter.</summary>
    [Fact]
    public void The_table_of_a_deferred_region_is_not_adopted_as_long_as_it_is_one()
    {
        using var system = new VtdSystem();
        TableFormat format = system.Driver.Formats[0];
        Vcm deferred = system.Manager.CreateVcm(Range, new() { FlushQueue = new() });
        Association association = deferred.Associate(system.Manager.AddDevice(system.Driver, new(0x30)));
        Assert.True(deferred.TryGetTable(format, out IPageTable? table));
        PhysAddr root = table!.Root;
        Assert.Equal(VcmmError.Invalid, system.Manager.TryAdoptVcm(Range, format, root, out Vcm? adopter));
        Assert.Null(adopter);
        association.Deassociate();
        Vcm early = system.Manager.AdoptVcm(Range, format, root);

        // The page is the next table's root, of a deferred region again: who adopted it before cannot begin to use it.
        Association again = deferred.Associate(association.Device);
        Assert.True(deferred.TryGetTable(format, out table));
        Assert.Equal(root, table!.Root);
        Device device = system.Manager.AddDevice(system.Driver, new(DeviceId));
        Assert.Equal(VcmmError.Invalid, early.TryAssociate(device, out _));
        again.Deassociate();
        Vcm strict = system.Manager.CreateVcm(Range);
        strict.Associate(association.Device);
        Assert.True(strict.TryGetTable(format, out table));
        Assert.Equal(root, table!.Root);
        Assert.Equal(VcmmError.None, early.TryAssociate(device, out _));
    }

    private static Vcm Adopt(VtdSystem system, Vcm owner)
    {
        TableFormat format = system.Driver.Formats[0];
        Assert.True(owner.TryGetTable(format, out IPageTable? table));
        return system.Manager.AdoptVcm(Range, format, table!.Root);
    }

    private static BusMaster<Ram, NoSteps> Join(VtdSystem system, Vcm vcm)
    {
        vcm.Associate(system.Manager.AddDevice(system.Driver, new(DeviceId))).Activate();
        return new(system.Simulator, system.Memory, new(DeviceId));
    }
}
