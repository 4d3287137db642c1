using CsCheck;
using Harness.Operations;
using Vcmm.Spec;

namespace Harness.Generating;

// Associations that are given other tables or another address space: from a stream of their own and with names of their own, so that the
// other steps are the same without them.
internal sealed partial class OperationWriter
{
    private const ulong ChangeStream = 0xC4A_46E5;
    private const int FirstNameChanged = 1900;

    private readonly PCG _change;
    private readonly Queue<Operation> _changeNext = [];
    private int _changeCount;

    /// <summary>A step between two others; null: none.</summary>
    public Step? Changing()
    {
        if (_next.Count != 0) return null;
        if (_changeNext.TryDequeue(out Operation? next)) return new(next);
        return _change.Next(24) == 0 && AssociateAndChange() is { } associate ? new(associate) : null;
    }

    /// <summary>An association that is changed while it is idle, and asked to change while it is active, which it must not; in the end it goes.</summary>
    private Associate? AssociateAndChange()
    {
        if (_vcms.Count == 0) return null;
        ObjectId id = new(ObjectKind.Association, FirstNameChanged + _changeCount++), vcm = _vcms[(int)_change.Next((uint)_vcms.Count)].Id;
        var associate = new Associate(id, vcm, new(ObjectKind.Device, (int)_change.Next((uint)_devices.Count))) { Kind = KindChanged(), Pasid = PasidChanged() };
        for (uint i = _change.Next(3); i != 0; i--) _changeNext.Enqueue(Change(id));
        _changeNext.Enqueue(new Activate(id));
        if (_change.Next(2) == 0) _changeNext.Enqueue(Change(id));
        _changeNext.Enqueue(new Deactivate(id));
        if (_change.Next(2) == 0) _changeNext.Enqueue(Change(id));
        _changeNext.Enqueue(new Deassociate(id));
        if (_change.Next(8) == 0) _changeNext.Enqueue(Change(id));
        return associate;
    }

    private ChangeAssociation Change(ObjectId id) => _change.Next(8) == 0
        ? new(id) { Base = (TableBase)(1 + _change.Next(2)), Split = _change.Next(2) == 0 ? null : 1UL << (20 + (int)_change.Next(29)) }
        : new(id) { Kind = KindChanged(), Pasid = PasidChanged() };

    private TableKind? KindChanged() => _isScalable && (_hasFirstStage || _change.Next(8) == 0)
        ? _change.Next(6) switch { 0 => null, 1 or 2 => TableKind.SecondStage, < 5 => TableKind.FirstStage, _ => TableKind.FirstStageFiveLevels }
        : null;

    // Above those of the other associations, mostly: two of one device and region are refused.
    private uint? PasidChanged() => _isScalable && (_hasPasids || _change.Next(8) == 0) && _change.Next(8) != 0 ? _change.Next(4) == 0 ? 1 : 20 + _change.Next(4) : null;
}
