using Vcmm.Spec;

namespace Harness.Differential;

/// <summary>Where a machine did what the other did not, or what the tables do not say.</summary>
/// <param name="Invariant">Under which it is counted.</param>
/// <param name="Step">The step at which it was seen; that of the end is the number of steps.</param>
/// <param name="Observed">What was seen, and on which machine.</param>
/// <param name="Wanted">What should have been.</param>
internal sealed record Difference(Invariant Invariant, int Step, string Observed, string Wanted)
{
    /// <summary>On which machine, as far as that can be said: shrinking must not turn a mistake of one into one of the other.</summary>
    public string Machine => Observed.Contains("the simulator", StringComparison.Ordinal) ? "simulator" : "QEMU";
}

/// <summary>What came of a case.</summary>
internal sealed class CaseResult
{
    /// <summary>The first difference that nothing explains.</summary>
    public Difference? Difference { get; set; }

    /// <summary>Differences that are known, by name.</summary>
    public Dictionary<string, int> Explained { get; } = [];

    public int Accesses { get; set; }

    /// <summary>Faults that both machines gave with all that is recorded of them.</summary>
    public int Faults { get; set; }

    /// <summary>Reads and writes that went on, on both.</summary>
    public int Transfers { get; set; }

    /// <summary>Accesses while something changed did not count yet.</summary>
    public int Unsettled { get; set; }

    /// <summary>Accesses for which anything goes, and those left out since the machines' memory is not alike there.</summary>
    public int Open { get; set; }

    public int Commands { get; set; }

    public int QueueErrors { get; set; }

    /// <summary>Fault reasons that were agreed on, those of QEMU's numbering in scalable mode apart; 0: it went on.</summary>
    public Dictionary<byte, int> Reasons { get; } = [];

    public void Add(CaseResult one)
    {
        Accesses += one.Accesses;
        Faults += one.Faults;
        Transfers += one.Transfers;
        Unsettled += one.Unsettled;
        Open += one.Open;
        Commands += one.Commands;
        QueueErrors += one.QueueErrors;
        foreach ((string name, int count) in one.Explained) Explained[name] = Explained.GetValueOrDefault(name) + count;
        foreach ((Invariant invariant, long count) in one.Muted) Muted[invariant] = Muted.GetValueOrDefault(invariant) + count;
        foreach ((byte reason, int count) in one.Reasons) Reasons[reason] = Reasons.GetValueOrDefault(reason) + count;
    }

    /// <summary>Differences under invariants that are muted.</summary>
    public Dictionary<Invariant, long> Muted { get; } = [];

    public void Explain(string name) => Explained[name] = Explained.GetValueOrDefault(name) + 1;
}
