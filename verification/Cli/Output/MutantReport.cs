using Microsoft.CodeAnalysis.Text;
using Mutation.Hunting;
using Vcmm.Spec;

namespace Verify.Output;

/// <summary>Mutants in the schema of mutation testing (mutation-testing-report-schema, version 2), which other tools show.</summary>
/// <param name="here">Where relative paths begin.</param>
/// <param name="file">The file, as the user gave it.</param>
internal sealed class MutantReport(Surroundings here, string file) : JsonFile(here, file)
{
    /// <summary>Writes it.</summary>
    /// <param name="outcomes">What became of each mutant.</param>
    /// <param name="textOf">The text of a file, by its path from the root of the repository.</param>
    /// <exception cref="EnvironmentException">The file cannot be written.</exception>
    public void Write(IReadOnlyList<MutantOutcome> outcomes, Func<string, string> textOf) => WriteContent(new
    {
        SchemaVersion = "2",
        Thresholds = new { High = 90, Low = 80 },
        Framework = new { Name = "verify mutants" },
        Files = outcomes.GroupBy(static outcome => outcome.Mutant.Edits[0].File).OrderBy(static group => group.Key, StringComparer.Ordinal).ToDictionary(static group => group.Key, group =>
        {
            string source = textOf(group.Key);
            return new { Language = "cs", Source = source, Mutants = group.Select(outcome => Of(outcome, SourceText.From(source))) };
        }),
    });

    private static object Of(MutantOutcome outcome, SourceText source)
    {
        LinePositionSpan at = source.Lines.GetLinePositionSpan(outcome.Mutant.Edits[0].Span);
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
                _ => "Survived",
            },
            StatusReason = outcome.Broken ?? (outcome.Killer is { } killer ? $"{killer.Engine}: {killer.Hunt.Named?.Label() ?? killer.Hunt.Report}" : ""),
        };

        // Lines and columns are counted from 1 there.
        static object Of(LinePosition position) => new { Line = position.Line + 1, Column = position.Character + 1 };
    }
}
