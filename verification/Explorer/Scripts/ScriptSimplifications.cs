using System.Collections.Immutable;
using Harness.Operations;
using Harness.Scenarios;
using Harness.Shrinking;
using Vcmm.Spec;

namespace Explorer.Scripts;

/// <summary>What is simpler than a scenario with threads by one thing, with as many operations and steps.</summary>
internal static class ScriptSimplifications
{
    private const ulong Page = World.PageBytes;

    /// <summary>All on one page, or some on a lower one; then what sequences become simpler by.</summary>
    public static IEnumerable<Scenario> Of(Scenario scenario)
    {
        yield return Replace(scenario, OnFirstPage);
        foreach (ulong address in Operations(scenario).Select(AddressOf).OfType<ulong>().Where(static address => address >= Page).Distinct().Order())
        {
            foreach (ulong lower in (ulong[])[0, address - Page])
                yield return Replace(scenario, operation => AddressOf(operation) == address ? WithAddress(operation, lower) : operation);
        }

        // One list of what is done at all: what is made simpler for the steps before is made so for the threads.
        Scenario flat = scenario with { Steps = [.. scenario.Steps, .. scenario.Threads.SelectMany(static thread => thread)], Threads = [] };
        IEnumerable<Scenario> simpler = Simplifications.OfTopology(flat).Concat(SpaceSimplifications.Of(flat)).Concat(Simplifications.OfSteps(flat)).Concat(Simplifications.OfNames(flat));
        foreach (Scenario candidate in simpler)
        {
            if (candidate.Steps.Length == flat.Steps.Length) yield return Split(candidate, scenario);
        }
    }

    private static IEnumerable<Operation> Operations(Scenario scenario) => scenario.Steps.Concat(scenario.Threads.SelectMany(static thread => thread)).Select(static step => step.Operation);

    private static Scenario Split(Scenario flat, Scenario scenario)
    {
        int at = scenario.Steps.Length;
        var threads = ImmutableArray.CreateBuilder<ImmutableArray<Step>>();
        foreach (ImmutableArray<Step> thread in scenario.Threads)
        {
            threads.Add(flat.Steps.Slice(at, thread.Length));
            at += thread.Length;
        }

        return flat with { Steps = flat.Steps[..scenario.Steps.Length], Threads = threads.ToImmutable() };
    }

    private static Scenario Replace(Scenario scenario, Func<Operation, Operation> with)
    {
        return scenario with { Steps = All(scenario.Steps), Threads = [.. scenario.Threads.Select(All)] };

        ImmutableArray<Step> All(ImmutableArray<Step> steps) => [.. steps.Select(step => step with { Operation = with(step.Operation) })];
    }

    private static Operation OnFirstPage(Operation operation) => operation switch
    {
        Reserve o => o with { ByteCount = Page },
        ReserveAt o => o with { First = 0, ByteCount = Page },
        AllocateMemory o => o with { ByteCount = Page },
        AllocateContiguous o => o with { ByteCount = Page },
        Bind o => o with { ByteCount = Page },
        BackPart o => o with { Offset = 0, MemoryOffset = 0, ByteCount = Page },
        UnbackPart o => o with { Offset = 0, ByteCount = Page },
        _ => AddressOf(operation) is null ? operation : WithAddress(operation, 0),
    };

    private static ulong? AddressOf(Operation operation) => operation switch
    {
        ReserveAt o => o.First,
        DeviceAccess o => o.Address,
        CoreAccess o => o.Address,
        FindReservation o => o.Address,
        Translate o => o.Address,
        TranslateTo o => o.Address,
        _ => null,
    };

    private static Operation WithAddress(Operation operation, ulong address) => operation switch
    {
        ReserveAt o => o with { First = address },
        DeviceAccess o => o with { Address = address },
        CoreAccess o => o with { Address = address },
        FindReservation o => o with { Address = address },
        Translate o => o with { Address = address },
        TranslateTo o => o with { Address = address },
        _ => operation,
    };
}
