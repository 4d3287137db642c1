using CsCheck;
using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Generating;

// Guests in regions of their own: what their devices reach is what two tables say, each of which changes. These steps come between the others, from a stream of
// their own and with names of their own: the other steps are the same without them.
internal sealed partial class OperationWriter
{
    private const ulong NestStream = 0x9E57_0DE7;
    private const int FirstNameNesting = 500;

    /// <summary>The pages of a region: tables first, then those that guests map, of which the last is never backed.</summary>
    private const uint NestedTables = World.GuestTables, NestedPages = 4, MostNested = 2;

    private readonly PCG _nest;
    private readonly bool _nests;
    private readonly List<NestedRegion> _nested = [];
    private readonly Queue<Step> _nestNext = [];
    private int _nestCount;

    /// <summary>What comes between two other steps: a guest and its region, a step of one that is there, or nothing.</summary>
    public IEnumerable<Step> Nesting()
    {
        if (!_nests || _next.Count != 0 || _besideNext.Count != 0 || _acrossNext.Count != 0 || _wildNext.Count != 0 || _changeNext.Count != 0 || _passNext.Count != 0) return [];
        if (_nestNext.Count != 0) return [_nestNext.Dequeue()];
        if (_nested.Count == 0 ? _nest.Next(8) == 0 : _nested.Count < MostNested && _nest.Next(32) == 0) return BeginNested();
        return _nested.Count != 0 && _nest.Next(3) != 0 ? [NestedStep(_nested[(int)_nest.Next((uint)_nested.Count)])] : [];
    }

    private List<Step> BeginNested()
    {
        int number = FirstNameNesting + 16 * _nestCount++;
        // Addresses of the next guest's are others.
        ulong first = _nest.Next(4) * (16 * Page);
        var region = new NestedRegion(number, first);
        _nested.Add(region);
        List<Operation> made =
        [
            new CreateVcm(region.Vcm, new(0, (64 * Page) - 1), VcmKind.Device) { IsDeferred = _nest.Next(4) == 0 },
            new Vcmm.Spec.ReserveAt(region.Tables, region.Vcm, first, NestedTables * Page, Vcmm.Spec.Permissions.ReadWrite),
            new AllocateMemory(region.TableMemory, NestedTables * Page, Page, Scattered: _nest.Next(2) == 0),
            new Vcmm.Spec.Back(region.Tables, region.TableMemory),
            new CreateGuest(region.Guest, region.Tables),
            new Vcmm.Spec.ReserveAt(region.Data, region.Vcm, first + NestedTables * Page, NestedPages * Page, Vcmm.Spec.Permissions.ReadWrite),
            new AllocateMemory(region.DataMemory, 2 * NestedPages * Page, Page, Scattered: false),
        ];
        for (uint page = 0; page < NestedPages - 1; page++) made.Add(BackPage(region, page));
        for (int page = 0; page < World.GuestPages; page++) made.Add(MapPage(region, page));
        for (int which = 0; which < 2; which++)
        {
            made.Add(JoinNested(region, which));
            if (which == 0 || _nest.Next(2) == 0) made.Add(new Activate(region.Association(which)));
        }

        return [.. made.Select(static operation => new Step(operation))];
    }

    /// <summary>The first has the guest's table; the second has it as well, or the region's addresses, or what is none.</summary>
    private Associate JoinNested(NestedRegion region, int which)
    {
        bool isNested = which == 0 || _nest.Next(3) != 0;
        // As where the PASIDs of a device are few: some are others'.
        (ObjectId Device, uint? Pasid) space = (new(ObjectKind.Device, (int)_nest.Next((uint)_devices.Count)), _hasPasids && _nest.Next(4) != 0 ? (uint)region.Number + _nest.Next(2) : null);
        region.Spaces[which] = space;
        return new(region.Association(which), region.Vcm, space.Device)
        {
            Kind = which == 1 && _nest.Next(12) == 0 ? TableKind.FirstStage : null,
            Pasid = space.Pasid,
            Guest = isNested ? _nest.Next(12) == 0 ? _nested[0].Guest : region.Guest : null,
        };
    }

