using System.Collections.Immutable;
using System.Text.RegularExpressions;
using Harness;
using Vcmm.Spec;

namespace Mutation.Exhibits;

/// <summary>A real bug, planted in the library: what happened where, what stands for it here, and which invariant must name it.</summary>
/// <param name="Name">In lower case, words joined by hyphens.</param>
public sealed partial record Exhibit(string Name)
{
    private const string Ending = ".patch";

    private static readonly string[] Fields = ["Title", "Source", "Story", "Here", "Breaks", "Threads", "Scenario"];

    /// <summary>The mistake, in a few words.</summary>
    public string Title { get; private init; } = "";

    /// <summary>Project and commit, advisory or CVE.</summary>
    public string Source { get; private init; } = "";

    /// <summary>What the real code did, and what came of it.</summary>
    public string Story { get; private init; } = "";

    /// <summary>How the patch stands for it in this library.</summary>
    public string Here { get; private init; } = "";

    /// <summary>The invariants of which one must be named.</summary>
    public ImmutableArray<Invariant> Breaks { get; private init; } = [];

    /// <summary>Whether it shows only where threads or agents interleave.</summary>
    public bool NeedsThreads { get; private init; }

    /// <summary>The scenarios of controlled schedules in which it shows, the best first.</summary>
    public ImmutableArray<string> Scenarios { get; private init; } = [];

    /// <summary>What changes.</summary>
    public ImmutableArray<Hunk> Hunks { get; private init; } = [];

    /// <summary>All of a folder, by name.</summary>
    /// <exception cref="BadInputException">One cannot be read.</exception>
    public static ImmutableArray<Exhibit> ReadAll(string folder) =>
        [.. Directory.GetFiles(folder, "*" + Ending).Order(StringComparer.Ordinal).Select(static path => Parse(Path.GetFileNameWithoutExtension(path), File.ReadAllText(path)))];

    /// <summary>Reads a patch with its description.</summary>
    /// <exception cref="BadInputException">A field is missing, unknown or not as it must be, or a line belongs to nothing.</exception>
    public static Exhibit Parse(string name, string text)
    {
        if (!NamePattern().IsMatch(name)) throw new BadInputException($"exhibit \"{name}\": expected a name in lower case, words joined by hyphens");
        string[] lines = text.ReplaceLineEndings("\n").TrimEnd('\n').Split('\n');
        int patch = Array.FindIndex(lines, static line => line.StartsWith("--- ", StringComparison.Ordinal));
        if (patch < 0) throw new BadInputException($"exhibit {name}: no file is changed; expected a line \"--- FILE\"");
        Dictionary<string, string> fields = ReadFields(name, lines[..patch]);
        Exhibit read = new(name)
        {
            Title = Required("Title"),
            Source = Required("Source"),
            Story = Required("Story"),
            Here = Required("Here"),
            Breaks = [.. Words(Required("Breaks")).Select(word => InvariantOf(name, word))],
            NeedsThreads = Required("Threads") switch
            {
                "yes" => true,
                "no" => false,
                var other => throw new BadInputException($"exhibit {name}: Threads is \"{other}\"; expected yes or no"),
            },
            Scenarios = [.. Words(fields.GetValueOrDefault("Scenario", ""))],
            Hunks = ReadHunks(name, lines[patch..]),
        };
        return read.NeedsThreads && read.Scenarios.IsEmpty ? throw new BadInputException($"exhibit {name}: needs threads; expected a Scenario in which it shows") : read;

        string Required(string field) => fields.GetValueOrDefault(field) ?? throw new BadInputException($"exhibit {name}: {field} is missing");
    }

    /// <summary>The mutant that it is among those of the library.</summary>
    /// <param name="textOf">The text of a file, by its path from the root of the repository.</param>
    /// <exception cref="BadInputException">What it changes is not there any more.</exception>
    public Schema.Mutant ToMutant(Func<string, string> textOf)
    {
        try
        {
            return new(Name, "museum", Title, [.. Hunks.Select(hunk => hunk.EditOf(textOf(hunk.File)))]);
        }
        catch (BadInputException e)
        {
            throw new BadInputException($"exhibit {Name}: {e.Message}");
        }
    }

    private static Dictionary<string, string> ReadFields(string name, string[] lines)
    {
        var fields = new Dictionary<string, string>();
        string? last = null;
        foreach (string line in lines)
        {
            if (line.Length == 0) continue;
            if (line.StartsWith("  ", StringComparison.Ordinal) && last is not null)
            {
                fields[last] += ' ' + line.Trim();
                continue;
            }

            int colon = line.IndexOf(':', StringComparison.Ordinal);
            last = colon < 0 ? line : line[..colon];
            if (!Fields.Contains(last)) throw new BadInputException($"exhibit {name}: \"{last}\" is no field; expected one of {string.Join(", ", Fields)}");
            if (!fields.TryAdd(last, line[(colon + 1)..].Trim())) throw new BadInputException($"exhibit {name}: {last} is there twice");
        }

        return fields;
    }

    private static ImmutableArray<Hunk> ReadHunks(string name, string[] lines)
    {
        var hunks = ImmutableArray.CreateBuilder<Hunk>();
        string file = "";
        List<string>? before = null, after = null;
        foreach (string line in lines.Append("@@"))
        {
            if (line.StartsWith("--- ", StringComparison.Ordinal) || line.StartsWith("@@", StringComparison.Ordinal))
            {
                if (before is { Count: > 0 }) hunks.Add(new(file, [.. before], [.. after!]));
                (before, after) = ([], []);
                if (line[0] == '-') file = line[4..].Trim();
                continue;
            }

            // Editors take the blank of an empty line away.
            string rest = line.Length == 0 ? "" : line[1..];
            char kind = line.Length == 0 ? ' ' : line[0];
            if (kind is not (' ' or '-' or '+')) throw new BadInputException($"exhibit {name}: a line of the patch begins with '{kind}'; expected ' ', '-', '+', \"@@\" or \"--- \"");
            if (kind != '+') before!.Add(rest);
            if (kind != '-') after!.Add(rest);
        }

        return hunks.Count != 0 ? hunks.ToImmutable() : throw new BadInputException($"exhibit {name}: the patch changes nothing");
    }

    private static Invariant InvariantOf(string name, string word) =>
        word.Length > 1 && word[0] == 'I' && int.TryParse(word.AsSpan(1), out int number) && Enum.IsDefined((Invariant)number)
            ? (Invariant)number
            : throw new BadInputException($"exhibit {name}: Breaks says \"{word}\"; expected I1 to I14");

    private static string[] Words(string text) => text.Split([' ', ','], StringSplitOptions.RemoveEmptyEntries);

    [GeneratedRegex("^[a-z0-9]+(-[a-z0-9]+)*$")]
    private static partial Regex NamePattern();
}
