using Explorer.Scheduling;
using Microsoft.Coyote.Rewriting;
using Platform;
using Vcmm;
using Vcmm.Spec;

namespace Explorer.Oracles;

/// <summary>
/// Which one-page ranges of a region are taken. Certainly from the return of the call that took one to the beginning of the
/// call that gives it back: a range that overlaps such a one is wrong in every order. Possibly while a call is under way:
/// only if at some instant all pages were possibly taken may a call have found no space.
/// </summary>
[SkipRewriting("Keeping the books must not add steps to the schedule.")]
internal sealed class RangeBook(Attempt attempt, IovaRange space)
{
    private readonly List<IovaRange> _taken = [];
    private readonly List<Taking> _taking = [];
    private int _giving;

    /// <summary>A call that takes a range begins.</summary>
    public Taking BeginTake()
    {
        var taking = new Taking();
        _taking.Add(taking);
        Refresh();
        return taking;
    }

    /// <summary>It returned.</summary>
    public void EndTake(Taking taking, VcmmError error, IovaRange range)
    {
        _taking.Remove(taking);
        attempt.Check(
            Invariant.Linearizable, error == VcmmError.None || (error == VcmmError.NoSpace && taking.MayFindNoSpace),
            () => $"reserve = {error} while [{string.Join(", ", _taken)}] were taken", () => "a range, as one was free all the while");
        if (error != VcmmError.None) return;
        bool isApart = space.Contains(range) && !_taken.Exists(taken => taken.Overlaps(range));
        attempt.Check(
            Invariant.NoOverlap, isApart,
            () => $"{range} was given out while [{string.Join(", ", _taken)}] were taken", () => $"a free range of {space}");
        _taken.Add(range);
        Refresh();
    }

    /// <summary>A call that gives a range back begins.</summary>
    public void BeginGive(IovaRange range)
    {
        _taken.Remove(range);
        _giving++;
    }

    /// <summary>It returned.</summary>
    public void EndGive() => _giving--;

    private void Refresh()
    {
        ulong pages = space.ByteCount / Ledger.PageBytes;
        foreach (Taking taking in _taking)
            taking.MayFindNoSpace |= (ulong)(_taken.Count + _giving + _taking.Count - 1) >= pages;
    }

    /// <summary>A call that takes a range, while it is under way.</summary>
    internal sealed class Taking
    {
        public bool MayFindNoSpace { get; set; }
    }
}
