using System.Collections.Immutable;
using System.Globalization;

namespace Harness.Differential;

/// <summary>A descriptor of the invalidation queue; the second half is of those of 256 bits.</summary>
internal readonly record struct QueueWords(ulong Low, ulong High, ulong Third = 0)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"0x{Low:x}:0x{High:x}{(Third == 0 ? "" : $":0x{Third:x}")}");

    public static QueueWords Parse(string text)
    {
        string[] parts = text.Split(':');
        if (parts.Length is not (2 or 3)) throw new BadInputException($"\"{text}\" is no descriptor; expected LOW:HIGH in hex");
        return new(FuzzStep.Number(parts[0]), FuzzStep.Number(parts[1]), parts.Length == 3 ? FuzzStep.Number(parts[2]) : 0);
    }
}

/// <summary>One step of a differential case, done on both machines.</summary>
internal abstract record FuzzStep
{
    /// <summary>Software stores a word.</summary>
    public sealed record Set(ulong Address, ulong Value) : FuzzStep
    {
        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"set 0x{Address:x} 0x{Value:x}");
    }

    /// <summary>Software invalidates everything.</summary>
    public sealed record Settle : FuzzStep
    {
        public override string ToString() => "settle";
    }

    /// <summary>Software sets the root table pointer, and invalidates everything.</summary>
    public sealed record SetRoot(ulong Value) : FuzzStep
    {
        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"root 0x{Value:x}");
    }

    /// <summary>Software queues a descriptor on which nothing depends.</summary>
    public sealed record Command(QueueWords Words) : FuzzStep
    {
        public override string ToString() => $"command {Words}";
    }

    /// <summary>Software queues what makes one changed word, or the words of one changed entry, count.</summary>
    public sealed record Cover(ImmutableArray<ulong> Changed, ImmutableArray<QueueWords> Words) : FuzzStep
    {
        public override string ToString() =>
            $"cover {string.Join(' ', Changed.Select(word => string.Create(CultureInfo.InvariantCulture, $"0x{word:x}")))} by {string.Join(' ', Words)}";
    }

    /// <summary>A device reads or writes four bytes.</summary>
    public sealed record Access(int Device, ulong Iova, bool IsWrite) : FuzzStep
    {
        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{(IsWrite ? "write" : "read")} d{Device} 0x{Iova:x}");
    }

    /// <exception cref="BadInputException">It is none.</exception>
    public static FuzzStep Parse(string text)
    {
        string[] words = text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        int by = Array.IndexOf(words, "by");
        return words switch
        {
            ["set", var address, var value] => new Set(Aligned(address, 8), Number(value)),
            ["settle"] => new Settle(),
            ["root", var value] => new SetRoot(Number(value)),
            ["command", var descriptor] => new Command(QueueWords.Parse(descriptor)),
            ["cover", ..] when by > 1 => new Cover(
                [.. words[1..by].Select(Number)], [.. words[(by + 1)..].Select(QueueWords.Parse)]),
            ["read", var device, var iova] => new Access(DeviceOf(device), Aligned(iova, 4), false),
            ["write", var device, var iova] => new Access(DeviceOf(device), Aligned(iova, 4), true),
            _ => throw new BadInputException($"\"{text}\" is no step; expected set, settle, root, command, cover, read or write"),
        };
    }

    internal static ulong Number(string text) =>
        text.StartsWith("0x", StringComparison.Ordinal) && ulong.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong value)
            ? value
            : throw new BadInputException($"\"{text}\" is no number; expected 0x and hex digits");

    private static ulong Aligned(string text, ulong bytes)
    {
        ulong value = Number(text);
        return value % bytes == 0 ? value : throw new BadInputException($"\"{text}\" is not a multiple of {bytes}");
    }

    private static int DeviceOf(string text) =>
        text.StartsWith('d') && int.TryParse(text.AsSpan(1), NumberStyles.None, CultureInfo.InvariantCulture, out int device) && device < Ground.DeviceCount
            ? device
            : throw new BadInputException($"\"{text}\" is no device; expected d0 to d{Ground.DeviceCount - 1}");
}
