using CsCheck;
using Harness.Operations;
using Vcmm.Spec;

namespace Harness.Generating;

// What must be refused. These steps come between the others, from a stream of their own and with names
// of their own: those are the same without them.
internal sealed partial class OperationWriter
{
    private const ulong BesideStream = 0xBE51_DE5E;
    private const int FirstNameBeside = 900;

    private readonly PCG _beside;
    private int _besideCount;

    /// <summary>A step between two others; null: none.</summary>
    public Step? Beside()
    {
        if (_next.Count != 0) return null;
        return _beside.Next(96) switch
        {
            >= 12 and < 16 => _isScalable && AdoptDeferred() is { } adopt ? new(adopt) : null,
            16 => AssociateAtBase() is { } associate ? new(associate) : null,
            _ => null,
        };
    }

    /// <summary>A prebuilt region of a deferred region's table.</summary>
    private Adopt? AdoptDeferred()
    {
        var walked = _joined.FindAll(joined => _deferred.Contains(joined.Vcm) && _associations.Exists(association => association.Id == joined.Association && association.Active));
        if (walked.Count == 0) return null;
        (_, ObjectId source, TableKind? kind) = walked[(int)_beside.Next((uint)walked.Count)];
        return new(new(ObjectKind.Vcm, FirstNameBeside + _besideCount++), source) { Kind = kind };
    }

    /// <summary>An association that names one of two table bases, or where they part: no tables have two.</summary>
    private Associate? AssociateAtBase()
    {
        if (_vcms.Count == 0) return null;
        var device = new ObjectId(ObjectKind.Device, (int)_beside.Next((uint)_devices.Count));
        var @base = (TableBase)_beside.Next(3);
        bool splits = @base == TableBase.Only || _beside.Next(2) == 0;
        return new(new(ObjectKind.Association, FirstNameBeside + _besideCount++), _vcms[(int)_beside.Next((uint)_vcms.Count)].Id, device)
        {
            Base = @base,
            Split = splits ? 1UL << (20 + (int)_beside.Next(29)) : null,
        };
    }
}
