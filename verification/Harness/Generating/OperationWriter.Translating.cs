using CsCheck;
using Harness.Operations;
using Vcmm.Spec;

namespace Harness.Generating;

// An address of one region, looked for in another: by chance two regions seldom map the same. These steps come between the others, from a
// stream of their own and with names of their own, and leave nothing behind: those are the same without them.
internal sealed partial class OperationWriter
{
    private const ulong TranslateStream = 0x7A_A517E;
    private const int FirstNameTranslated = 800;

    private readonly PCG _across;
    private readonly Queue<Operation> _acrossNext = [];
    private int _acrossCount;

    /// <summary>A step between two others; null: none.</summary>
    public Step? Across()
    {
        if (_next.Count != 0 || _besideNext.Count != 0) return null;
        if (_acrossNext.TryDequeue(out Operation? next)) return new(next);
        return _across.Next(16) == 0 && TranslateMapped() is { } map ? new(map) : null;
    }

    /// <summary>Memory that is behind a reservation, mapped in another region, too; a look from the one to the other; and the end of that.</summary>
    private Map? TranslateMapped()
    {
        Reserved[] backed = [.. _reservations.Where(reservation => reservation is { Memory: not null, Id.Home: null })];
        if (backed.Length == 0) return null;
        Reserved one = backed[_across.Next((uint)backed.Length)];
        ObjectId[] others = [.. _vcms.Where(vcm => vcm.Id != one.Vcm && !vcm.OneToOne).Select(static vcm => vcm.Id)];
        if (others.Length == 0) return null;
        ObjectId other = others[_across.Next((uint)others.Length)], reservation = new(ObjectKind.Reservation, FirstNameTranslated + _acrossCount++);
        ulong address = one.First + Page * _across.Next((uint)Math.Clamp(one.ByteCount / Page, 1, 4));
        _acrossNext.Enqueue(new TranslateTo(one.Vcm, address, other));
        _acrossNext.Enqueue(new Unmap(reservation));
        return new(reservation, other, one.Memory!.Value, Vcmm.Spec.Permissions.ReadWrite, Page);
    }
}
