using System.Collections;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Harness.Scenarios;

/// <summary>What a device is.</summary>
public enum DeviceKind
{
    /// <summary>It does what it is told through the IOMMU, and keeps nothing.</summary>
    Plain = 0,

    /// <summary>There is no IOMMU before it: its addresses are the physical ones.</summary>
    Direct,

    /// <summary>It has a TLB of its own, whose translations it asks the IOMMU for (ATS).</summary>
    Ats,

    /// <summary>It also asks for pages that it may not reach, and waits (PRI); in scalable mode only.</summary>
    Paging,

    /// <summary>It works off a queue of transfers.</summary>
    Queue,

    /// <summary>It moves what it reads and writes in several parts.</summary>
    ScatterGather,

    /// <summary>It misbehaves: it goes to addresses that it was not given, and under requester ids that are not its own.</summary>
    Wild,
}

/// <summary>Devices, <c>d0</c> first; two lists of the same are equal.</summary>
[JsonConverter(typeof(Converter))]
public sealed class DeviceList(params DeviceKind[] kinds) : IReadOnlyList<DeviceKind>, IEquatable<DeviceList>
{
    private static readonly (DeviceKind Kind, string Word)[] Words =
    [
        (DeviceKind.Plain, "plain"), (DeviceKind.Direct, "direct"), (DeviceKind.Ats, "ats"), (DeviceKind.Paging, "paging"),
        (DeviceKind.Queue, "queue"), (DeviceKind.ScatterGather, "scatter-gather"), (DeviceKind.Wild, "wild"),
    ];

    /// <inheritdoc/>
    public int Count => kinds.Length;

    /// <summary>Whether all of them are <see cref="DeviceKind.Plain"/>.</summary>
    public bool IsPlain => Array.TrueForAll(kinds, static kind => kind == DeviceKind.Plain);

    /// <inheritdoc/>
    public DeviceKind this[int index] => kinds[index];

    /// <summary>So many plain ones.</summary>
    public static implicit operator DeviceList(int count) => new(new DeviceKind[count]);

    /// <summary>Whether some have a TLB.</summary>
    [JsonIgnore]
    public bool HaveTlbs => Array.Exists(kinds, static kind => kind is DeviceKind.Ats or DeviceKind.Paging);

    /// <summary>With others in the places of those of a kind.</summary>
    public DeviceList Replace(DeviceKind former, DeviceKind kind) => new([.. kinds.Select(each => each == former ? kind : each)]);

    /// <summary>The first so many.</summary>
    public DeviceList First(int count) => new(kinds[..Math.Min(count, kinds.Length)]);

    /// <summary>With another at a place.</summary>
    public DeviceList With(int index, DeviceKind kind)
    {
        DeviceKind[] other = [.. kinds];
        other[index] = kind;
        return new(other);
    }

    /// <inheritdoc/>
    public IEnumerator<DeviceKind> GetEnumerator() => kinds.AsEnumerable().GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <inheritdoc/>
    public bool Equals(DeviceList? other) => other is not null && this.SequenceEqual(other);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as DeviceList);

    /// <inheritdoc/>
    public override int GetHashCode() => kinds.Aggregate(0, HashCode.Combine);

    /// <summary><c>2 devices</c>, <c>3 devices (plain, direct, plain)</c>.</summary>
    public override string ToString() =>
        $"{Count} device{(Count == 1 ? "" : "s")}{(IsPlain ? "" : $" ({string.Join(", ", kinds.Select(WordOf))})")}";

    private static string WordOf(DeviceKind kind) => Array.Find(Words, pair => pair.Kind == kind).Word;

    /// <summary>A number of plain ones, or the kind of each.</summary>
    private sealed class Converter : JsonConverter<DeviceList>
    {
        public override DeviceList Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            if (reader.TokenType == JsonTokenType.Number) return reader.TryGetInt32(out int count) && count is >= 0 and <= byte.MaxValue ? count : throw Expected();
            if (reader.TokenType != JsonTokenType.StartArray) throw Expected();
            var kinds = new List<DeviceKind>();
            while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            {
                int index = reader.TokenType == JsonTokenType.String ? Array.FindIndex(Words, reader.GetString() is { } word ? pair => pair.Word == word : static _ => false) : -1;
                kinds.Add(index >= 0 ? Words[index].Kind : throw Expected());
            }

            return new([.. kinds]);
        }

        public override void Write(Utf8JsonWriter writer, DeviceList value, JsonSerializerOptions options)
        {
            if (value.IsPlain)
            {
                writer.WriteNumberValue(value.Count);
                return;
            }

            writer.WriteStartArray();
            foreach (DeviceKind kind in value) writer.WriteStringValue(WordOf(kind));
            writer.WriteEndArray();
        }

        private static JsonException Expected() => new($"devices: expected their number, or a list of {string.Join(", ", Words.Select(static pair => pair.Word))}");
    }
}
