using System.Globalization;

namespace TestRunner;

/// <summary>Tests of one class that run together.</summary>
/// <param name="Assembly">The assembly, by its simple name.</param>
/// <param name="Class">The class, by its full name.</param>
/// <param name="Budget">How long they may take before they count as not ending.</param>
/// <param name="Methods">The tests, by the names of their methods; none: all of the class.</param>
internal sealed record Batch(string Assembly, string Class, TimeSpan Budget, IReadOnlyList<string> Methods)
{
    /// <summary>Reads a line of a plan: the fields with tabs between, the methods with spaces.</summary>
    public static Batch Parse(string line) => line.Split('\t') is [var assembly, var type, var seconds, var methods]
        ? new(assembly, type, TimeSpan.FromSeconds(double.Parse(seconds, CultureInfo.InvariantCulture)), methods.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        : throw new FormatException($"no line of a plan: {line}");
}
