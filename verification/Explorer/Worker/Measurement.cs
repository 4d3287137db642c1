using System.Runtime;
using Explorer.Faults;
using Explorer.Scenarios;
using Explorer.Scheduling;
using Harness;
using Harness.Schedules;

namespace Explorer.Worker;

/// <summary>What the worker does again and again while somebody outside holds the clock: for each line of input one batch, and one line that it is done.</summary>
internal static class Measurement
{
    /// <summary>Schedules in a batch. All batches are alike: each has the same seed.</summary>
    private const int Schedules = 20;

    /// <summary>As many tasks as <c>back-unback</c> has: two processors, a device, and what consumes commands. How often one hands over to another depends on it.</summary>
    private const int BareTasks = 4;

    /// <summary>Of each: together about as many as <c>back-unback</c> takes.</summary>
    private const int BareSteps = 65;

    private static readonly Dictionary<string, Action<Attempt>> Bodies = new()
    {
        ["empty"] = static _ => RunTasks(2, static () => { }),
        ["bare-steps"] = static _ => RunTasks(BareTasks, static () =>
        {
            for (int i = 0; i < BareSteps; i++) Controlled.Step();
        }),
        ["two-threads"] = static attempt => BackUnback.Scenario.Run(attempt, PlantedFault.None),
        ["unback-access"] = static attempt => UnbackAccess.Scenario.Run(attempt, PlantedFault.None),
        ["weak-two-threads"] = static attempt => BackUnback.OnWeakMemory.Run(attempt, PlantedFault.None),
    };

    /// <summary>Does batches until there is no more input.</summary>
    /// <param name="what">What a schedule is; behind a slash by which strategy, at random if there is none.</param>
    /// <param name="input">A line for each batch.</param>
    /// <param name="say">Takes each answer.</param>
    /// <exception cref="BadInputException">There is no such thing to measure.</exception>
    public static void Run(string what, TextReader input, Action<WorkerMessage> say)
    {
        string[] parts = what.Split('/', 2);
        if (!Bodies.TryGetValue(parts[0], out Action<Attempt>? body)) throw new BadInputException($"\"{parts[0]}\" is not measured; expected {string.Join(", ", Bodies.Keys)}");
        var strategy = Strategy.Random;
        if (parts is [_, var name] && !Enum.TryParse(name, out strategy)) throw new BadInputException($"\"{name}\" is no strategy; expected {string.Join(", ", Enum.GetNames<Strategy>())}");
        while (input.ReadLine() is not null)
        {
            Exploration done = Controlled.Explore(new(strategy, 1, Schedules), body);
            if (done.Failure is { } failure) throw new InvalidOperationException($"{what}: {failure.Violation}");
            say(new BatchMessage(done.Schedules, done.Steps, JitInfo.GetCompiledMethodCount()));
        }
    }

    private static void RunTasks(int count, Action body)
    {
        Task[] tasks = new Task[count];
        for (int i = 0; i < count; i++) tasks[i] = Task.Run(body);
        Task.WaitAll(tasks);
    }
}
