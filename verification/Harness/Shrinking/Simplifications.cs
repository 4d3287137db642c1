using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Shrinking;

/// <summary>What is simpler than a scenario by one thing.</summary>
internal static class Simplifications
{
    private const ulong Page = World.PageBytes;

    /// <summary>One step without its mishap, or with a smaller or rounder number; a length is changed everywhere it stands.</summary>
    public static IEnumerable<Scenario> OfSteps(Scenario scenario)
    {
        foreach (ulong length in scenario.Steps.Select(step => LengthOf(step.Operation)).OfType<ulong>().Distinct().Where(length => length > Page))
        {
            foreach (ulong shorter in (ulong[])[Page, 2 * Page, 64 << 10])
            {
                if (shorter < length) yield return Replace(scenario, operation => LengthOf(operation) == length ? WithLength(operation, shorter) : operation);
            }
        }

        for (int i = 0; i < scenario.Steps.Length; i++)
        {
            Step step = scenario.Steps[i];
            if (step.Mishap is not null) yield return scenario with { Steps = scenario.Steps.SetItem(i, new(step.Operation)) };
            foreach (Operation simpler in Of(step.Operation)) yield return scenario with { Steps = scenario.Steps.SetItem(i, step with { Operation = simpler }) };
        }
    }

    /// <summary>The machine, closer to the plainest one.</summary>
    public static IEnumerable<Scenario> OfTopology(Scenario scenario)
    {
        Topology now = scenario.Topology;
        int devices = 1 + scenario.Steps.SelectMany(step => step.Operation.Uses).Where(id => id.Kind == ObjectKind.Device).Select(id => id.Number).DefaultIfEmpty(0).Max();
        Topology[] simpler =
        [
            now with { Devices = devices }, now with { CachingMode = false }, now with { Levels = 4 }, now with { Pages2M = true },
            now with { MemoryMiB = 8 }, now with { ContextCache = 4 }, now with { WalkCache = 4 }, now with { IotlbSets = 4, IotlbWays = 2 },
        ];
        return simpler.Where(topology => topology != now).Select(topology => scenario with { Topology = topology });
    }

    private static IEnumerable<Operation> Of(Operation operation)
    {
        switch (operation)
        {
            case AllocateMemory o:
                if (o.Scattered) yield return o with { Scattered = false };
                if (o.ChunkSizes != Page) yield return o with { ChunkSizes = Page };
                break;
            case Reserve o:
                if (o.Alignment != Page) yield return o with { Alignment = Page };
                if (o.Permissions != Permissions.ReadWrite) yield return o with { Permissions = Permissions.ReadWrite };
                break;
            case ReserveAt o:
                if (o.Permissions != Permissions.ReadWrite) yield return o with { Permissions = Permissions.ReadWrite };
                if (o.First != 0) yield return o with { First = 0 };
                break;
            case CreateVcm { Range: { First: not 0 } range } o:
                yield return o with { Range = new(0, range.Last - range.First) };
                break;
            case DeviceAccess o:
                if (o.Address % Page != 0) yield return o with { Address = o.Address & ~(Page - 1) };
                break;
        }
    }

    private static Scenario Replace(Scenario scenario, Func<Operation, Operation> with) =>
        scenario with { Steps = [.. scenario.Steps.Select(step => step with { Operation = with(step.Operation) })] };

    private static ulong? LengthOf(Operation operation) => operation switch
    {
        Reserve o => o.ByteCount,
        ReserveAt o => o.ByteCount,
        AllocateMemory o => o.ByteCount,
        _ => null,
    };

    private static Operation WithLength(Operation operation, ulong byteCount) => operation switch
    {
        Reserve o => o with { ByteCount = byteCount },
        ReserveAt o => o with { ByteCount = byteCount },
        AllocateMemory o => o with { ByteCount = byteCount },
        _ => operation,
    };
}
