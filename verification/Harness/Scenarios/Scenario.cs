using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Harness.Operations;
using Vcmm.Spec;

namespace Harness.Scenarios;

/// <summary>A machine and what is done on it.</summary>
/// <param name="Topology">The machine.</param>
/// <param name="Steps">What is done first, one after the other.</param>
public sealed record Scenario(Topology Topology, ImmutableArray<Step> Steps)
{
    /// <summary>Where in a page devices access memory: both ends and a place between. Frames are marked there.</summary>
    public static readonly ImmutableArray<ulong> AccessOffsets = [0, 0x808, 0xff8];

    /// <summary>From here on the names of memory are those that hooks give.</summary>
    public const int FirstMemoryOfHooks = 1000;

    private const ulong MostMilliseconds = 3_600_000;

    internal static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>What is done then, by each thread, all at once; empty: nothing.</summary>
    public ImmutableArray<ImmutableArray<Step>> Threads { get; init; } = [];

    /// <summary>Reads a scenario.</summary>
    /// <exception cref="BadInputException">It is none, or one that cannot run.</exception>
    public static Scenario FromJson(JsonNode node)
    {
        ScenarioJson? json;
        try
        {
            json = node.Deserialize<ScenarioJson>(Json);
        }
        catch (JsonException e)
        {
            throw new BadInputException($"scenario: {e.Message.ReplaceLineEndings(" ")}");
        }

        if (json is null) throw new BadInputException("scenario is null; expected an object");
        var scenario = new Scenario(json.Topology, ParseAll(json.Steps)) { Threads = [.. (json.Threads ?? []).Select(ParseAll)] };
        scenario.Validate();
        return scenario;
    }

    /// <summary>The scenario as JSON, which <see cref="FromJson"/> reads.</summary>
    public JsonNode ToJson() => JsonSerializer.SerializeToNode(
        new ScenarioJson(Topology, [.. Steps.Select(step => step.ToString())])
        {
            Threads = Threads.IsEmpty ? null : [.. Threads.Select(thread => thread.Select(step => step.ToString()).ToArray())],
        },
        Json)!;

    /// <summary>Refuses a scenario that cannot run: a name used before it is made, or made twice.</summary>
    /// <exception cref="BadInputException">The step and what is wrong with it.</exception>
    public void Validate()
    {
        Topology.Validate();
        HashSet<ObjectId> made = [.. Enumerable.Range(0, Topology.Devices.Count).Select(number => new ObjectId(ObjectKind.Device, number))];
        made.UnionWith(Enumerable.Range(0, Topology.Processes).Select(static number => new ObjectId(ObjectKind.Process, number)));
        made.UnionWith(Enumerable.Range(0, Topology.Cores).Select(static number => new ObjectId(ObjectKind.Core, number)));
        foreach (Step step in Steps) Validate(step, made, made);
        var everywhere = new HashSet<ObjectId>(made);
        foreach (ImmutableArray<Step> thread in Threads)
        {
            var here = new HashSet<ObjectId>(made);
            foreach (Step step in thread) Validate(step, here, everywhere);
        }
    }

    /// <inheritdoc/>
    public bool Equals(Scenario? other) =>
        other is not null && Topology == other.Topology && Steps.SequenceEqual(other.Steps)
        && Threads.Length == other.Threads.Length && Threads.Zip(other.Threads).All(pair => pair.First.SequenceEqual(pair.Second));

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Topology, Steps.Length, Threads.Length);

    private void Validate(Step step, HashSet<ObjectId> known, HashSet<ObjectId> taken)
    {
        foreach (ObjectId id in step.Operation.Uses)
        {
            if (id is { Kind: ObjectKind.Memory, Number: >= FirstMemoryOfHooks }) continue;
            if (!known.Contains(id.Original) || (id.Home is { } home && !known.Contains(home))) throw new BadInputException($"step \"{step}\": {id} does not exist; expected an object made by an earlier step");
        }

        ulong? accessed = step.Operation switch { DeviceAccess access => access.Address, CoreAccess access => access.Address, Deactivate { Meanwhile: { } meanwhile } => meanwhile.Address, _ => null };
        if (accessed is { } address && !AccessOffsets.Contains(address % World.PageBytes))
            throw new BadInputException($"step \"{step}\": devices and cores access offset 0x0, 0x808 or 0xff8 of a page");
        if (step.Operation is DeviceAccess { IsStray: true } stray && Topology.Devices[stray.Device.Number] != DeviceKind.Wild)
            throw new BadInputException($"step \"{step}\": {stray.Device} keeps to its own requester id; expected a device of kind wild");
        if (step.Operation is CrossingAccess crossing && (Topology.Devices[crossing.Device.Number] != DeviceKind.Wild || crossing.Boundary == 0 || crossing.Boundary % World.PageBytes != 0))
            throw new BadInputException($"step \"{step}\": a device of kind wild goes across the address at which a page begins, not 0");
        if (step.Operation is DeviceAccess { IsPrivileged: true } privileged && (privileged.Pasid is null || privileged.IsStray || Topology.Devices[privileged.Device.Number] != DeviceKind.Plain))
            throw new BadInputException($"step \"{step}\": only a device of kind plain asks for supervisor privilege, and only with a PASID");
        if (step.Operation is Copy copy && ((copy.SourceOffset | copy.DestinationOffset | copy.ByteCount) & 7) != 0)
            throw new BadInputException($"step \"{step}\": whole words of 8 bytes are copied");
        if (step.Operation is AdvanceTime { Milliseconds: > MostMilliseconds })
            throw new BadInputException($"step \"{step}\": at most {MostMilliseconds} ms go by at once");
        foreach (ObjectId made in step.Operation.Makes)
        {
            if (made is { Kind: ObjectKind.Memory, Number: >= FirstMemoryOfHooks }) throw new BadInputException($"step \"{step}\": {made} is a name that hooks give; expected one below m{FirstMemoryOfHooks}");
            if (!taken.Add(made)) throw new BadInputException($"step \"{step}\": {made} was made before");
            known.Add(made);
        }
    }

    private static ImmutableArray<Step> ParseAll(string[] lines) => [.. lines.Select(OperationText.Parse)];

    private sealed record ScenarioJson(Topology Topology, string[] Steps)
    {
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public string[][]? Threads { get; init; }
    }
}
