using System.Collections.Immutable;
using Harness;
using Harness.Operations;
using Harness.Running;
using Vcmm.Spec;

namespace Explorer.Scripts;

/// <summary>
/// Something that a script must reach, or it shows nothing: <c>unback r0 beside protect r0 r</c>, two calls that were under way at the same time;
/// <c>unback r0 before back r1 m0</c>, of which one had returned when the other began; <c>unback r0 = NotFound</c>, what a call came to;
/// or, in its own words, a state of the machine.
/// </summary>
/// <param name="Text">As written.</param>
public sealed record ScriptState(string Text)
{
    private Func<IEnumerable<HistoryEntry>, bool>? Reached { get; init; }

    /// <summary>Reads one.</summary>
    /// <exception cref="BadInputException">It names no operation.</exception>
    public static ScriptState Parse(string text)
    {
        if (text.Split(" beside ") is [var one, var other])
        {
            (Operation first, Operation second) = (OperationText.Parse(one).Operation, OperationText.Parse(other).Operation);
            return new(text) { Reached = all => Pairs(all, first, second).Any(static pair => pair.First.Begun < pair.Second.Ended && pair.Second.Begun < pair.First.Ended) };
        }

        if (text.Split(" before ") is [var earlier, var later])
        {
            (Operation first, Operation second) = (OperationText.Parse(earlier).Operation, OperationText.Parse(later).Operation);
            return new(text) { Reached = all => Pairs(all, first, second).Any(static pair => pair.First.Ended < pair.Second.Begun) };
        }

        int at = text.LastIndexOf(" = ", StringComparison.Ordinal);
        if (at >= 0 && Enum.TryParse(text[(at + 3)..], out Outcome outcome) && Enum.IsDefined(outcome))
        {
            Operation operation = OperationText.Parse(text[..at]).Operation;
            return new(text) { Reached = all => all.Any(entry => entry.Operation.Equals(operation) && entry.Seen.Outcome == outcome) };
        }

        return text.Length != 0 ? new(text) : throw new BadInputException("script.sometimes has something empty; expected a state");
    }

    /// <summary>Whether the threads have reached it; a state of the machine is told by the machine.</summary>
    public bool IsReachedIn(ImmutableArray<ImmutableArray<HistoryEntry>> history) => Reached is not null && Reached(history.SelectMany(static thread => thread));

    /// <inheritdoc/>
    public bool Equals(ScriptState? other) => other is not null && Text == other.Text;

    /// <inheritdoc/>
    public override int GetHashCode() => Text.GetHashCode(StringComparison.Ordinal);

    private static IEnumerable<(HistoryEntry First, HistoryEntry Second)> Pairs(IEnumerable<HistoryEntry> all, Operation first, Operation second) =>
        from one in all where one.Operation.Equals(first) from other in all where other.Operation.Equals(second) select (one, other);
}
