namespace Harness.Foreign;

/// <summary>QEMU is missing, did not start, went away, or answered what the protocol does not allow.</summary>
public sealed class QemuException : Exception
{
    /// <summary>One line that says what was asked and what came.</summary>
    public QemuException(string message)
        : base(message)
    {
    }

    /// <summary>One line that says what was asked and what came, and the failure below it.</summary>
    public QemuException(string message, Exception cause)
        : base(message, cause)
    {
    }
}
