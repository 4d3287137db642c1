using Platform;
using Vcmm;
using Vcmm.Spec;
using Access = Vcmm.Access;

namespace Explorer.Oracles;

// Faults that hooks are given: each is of an access that was blocked, by a cause that there was; and of each access that was blocked one is given, unless the
// hardware says that it had no room.
public sealed partial class Ledger
{
    private readonly Dictionary<(StreamId Space, Iova Page, Access Kind), int> _given = [];
    private readonly HashSet<StreamId> _ending = [];
    private bool _areFaultsLost;

    /// <summary>Whether it keeps why accesses may be blocked.</summary>
    public bool KeepsCauses { get; init; }

    /// <summary>A dispatch has returned.</summary>
    /// <param name="faults">What hooks were given: the address space, the page, what was wanted, and why it was blocked.</param>
    /// <param name="areLost">Whether the hardware had no room for some.</param>
    /// <returns>What is wrong, and what would be right; null: nothing.</returns>
    public (string Observed, string Expected)? NoteGiven(IEnumerable<(StreamId Space, Iova Page, Access Kind, FaultCauses Cause)> faults, bool areLost)
    {
        _areFaultsLost |= areLost;
        foreach ((StreamId space, Iova page, Access kind, FaultCauses cause) in faults)
        {
            DeviceAccessWindow[] blocked = [.. Blocked(space, page, kind)];
            string said = $"a hook was given that {space} was blocked from a {kind} at {page}: {cause}";
            int count = _given[(space, page, kind)] = _given.GetValueOrDefault((space, page, kind)) + 1;
            if (count > blocked.Length) return (said, $"{blocked.Length} such faults in all");
            if (cause == FaultCauses.None || !blocked.Any(window => (cause & ~window.Causes) == FaultCauses.None))
                return (said, string.Join(" or ", blocked.Select(static window => window.Causes).Distinct()));
        }

        return null;
    }

    /// <summary>A hook was given a fault of a device that asks for translations: which of its requests were blocked nobody knows, but it made some there, and for such a cause.</summary>
    /// <returns>What is wrong, and what would be right; null: nothing.</returns>
    public (string Observed, string Expected)? NoteGivenOfRequests(StreamId space, Iova page, FaultCauses cause)
    {
        // It asks once more for what was taken from it, in no access; and then it may be attached to nothing.
        FaultCauses meanwhile = _ending.Contains(space) ? FaultCauses.NotAttached : FaultCauses.None;
        FaultCauses causes = meanwhile | _asked.Where(asked => asked.Window.Device == space && asked.Window.Page == page).Aggregate(FaultCauses.None, static (all, asked) => all | asked.Window.Causes);
        return cause != FaultCauses.None && (cause & ~causes) == FaultCauses.None ? null : ($"a hook was given that {space} was blocked at {page}: {cause}", $"{causes}");
    }

    /// <summary>All hooks have been given all there is.</summary>
    /// <param name="spaces">The address spaces of devices that had a hook all the while.</param>
    /// <returns>What is wrong, and what would be right; null: nothing.</returns>
    public (string Observed, string Expected)? MissingFault(IReadOnlySet<StreamId> spaces)
    {
        if (_areFaultsLost) return null;
        foreach (var accesses in _asked.Select(static asked => asked.Window).Where(window => window.WasBlocked && spaces.Contains(window.Device)).GroupBy(static window => (window.Device, window.Page, window.Kind)))
        {
            int given = _given.GetValueOrDefault(accesses.Key);
            if (given != accesses.Count()) return ($"{given} faults were given of {accesses.Key.Kind}s of {accesses.Key.Device} at {accesses.Key.Page}, and the hardware had room", $"{accesses.Count()}");
        }

        return null;
    }

    /// <summary>Accesses that were blocked, or have no answer yet.</summary>
    private IEnumerable<DeviceAccessWindow> Blocked(StreamId space, Iova page, Access kind) => _asked
        .Where(asked => asked.Window.Device == space && asked.Window.Page == page && asked.Window.Kind == kind && (asked.Window.WasBlocked || asked.Ended == int.MaxValue))
        .Select(static asked => asked.Window);

    /// <summary>Why an access may be blocked at this instant.</summary>
    private FaultCauses CausesNow(DeviceAccessWindow window)
    {
        FaultCauses causes = MayBeInactive(window.Device) ? FaultCauses.NotAttached : FaultCauses.None;
        foreach (Vcm vcm in RegionsOf(window.Device))
        {
            if (!_pages.TryGetValue((vcm, window.Page), out History? history) || history.Possible.Any(static target => target is null))
                causes |= FaultCauses.NotMapped | FaultCauses.NotPermitted | FaultCauses.OutOfRange;
            else if (history.Possible.Any(target => (target!.Value.Access & window.Kind) != window.Kind))
                causes |= FaultCauses.NotPermitted;
        }

        return causes;
    }
}
