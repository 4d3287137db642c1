using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using IommuSim;

namespace Harness.Differential;

/// <summary>The sizes of the simulator's caches in a case: the other machine's are what they are.</summary>
internal sealed record CacheSizes(int IotlbSets, int IotlbWays, int WalkCache, int ContextCache, int PasidCache)
{
    /// <summary>A unit with them.</summary>
    [JsonIgnore]
    public VtdOptions Options => VtdOptions.Default with
    {
        IotlbSets = IotlbSets, IotlbWays = IotlbWays, WalkCacheEntriesPerLevel = WalkCache, ContextCacheEntries = ContextCache, PasidCacheEntries = PasidCache,
    };

    /// <summary>In a few words.</summary>
    public override string ToString() => $"IOTLB {IotlbSets}x{IotlbWays}, walk cache {WalkCache}, context cache {ContextCache}, PASID cache {PasidCache}";
}

/// <summary>What is done to both machines, from tables to accesses.</summary>
/// <param name="IsScalable">In which mode.</param>
/// <param name="Caches">Of the simulator.</param>
/// <param name="Steps">In order.</param>
internal sealed record FuzzCase(bool IsScalable, CacheSizes Caches, ImmutableArray<FuzzStep> Steps)
{
    private const string Legacy = "legacy", Scalable = "scalable", FirstStage = "first stage";

    /// <summary>In scalable mode, whether on units with first-stage tables, which then are what PASID entries lead to.</summary>
    public bool HasFirstStage { get; init; }

    /// <summary>The mode in words.</summary>
    public string Mode => HasFirstStage ? FirstStage : IsScalable ? Scalable : Legacy;

    /// <summary>The form in a failure file.</summary>
    public JsonNode ToJson() => new JsonObject
    {
        ["mode"] = Mode,
        ["caches"] = JsonSerializer.SerializeToNode(Caches, Json),
        ["steps"] = new JsonArray([.. Steps.Select(step => (JsonNode)step.ToString())]),
    };

    /// <exception cref="BadInputException">It is no case, or cannot run.</exception>
    public static FuzzCase FromJson(JsonNode node)
    {
        try
        {
            string mode = (string?)node["mode"] ?? "";
            if (mode is not (Legacy or Scalable or FirstStage)) throw new BadInputException($"scenario.mode is \"{mode}\"; expected {Legacy}, {Scalable} or {FirstStage}");
            CacheSizes caches = node["caches"].Deserialize<CacheSizes>(Json) ?? throw new BadInputException("scenario.caches is missing");
            _ = new VtdIommu<Platform.Ram, NoSteps>(default, caches.Options);
            JsonArray steps = node["steps"]?.AsArray() ?? throw new BadInputException("scenario.steps is missing");
            return new(mode != Legacy, caches, [.. steps.Select(step => FuzzStep.Parse((string?)step ?? ""))]) { HasFirstStage = mode == FirstStage };
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            throw new BadInputException($"scenario: {e.Message.ReplaceLineEndings(" ")}");
        }
    }

    private static readonly JsonSerializerOptions Json = new() { PropertyNamingPolicy = JsonNamingPolicy.CamelCase };
}
