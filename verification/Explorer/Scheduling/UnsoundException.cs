namespace Explorer.Scheduling;

/// <summary>An exploration that would find nothing whatever is wrong: something was not under control, or there was nothing to interleave.</summary>
/// <param name="message">What, on one line.</param>
public sealed class UnsoundException(string message) : Exception(message);
