using Harness.Failures;

namespace Harness.Stages;

/// <summary>A stage whose failures are files, and that runs such a file again.</summary>
public interface IReplayer
{
    /// <summary>The stage's name, as <see cref="FailureFile.Stage"/> gives it.</summary>
    string Name { get; }

    /// <summary>Null if the stage can run here; otherwise one line: what is missing and how to get it.</summary>
    string? Missing { get; }

    /// <summary>Runs what the file describes, once.</summary>
    /// <returns>The failure, its report the same byte for byte as when it was found; null if nothing fails.</returns>
    /// <exception cref="BadInputException">The scenario or the schedule cannot be used.</exception>
    StageFailure? Replay(FailureFile file);
}

/// <summary>One whose failures have a schedule, which can be shown in more than one way.</summary>
public interface IScheduleReplayer : IReplayer
{
    /// <summary>Runs what the file describes, once.</summary>
    /// <param name="file">The file.</param>
    /// <param name="whole">Whether the report shows steps that do not matter, too.</param>
    /// <param name="withPage">Whether to make a page for a browser, too.</param>
    /// <returns>The failure and the page that was asked for; null if nothing fails.</returns>
    /// <exception cref="BadInputException">The scenario or the schedule cannot be used.</exception>
    ReplayedSchedule? Replay(FailureFile file, bool whole, bool withPage);
}

/// <summary>A failure with a schedule, run again.</summary>
/// <param name="Failure">The failure.</param>
/// <param name="Page">A page for a browser; null if none was asked for.</param>
public sealed record ReplayedSchedule(StageFailure Failure, string? Page);
