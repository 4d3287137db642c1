using CsCheck;
using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Generating;

// What must be refused, by the library or by the hardware. These steps come between the others, from a stream of their own and with names
// of their own: those are the same without them.
internal sealed partial class OperationWriter
{
    private const ulong BesideStream = 0xBE51_DE5E;
    private const int FirstNameBeside = 900;

    private readonly PCG _beside;
    private readonly Queue<Operation> _besideNext = [];
    private int _besideCount;

    /// <summary>A step between two others; null: none.</summary>
    /// <param name="steps">Those so far.</param>
    public Step? Beside(IReadOnlyList<Step> steps)
    {
        if (_next.Count != 0) return null;
        if (_besideNext.TryDequeue(out Operation? next)) return new(next);
        return _beside.Next(96) switch
        {
            < 12 => _isScalable && AccessAsSupervisor(steps) is { } access ? new(access) : null,
            < 16 => _isScalable && AdoptDeferred() is { } adopt ? new(adopt) : null,
            16 => AssociateAtBase() is { } associate ? new(associate) : null,
            < 40 => _isScalable && ReserveForSupervisors(steps) is { } reserve ? new(reserve) : null,
            _ => null,
        };
    }

    /// <summary>A request with supervisor privilege, mostly where something is mapped for those without, or for supervisors alone.</summary>
    private DeviceAccess? AccessAsSupervisor(IReadOnlyList<Step> steps)
    {
        (Associate Space, Reserved Reservation)[] places =
        [
            .. from step in steps
               let joined = step.Operation as Associate
               where joined is not null && IsPlainWithPasid(joined) && _associations.Contains((joined.Association, true))
               from candidate in _reservations
               where candidate.Vcm == joined.Vcm && candidate.Memory is not null
               select (joined, candidate),
        ];
        if (places.Length == 0) return null;
        if (_beside.Next(2) == 0 && Array.FindAll(places, place => IsForSupervisors(place.Reservation, steps)) is { Length: > 0 } those) places = those;
        (Associate space, Reserved reservation) = places[_beside.Next((uint)places.Length)];
        ulong page = (reservation.First & ~(Page - 1)) + Page * _beside.Next((uint)Math.Clamp(reservation.ByteCount / Page, 1, 4));
        ulong offset = Scenarios.Scenario.AccessOffsets[(int)_beside.Next((uint)Scenarios.Scenario.AccessOffsets.Length)];
        return new(space.Device, page + offset, _beside.Next(2) == 0 ? Vcmm.Spec.Permissions.Read : Vcmm.Spec.Permissions.Write) { Pasid = space.Pasid, IsPrivileged = true };
    }

    /// <summary>
    /// A page for supervisors alone, memory behind it, and requests that ask for the privilege: by chance it is seldom where tables can
    /// say so, and a plain device has a PASID.
    /// </summary>
    private ReserveAt? ReserveForSupervisors(IReadOnlyList<Step> steps)
    {
        Associate[] spaces =
        [
            .. from step in steps
               let joined = step.Operation as Associate
               where joined is not null && IsPlainWithPasid(joined) && _associations.Contains((joined.Association, true))
                   && _joined.TrueForAll(other => other.Vcm != joined.Vcm || other.Kind is TableKind.FirstStage or TableKind.FirstStageFiveLevels)
                   && _vcms.Exists(vcm => vcm.Id == joined.Vcm && !vcm.OneToOne)
               select joined,
        ];
        if (spaces.Length == 0) return null;
        Associate space = spaces[_beside.Next((uint)spaces.Length)];
        ulong page = _vcms.Find(vcm => vcm.Id == space.Vcm).Range.First + Page * _beside.Next(24);
        ObjectId reservation = new(ObjectKind.Reservation, FirstNameBeside + _besideCount), memory = new(ObjectKind.Memory, FirstNameBeside + _besideCount++);
        _besideNext.Enqueue(new AllocateMemory(memory, Page, Page, Scattered: false));
        _besideNext.Enqueue(new Vcmm.Spec.Back(reservation, memory));
        foreach (Permissions kind in (Permissions[])[Vcmm.Spec.Permissions.Read, Vcmm.Spec.Permissions.Write])
            _besideNext.Enqueue(new DeviceAccess(space.Device, page, kind) { Pasid = space.Pasid, IsPrivileged = true });
        return new(reservation, space.Vcm, page, Page, new Attributes(Vcmm.Spec.Permissions.ReadWrite, SupervisorOnly: true));
    }

    private bool IsPlainWithPasid(Associate associate) =>
        _hasPasids && associate is { Pasid: not null and not 0, Device.Kind: ObjectKind.Device } && _devices[associate.Device.Number] == DeviceKind.Plain;

    /// <summary>Whether that was asked for last.</summary>
    private static bool IsForSupervisors(Reserved reservation, IReadOnlyList<Step> steps) => steps.Select<Step, Vcmm.Spec.Attributes?>(step => step.Operation switch
    {
        Vcmm.Spec.Reserve o when o.Reservation == reservation.Id => o.Attributes,
        Vcmm.Spec.ReserveAt o when o.Reservation == reservation.Id => o.Attributes,
        Vcmm.Spec.SetAttributes o when o.Reservation == reservation.Id => o.Attributes,
        Vcmm.Spec.Map o when o.Reservation == reservation.Id => o.Attributes,
        _ => null,
    }).LastOrDefault(static attributes => attributes is not null)?.SupervisorOnly ?? false;

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
