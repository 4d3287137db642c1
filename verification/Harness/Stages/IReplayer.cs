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
