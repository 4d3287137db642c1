using System.Collections;
using System.Reflection;
using Microsoft.Coyote.Rewriting;
using Microsoft.Coyote.SystematicTesting;

namespace Explorer.Scheduling.Choosers;

/// <summary>Puts a <see cref="IChooser"/> into the scheduler.</summary>
/// <remarks>
/// The scheduler's strategies cannot be added to from outside. But it lets reducers take away tasks before a strategy chooses, and has one
/// source of random numbers: a reducer that leaves one task and a source that answers for the chooser decide everything, and the scheduler
/// records it as it records its own choices, so that a replay needs neither. Both are interfaces of its own that are not public; a version
/// that has others is refused with an error that says what is missing.
/// </remarks>
[SkipRewriting("Part of the scheduler.")]
internal static class SchedulerHooks
{
    private const BindingFlags Own = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic;

    /// <summary>From here on <paramref name="chooser"/> decides in all schedules of <paramref name="engine"/>, whose strategy has to be the random one.</summary>
    /// <exception cref="InvalidOperationException">The scheduler is of a version that has no such parts.</exception>
    public static void Install(TestingEngine engine, IChooser chooser)
    {
        object scheduler = Get(engine, "Scheduler");
        var reducers = (IList)Get(scheduler, "Reducers");
        Type reducer = reducers.GetType().GetGenericArguments()[0];
        reducers.Add(DispatchProxy.Create(reducer, typeof(Reducer)));
        ((Reducer)reducers[^1]!).Chooser = chooser;

        foreach (object strategy in (IEnumerable)Get(scheduler, "Portfolio"))
        {
            PropertyInfo source = strategy.GetType().GetProperty("RandomValueGenerator", Own) ?? throw Missing(strategy.GetType(), "RandomValueGenerator");
            object numbers = DispatchProxy.Create(source.PropertyType, typeof(Numbers));
            ((Numbers)numbers).Chooser = chooser;
            source.SetValue(strategy, numbers);
        }
    }

    private static object Get(object owner, string name) =>
        owner.GetType().GetProperty(name, Own)?.GetValue(owner) ?? owner.GetType().GetField(name, Own)?.GetValue(owner) ?? throw Missing(owner.GetType(), name);

    private static InvalidOperationException Missing(Type type, string name) => new($"the scheduler's {type.Name} has no {name}: it is of another version");
}

/// <summary>Leaves of the tasks that can go on the one that is chosen.</summary>
// A proxy derives from it, in an assembly of its own.
[SkipRewriting("Part of the scheduler.")]
public class Reducer : DispatchProxy
{
    private Func<object, ulong>? _idOf;
    private ulong[] _tasks = new ulong[8];

    internal IChooser Chooser { get; set; } = null!;

    /// <inheritdoc/>
    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
    {
        // void InitializeNextIteration(uint), or IEnumerable<Task> ReduceOperations(IEnumerable<Task>, Task).
        if (args is not [IEnumerable tasks, object current]) return null;
        _idOf ??= Reader(targetMethod!.GetParameters()[1].ParameterType);
        var all = new List<object>();
        foreach (object task in tasks) all.Add(task);
        if (all.Count < 2) return tasks;
        all.Sort((a, b) => _idOf(a).CompareTo(_idOf(b)));
        if (_tasks.Length < all.Count) _tasks = new ulong[2 * all.Count];
        for (int i = 0; i < all.Count; i++) _tasks[i] = _idOf(all[i]);
        ReadOnlySpan<ulong> ids = _tasks.AsSpan(0, all.Count);
        object chosen = all[ids.IndexOf(Chooser.ChooseTask(ids, _idOf(current)))];
        var left = Array.CreateInstance(targetMethod!.GetParameters()[1].ParameterType, 1);
        left.SetValue(chosen, 0);
        return left;
    }

    private static Func<object, ulong> Reader(Type task)
    {
        MethodInfo id = task.GetProperty("Id", BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic)?.GetMethod
            ?? throw new InvalidOperationException($"the scheduler's {task.Name} has no Id: it is of another version");
        MethodInfo make = typeof(Reducer).GetMethod(nameof(Typed), BindingFlags.Static | BindingFlags.NonPublic)!.MakeGenericMethod(task);
        return (Func<object, ulong>)make.Invoke(null, [id])!;
    }

    private static Func<object, ulong> Typed<TTask>(MethodInfo id)
    {
        Func<TTask, ulong> get = id.CreateDelegate<Func<TTask, ulong>>();
        return task => get((TTask)task);
    }
}

/// <summary>The scheduler's source of random numbers: values are chosen.</summary>
[SkipRewriting("Part of the scheduler.")]
public class Numbers : DispatchProxy
{
    internal IChooser Chooser { get; set; } = null!;

    /// <inheritdoc/>
    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) => (targetMethod!.ReturnType, args) switch
    {
        // int Next(int): of one task that is left it is 0.
        ({ } type, [int count]) when type == typeof(int) => count < 2 ? 0 : Chooser.ChooseValue(count),
        ({ } type, _) when type == typeof(uint) => 0u,
        ({ } type, _) when type == typeof(void) => null,
        _ => throw new InvalidOperationException($"the scheduler asks its source for {targetMethod.Name}, of which nothing is known"),
    };
}
