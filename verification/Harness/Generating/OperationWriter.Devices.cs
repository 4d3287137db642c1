using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Generating;

// Devices that are not plain: what they need is seldom there by chance.
internal sealed partial class OperationWriter
{
    private static IEnumerable<(uint Weight, Func<OperationWriter, Operation?> Write)> KindsOf(DeviceList devices)
    {
        if (!devices.IsPlain && devices.Count > 1) yield return (3, static w => w.HookTwo());
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
