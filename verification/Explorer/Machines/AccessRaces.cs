using Explorer.Scheduling;
using Explorer.Scheduling.Choosers;
using Microsoft.Coyote.Rewriting;
using Platform;
using Vcmm.Spec;

namespace Explorer.Machines;

/// <summary>What an access does with a word.</summary>
public enum AccessKind
{
    /// <summary>Reads it.</summary>
    Load,

    /// <summary>Writes it, whatever it was.</summary>
    Store,

    /// <summary>Reads it and writes it in one, if it is what is expected.</summary>
    Exchange,
}

/// <summary>
/// Finds races: two accesses to one word of a table or of the command queue that nothing orders. Of two that both come next, at the same moment, the
/// schedule could take either first, so nothing does.
/// </summary>
/// <remarks>
/// <para>Between two processors a store races with a store and with an exchange: one of the two is lost. A load races with nothing, since look-ups read
/// entries while others write them. Between a processor and the IOMMU a store of a descriptor races with its fetch; a walk beside a
/// store of an entry is what walks are for.</para>
/// <para>A detector with vector clocks would tell from one schedule what this tells from the one in which both come next; but it has to be told of
/// every lock, and one that it is not told of makes it accuse the innocent. This one needs to know nothing and is never wrong, and the
/// explorer has thousands of schedules.</para>
/// <para><b>Source.</b> Sen, "Race Directed Random Testing of Concurrent Programs", PLDI 2008.</para>
/// </remarks>
/// <param name="attempt">The schedule.</param>
/// <param name="isQueue">Whether a word is one of the command queue.</param>
[SkipRewriting("Looking on adds no steps to the schedule.")]
public sealed class AccessRaces(Attempt attempt, Func<PhysAddr, bool> isQueue)
{
    private readonly List<Access> _next = [];
    private (Access One, Access Other)? _found;

    /// <summary>The calling agent's next step is an access to the word at a multiple of eight.</summary>
    public void Begin(MemorySide side, AccessKind kind, PhysAddr word)
    {
        PendingAccess.Announce(word.Value, kind != AccessKind.Load);
        if (Controlled.IsQuiet || Attempt.Agent == Attempt.SetUpAgent) return;
        var access = new Access(Attempt.Agent, side, kind, word);
        if (kind != AccessKind.Load) attempt.Passed(Invariant.SharedTable);
        foreach (Access other in _next)
        {
            if (other.Word == word && other.Agent != access.Agent && (IsRace(access, other) || IsRace(other, access))) _found ??= (other, access);
        }

        _next.Add(access);
    }

    /// <summary>It is done.</summary>
    public void End()
    {
        if (_next.Count == 0) return;
        _next.RemoveAll(static access => access.Agent == Attempt.Agent);
        if (_found is not var (one, other)) return;
        _found = null;
        attempt.Check(
            isQueue(one.Word) ? Invariant.Progress : Invariant.SharedTable, false,
            () => $"{one} and {other} the word at {one.Word}, and nothing orders the two",
            static () => "a lock, an exchange, or the tail register between them");
    }

    private bool IsRace(in Access store, in Access other) =>
        store is { Kind: AccessKind.Store, Side: MemorySide.Processor }
        && (other.Side == MemorySide.Processor ? other.Kind != AccessKind.Load : other.Kind == AccessKind.Load && isQueue(other.Word));

    private readonly record struct Access(string Agent, MemorySide Side, AccessKind Kind, PhysAddr Word)
    {
        public override string ToString() => Agent + Kind switch
        {
            AccessKind.Store => " stores to",
            AccessKind.Exchange => " exchanges",
            _ => " loads",
        };
    }
}