    private Step NestedStep(NestedRegion region)
    {
        int page = (int)_nest.Next(World.GuestPages), which = (int)_nest.Next(2);
        uint target = _nest.Next(NestedPages);
        Operation operation = _nest.Next(32) switch
        {
            < 5 => MapPage(region, page),
            < 8 => new GuestUnmap(region.Guest, page),
            < 13 => new GuestInvalidate(region.Association(which), InvalidatedRange(page)),
            < 17 => BackPage(region, target % (NestedPages - 1)),
            < 21 => new Vcmm.Spec.UnbackPart(region.Data, target * Page, Page),
            < 23 => new Vcmm.Spec.SetAttributes(_nest.Next(4) == 0 ? region.Tables : region.Data, _nest.Next(2) == 0 ? Vcmm.Spec.Permissions.Read : Vcmm.Spec.Permissions.ReadWrite),
            < 25 => TakeTable(region),
            25 => new Deactivate(region.Association(which)),
            26 => new Activate(region.Association(which)),
            27 => new ChangeAssociation(region.Association(which)) { Pasid = region.Spaces[which].Pasid, Guest = _nest.Next(3) == 0 ? null : region.Guest },
            28 => new CollectUse(region.Data, 0, NestedPages * Page, _nest.Next(2) == 0 ? Use.Written : Use.Accessed, _nest.Next(2) == 0),
            _ => AccessNested(region, page),
        };
        if (operation is Vcmm.Spec.Activate or Vcmm.Spec.Deactivate or ChangeAssociation && _nest.Next(2) == 0) _nestNext.Enqueue(new(new Activate(region.Association(which))));
        return new(operation, operation is GuestInvalidate && _shape.HardwareFails && _nest.Next(24) == 0 ? new(MishapKind.Hardware, 1) : null);
    }

    /// <summary>The region takes a page of the guest's tables away, and gives it back, mostly after others have come between.</summary>
    private Vcmm.Spec.UnbackPart TakeTable(NestedRegion region)
    {
        ulong offset = _nest.Next(NestedTables) * Page;
        if (_nest.Next(2) == 0) _nestNext.Enqueue(new(AccessNested(region, (int)_nest.Next(World.GuestPages))));
        if (_nest.Next(8) != 0) _nestNext.Enqueue(new(new Vcmm.Spec.BackPart(region.Tables, offset, region.TableMemory, offset, Page)));
        return new(region.Tables, offset, Page);
    }

    private GuestMap MapPage(NestedRegion region, int page) =>
        new(region.Guest, page, region.First + (_nest.Next(16) == 0 ? _nest.Next(NestedTables) : NestedTables + _nest.Next(NestedPages)) * Page, _nest.Next(4) == 0 ? Vcmm.Spec.Permissions.Read : Vcmm.Spec.Permissions.ReadWrite);

    private Vcmm.Spec.BackPart BackPage(NestedRegion region, uint page) => new(region.Data, page * Page, region.DataMemory, (page + (_nest.Next(3) == 0 ? NestedPages : 0)) * Page, Page);

    private AddressRange InvalidatedRange(int page)
    {
        ulong first = World.GuestFirst + (ulong)page * Page;
        return _nest.Next(12) == 0
            ? new(first, first + 0x7FF)
            : new(first, (_nest.Next(2) == 0 ? first + Page : World.GuestFirst + World.GuestPages * Page) - 1);
    }

    private DeviceAccess AccessNested(NestedRegion region, int page)
    {
        (ObjectId device, uint? pasid) = region.Spaces[_nest.Next(2)];
        ulong address = World.GuestFirst + (ulong)page * Page + Scenarios.Scenario.AccessOffsets[(int)_nest.Next(3)];
        return new(device, address, _nest.Next(2) == 0 ? Vcmm.Spec.Permissions.Read : Vcmm.Spec.Permissions.Write) { Pasid = pasid, MayAsk = false };
    }

    /// <param name="Number">Of its names.</param>
    /// <param name="First">Where the guest's tables are in it.</param>
    private sealed record NestedRegion(int Number, ulong First)
    {
        /// <summary>Of its associations.</summary>
        public (ObjectId Device, uint? Pasid)[] Spaces { get; } = new (ObjectId, uint?)[2];

        public ObjectId Vcm => new(ObjectKind.Vcm, Number);

        public ObjectId Tables => new(ObjectKind.Reservation, Number);

        public ObjectId Data => new(ObjectKind.Reservation, Number + 1);

        public ObjectId TableMemory => new(ObjectKind.Memory, Number);

        public ObjectId DataMemory => new(ObjectKind.Memory, Number + 1);

        public ObjectId Guest => new(ObjectKind.Guest, Number);

        public ObjectId Association(int which) => new(ObjectKind.Association, Number + which);
    }
}
