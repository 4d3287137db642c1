using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>An association that is not active is given other tables and another address space; one that is active is not (I3, I6, I8).</summary>
public sealed class AssociationOptionsLaws : IDisposable
{
    private const ulong Page = VcmManager.PageBytes;

    private readonly ScalableSystem _system = new(driver: new() { TracksUse = true, MaximumPasidCount = 1 << 10 });
    private readonly VcmManager _manager;
    private readonly TableFormat _second, _first;
    private readonly Vcm _vcm;
    private readonly Reservation _reservation;
    private readonly Device _device;
    private readonly BusMaster<Ram, NoSteps> _master;

    public AssociationOptionsLaws()
    {
        _manager = new(_system.Frames);
        _second = _system.Driver.Formats[0];
        _first = _system.Driver.Formats.First(format => format.Encoding == X86FirstStage.Encoding && format.LevelCount == 4);
        _vcm = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        _reservation = _vcm.Reserve(3 * Page);
        _reservation.Back(_manager.Allocate(3 * Page));
        _device = _manager.AddDevice(_system.Driver, new(0x0391));
        _master = _system.Master(_device.Id);
    }

    public void Dispose() => _system.Dispose();

    [Fact]
    public void An_idle_association_is_given_other_tables_and_another_address_space_and_an_active_one_is_not()
    {
        Association association = _vcm.Associate(_device, new() { Format = _second });
        Assert.Equal((_second, null, VcmmError.None), (association.Format, association.Pasid, association.TrySetOptions(new() { Format = _first, Pasid = new(5) })));
        var changed = new AssociationOptions { Format = _first, Pasid = new Pasid(5) };
        Assert.Equal((_first, new Pasid(5), changed), (association.Format, association.Pasid!.Value, association.Options));
        // The table went with the last association that had its format, and the other has what is backed.
        Assert.False(_vcm.TryGetTable(_second, out _));
        Assert.True(_vcm.TryGetTable(_first, out IPageTable? table));
        Assert.Equal(3 * Page, table!.Leaves().Aggregate(0UL, static (sum, leaf) => sum + leaf.Range.ByteCount));
        association.Activate();
        Assert.Equal((false, true), Reads(5));

        Assert.Equal(VcmmError.Busy, association.TrySetOptions(AssociationOptions.Default));
        Assert.Equal(VcmmError.Busy, association.TrySetOptions(changed));
        Assert.Equal(VcmmError.Busy, Assert.Throws<VcmmException>(() => association.SetOptions(AssociationOptions.Default)).Error);
        Assert.Equal((changed, (false, true)), (association.Options, Reads(5)));

        association.Deactivate();
        association.SetOptions(AssociationOptions.Default);
        Assert.Equal((false, false), Reads(5));
        association.Activate();
        Assert.Equal((_second, (true, false)), (association.Format, Reads(5)));
        association.Deactivate();
        association.Deassociate();
        Assert.Equal(VcmmError.Invalid, association.TrySetOptions(changed));
    }

    [Fact]
    public void What_could_not_be_associated_so_is_refused_and_changes_nothing()
    {
        Association association = _vcm.Associate(_device, new() { Format = _second });
        Association other = _vcm.Associate(_device, new() { Format = _first, Pasid = new(7) });
        Reservation supervisors = default;
        (VcmmError Error, AssociationOptions Options)[] refused =
        [
            (VcmmError.Busy, new() { Format = _first, Pasid = new(7) }), (VcmmError.Invalid, new() { Pasid = new(0) }), (VcmmError.Invalid, new() { Pasid = new(_system.Driver.PasidCount) }),
            (VcmmError.Invalid, new() { Format = IdentityTable.Format }), (VcmmError.Invalid, new() { Format = _second with { LevelCount = 9 } }),
            (VcmmError.Invalid, new() { Base = TableBase.Low }), (VcmmError.Invalid, new() { Split = new(1UL << 29) }),
        ];
        foreach ((VcmmError error, AssociationOptions options) in refused)
        {
            Assert.Equal(error, association.TrySetOptions(options));
            Assert.Equal((_second, null), (association.Format, association.Pasid));
        }

        // What other tables cannot say is refused as it is to a new association.
        association.Deassociate();
        supervisors = _vcm.Reserve(Page, new(Access.Read, SupervisorOnly: true));
        Assert.Equal(VcmmError.Invalid, other.TrySetOptions(new() { Format = _second }));
        Assert.Equal((_first, new Pasid(7)), (other.Format, other.Pasid!.Value));
        Assert.False(_vcm.TryGetTable(_second, out _));
        supervisors.Unreserve();
        Assert.Equal(VcmmError.None, other.TrySetOptions(new() { Format = _second }));
        Assert.Throws<ArgumentNullException>(() => other.TrySetOptions(null!));
    }

