using Harness.Foreign;

namespace Conformance.Vtd;

/// <summary>One row: what the specification says of one situation. It holds on every machine.</summary>
/// <param name="Name">The law, as a sentence.</param>
/// <param name="Section">The part of the Intel VT-d specification that says so.</param>
/// <param name="Script">What is done and what must be seen.</param>
/// <param name="Since">The first version of QEMU that has what it takes to judge it: 7 or 10; <see cref="NoQemu"/> if none is known to.</param>
internal sealed record VtdCase(string Name, string Section, Action<VtdBench> Script, int Since = 7)
{
    /// <summary>First-stage tables came with it.</summary>
    public const int FirstStageSince = 10;

    /// <summary>Neither 7.2 nor 10.0 offers what the row is about.</summary>
    public const int NoQemu = int.MaxValue;
}

/// <summary>One situation in which QEMU does otherwise than the specification says.</summary>
/// <param name="Known">What QEMU does, and whose fault it is.</param>
/// <param name="Law">What must be seen.</param>
/// <param name="Deviation">What QEMU shows.</param>
internal sealed record VtdDeviation(QemuDeviation Known, Action<VtdBench> Law, Action<VtdBench> Deviation)
{
    public string Name => Known.Name;

    /// <summary>In scalable mode, whether it is about first-stage tables.</summary>
    public bool HasFirstStage { get; init; }
}

/// <summary>The conformance rows, by topic.</summary>
internal static class VtdCases
{
    public static IReadOnlyList<VtdCase> All { get; } =
    [
        .. RegisterCases.Rows, .. EntryCases.Rows, .. ContextCases.Rows, .. CachingCases.Rows, .. QueueCases.Rows, .. FaultCases.Rows,
    ];
}
