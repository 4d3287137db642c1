using Microsoft.CodeAnalysis.Text;
using Mutation.Hunting;
using Mutation.Report;
using Vcmm.Spec;

namespace Verify.Output;

/// <summary>
/// Mutants in the schema of mutation testing (mutation-testing-report-schema, version 2), which other tools show. A check of an invariant by an engine is a test
/// there: so one sees what each kills.
/// </summary>
/// <param name="here">Where relative paths begin.</param>
/// <param name="json">The file of <c>--json</c>, as the user gave it; null: none.</param>
/// <param name="html">The file of <c>--html</c>, likewise.</param>
internal sealed class MutantReport(Surroundings here, string? json, string? html)
{
    private static readonly string[] Engines = ["sequences", "schedules"];

    /// <summary>Looks whether the files can be written, before anything is run.</summary>
    /// <exception cref="BadInputException">One cannot.</exception>
    public void Check()
    {
        if (json is not null) OutputFile.Check("--json", json, here);
        if (html is not null) OutputFile.Check("--html", html, here);
    }

    /// <summary>Writes them.</summary>
    /// <param name="outcomes">What became of each mutant.</param>
    /// <param name="textOf">The text of a file, by its path from the root of the repository.</param>
    /// <exception cref="EnvironmentException">A file cannot be written.</exception>
    public void Write(IReadOnlyList<MutantOutcome> outcomes, Func<string, string> textOf)
    {
        string text = JsonFile.TextOf(Content(outcomes, textOf));
        if (json is not null) OutputFile.Write("--json", json, text, here);
        if (html is not null) OutputFile.Write("--html", html, ReportPage.Make("the mistakes of the trade", text), here);
    }

    private static object Content(IReadOnlyList<MutantOutcome> outcomes, Func<string, string> textOf) => new
    {
        SchemaVersion = "2",
        Thresholds = new { High = 90, Low = 80 },
        Framework = new { Name = "verify mutants" },
        Files = outcomes.GroupBy(static outcome => outcome.Mutant.Edits[0].File).OrderBy(static group => group.Key, StringComparer.Ordinal).ToDictionary(static group => group.Key, group =>
        {
            string source = textOf(group.Key);
            return new { Language = "cs", Source = source, Mutants = group.Select(outcome => Of(outcome, SourceText.From(source))) };
        }),
        TestFiles = Engines.ToDictionary(static engine => engine, static engine => new
        {
            Tests = Enum.GetValues<Invariant>().Select(invariant => new { Id = TestOf(engine, invariant), Name = $"{engine}: {invariant.Label()}" }),
        }),
    };

    private static object Of(MutantOutcome outcome, SourceText source)
    {
        LinePositionSpan at = source.Lines.GetLinePositionSpan(outcome.Mutant.Edits[0].Span);
        string[] killers = [.. outcome.Killers.Where(static killer => killer.Hunt.Named is not null).Select(static killer => TestOf(killer.Engine, killer.Hunt.Named!.Value))];
        return new
        {
            Id = outcome.Mutant.Name,
            MutatorName = outcome.Mutant.Operator,
            Description = outcome.Mutant.Summary,
            Replacement = outcome.Mutant.Edits[0].NewText,
            Location = new { Start = Of(at.Start), End = Of(at.End) },
            Status = outcome switch
            {
                { Broken: not null } => "CompileError",
                { Killer.Hunt.End: HuntEnd.Found } => "Killed",
                { Killer: not null } => "Timeout",
                { IsPending: true } => "Pending",
                { IsUnreached: true } => "NoCoverage",
                _ => "Survived",
            },
            StatusReason = outcome.Broken ?? (outcome.Killer is { } found ? $"{found.Engine}: {found.Hunt.Test ?? found.Hunt.Named?.Label() ?? found.Hunt.Report}" : ""),
            KilledBy = killers,
            Duration = Math.Round(outcome.Hunts.Sum(static hunt => hunt.Hunt.Elapsed.TotalMilliseconds)),
        };

        // Lines and columns are counted from 1 there.
        static object Of(LinePosition position) => new { Line = position.Line + 1, Column = position.Character + 1 };
    }

    private static string TestOf(string engine, Invariant invariant) => $"{engine}/{invariant.Id()}";
}
