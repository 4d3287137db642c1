using System.Collections;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Harness.Scenarios;

/// <summary>A bank of physical memory.</summary>
/// <param name="MemoryMiB">Its length: 1 … 48.</param>
/// <param name="Type">What kind of memory it is: 0 … 7.</param>
/// <param name="Coherent">Whether it is coherent.</param>
public sealed record BankShape(int MemoryMiB, int Type = 0, bool Coherent = true);

/// <summary>Banks, one behind the other; two lists of the same are equal.</summary>
[JsonConverter(typeof(Converter))]
public sealed class BankList(params BankShape[] banks) : IReadOnlyList<BankShape>, IEquatable<BankList>
{
    /// <inheritdoc/>
    public int Count => banks.Length;

    /// <inheritdoc/>
    public BankShape this[int index] => banks[index];

    /// <inheritdoc/>
    public IEnumerator<BankShape> GetEnumerator() => banks.AsEnumerable().GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <inheritdoc/>
    public bool Equals(BankList? other) => other is not null && this.SequenceEqual(other);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as BankList);

    /// <inheritdoc/>
    public override int GetHashCode() => banks.Aggregate(0, HashCode.Combine);

    /// <summary><c>2 MiB of type 0, 4 MiB of type 1 (not coherent)</c>.</summary>
    public override string ToString() => string.Join(", ", banks.Select(bank => $"{bank.MemoryMiB} MiB of type {bank.Type}{(bank.Coherent ? "" : " (not coherent)")}"));

    private sealed class Converter : JsonConverter<BankList>
    {
        public override BankList Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            new(JsonSerializer.Deserialize<BankShape[]>(ref reader, options) ?? []);

        public override void Write(Utf8JsonWriter writer, BankList value, JsonSerializerOptions options) => JsonSerializer.Serialize(writer, value.ToArray(), options);
    }
}
