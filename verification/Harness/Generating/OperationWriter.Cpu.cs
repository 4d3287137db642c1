using CsCheck;
using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Generating;

// Machines with a CPU: processes as associations, and what cores do in them.
internal sealed partial class OperationWriter
{
    private static (uint Weight, Func<OperationWriter, Operation?> Write)[] CpuKinds =>
    [
        (8, static w => w.AssociateProcess()), (4, static w => w.Activate()), (24, static w => w.AccessByCore()), (6, static w => w.GoIdle()),
        (3, static w => w.ReserveCode()), (4, static w => w.AdoptForProcess()),
    ];

    private readonly int _cores;
    private readonly int _processes;
    private readonly List<(ObjectId Process, ObjectId Vcm)> _users = [];

    /// <summary>A process in the region that the scenario begins with, or in one of its own, so that the other costs the CPU nothing.</summary>
    public IEnumerable<Step> BeginCpu()
    {
        if (_cores == 0 || _processes == 0 || _vcms.Count == 0 || _pcg.Next(4) == 0) yield break;
        if (_pcg.Next(2) == 0) yield return new(CreateVcm());
        yield return new(AssociateProcess()!);
        yield return new(Activate()!);
    }

    private Associate? AssociateProcess()
    {
        if (_vcms.Count == 0) return null;
        ObjectId id = Make(ObjectKind.Association), vcm = Recent(_vcms).Id;
        TableKind? kind = _pcg.Next(12) switch
        {
            0 => One<TableKind>([TableKind.SecondStage, TableKind.FirstStageFiveLevels]),
            < 6 => TableKind.FirstStage,
            _ => null,
        };
        _associations.Add((id, false));
        _joined.Add((id, vcm, TableKind.FirstStage));
        ObjectId process = Process();
        _users.Add((process, vcm));
        return new(id, vcm, process) { Kind = kind, Pasid = Rarely() ? 1 : null };
    }

    private CoreAccess AccessByCore()
    {
        Permissions kind = One<Permissions>([Vcmm.Spec.Permissions.Read, Vcmm.Spec.Permissions.Read, Vcmm.Spec.Permissions.Write, Vcmm.Spec.Permissions.Execute]);
        ulong offset = One<ulong>(Scenario.AccessOffsets);
        // Where something is, mostly, and in a process that may have it.
        if (_pcg.Next(4) != 0 && Used() is var (process, reservation)) return new(Core(), process, PageOf(reservation) + offset, kind);
        return new(Core(), _users.Count != 0 ? Recent(_users).Process : Process(), (Address() & ~(Page - 1)) + offset, kind);
    }

    /// <summary>A core goes idle; often after it has used what is taken away meanwhile, and it comes back then.</summary>
    private Operation GoIdle()
    {
        ObjectId core = Core();
        if (_users.Count != 0 && _pcg.Next(3) == 0) return UseAndGoIdle(core);
        if (_pcg.Next(4) == 0 || Used() is not var (process, reservation)) return new GoIdle(core);
        var access = new CoreAccess(core, process, PageOf(reservation), Vcmm.Spec.Permissions.Read);
        _next.Enqueue(new GoIdle(core));
        int index = _reservations.FindIndex(each => each.Id == reservation.Id);
        if (_pcg.Next(3) == 0) _next.Enqueue(new Vcmm.Spec.SetAttributes(reservation.Id, Vcmm.Spec.Permissions.Read));
        else
        {
            NoteUnback(reservation);
            _reservations[index] = reservation with { Memory = null, Hole = null };
            _next.Enqueue(new Vcmm.Spec.Unback(reservation.Id));
        }

        _next.Enqueue(access);
        return access;
    }

    /// <summary>The same with a page of its own: left to chance few cores have used what is taken away next.</summary>
    private ReserveAt UseAndGoIdle(ObjectId core)
    {
        (ObjectId process, ObjectId vcm) = Recent(_users);
        AddressRange range = _vcms.Find(each => each.Id == vcm).Range;
        ulong first = (range.First & ~(Page - 1)) + Page * _pcg.Next(16);
        ObjectId reservation = Make(ObjectKind.Reservation), memory = Make(ObjectKind.Memory);
        _reservations.Add(new(reservation, vcm, first, Page));
        _memories.Add((memory, Page));
        var access = new CoreAccess(core, process, first, Vcmm.Spec.Permissions.Read);
        foreach (Operation next in (Operation[])
        [
            new AllocateMemory(memory, Page, Page, Scattered: false), new Vcmm.Spec.Back(reservation, memory), access, new GoIdle(core), new Vcmm.Spec.Unback(reservation), access,
        ])
            _next.Enqueue(next);
        return new(reservation, vcm, first, Page, Vcmm.Spec.Permissions.ReadWrite);
    }

    /// <summary>A process that a region was joined with, and what is backed in that; null: there is none.</summary>
    private (ObjectId Process, Reserved Reservation)? Used()
    {
        if (_users.Count == 0) return null;
        (ObjectId process, ObjectId vcm) = Recent(_users);
        Reserved? backed = _reservations.FindLast(reservation => reservation.Vcm == vcm && reservation.Memory is not null);
        return backed is null ? null : (process, backed);
    }

    private ulong PageOf(Reserved reservation) => (reservation.First & ~(Page - 1)) + Page * _pcg.Next((uint)Math.Min(4, reservation.ByteCount / Page + 1));

    /// <summary>What only first-stage tables can grant.</summary>
    private Reserve? ReserveCode()
    {
        if (_vcms.Count == 0) return null;
        (ObjectId vcm, AddressRange range, _) = Recent(_vcms);
        ObjectId id = Make(ObjectKind.Reservation);
        ulong byteCount = Page * (1 + _pcg.Next(3));
        _reservations.Add(new(id, vcm, range.First, byteCount));
        return new(id, vcm, byteCount, One<Permissions>([Vcmm.Spec.Permissions.Read | Vcmm.Spec.Permissions.Execute, Vcmm.Spec.Permissions.ReadWriteExecute]), Page);
    }

    /// <summary>A table that a process has, or a device, with a process of its own.</summary>
    private Adopt? AdoptForProcess()
    {
        var walked = _joined.FindAll(joined => joined.Kind == TableKind.FirstStage && !_deferred.Contains(joined.Vcm) && _associations.Exists(association => association.Id == joined.Association && association.Active));
        if (walked.Count == 0) return null;
        ObjectId source = Recent(walked).Vcm, id = Make(ObjectKind.Vcm), association = Make(ObjectKind.Association);
        _prebuilt.Add((id, _vcms.Find(vcm => vcm.Id == source).Range, TableKind.FirstStage));
        _associations.Add((association, true));
        _next.Enqueue(new Associate(association, id, Process()));
        _next.Enqueue(new Activate(association));
        return new(id, source) { Kind = TableKind.FirstStage };
    }

    private ObjectId Process() => new(ObjectKind.Process, Index(_processes));

    private ObjectId Core() => new(ObjectKind.Core, Index(_cores));
}
