using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;

namespace House;

/// <summary>A clause of the promise, as <c>spec/README.md</c> has it.</summary>
/// <param name="Invariant">The number of its invariant.</param>
/// <param name="Number">Its own number.</param>
/// <param name="Text">What it promises.</param>
public sealed partial record Clause(int Invariant, int Number, string Text)
{
    /// <summary>The operations and calls that it is about.</summary>
    public IReadOnlyList<string> Calls { get; init; } = [];

    /// <summary>What states it.</summary>
    public IReadOnlyList<string> Code { get; init; } = [];

    /// <summary>What tests it.</summary>
    public IReadOnlyList<string> Tests { get; init; } = [];

    /// <summary>What shows that the tests bite.</summary>
    public IReadOnlyList<string> Mutants { get; init; } = [];

    /// <summary>The clauses of the page that this test project was built with.</summary>
    public static IReadOnlyList<Clause> All { get; } = Parse(Page);

    /// <summary>That page.</summary>
    public static string Page
    {
        get
        {
            using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream("spec/README.md")!;
            using var reader = new StreamReader(stream);
            return reader.ReadToEnd();
        }
    }

    /// <summary>Reads a page: a paragraph that begins with a bold number, and the quotation after it.</summary>
    public static IReadOnlyList<Clause> Parse(string page)
    {
        var clauses = new List<Clause>();
        foreach (string paragraph in page.ReplaceLineEndings("\n").Split("\n\n"))
        {
            if (Begin().Match(paragraph) is { Success: true } begin)
            {
                clauses.Add(new(NumberOf(begin.Groups[1]), NumberOf(begin.Groups[2]), paragraph[begin.Length..].Trim()));
            }
            else if (clauses.Count != 0 && paragraph.StartsWith("> ", StringComparison.Ordinal))
            {
                string names = paragraph.Replace("\n> ", " ", StringComparison.Ordinal);
                clauses[^1] = clauses[^1] with { Calls = Names(names, "calls"), Code = Names(names, "code"), Tests = Names(names, "tests"), Mutants = Names(names, "mutants") };
            }
        }

        return clauses;
    }

    /// <summary><c>I4.2</c>.</summary>
    public override string ToString() => $"I{Invariant}.{Number}";

    /// <summary>The names after <c>*kind*</c>, up to the next kind.</summary>
    private static string[] Names(string text, string kind)
    {
        int begin = text.IndexOf($"*{kind}*", StringComparison.Ordinal);
        if (begin < 0) return [];
        string rest = text[(begin + kind.Length + 2)..];
        int end = rest.IndexOf(" · *", StringComparison.Ordinal);
        return [.. Quoted().Matches(end < 0 ? rest : rest[..end]).Select(static match => match.Groups[1].Value)];
    }

    private static int NumberOf(Group group) => int.Parse(group.Value, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^\*\*I(\d+)\.(\d+)\*\* ")]
    private static partial Regex Begin();

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex Quoted();
}

/// <summary>Finds what clauses name in compiled assemblies.</summary>
public static class ClauseNames
{
    private const BindingFlags Own = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;

    /// <summary>Whether there is such a test class, or such a test: <c>Class</c>, <c>Class.Method</c>.</summary>
    public static bool IsTest(Assembly tests, string name)
    {
        string[] parts = name.Split('.');
        IEnumerable<MethodInfo> methods = tests.GetTypes().Where(type => NameOf(type) == parts[0]).SelectMany(static type => type.GetMethods(Own)).Where(IsTest);
        return parts.Length == 1 ? methods.Any() : parts.Length == 2 && methods.Any(method => method.Name == parts[1]);
    }

    /// <summary>Whether there is such a type or member: <c>Type</c>, <c>Type.Member</c>, or <c>Type.Method(Parameter)</c> for that whose first parameter is of that type.</summary>
    public static bool IsCode(Assembly[] rooms, string name)
    {
        string[] parts = name.Split('.', '(', ')');
        Type[] types = [.. rooms.SelectMany(static room => room.GetTypes()).Where(type => NameOf(type) == parts[0])];
        return parts.Length switch
        {
            1 => types.Length != 0,
            2 => types.Any(type => type.GetMember(parts[1], Own).Length != 0),
            4 => types.SelectMany(static type => type.GetMethods(Own)).Any(method => method.Name == parts[1] && method.GetParameters() is [var first, ..] && first.ParameterType.Name == parts[2]),
            _ => false,
        };
    }

    private static bool IsTest(MethodInfo method) => method.GetCustomAttributes().Any(static attribute => attribute is Xunit.FactAttribute);

    private static string NameOf(Type type) => type.Name.Split('`')[0];
}
