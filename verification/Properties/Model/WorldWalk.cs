using Harness.ModelChecking;
using Harness.Operations;
using Vcmm.Spec;

namespace Properties.Model;

/// <summary>Ways through a small world.</summary>
internal static class WorldWalk
{
    /// <summary>The world at the end of a way; each number chooses among the behaviours that change something.</summary>
    public static World Walk(Scope scope, int[] way) => Walk(scope, way, out _);

    /// <summary>The same from what these operations lead to.</summary>
    public static World Walk(Scope scope, int[] way, out List<Behaviour> steps, params string[] first)
    {
        World world = scope.Blank();
        steps = [];
        foreach (string step in first)
        {
            (Behaviour chosen, world) = Step(scope, world, step);
            steps.Add(chosen);
        }

        foreach (int choice in way)
        {
            (Behaviour Behaviour, World Next)[] changes = [.. Next(scope, world).Where(step => !ReferenceEquals(step.Next, world))];
            (Behaviour chosen, world) = changes[choice % changes.Length];
            steps.Add(chosen);
        }

        return world;
    }

    /// <summary>What the model, or a planted one, accepts in a world, and what follows.</summary>
    public static IEnumerable<(Behaviour Behaviour, World Next)> Next(Scope scope, World world, Judge? judge = null)
    {
        foreach (Behaviour behaviour in new Behaviours(scope).Of(world))
        {
            Verdict<World> verdict = judge is null
                ? world.Judge(behaviour.Operation, behaviour.Seen, behaviour.Surroundings)
                : judge(world, behaviour.Operation, behaviour.Seen, behaviour.Surroundings);
            if (verdict.IsAccepted) yield return (behaviour, verdict.Next);
        }
    }

    /// <summary>The world after these operations, each with the first of its behaviours that the model accepts as done.</summary>
    public static World Do(Scope scope, params string[] steps) => Do(scope, scope.Blank(), steps);

    public static World Do(Scope scope, World world, params string[] steps)
    {
        foreach (string step in steps) world = Step(scope, world, step).Next;
        return world;
    }

    private static (Behaviour Behaviour, World Next) Step(Scope scope, World world, string step)
    {
        Operation operation = OperationText.Parse(step).Operation;
        return Next(scope, world).First(next => next.Behaviour.Operation == operation && next.Behaviour.Seen.Outcome == Outcome.None);
    }
}
