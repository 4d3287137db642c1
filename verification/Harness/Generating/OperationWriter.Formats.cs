using Harness.Operations;
using Vcmm.Spec;

namespace Harness.Generating;

// Machines in scalable mode: formats of tables, and PASIDs.
internal sealed partial class OperationWriter
{
    // Few, so that associations, detachments and accesses meet; those at the end are the last that there is and the first that is not.
    private static readonly uint[] Pasids = [1, 1, 1, 2, 2, 3, 64, 1023, 1024];

    // More of what joins regions and devices: there are more ways to.
    private static (uint Weight, Func<OperationWriter, Operation?> Write)[] ScalableKinds =>
        [.. Kinds, (8, static w => w.Associate()), (8, static w => w.Activate()), (5, static w => w.Deactivate()), (2, static w => w.Deassociate()), (12, static w => w.Access())];

    private readonly List<(ObjectId Device, uint? Pasid)> _spaces = [];

    private Associate AssociateInScalableMode(ObjectId id, ObjectId vcm)
    {
        TableKind? kind = _pcg.Next(10) switch
        {
            < 3 => null,
            < 5 => TableKind.SecondStage,
            < 9 => TableKind.FirstStage,
            _ => TableKind.FirstStageFiveLevels,
        };
        (ObjectId Device, uint? Pasid) space = (Device(), _pcg.Next(5) < 2 ? null : One(Pasids));
        _spaces.Add(space);
        return new(id, vcm, space.Device) { Kind = kind, Pasid = space.Pasid };
    }

    /// <summary>Where a device accesses memory: in a space of late, mostly.</summary>
    private (ObjectId Device, uint? Pasid) Space()
    {
        if (!_isScalable) return (Device(), null);
        return _spaces.Count != 0 && _pcg.Next(8) != 0 ? Recent(_spaces) : (Device(), _pcg.Next(2) == 0 ? null : One(Pasids));
    }

    /// <summary>Another association of the region that the scenario begins with: a second table of the same, often.</summary>
    private IEnumerable<Step> JoinAgain()
    {
        if (!_isScalable || _pcg.Next(2) == 0) yield break;
        ObjectId id = Make(ObjectKind.Association);
        _associations.Add((id, false));
        yield return new(AssociateInScalableMode(id, _vcms[^1].Id));
        yield return new(Activate()!);
    }
}
