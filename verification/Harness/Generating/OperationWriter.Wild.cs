using CsCheck;
using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Generating;

// Devices that misbehave where they are active. These steps come between the others, from a stream of their own: those are the same
// without them.
internal sealed partial class OperationWriter
{
    private const ulong WildStream = 0x817D_0E71;

    private const int FirstNameOfWild = 700;

    private readonly PCG _wild;
    private readonly Queue<Operation> _wildNext = [];
    private int _wildCount;

    /// <summary>A step between two others; null: none.</summary>
    /// <param name="steps">Those so far.</param>
    public Step? Wildly(IReadOnlyList<Step> steps)
    {
        if (_next.Count != 0 || _besideNext.Count != 0 || _acrossNext.Count != 0 || !_devices.Contains(DeviceKind.Wild)) return null;
        if (_wildNext.TryDequeue(out Operation? next)) return new(next);
        Operation? operation = _wild.Next(12) switch
        {
            0 => Cross(steps),
            1 => CrossTwoPages(steps),
            2 or 3 => DeactivateMeanwhile(steps),
            _ => null,
        };
        return operation is null ? null : new(operation);
    }

    /// <summary>A transfer that ends in the page after the one in which it begins: inside of what is mapped, into it, or out of it.</summary>
    private CrossingAccess? Cross(IReadOnlyList<Step> steps)
    {
        if (WildSpace(steps) is not { } space) return null;
        Reserved[] backed = [.. _reservations.Where(reservation => reservation.Vcm == space.Vcm && reservation.Memory is not null && reservation.ByteCount >= Page)];
        if (backed.Length == 0) return null;
        Reserved reservation = backed[_wild.Next((uint)backed.Length)];
        ulong first = reservation.First & ~(Page - 1), pages = reservation.ByteCount / Page;
        ulong boundary = unchecked(first + Page * _wild.Next(4) switch
        {
            0 => 0,
            1 => pages,
            _ => 1 + _wild.Next((uint)Math.Min(pages, 4)),
        });
        return boundary == 0 ? null : new(space.Device, boundary, WildKind()) { Pasid = space.Pasid };
    }

    /// <summary>The same where two pages are made for it, which are not neighbours in memory: into them, from one to the other, and out. Nothing is left behind.</summary>
    private ReserveAt? CrossTwoPages(IReadOnlyList<Step> steps)
    {
        if (WildSpace(steps) is not { } space || _vcms.FindIndex(vcm => vcm.Id == space.Vcm && !vcm.OneToOne) is not (>= 0 and var index)) return null;
        ulong first = _vcms[index].Range.First + Page * _wild.Next(24);
        ObjectId reservation = new(ObjectKind.Reservation, FirstNameOfWild + _wildCount), memory = new(ObjectKind.Memory, FirstNameOfWild + _wildCount++);
        _wildNext.Enqueue(new AllocateMemory(memory, 2 * Page, Page, Scattered: true));
        _wildNext.Enqueue(new Vcmm.Spec.Back(reservation, memory));
        for (ulong boundary = first; boundary <= first + 2 * Page; boundary += Page)
        {
            if (boundary != 0) _wildNext.Enqueue(new CrossingAccess(space.Device, boundary, WildKind()) { Pasid = space.Pasid });
        }

        _wildNext.Enqueue(new Unmap(reservation));
        _wildNext.Enqueue(new FreeMemory(memory));
        return new(reservation, space.Vcm, first, 2 * Page, Vcmm.Spec.Permissions.ReadWrite);
    }

    /// <summary>A device goes on while it is detached, where it has something mapped; and comes back.</summary>
    private Operation? DeactivateMeanwhile(IReadOnlyList<Step> steps)
    {
        if (WildSpace(steps) is not { } space) return null;
        if (_wild.Next(3) != 0 && DeactivateBesideAnother(steps, space) is { } create) return create;
        Reserved[] backed = [.. _reservations.Where(reservation => reservation.Vcm == space.Vcm && reservation.Memory is not null && reservation.ByteCount >= Page)];
        if (backed.Length == 0) return null;
        Reserved reservation = backed[_wild.Next((uint)backed.Length)];
        _wildNext.Enqueue(new Activate(space.Association));
        return Detach(space, (reservation.First & ~(Page - 1)) + Page * _wild.Next((uint)Math.Min(reservation.ByteCount / Page, 4)));
    }

    /// <summary>The same beside a device of another region, which has a page there: by chance two are seldom active. Nothing is left behind.</summary>
    private CreateVcm? DeactivateBesideAnother(IReadOnlyList<Step> steps, Associate space)
    {
        HashSet<ObjectId> active = [.. steps.Select(static step => step.Operation).OfType<Associate>().Where(joined => _associations.Contains((joined.Association, true))).Select(static joined => joined.Device)];
        ObjectId[] others =
        [
            .. Enumerable.Range(0, _devices.Count).Where(number => _devices[number] != DeviceKind.Direct).Select(static number => new ObjectId(ObjectKind.Device, number)).Where(device => !active.Contains(device)),
        ];
        if (others.Length == 0) return null;
        ObjectId other = others[_wild.Next((uint)others.Length)];
        int number = FirstNameOfWild + _wildCount++;
        ObjectId vcm = new(ObjectKind.Vcm, number), association = new(ObjectKind.Association, number), reservation = new(ObjectKind.Reservation, number), memory = new(ObjectKind.Memory, number);
        ulong first = 16 * Page * _wild.Next(4), page = first + Page * _wild.Next(16);
        Operation[] next =
        [
            new Associate(association, vcm, other), new Activate(association),
            new ReserveAt(reservation, vcm, page, Page, Vcmm.Spec.Permissions.ReadWrite), new AllocateMemory(memory, Page, Page, Scattered: false), new Vcmm.Spec.Back(reservation, memory),
            Detach(space, page), new Activate(space.Association),
            new Unmap(reservation), new FreeMemory(memory), new Deactivate(association), new Deassociate(association), new FreeVcm(vcm),
        ];
        foreach (Operation operation in next) _wildNext.Enqueue(operation);
        return new(vcm, new(first, first + 16 * Page - 1), VcmKind.Device);
    }

    private Deactivate Detach(Associate space, ulong page)
    {
        ulong offset = Scenarios.Scenario.AccessOffsets[(int)_wild.Next((uint)Scenarios.Scenario.AccessOffsets.Length)];
        return new(space.Association) { Meanwhile = new(page + offset, WildKind()) };
    }

    /// <summary>An address space of such a device that is active, mostly; null: there is none.</summary>
    private Associate? WildSpace(IReadOnlyList<Step> steps)
    {
        Associate[] spaces =
        [
            .. steps.Select(static step => step.Operation).OfType<Associate>()
                .Where(joined => joined.Device.Kind == ObjectKind.Device && _devices[joined.Device.Number] == DeviceKind.Wild && _associations.Contains((joined.Association, true))),
        ];
        return spaces.Length == 0 ? null : spaces[_wild.Next((uint)spaces.Length)];
    }

    private Permissions WildKind() => _wild.Next(2) == 0 ? Vcmm.Spec.Permissions.Read : Vcmm.Spec.Permissions.Write;
}
