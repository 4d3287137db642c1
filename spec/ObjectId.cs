using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Vcmm.Spec;

/// <summary>What an object is; the value is the letter with which its name begins.</summary>
public enum ObjectKind
{
    /// <summary>A virtual region.</summary>
    Vcm = 'v',

    /// <summary>A part of a region that was set aside.</summary>
    Bound = 'b',

    /// <summary>A range of a region.</summary>
    Reservation = 'r',

    /// <summary>Physical memory.</summary>
    Memory = 'm',

    /// <summary>A device.</summary>
    Device = 'd',

    /// <summary>A region joined with a device.</summary>
    Association = 'a',

    /// <summary>An address space of the CPU.</summary>
    Process = 'p',

    /// <summary>A core of the CPU.</summary>
    Core = 'c',

    /// <summary>Whoever has tables in a region for devices of its own.</summary>
    Guest = 'g',
}

/// <summary>The name of an object: <c>v0</c>, <c>r3</c>; <c>r3@v1</c> is the copy of <c>r3</c> in the clone <c>v1</c>.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Number">0 ….</param>
/// <param name="In">The number of the clone that it is a copy in; null: it is no copy.</param>
public readonly record struct ObjectId(ObjectKind Kind, int Number, int? In = null) : IComparable<ObjectId>
{
    /// <summary>The name that a copy goes back to.</summary>
    public ObjectId Original => this with { In = null };

    /// <summary>The clone that it is a copy in; null: it is no copy.</summary>
    public ObjectId? Home => In is { } number ? new(ObjectKind.Vcm, number) : null;

    /// <summary>Reads a name.</summary>
    /// <returns>False if it is none.</returns>
    public static bool TryParse([NotNullWhen(true)] string? text, out ObjectId id)
    {
        id = default;
        string[] parts = text?.Split('@') ?? [];
        if (parts.Length is 0 or > 2 || !TryParsePlain(parts[0], out id)) return false;
        if (parts.Length == 1) return true;
        if (id.Kind is not (ObjectKind.Reservation or ObjectKind.Bound)) return false;
        if (!TryParsePlain(parts[1], out ObjectId home) || home.Kind != ObjectKind.Vcm) return false;
        id = id with { In = home.Number };
        return true;
    }

    /// <summary>The name of its copy in a clone.</summary>
    /// <remarks>A region holds no two objects that go back to the same name, so neither does a clone of it, nor a clone of that.</remarks>
    public ObjectId CopyIn(ObjectId clone) => this with { In = clone.Number };

    /// <inheritdoc/>
    public int CompareTo(ObjectId other)
    {
        int order = (int)Kind - (int)other.Kind;
        if (order == 0) order = Number.CompareTo(other.Number);
        return order != 0 ? order : (In ?? -1).CompareTo(other.In ?? -1);
    }

    /// <summary><c>v0</c>, <c>r3@v1</c>.</summary>
    public override string ToString() => In is { } number
        ? string.Create(CultureInfo.InvariantCulture, $"{(char)Kind}{Number}@v{number}")
        : string.Create(CultureInfo.InvariantCulture, $"{(char)Kind}{Number}");

    private static bool TryParsePlain(string text, out ObjectId id)
    {
        id = default;
        if (text.Length < 2 || !Enum.IsDefined((ObjectKind)text[0])) return false;
        if (!int.TryParse(text.AsSpan(1), NumberStyles.None, CultureInfo.InvariantCulture, out int number)) return false;
        id = new((ObjectKind)text[0], number);
        return true;
    }
}
