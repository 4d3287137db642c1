using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Generating;

// Devices that are not plain: what they need is seldom there by chance.
internal sealed partial class OperationWriter
{
    private readonly List<(ObjectId Association, ObjectId Device, uint? Pasid, ObjectId Vcm)> _paging = [];

    private static IEnumerable<(uint Weight, Func<OperationWriter, Operation?> Write)> KindsOf(DeviceList devices)
    {
        if (!devices.IsPlain && devices.Count > 1) yield return (3, static w => w.HookTwo());
        if (devices.Contains(DeviceKind.Paging)) yield return (40, static w => w.Demand());
        if (devices.Contains(DeviceKind.Wild)) yield return (16, static w => w.Wild());
        if (devices.Contains(DeviceKind.Direct))
        {
            yield return (6, static w => w.JoinDirect());
            yield return (4, static w => w.BindOneToOne());
        }
    }

    /// <summary>Two devices with hooks, each of which meets a fault.</summary>
    private SetFaultHook HookTwo()
    {
        int first = Index(_devices.Count), second = (first + 1) % _devices.Count;
        foreach (int device in (int[])[first, second])
        {
            _next.Enqueue(new DeviceAccess(new(ObjectKind.Device, device), One(Origins) & ~(Page - 1), Vcmm.Spec.Permissions.Read));
            if (device == first) _next.Enqueue(new SetFaultHook(new(ObjectKind.Device, second), FaultHookKind.Refuse));
        }

        _next.Enqueue(new DispatchFaults());
        return new(new(ObjectKind.Device, first), FaultHookKind.Refuse);
    }

    /// <summary>A device that goes where it was not told to: anywhere, to what is others', to physical addresses, under ids that are not its own.</summary>
    private DeviceAccess Wild()
    {
        ulong page = _pcg.Next(6) switch
        {
            0 => ulong.MaxValue >> (int)_pcg.Next(52),
            // Where the tables are, and others' data.
            1 => 0x100_0000UL + Page * _pcg.Next(64),
            2 => One<ulong>([1UL << 39, (1UL << 48) - Page, 1UL << 48, 0xFFFF_8000_0000_0000, ulong.MaxValue]),
            _ => Address(),
        } & ~(Page - 1);
        var device = new ObjectId(ObjectKind.Device, One(_devices.Select((kind, number) => (kind, number)).Where(static device => device.kind == DeviceKind.Wild).Select(static device => device.number).ToArray()));
        return new(device, page + Scenarios.Scenario.AccessOffsets[(int)_pcg.Next(3)], _pcg.Next(2) == 0 ? Vcmm.Spec.Permissions.Read : Vcmm.Spec.Permissions.Write)
        {
            IsStray = _pcg.Next(3) == 0,
            Pasid = Carried(_isScalable && _pcg.Next(3) == 0 ? One(Pasids) : null),
        };
    }

    /// <summary>A device that asks for a page where addresses are reserved and, mostly, nothing is behind them.</summary>
    private Operation? Demand()
    {
        if (_vcms.FindLast(static vcm => !vcm.OneToOne) is not { Id.Kind: ObjectKind.Vcm } region) return null;
        if (_paging.Count == 0 || _pcg.Next(3) == 0) JoinPaging(region.Id);
        (ObjectId association, ObjectId device, uint? pasid, ObjectId vcm) = Recent(_paging);
        Reserved? empty = _reservations.FindLast(reservation => reservation.Vcm == vcm && reservation.Memory is null);
        if (empty is null || _pcg.Next(4) == 0)
        {
            empty = new(Make(ObjectKind.Reservation), vcm, _vcms.Find(known => known.Id == vcm).Range.First + Page * _pcg.Next(24), Page * (1 + _pcg.Next(3)));
            _reservations.Add(empty);
            _next.Enqueue(new Vcmm.Spec.ReserveAt(empty.Id, vcm, empty.First, empty.ByteCount, _pcg.Next(4) == 0 ? Vcmm.Spec.Permissions.Read : Vcmm.Spec.Permissions.ReadWrite));
        }

        _next.Enqueue(new SetFaultHook(device, One([FaultHookKind.Back, FaultHookKind.Back, FaultHookKind.Back, FaultHookKind.Back, FaultHookKind.Retry, FaultHookKind.Refuse, FaultHookKind.None])));
        for (uint count = 1 + _pcg.Next(2); count != 0; count--)
        {
            ulong address = (empty.First & ~(Page - 1)) + Page * _pcg.Next((uint)Math.Max(1, empty.ByteCount / Page)) + Scenarios.Scenario.AccessOffsets[(int)_pcg.Next(3)];
            _next.Enqueue(new DeviceAccess(device, address, _pcg.Next(2) == 0 ? Vcmm.Spec.Permissions.Read : Vcmm.Spec.Permissions.Write) { Pasid = pasid });
        }

        if (_pcg.Next(8) == 0) _next.Enqueue(new Deactivate(association));
        else if (_pcg.Next(4) != 0) _next.Enqueue(new DispatchFaults());
        return _next.Dequeue();
    }

