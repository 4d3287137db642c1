using Harness.Running;
using Vcmm.Spec;

namespace Harness.Oracles;

/// <summary>Holds the machine, between two operations, to the model.</summary>
public interface IOracle
{
    /// <summary>Looks.</summary>
    /// <returns>What is wrong; null: nothing.</returns>
    Violation? Check(Look look);
}

/// <summary>One look at the machine between two operations.</summary>
public sealed class Look
{
    /// <summary>A look; tables are read from memory once.</summary>
    public Look(Subject subject, World world, RunCounts counts, bool hardwareHasFailed)
    {
        Subject = subject;
        World = world;
        Counts = counts;
        HardwareHasFailed = hardwareHasFailed;
        Memory = new(subject.Machine.Memory);
    }

    /// <summary>The library and its machine.</summary>
    public Subject Subject { get; }

    /// <summary>The model.</summary>
    public World World { get; }

    /// <summary>Where checks are counted.</summary>
    public RunCounts Counts { get; }

    /// <summary>Whether the hardware was made to fail in this scenario.</summary>
    public bool HardwareHasFailed { get; }

    /// <summary>Memory at this instant.</summary>
    public Snapshot Memory { get; }

    /// <summary>The regions that have a table.</summary>
    public IEnumerable<ObjectId> RegionsWithTable => World.Vcms.Keys.Where(World.HasTable);

    /// <summary>All oracles, by the number of their invariant.</summary>
    public static IReadOnlyList<IOracle> Oracles { get; } =
        [new NoOverlapOracle(), new TablesAreTruthOracle(), new SharedTableOracle(), new NoStaleAccessOracle(), new FrameSafetyOracle(), new ConservationOracle()];

    /// <summary>Asks every oracle.</summary>
    public Violation? FirstViolation()
    {
        if (Subject.Frames.Violation is { } violation) return violation;
        foreach (IOracle oracle in Oracles)
        {
            if (oracle.Check(this) is { } found) return found;
        }

        return null;
    }
}
