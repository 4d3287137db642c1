using System.Runtime.ExceptionServices;
using Microsoft.Coyote.Rewriting;

namespace Explorer.Scheduling;

/// <summary>
/// A thread of which the scheduler knows nothing. What it does costs what it costs without a scheduler, where even a
/// suppressed scheduling point costs a hundred times that; but nothing else may run meanwhile, so it is for setting up and
/// taking down.
/// </summary>
[SkipRewriting("It must not be controlled.")]
internal static class Bystander
{
    private static readonly SemaphoreSlim Begun = new(0);
    private static readonly SemaphoreSlim Done = new(0);
    private static readonly Thread Helper = Start();
    private static Action? _work;
    private static Exception? _exception;

    /// <summary>Whether the calling thread is the bystander.</summary>
    public static bool IsCaller => Thread.CurrentThread == Helper;

    /// <summary>Runs <paramref name="work"/> and waits for it; what it throws is thrown here. One call at a time.</summary>
    public static void Run(Action work)
    {
        _work = work;
        _exception = null;
        Begun.Release();
        Done.Wait();
        if (_exception is not null) ExceptionDispatchInfo.Throw(_exception);
    }

    private static Thread Start()
    {
        var thread = new Thread(Serve) { IsBackground = true, Name = "bystander" };
        // Unsafe: without the caller's context, by which the scheduler would know the thread.
        thread.UnsafeStart();
        return thread;
    }

    private static void Serve()
    {
        while (true)
        {
            Begun.Wait();
            try
            {
                _work!();
            }
            catch (Exception e)
            {
                _exception = e;
            }

            Done.Release();
        }
    }
}