    [Fact]
    public void A_change_that_runs_out_of_table_pages_leaves_no_trace()
    {
        Association association = _vcm.Associate(_device, new() { Format = _second });
        int failures = 0;
        for (int n = 0; ; n++)
        {
            ulong free = _system.Frames.FreeBytes;
            _system.Frames.AllocationsBeforeFailure = n;
            VcmmError error = association.TrySetOptions(new() { Format = _first, Pasid = new(5) });
            _system.Frames.AllocationsBeforeFailure = -1;
            if (error == VcmmError.None) break;
            failures++;
            Assert.Equal((VcmmError.NoMemory, _second, null, free), (error, association.Format, association.Pasid, _system.Frames.FreeBytes));
            Assert.True(_vcm.TryGetTable(_second, out _));
            Assert.False(_vcm.TryGetTable(_first, out _));
        }

        // The root, and a table at each level.
        Assert.Equal(4, failures);
        ulong left = _system.Frames.FreeBytes;
        association.SetOptions(new() { Format = _second });
        Assert.Equal(left, _system.Frames.FreeBytes);
    }

    /// <summary>Without the option of the driver only the first stage's format has such bits.</summary>
    [Fact]
    public void Whether_use_is_noted_goes_with_the_format()
    {
        using var system = new ScalableSystem();
        var manager = new VcmManager(system.Frames);
        Vcm region = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        Reservation reservation = region.Reserve(Page);
        Association association = region.Associate(manager.AddDevice(system.Driver, new(0x0391)), new() { Format = _second });
        foreach (bool isNoted in (bool[])[false, true, true, false, false, true])
        {
            association.SetOptions(new() { Format = isNoted ? _first : _second });
            Assert.Equal(isNoted ? VcmmError.None : VcmmError.Invalid, reservation.TryCollectDirty(0, Page, clear: true, []));
        }

        // Nothing of it stays when the association goes.
        association.SetOptions(new() { Format = _second });
        association.Deassociate();
        region.Associate(manager.AddDevice(system.Driver, new(0x0392)), new() { Format = _first });
        Assert.Equal(VcmmError.None, reservation.TryCollectDirty(0, Page, clear: true, []));
    }

    /// <summary>Both of its domains are in one batch, whichever device came in between.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void An_IOMMU_of_several_formats_is_waited_for_once(int others)
    {
        RecordingIommu[] before = [.. Enumerable.Range(0, others).Select(_ => new RecordingIommu(_system.Memory))];
        Activate(before.Take(1));
        _vcm.Associate(_device, new() { Format = _second }).Activate();
        Activate(before.Skip(1));
        _vcm.Associate(_manager.AddDevice(_system.Driver, new(0x0392)), new() { Format = _first }).Activate();
        int waits = _system.Waits;
        _reservation.Unback(Page, Page);
        Assert.Equal(waits + 1, _system.Waits);
        // Each other is told, too, and once.
        Assert.All(before, static iommu => Assert.Single(iommu.Calls.OfType<RecordingIommu.Invalidated>()));

        void Activate(IEnumerable<RecordingIommu> iommus)
        {
            foreach (RecordingIommu iommu in iommus) _vcm.Associate(_manager.AddDevice(iommu, new(0x20))).Activate();
        }
    }

    /// <summary>The table goes, and what hardware had noted in it does not.</summary>
    [Fact]
    public void What_was_written_is_still_known_when_the_tables_are_others()
    {
        Association association = _vcm.Associate(_device, new() { Format = _second });
        association.Activate();
        Assert.True(_master.Write(_reservation.Range.First + Page, [1]).Ok);
        association.Deactivate();
        association.SetOptions(new() { Format = _first, Pasid = new(5) });
        var dirty = new List<IovaRange>();
        Assert.Equal(VcmmError.None, _reservation.TryCollectDirty(0, 3 * Page, clear: true, dirty));
        Assert.Equal([IovaRange.FromLength(_reservation.Range.First + Page, Page)], dirty);
    }

    /// <summary>Whether the device reads without a PASID, and with it.</summary>
    private (bool Without, bool With) Reads(uint pasid)
    {
        byte[] word = new byte[sizeof(ulong)];
        return (_master.Read(_reservation.Range.First, word).Ok, _master.Read(_reservation.Range.First, word, new PasidPrefix(new(pasid))).Ok);
    }
}
