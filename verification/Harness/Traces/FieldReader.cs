using System.Globalization;
using System.Text;

namespace Harness.Traces;

/// <summary>Reads the fields of one line from left to right; what is not as expected is said with line and field.</summary>
internal ref struct FieldReader(ReadOnlySpan<byte> text, long line, string place)
{
    private ReadOnlySpan<byte> _rest = text;

    /// <summary>What has not been read.</summary>
    public readonly ReadOnlySpan<byte> Rest => _rest;

    /// <summary>Skips <paramref name="literal"/>, which must come next.</summary>
    public void Literal(ReadOnlySpan<byte> literal, string field)
    {
        if (!TryLiteral(literal)) throw Bad(field, $"\"{Encoding.UTF8.GetString(literal)}\"");
    }

    /// <summary>Skips <paramref name="literal"/> if it comes next.</summary>
    public bool TryLiteral(ReadOnlySpan<byte> literal)
    {
        if (!_rest.StartsWith(literal)) return false;
        _rest = _rest[literal.Length..];
        return true;
    }

    /// <summary>Skips blanks.</summary>
    public void Blanks() => _rest = _rest.TrimStart((byte)' ');

    /// <summary>Skips all up to <paramref name="mark"/>, and it.</summary>
    public void SkipPast(byte mark, string field)
    {
        int at = _rest.IndexOf(mark);
        if (at < 0) throw Bad(field, $"a '{(char)mark}'");
        _rest = _rest[(at + 1)..];
    }

    /// <summary>All up to the next blank or the end.</summary>
    public ReadOnlySpan<byte> Word()
    {
        int end = _rest.IndexOf((byte)' ');
        ReadOnlySpan<byte> word = end < 0 ? _rest : _rest[..end];
        _rest = _rest[word.Length..];
        return word;
    }

    /// <summary>A hexadecimal number of at most 64 bits with its <c>0x</c>.</summary>
    public ulong Hex(string field)
    {
        Literal("0x"u8, field);
        ulong value = 0;
        int count = 0;
        for (; count < _rest.Length && Digit(_rest[count]) is var digit and >= 0; count++)
        {
            if (count == 16) throw Bad(field, "at most 16 hexadecimal digits");
            value = value << 4 | (uint)digit;
        }

        if (count == 0) throw Bad(field, "hexadecimal digits");
        _rest = _rest[count..];
        return value;
    }

    /// <summary>A decimal number of at most <paramref name="maximum"/>.</summary>
    public ulong Decimal(string field, ulong maximum)
    {
        ulong value = 0;
        int count = 0;
        for (; count < _rest.Length && _rest[count] is >= (byte)'0' and <= (byte)'9'; count++)
        {
            ulong digit = (ulong)(_rest[count] - '0');
            if (digit > maximum || value > (maximum - digit) / 10) throw Bad(field, string.Create(CultureInfo.InvariantCulture, $"at most {maximum}"));
            value = value * 10 + digit;
        }

        if (count == 0) throw Bad(field, "decimal digits");
        _rest = _rest[count..];
        return value;
    }

    /// <summary>Nothing may be left but blanks.</summary>
    public void End(string field)
    {
        if (!_rest.TrimEnd(" \r"u8).IsEmpty) throw Bad(field, "the end of the line");
    }

    /// <summary>The line cannot be used: what was found where, and what should be there.</summary>
    public readonly BadInputException Bad(string field, string expected) =>
        new($"line {line}: {place}{field}: found {Quote(_rest)}; expected {expected}");

    private static int Digit(byte character) => character switch
    {
        >= (byte)'0' and <= (byte)'9' => character - '0',
        >= (byte)'a' and <= (byte)'f' => character - 'a' + 10,
        >= (byte)'A' and <= (byte)'F' => character - 'A' + 10,
        _ => -1,
    };

    private static string Quote(ReadOnlySpan<byte> found)
    {
        const int shown = 24;
        if (found.IsEmpty) return "the end of the line";
        var text = new StringBuilder("\"");
        foreach (byte character in found[..Math.Min(shown, found.Length)])
            text.Append(character is >= 0x20 and < 0x7f and not (byte)'"' ? (char)character : '?');
        return text.Append(found.Length > shown ? "…\"" : "\"").ToString();
    }
}
