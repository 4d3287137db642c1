using System.Text.RegularExpressions;

namespace Explorer.Scheduling;

/// <summary>What the scheduler's own record of a schedule tells.</summary>
internal static partial class ScheduleTrace
{
    /// <summary>How often a task was interrupted that could have gone on. One that waits or ends gives way to others, which is no interruption.</summary>
    /// <param name="trace"><see cref="ScheduleFailure.Trace"/>.</param>
    public static int Interruptions(string trace)
    {
        int count = 0;
        foreach (Match decision in Decision().Matches(trace))
        {
            bool gaveWay = decision.Groups["at"].Value is "Pause" or "Complete";
            if (!gaveWay && decision.Groups["task"].Value != decision.Groups["next"].Value) count++;
        }

        return count;
    }

    [GeneratedRegex(@"op\((?<task>\d+):\d+\),sp\((?<at>\w+)\),next\((?<next>\d+):", RegexOptions.ExplicitCapture)]
    private static partial Regex Decision();
}
