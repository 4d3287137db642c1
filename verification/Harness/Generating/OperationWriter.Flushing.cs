using Vcmm.Spec;

namespace Harness.Generating;

// Deferred flush.
internal sealed partial class OperationWriter
{
    private readonly List<ObjectId> _deferred = [];
    private Reserved? _ended;

    // What comes next, where one thing is seldom met without the other.
    private Func<OperationWriter, Operation?>? _then;

    private Flush? Flush() => _vcms.Count == 0 ? null : new(_deferred.Count != 0 && !Rarely() ? Recent(_deferred) : One(_vcms).Id);

    private PollFlush? PollFlush() => _deferred.Count == 0 ? null : new();

    private AdvanceTime? AdvanceTime()
    {
        if (_deferred.Count == 0) return null;
        if (_pcg.Next(3) != 0) _then = static w => w.PollFlush();
        return new(One<ulong>([1, 9, 10, 10, 25]));
    }

    /// <summary>The addresses of what ended in a deferred region: often before the flush.</summary>
    private ReserveAt? ReserveAgain()
    {
        if (_ended is not { } ended) return null;
        _ended = null;
        ObjectId id = Make(ObjectKind.Reservation);
        _reservations.Add(new(id, ended.Vcm, ended.First, ended.ByteCount));
        return new(id, ended.Vcm, ended.First, ended.ByteCount, Attributes());
    }

    /// <summary>Then it becomes old, now and then.</summary>
    private void NoteUnback(Reserved reservation)
    {
        if (reservation.Memory is not null && _deferred.Contains(reservation.Vcm) && _pcg.Next(4) == 0) _then = static w => w.AdvanceTime();
    }

    private void NoteEnd(Reserved reservation)
    {
        if (!_deferred.Contains(reservation.Vcm)) return;
        _ended = reservation;
        if (_pcg.Next(3) == 0) _then = static w => w.ReserveAgain();
    }
}
