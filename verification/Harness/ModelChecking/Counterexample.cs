using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using Harness.Failures;
using Harness.Operations;
using Harness.Scenarios;
using Harness.Stages;
using Vcmm.Spec;

namespace Harness.ModelChecking;

/// <summary>The shortest way to a world, or a step, that breaks an invariant though the model accepts each step.</summary>
/// <param name="Scope">The small world.</param>
/// <param name="Broken">The invariant that is broken.</param>
/// <param name="Sentence">In which way.</param>
/// <param name="Steps">The way, the prologue first: objects that have ended can then be used wrongly.</param>
public sealed record Counterexample(Scope Scope, Invariant Broken, string Sentence, ImmutableArray<Behaviour> Steps)
{
    /// <summary>The operations on the machine that is most like the small world, to see what the library does.</summary>
    public Scenario ToScenario() => new(Scope.ToTopology(), [.. Steps.Select(static step => new Step(step.Operation))]);

    /// <summary>As a failure with its file, which <c>verify replay</c> runs on the library.</summary>
    public StageFailure ToFailure()
    {
        string observed = Sentence, expected = "no step that the model accepts breaks an invariant";
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{Broken.Label()} is broken by what the model accepts\n{Scope}\n\n");
        int number = 0;
        foreach (Behaviour step in Steps) text.Append(CultureInfo.InvariantCulture, $"{++number,4}  {OperationText.Write(step.Operation),-40} {step.Seen}\n");
        text.Append(CultureInfo.InvariantCulture, $"\nobserved: {observed}\nexpected: {expected}\n");
        var file = new FailureFile { Format = FailureFile.Magic, Stage = SequenceStage.StageName, Invariant = Broken, Observed = observed, Expected = expected, Scenario = ToScenario().ToJson() };
        return new(Broken, observed, text.ToString(), file.ToString());
    }
}
