namespace Verify;

/// <summary>What the process tells its caller.</summary>
public static class ExitCode
{
    /// <summary>What was asked was done, and nothing is wrong.</summary>
    public const int Clean = 0;

    /// <summary>An invariant is broken, or the mutation score is too low.</summary>
    public const int Violation = 1;

    /// <summary>An option, an argument or a file cannot be used.</summary>
    public const int BadInput = 2;

    /// <summary>This environment cannot do what was asked.</summary>
    public const int Environment = 3;
}

/// <summary>What was asked cannot be done here. The message is one line for the user.</summary>
internal sealed class EnvironmentException(string message, Exception? inner = null) : Exception(message, inner);