    private void JoinPaging(ObjectId vcm)
    {
        ObjectId association = Make(ObjectKind.Association);
        ObjectId device = new(ObjectKind.Device, One(_devices.Select((kind, number) => (kind, number)).Where(static device => device.kind == DeviceKind.Paging).Select(static device => device.number).ToArray()));
        uint? pasid = Carried(_pcg.Next(2) == 0 ? null : 1 + _pcg.Next(3));
        _associations.Add((association, true));
        _spaces.Add((device, pasid));
        _paging.Add((association, device, pasid, vcm));
        _next.Enqueue(new Associate(association, vcm, device) { Kind = One<TableKind?>([null, TableKind.SecondStage, TableKind.FirstStage]), Pasid = pasid });
        _next.Enqueue(new Activate(association));
    }

    /// <summary>A device without an IOMMU in a one-to-one region, often beside one that is translated.</summary>
    private Operation? JoinDirect()
    {
        ObjectId? known = _vcms.FindLast(static vcm => vcm.OneToOne).Id is { Kind: ObjectKind.Vcm } one ? one : null;
        ObjectId vcm = known ?? Make(ObjectKind.Vcm);
        Join(One(_devices.Select((kind, number) => (kind, number)).Where(static device => device.kind == DeviceKind.Direct).Select(static device => device.number).ToArray()));
        if (_pcg.Next(2) == 0) Join(Device().Number);
        if (_pcg.Next(2) == 0) _then = static w => w.BindOneToOne();
        if (known is not null) return _next.Dequeue();
        _vcms.Add((vcm, OneToOneRanges[0], true));
        return new CreateVcm(vcm, OneToOneRanges[0], VcmKind.OneToOne);

        void Join(int device)
        {
            ObjectId association = Make(ObjectKind.Association);
            _associations.Add((association, true));
            TableKind? kind = Rarely() ? One([TableKind.SecondStage, TableKind.Identity]) : null;
            _next.Enqueue(new Associate(association, vcm, new(ObjectKind.Device, device)) { Kind = kind });
            _next.Enqueue(new Activate(association));
        }
    }

    /// <summary>Memory in a one-to-one region: at addresses of its own choice.</summary>
    private Bind? BindOneToOne()
    {
        if (_vcms.FindLast(static vcm => vcm.OneToOne).Id is not { Kind: ObjectKind.Vcm } vcm) return null;
        ulong byteCount = Page * (1 + _pcg.Next(3));
        ObjectId reservation = Make(ObjectKind.Reservation), memory = Make(ObjectKind.Memory);
        _memories.Add((memory, byteCount));
        _reservations.Add(new(reservation, vcm, 0, byteCount) { Memory = memory, IsBinding = true });
        // Whoever has no IOMMU cannot be kept from writing.
        Permissions granted = _pcg.Next(8) == 0 ? Vcmm.Spec.Permissions.Read : Vcmm.Spec.Permissions.ReadWrite;
        return new Vcmm.Spec.Bind(reservation, memory, vcm, byteCount, granted, Page, Scattered: false);
    }
}
