using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Vcmm.Spec;

/// <summary>What an object is; the value is the letter with which its name begins.</summary>
public enum ObjectKind
{
    /// <summary>A virtual region.</summary>
    Vcm = 'v',

    /// <summary>A range of a region.</summary>
    Reservation = 'r',

    /// <summary>Physical memory.</summary>
    Memory = 'm',

    /// <summary>A device.</summary>
    Device = 'd',

    /// <summary>A region joined with a device.</summary>
    Association = 'a',
}

/// <summary>The name of an object: <c>v0</c>, <c>r3</c>.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Number">0 ….</param>
public readonly record struct ObjectId(ObjectKind Kind, int Number) : IComparable<ObjectId>
{
    /// <summary>Reads a name.</summary>
    /// <returns>False if it is none.</returns>
    public static bool TryParse([NotNullWhen(true)] string? text, out ObjectId id)
    {
        id = default;
        if (text is not { Length: >= 2 } || !Enum.IsDefined((ObjectKind)text[0])) return false;
        if (!int.TryParse(text.AsSpan(1), NumberStyles.None, CultureInfo.InvariantCulture, out int number)) return false;
        id = new((ObjectKind)text[0], number);
        return true;
    }

    /// <inheritdoc/>
    public int CompareTo(ObjectId other) => (Kind, Number).CompareTo((other.Kind, other.Number));

    /// <summary><c>v0</c>.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{(char)Kind}{Number}");
}
