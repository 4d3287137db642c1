using System.Globalization;
using Harness.Coverage;
using Harness.ModelChecking;
using Vcmm.Spec;

namespace Verify.Output;

/// <summary>What a search through a small world has come to, as text.</summary>
internal static class ModelTable
{
    /// <summary>Prints it.</summary>
    public static void Print(ModelReport report, Surroundings here)
    {
        TextWriter to = here.Out;
        to.WriteLine();
        for (int depth = 0; depth < report.StatesByDepth.Length; depth++) Write(to, $"  depth {depth,3}  {report.StatesByDepth[depth],14:N0} states");
        to.WriteLine();
        Write(to, $"{report.States:N0} distinct states, {report.Expanded:N0} of them expanded, in {report.Elapsed.TotalSeconds:N1} s: {report.StatesPerSecond:N0} a second");
        Write(to, $"{report.Steps:N0} steps that the model accepts, of {report.Tried:N0} behaviours that it was asked about; the table of states took {report.ByteCount >> 20:N0} MiB");
        Write(to, $"a bare breadth-first walk over successors that are written down does {report.BareStatesPerSecond:N0} states a second: {report.BareStatesPerSecond / report.StatesPerSecond:N0} times as many");
        Write(to, $"{(report.CutOff is { } why ? $"cut off: {why}" : report.Counterexample is null ? "that is all there is" : "stopped at the first violation")}");
        to.WriteLine();
        Print(report.Coverage, to);
        to.WriteLine();
        to.WriteLine("what must happen     after so many operations");
        foreach (ReachedLaw law in report.Laws) Write(to, $"{(law.Depth < 0 ? "NOT REACHED" : law.Depth.ToString(CultureInfo.InvariantCulture)),11}  {law.Name}");
    }

    /// <summary>Prints what a search of the library has come to.</summary>
    public static void Print(LibraryReport report, Surroundings here)
    {
        TextWriter to = here.Out;
        to.WriteLine();
        Write(to, $"{report.Sequences:N0} sequences in {report.Elapsed.TotalSeconds:N1} s: {report.Sequences / report.Elapsed.TotalSeconds:N0} a second; all of {report.Depth} operations");
        Write(to, $"{report.States:N0} states that the model tells apart, {report.Expanded:N0} of them expanded");
        Write(to, $"{(report.CutOff is { } why ? $"cut off: {why}" : report.Failure is null ? "that is all there is" : "stopped at the first violation")}");
        to.WriteLine();
        Print(report.Coverage, to);
    }

    private static void Print(IReadOnlyDictionary<Situation, long> coverage, TextWriter to)
    {
        to.WriteLine("operation            what it came to, and how often");
        foreach (var operation in coverage.GroupBy(static pair => pair.Key.Operation.Name).OrderBy(static operation => operation.Key, StringComparer.Ordinal))
        {
            var outcomes = operation.GroupBy(static pair => pair.Key.Outcome).OrderBy(static outcome => outcome.Key).Select(static outcome => (outcome.Key, Count: outcome.Sum(static pair => pair.Value)));
            Write(to, $"{operation.Key,-20} {string.Join(", ", outcomes.Select(static outcome => FormattableString.Invariant($"{Name(outcome.Key)} {outcome.Count:N0}")))}");
        }
    }

    private static string Name(Outcome outcome) => outcome == Outcome.None ? "done" : outcome.ToString();

    private static void Write(TextWriter to, FormattableString line) => to.WriteLine(line.ToString(CultureInfo.InvariantCulture));
}
