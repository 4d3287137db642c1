using Microsoft.Coyote.Rewriting;
using Microsoft.Coyote.Runtime;

namespace Explorer.Scheduling;

/// <summary>Tells the threads of the scheduler from others.</summary>
/// <remarks>Not rewritten: to ask for the context is itself something that the scheduler does not control.</remarks>
[SkipRewriting("It asks what only code beside the schedule may ask.")]
internal static class ControlledThreads
{
    /// <summary>Whether the calling thread does only what the scheduler lets it do: it runs in the scheduler's own context.</summary>
    public static bool IsCaller
    {
        get
        {
            Type? context = SynchronizationContext.Current?.GetType();
            if (context is null) return false;
            if (context == _known) return true;
            if (context.Assembly != typeof(Operation).Assembly) return false;
            _known = context;
            return true;
        }
    }

    // To ask a type for its assembly costs as much as all else here, and it is asked at each event.
    private static Type? _known;
}
