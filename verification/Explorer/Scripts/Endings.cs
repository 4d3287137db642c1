using System.Runtime.InteropServices;
using Microsoft.Coyote.Rewriting;
using Vcmm.Spec;

namespace Explorer.Scripts;

/// <summary>
/// What calls that are under way may end. Where several would end one thing, it is known to be there again when the last of them has returned and none has
/// ended it; one that was refused says nothing of the others.
/// </summary>
[SkipRewriting("Keeping the books must not add steps to the schedule.")]
internal sealed class Endings
{
    private readonly Dictionary<ObjectId, int> _underWay = [];
    private readonly HashSet<ObjectId> _ended = [];

    /// <summary>A call begins that may end it.</summary>
    public void Begin(ObjectId id) => CollectionsMarshal.GetValueRefOrAddDefault(_underWay, id, out _)++;

    /// <summary>It has returned.</summary>
    /// <returns>Whether the thing is known to be there: it was in use, and nobody else has ended it or may.</returns>
    public bool End(ObjectId id, Outcome outcome)
    {
        int left = --CollectionsMarshal.GetValueRefOrAddDefault(_underWay, id, out _);
        if (outcome == Outcome.None) _ended.Add(id);
        return left == 0 && outcome == Outcome.Busy && !_ended.Contains(id);
    }
}
