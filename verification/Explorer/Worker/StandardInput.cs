using Microsoft.Coyote.Rewriting;

namespace Explorer.Worker;

/// <summary>How the worker is told to stop: its standard input is closed.</summary>
[SkipRewriting("It runs beside the schedules, not in them.")]
internal static class StandardInput
{
    private static volatile bool _closed;

    /// <summary>Starts to watch; the answer becomes true, and stays so, once there is nothing more to read.</summary>
    public static Func<bool> WatchForEnd()
    {
        var thread = new Thread(Read) { IsBackground = true, Name = "standard input" };
        thread.UnsafeStart();
        return IsClosed;
    }

    private static bool IsClosed() => _closed;

    private static void Read()
    {
        using Stream input = Console.OpenStandardInput();
        Span<byte> bytes = stackalloc byte[256];
        while (input.Read(bytes) > 0)
        {
        }

        _closed = true;
    }
}
