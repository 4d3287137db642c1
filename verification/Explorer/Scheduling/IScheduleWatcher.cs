using Platform;

namespace Explorer.Scheduling;

/// <summary>Looks on while a schedule is run again. What it does must be no step, and wait for nobody.</summary>
public interface IScheduleWatcher
{
    /// <summary>The machine is there.</summary>
    /// <param name="machine">What can be asked of it.</param>
    void Begin(IPageStates machine);

    /// <summary>Somebody accesses a page, or fetches it ahead.</summary>
    /// <param name="id">Who, as the ledger knows him.</param>
    /// <param name="page">The first address of the page.</param>
    void Accesses(StreamId id, Iova page);

    /// <summary>An event was noted, the latest of the schedule.</summary>
    /// <param name="agent">Whose.</param>
    void Noted(string agent);
}

/// <summary>A machine that says how pages stand.</summary>
public interface IPageStates
{
    /// <summary>The entry that translates a page, what is cached of it, and who has the frame: as they are at this instant.</summary>
    /// <param name="id">For whom, as the ledger knows him.</param>
    /// <param name="page">The first address of the page.</param>
    PageState Of(StreamId id, Iova page);
}

/// <summary>How a page stands.</summary>
/// <param name="Entry">The leaf entry, or where a walk ends.</param>
/// <param name="Cached">What the IOTLB has; null where there is none to look into.</param>
/// <param name="Frame">Who has the frames that the two name.</param>
public sealed record PageState(string Entry, string? Cached, string? Frame)
{
    /// <inheritdoc/>
    public override string ToString() => string.Join("; ", ((string?[])[Entry, Cached, Frame]).Where(static part => part is not null));
}
