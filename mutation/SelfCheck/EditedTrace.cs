using System.IO.Compression;
using System.Text;
using Harness;
using Harness.Traces;
using Mutation.Hunting;
using Vcmm.Spec;

namespace Mutation.SelfCheck;

/// <summary>A recorded trace in which one line is changed: what a kernel would have done wrong.</summary>
public static class EditedTrace
{
    // Where a mapping of a device's own addresses begins and ends; what is mapped one-to-one has the two alike.
    private const string Mapped = " map: IOMMU: iova=";
    private const string Target = " paddr=";

    /// <summary>What can be changed.</summary>
    private static readonly Dictionary<string, Func<List<string>, int>> Edits = new()
    {
        // What is mapped is mapped again, with nothing between.
        ["map-again"] = static lines =>
        {
            int at = lines.FindIndex(IsTranslated);
            lines.Insert(at + 1, lines[at]);
            return at;
        },
    };

    /// <summary>Holds the changed trace to the specification.</summary>
    /// <param name="edit">What is changed.</param>
    /// <param name="muted">Invariants under which nothing is refused.</param>
    /// <param name="time">The clock for how long it takes.</param>
    /// <param name="stop">Set when the user wants to stop.</param>
    /// <exception cref="BadInputException">There is no such change.</exception>
    public static Hunt Judge(string edit, InvariantSet muted, TimeProvider time, CancellationToken stop)
    {
        if (!Edits.TryGetValue(edit, out Func<List<string>, int>? change)) throw new BadInputException($"trace \"{edit}\" is not known; expected one of {string.Join(", ", Edits.Keys)}");
        long begun = time.GetTimestamp();
        // The header announces how many events there were.
        List<string> lines = [.. Read().Where(static line => !line.StartsWith('#'))];
        change(lines);
        using var text = new MemoryStream(Encoding.UTF8.GetBytes(string.Join('\n', lines) + "\n"));
        TraceOutcome outcome = TraceCheck.Run(text, mode: null, stop, muted);
        return outcome.Refusal is { } refusal
            ? new(HuntEnd.Found, refusal.Line, time.GetElapsedTime(begun)) { Named = refusal.Invariant, Report = outcome.ToString() }
            : new(HuntEnd.NotFound, outcome.Report.Events, time.GetElapsedTime(begun)) { Muted = outcome.Report.Muted.Values.Sum() };
    }

    private static bool IsTranslated(string line)
    {
        int from = line.IndexOf(Mapped, StringComparison.Ordinal), to = line.IndexOf(Target, StringComparison.Ordinal);
        const int digits = 18;
        return from >= 0 && to >= 0 && !line.AsSpan(from + Mapped.Length, digits).SequenceEqual(line.AsSpan(to + Target.Length, digits));
    }

    private static IEnumerable<string> Read()
    {
        using var reader = new StreamReader(new GZipStream(Captures.Open(Captures.Names[0]), CompressionMode.Decompress), Encoding.UTF8);
        while (reader.ReadLine() is { } line) yield return line;
    }
}
