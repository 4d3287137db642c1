using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Vcmm.Spec;

namespace Harness.Failures;

/// <summary>A violation in a file: all that is needed to see it again.</summary>
public sealed record FailureFile
{
    /// <summary>What the first field of each failure file says.</summary>
    public const string Magic = "vcmm-failure-1";

    private static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        IndentSize = 1,
        NewLine = "\n",
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        RespectNullableAnnotations = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new JsonStringEnumConverter() },
    };

    /// <summary><see cref="Magic"/>.</summary>
    [JsonPropertyOrder(-1)]
    public required string Format { get; init; }

    /// <summary>The stage that found it, and that replays it.</summary>
    public required string Stage { get; init; }

    /// <summary>Which invariant is broken.</summary>
    public required Invariant Invariant { get; init; }

    /// <summary>What was seen, on one line.</summary>
    public required string Observed { get; init; }

    /// <summary>What may be seen, on one line.</summary>
    public required string Expected { get; init; }

    /// <summary>What ran; its form is the stage's.</summary>
    public required JsonNode Scenario { get; init; }

    /// <summary>The schedule, where there was a choice of one.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Schedule { get; init; }

    /// <summary>Invariants that were muted when it was found; null: none.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<Invariant>? Muted { get; init; }

    /// <summary>The same; it is replayed with these muted.</summary>
    [JsonIgnore]
    public InvariantSet MutedSet => InvariantSet.Of(Muted ?? []);

    /// <summary>What <see cref="Muted"/> says.</summary>
    public static IReadOnlyList<Invariant>? ToField(InvariantSet muted) => muted.IsEmpty ? null : [.. muted.Members];

    /// <summary>Reads a file's text.</summary>
    /// <exception cref="BadInputException">It is not a failure file.</exception>
    public static FailureFile Parse(string text)
    {
        FailureFile file;
        try
        {
            file = JsonSerializer.Deserialize<FailureFile>(text, Json) ?? throw new BadInputException("not a failure file: it says null");
        }
        catch (JsonException e)
        {
            throw new BadInputException($"not a failure file: {e.Message.ReplaceLineEndings(" ")}");
        }

        if (file.Format != Magic) throw new BadInputException($"not a failure file: format is \"{file.Format}\"; expected \"{Magic}\"");
        if (!Enum.IsDefined(file.Invariant)) throw new BadInputException($"invariant {(int)file.Invariant} does not exist; expected 1 to 14 or a name");
        if (file.Muted?.Any(static muted => !Enum.IsDefined(muted)) == true) throw new BadInputException("muted names an invariant that does not exist; expected 1 to 14 or names");
        return file;
    }

    /// <summary>The file's text, which <see cref="Parse"/> reads.</summary>
    public override string ToString() => JsonSerializer.Serialize(this, Json) + "\n";
}
