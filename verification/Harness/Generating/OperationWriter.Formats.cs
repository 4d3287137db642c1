using Harness.Operations;
using Vcmm.Spec;

namespace Harness.Generating;

// Machines in scalable mode: formats of tables, PASIDs, and prebuilt regions.
internal sealed partial class OperationWriter
{
    // Few, so that associations, detachments and accesses meet; those at the end are kept for others, the last that there is, and the first that is not.
    private static readonly uint[] Pasids = [1, 1, 1, 1, 2, 2, 3, 64, 0, 1023, 1024];

    // More of what joins regions and devices: there are more ways to.
    private static (uint Weight, Func<OperationWriter, Operation?> Write)[] ScalableKinds =>
        [.. Kinds, (8, static w => w.Associate()), (8, static w => w.Activate()), (5, static w => w.Deactivate()), (2, static w => w.Deassociate()), (12, static w => w.Access()),
            (14, static w => w.Adopt()), (3, static w => w.WorkInPrebuilt())];

    private readonly List<(ObjectId Device, uint? Pasid)> _spaces = [];
    private readonly List<(ObjectId Association, ObjectId Vcm, TableKind? Kind)> _joined = [];
    private readonly List<(ObjectId Id, AddressRange Range, TableKind? Kind)> _prebuilt = [];
    private readonly Queue<Operation> _next = [];

    private Associate AssociateInScalableMode(ObjectId id, ObjectId vcm)
    {
        if (_prebuilt.Count != 0 && _pcg.Next(4) == 0) return AssociatePrebuilt(id, Recent(_prebuilt).Id);
        TableKind? kind = _pcg.Next(10) switch
        {
            < 3 => null,
            < 5 => TableKind.SecondStage,
            < 9 => TableKind.FirstStage,
            _ => TableKind.FirstStageFiveLevels,
        };
        (ObjectId Device, uint? Pasid) space = (Device(), _pcg.Next(5) < 2 ? null : One(Pasids));
        return Join(new(id, vcm, space.Device) { Kind = kind, Pasid = space.Pasid }, isPrebuilt: false);
    }

    private Associate AssociatePrebuilt(ObjectId id, ObjectId vcm)
    {
        TableKind? kind = Rarely() ? TableKind.FirstStageFiveLevels : _prebuilt.FindLast(prebuilt => prebuilt.Id == vcm).Kind;
        // Seldom the space without a PASID, which others are active in.
        (ObjectId Device, uint? Pasid) space = (Device(), _pcg.Next(6) == 0 ? null : 1 + _pcg.Next(4));
        return Join(new(id, vcm, space.Device) { Kind = kind, Pasid = space.Pasid }, isPrebuilt: true);
    }

    /// <summary>Notes an association. What the machine has not is asked for, too, and refused: seldom, since it comes to nothing.</summary>
    private Associate Join(Associate associate, bool isPrebuilt)
    {
        if (!_hasFirstStage && associate.Kind is TableKind.FirstStage or TableKind.FirstStageFiveLevels && _pcg.Next(8) != 0) associate = associate with { Kind = TableKind.SecondStage };
        if (!_hasPasids && associate.Pasid is not null && _pcg.Next(8) != 0) associate = associate with { Pasid = null };
        _spaces.Add((associate.Device, Carried(associate.Pasid)));
        if (!isPrebuilt) _joined.Add((associate.Association, associate.Vcm, associate.Kind));
        return associate;
    }

    /// <summary>The PASID of a request; null where there is none to carry.</summary>
    private uint? Carried(uint? pasid) => _hasPasids ? pasid : null;

    /// <summary>A prebuilt region, of a table that a device walks; a device of its own follows, mostly.</summary>
    private Adopt? Adopt()
    {
        var walked = _joined.FindAll(joined => !_deferred.Contains(joined.Vcm) && _associations.Exists(association => association.Id == joined.Association && association.Active));
        if (walked.Count == 0) return null;
        (_, ObjectId source, TableKind? kind) = Recent(walked);
        ObjectId id = Make(ObjectKind.Vcm);
        _prebuilt.Add((id, _vcms.Find(vcm => vcm.Id == source).Range, kind));
        if (_pcg.Next(8) != 0)
        {
            ObjectId association = Make(ObjectKind.Association);
            _associations.Add((association, true));
            _next.Enqueue(AssociatePrebuilt(association, id));
            _next.Enqueue(new Activate(association));
        }

        return new(id, source) { Kind = kind };
    }

    /// <summary>What a prebuilt region refuses, and what can be asked of it.</summary>
    private Operation? WorkInPrebuilt()
    {
        if (_prebuilt.Count == 0) return null;
        (ObjectId vcm, AddressRange range, TableKind? kind) = Recent(_prebuilt);
        return _pcg.Next(12) switch
        {
            0 => new Vcmm.Spec.Reserve(Make(ObjectKind.Reservation), vcm, ByteCount(), Attributes(), Page),
            1 => new Vcmm.Spec.ReserveAt(Make(ObjectKind.Reservation), vcm, range.First, Page, Attributes()),
            2 => new Vcmm.Spec.CreateBound(Make(ObjectKind.Bound), vcm, Page, Page),
            3 => new Vcmm.Spec.CloneVcm(Make(ObjectKind.Vcm), vcm),
            4 => _memories.Count == 0 ? null : new Vcmm.Spec.Map(Make(ObjectKind.Reservation), vcm, Recent(_memories).Id, Attributes(), Page),
            5 => new Vcmm.Spec.Bind(Make(ObjectKind.Reservation), Make(ObjectKind.Memory), vcm, Page, Attributes(), Page, Scattered: false),
            6 => new Vcmm.Spec.FreeVcm(vcm),
            7 => new Vcmm.Spec.Translate(vcm, Address()),
            8 => new Vcmm.Spec.TranslateTo(vcm, Address(), One(_vcms).Id),
            9 => new FindReservation(vcm, Address()),
            10 => new ListReservations(vcm),
            _ => new Adopt(Make(ObjectKind.Vcm), vcm) { Kind = kind },
        };
    }

    /// <summary>Where a device accesses memory: in a space of late, mostly.</summary>
    private (ObjectId Device, uint? Pasid) Space()
    {
        if (!_isScalable) return (Device(), null);
        return _spaces.Count != 0 && _pcg.Next(8) != 0 ? Recent(_spaces) : (Device(), Carried(_pcg.Next(2) == 0 ? null : One(Pasids)));
    }

    /// <summary>Another association of the region that the scenario begins with, often through a table of another format, which somebody adopts.</summary>
    private IEnumerable<Step> JoinAgain()
    {
        if (!_isScalable || _pcg.Next(2) == 0) yield break;
        ObjectId id = Make(ObjectKind.Association);
        _associations.Add((id, false));
        yield return new(AssociateInScalableMode(id, _vcms[^1].Id));
        yield return new(Activate()!);
        if (_pcg.Next(2) == 0 && Adopt() is { } adopt) yield return new(adopt);
        while (_next.TryDequeue(out Operation? next)) yield return new(next);
    }
}
