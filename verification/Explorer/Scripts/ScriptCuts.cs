using System.Collections.Immutable;
using Explorer.Scheduling;
using Harness.Operations;
using Harness.Scenarios;
using Platform;
using Vcmm.Spec;

namespace Explorer.Scripts;

/// <summary>What is left of a scenario without some of its threads, operations or steps. What uses something goes together with what made it.</summary>
internal static class ScriptCuts
{
    /// <summary>With fewer nothing runs beside anything.</summary>
    private const int FewestThreads = 2;

    /// <summary>Without the operations that had not begun when the schedule failed.</summary>
    /// <param name="script">What ran.</param>
    /// <param name="events">The schedule.</param>
    /// <returns>Null: less than two threads are left.</returns>
    public static Scenario? ToBegun(Script script, IReadOnlyList<ScheduleEvent> events)
    {
        Scenario scenario = script.Scenario;
        var goes = new HashSet<int>();
        int place = scenario.Steps.Length;
        for (int thread = 0; thread < scenario.Threads.Length; thread++)
        {
            foreach (int begun in CallsOf(script, thread, events))
            {
                if (begun < 0) goes.Add(place);
                place++;
            }
        }

        return Without(scenario, goes.Contains);
    }

    /// <summary>Without a thread.</summary>
    public static Scenario? WithoutThread(Scenario scenario, int thread)
    {
        int first = scenario.Steps.Length + scenario.Threads.Take(thread).Sum(static each => each.Length);
        int count = scenario.Threads[thread].Length;
        return Without(scenario, place => place >= first && place < first + count);
    }

    /// <summary>Without some of what the threads do, counted through all threads.</summary>
    public static Scenario? WithoutOperations(Scenario scenario, int at, int count)
    {
        int first = scenario.Steps.Length + at;
        return Without(scenario, place => place >= first && place < first + count);
    }

    /// <summary>Without some of what is done before.</summary>
    public static Scenario? WithoutSteps(Scenario scenario, int at, int count) => Without(scenario, place => place >= at && place < at + count);

    /// <summary>With two threads, or two of a device, as one, which does all in the order of the schedule.</summary>
    /// <param name="script">What ran.</param>
    /// <param name="events">The schedule.</param>
    public static IEnumerable<Scenario> WithThreadsJoined(Script script, IReadOnlyList<ScheduleEvent> events)
    {
        ImmutableArray<ImmutableArray<Step>> threads = script.Scenario.Threads;
        if (threads.Length <= FewestThreads) yield break;
        for (int one = 0; one < threads.Length; one++)
        {
            for (int other = one + 1; other < threads.Length; other++)
            {
                if (DeviceOf(threads[one]) != DeviceOf(threads[other])) continue;
                ImmutableArray<Step> joined = [.. InOrder(one).Concat(InOrder(other)).OrderBy(static call => call.At).Select(static call => call.Step)];
                yield return script.Scenario with { Threads = threads.SetItem(one, joined).RemoveAt(other) };
            }
        }

        // What did not begin stays behind what comes before it.
        IEnumerable<(int At, Step Step)> InOrder(int thread)
        {
            int last = -1;
            return threads[thread].Zip(CallsOf(script, thread, events), (step, begun) => (last = Math.Max(last, begun), step));
        }
    }

    /// <summary>With what a thread does first done before the threads begin.</summary>
    public static IEnumerable<Scenario> WithFirstBefore(Scenario scenario)
    {
        for (int thread = 0; thread < scenario.Threads.Length; thread++)
        {
            Step first = scenario.Threads[thread][0];
            if (Script.IsAccess(first.Operation)) continue;
            ImmutableArray<ImmutableArray<Step>> threads = scenario.Threads[thread].Length > 1 ? scenario.Threads.SetItem(thread, scenario.Threads[thread].RemoveAt(0)) : scenario.Threads.RemoveAt(thread);
            if (threads.Length >= FewestThreads) yield return scenario with { Steps = scenario.Steps.Add(first), Threads = threads };
        }
    }

    /// <summary>Which device a thread is; null: it is none.</summary>
    private static ObjectId? DeviceOf(ImmutableArray<Step> thread) => thread.All(static step => Script.IsAccess(step.Operation)) ? thread[0].Operation.Uses.First() : null;

    /// <summary>Of each operation of a thread, at which event it began; -1: it did not.</summary>
    private static int[] CallsOf(Script script, int thread, IReadOnlyList<ScheduleEvent> events)
    {
        string agent = script.Agents[thread];
        int next = 0;
        return [.. script.Scenario.Threads[thread].Select(step =>
        {
            string call = CallOf(step.Operation);
            for (int at = next; at < events.Count; at++)
            {
                if (events[at].Kind != EventKind.Call || events[at].Agent != agent || events[at].Text != call) continue;
                next = at + 1;
                return at;
            }

            return -1;
        })];
    }

    /// <summary>As the event of the call says it.</summary>
    private static string CallOf(Operation operation) => operation switch
    {
        DeviceAccess access => CallOf(access.Kind, access.Address),
        CoreAccess access => CallOf(access.Kind, access.Address),
        CrossingAccess across => $"{(Vcmm.Access)across.Kind} across {new Iova(across.Boundary)}",
        _ => OperationText.Write(operation),
    };

    private static string CallOf(Permissions kind, ulong address) => $"{(Vcmm.Access)kind} {new Iova(address & ~(World.PageBytes - 1))}";

    private static Scenario? Without(Scenario scenario, Func<int, bool> goes)
    {
        var gone = new HashSet<ObjectId>();
        int place = 0;
        ImmutableArray<Step> steps = Kept(scenario.Steps);
        ImmutableArray<ImmutableArray<Step>> threads = [.. scenario.Threads.Select(Kept).Where(static thread => !thread.IsEmpty)];
        return threads.Length < FewestThreads ? null : scenario with { Steps = steps, Threads = threads };

        ImmutableArray<Step> Kept(ImmutableArray<Step> all)
        {
            var kept = ImmutableArray.CreateBuilder<Step>();
            foreach (Step step in all)
            {
                if (!goes(place++) && !step.Operation.Uses.Any(IsGone)) kept.Add(step);
                else gone.UnionWith(step.Operation.Makes);
            }

            return kept.ToImmutable();
        }

        bool IsGone(ObjectId id) => gone.Contains(id.Original) || (id.Home is { } home && gone.Contains(home));
    }
}
