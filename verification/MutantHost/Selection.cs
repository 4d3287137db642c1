namespace MutantHost;

/// <summary>
/// Which tests are asked for, as <c>dotnet test --filter</c> has it: conditions on <c>FullyQualifiedName</c> or a trait with <c>=</c>, <c>!=</c>, <c>~</c> or
/// <c>!~</c>, with <c>&amp;</c>, <c>|</c> and parentheses; <c>&amp;</c> binds tighter.
/// </summary>
internal sealed class Selection
{
    private const string Name = "FullyQualifiedName";

    private readonly string _text;
    private int _at;

    private Selection(string text) => _text = text;

    /// <summary>Reads a filter.</summary>
    /// <param name="text">The filter.</param>
    /// <returns>Whether a test is selected: its full name, and the values of a trait by the trait's name.</returns>
    public static Func<string, Func<string, IReadOnlyList<string>>, bool> Parse(string text)
    {
        var reader = new Selection(text);
        Func<string, Func<string, IReadOnlyList<string>>, bool> read = reader.Any();
        return reader._at == text.Length ? read : throw reader.Bad("an end");
    }

    private Func<string, Func<string, IReadOnlyList<string>>, bool> Any()
    {
        Func<string, Func<string, IReadOnlyList<string>>, bool> left = All();
        while (Takes('|'))
        {
            (Func<string, Func<string, IReadOnlyList<string>>, bool> first, Func<string, Func<string, IReadOnlyList<string>>, bool> second) = (left, All());
            left = (name, traits) => first(name, traits) || second(name, traits);
        }

        return left;
    }

    private Func<string, Func<string, IReadOnlyList<string>>, bool> All()
    {
        Func<string, Func<string, IReadOnlyList<string>>, bool> left = One();
        while (Takes('&'))
        {
            (Func<string, Func<string, IReadOnlyList<string>>, bool> first, Func<string, Func<string, IReadOnlyList<string>>, bool> second) = (left, One());
            left = (name, traits) => first(name, traits) && second(name, traits);
        }

        return left;
    }

    private Func<string, Func<string, IReadOnlyList<string>>, bool> One()
    {
        if (!Takes('(')) return Condition();
        Func<string, Func<string, IReadOnlyList<string>>, bool> inside = Any();
        return Takes(')') ? inside : throw Bad("a closing parenthesis");
    }

    private Func<string, Func<string, IReadOnlyList<string>>, bool> Condition()
    {
        string property = Word();
        bool isNot = Takes('!');
        bool isPart = Takes('~');
        if (!isPart && !Takes('=')) throw Bad("=, !=, ~ or !~");
        string value = Word();
        bool Fits(string given) => isPart ? given.Contains(value, StringComparison.OrdinalIgnoreCase) : given.Equals(value, StringComparison.OrdinalIgnoreCase);
        return (name, traits) => isNot != (property == Name ? Fits(name) : traits(property).Any(Fits));
    }

    private string Word()
    {
        int start = _at;
        while (_at < _text.Length && !"!=~&|()".Contains(_text[_at])) _at++;
        return _at > start ? _text[start.._at].Trim() : throw Bad("a word");
    }

    private bool Takes(char sign)
    {
        if (_at == _text.Length || _text[_at] != sign) return false;
        _at++;
        return true;
    }

    private FormatException Bad(string expected) => new($"the filter \"{_text}\" has no meaning at {_at}; expected {expected}");
}
