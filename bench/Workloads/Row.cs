namespace Workloads;

/// <summary>What a ratio says.</summary>
public enum RatioKind
{
    /// <summary>Time of the workload over time of its baseline: small is good.</summary>
    Cost,

    /// <summary>Time of the baseline over time of the workload: large is good.</summary>
    SpeedUp,
}

/// <summary>One promise of speed or size, and how it is measured.</summary>
/// <param name="Name">Short, one of a kind, and stable: reports name it, filters choose by it.</param>
/// <param name="What">What one operation is, for people.</param>
public abstract record Row(string Name, string What);

/// <summary>A row that is timed: the workload and its baseline in turns, so that both meet the same machine.</summary>
/// <param name="Name">As <see cref="Row"/>.</param>
/// <param name="What">As <see cref="Row"/>.</param>
/// <param name="Workload">Sets the workload up.</param>
public sealed record TimedRow(string Name, string What, Func<IWorkload> Workload) : Row(Name, What)
{
    /// <summary>Sets the baseline up; null if there is none.</summary>
    public Func<IWorkload>? Baseline { get; init; }

    /// <summary>What one operation of the baseline is, for people; empty if there is none.</summary>
    public string BaselineWhat { get; init; } = "";

    /// <summary>What <see cref="RatioLimit"/> limits.</summary>
    public RatioKind RatioKind { get; init; }

    /// <summary>The most that an operation may take, in nanoseconds, on a machine such as the limits were set on; null: no limit.</summary>
    public double? LimitNanoseconds { get; init; }

    /// <summary>The most that a cost may be, the least that a speed-up may be; null: no limit.</summary>
    public double? RatioLimit { get; init; }

    /// <summary>The most that an operation may allocate on the managed heap, in bytes: 0, unless its answer is an object.</summary>
    public double AllocationLimitBytes { get; init; }
}

/// <summary>A row that is weighed.</summary>
/// <param name="Name">As <see cref="Row"/>.</param>
/// <param name="What">As <see cref="Row"/>.</param>
/// <param name="Weigh">Measures it, in bytes.</param>
/// <param name="LimitBytes">The most that it may be.</param>
public sealed record WeighedRow(string Name, string What, Func<double> Weigh, double LimitBytes) : Row(Name, What);
