using System.Text.Json.Serialization;

namespace Harness.Scenarios;

/// <summary>How software learns that the IOMMU has faults, or page requests.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<EventUse>))]
public enum EventUse
{
    /// <summary>It looks.</summary>
    [JsonStringEnumMemberName("polled")]
    Polled = 0,

    /// <summary>By interrupt: the manager then dispatches.</summary>
    [JsonStringEnumMemberName("dispatched")]
    Dispatched,

    /// <summary>By interrupt: the driver's handlers then take all, with the interrupt masked, and the manager gives to hooks what they took.</summary>
    [JsonStringEnumMemberName("handled")]
    Handled,
}

// What the IOMMU interrupts for.
public sealed partial record Topology
{
    /// <summary>How software learns of faults and page requests. By interrupt, a <c>dispatch</c> for which none has come does nothing. Only the simulator interrupts.</summary>
    public EventUse Events { get; init; }

    [JsonIgnore]
    private string EventsOutline => Events switch { EventUse.Dispatched => ", dispatches when interrupted", EventUse.Handled => ", handles interrupts", _ => "" };

    private void ValidateEvents()
    {
        if (!Enum.IsDefined(Events)) throw new BadInputException($"topology.events is {(int)Events}; expected polled, dispatched or handled");
    }
}
