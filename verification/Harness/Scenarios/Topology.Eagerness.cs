using System.Text.Json.Serialization;

namespace Harness.Scenarios;

// What the IOMMU may do with memory of its own accord, and what it need not see at once.
public sealed partial record Topology
{
    /// <summary>
    /// Of 100 steps of the IOMMU, and of words that the driver writes, after how many the IOMMU fetches a translation that it can
    /// reach, or drops some of what it caches: 0 … 100. 0: it does nothing of its own accord. Only the simulator can.
    /// </summary>
    public int Eagerness { get; init; }

    /// <summary>Whether the IOMMU sees at once what the driver writes; otherwise only when it was cleaned. Only the simulator need not.</summary>
    public bool CoherentWalk { get; init; } = true;

    [JsonIgnore]
    private string EagernessOutline => $"{(Eagerness == 0 ? "" : $", {Eagerness} % eager")}{(CoherentWalk ? "" : ", walks that are not coherent")}";

    private void ValidateEagerness()
    {
        Require(Eagerness is >= 0 and <= 100, nameof(Eagerness), Eagerness, "0 to 100");
        // Cores would have to clean their tables, too, where devices walk them.
        if (!CoherentWalk && Cores != 0) throw new BadInputException($"topology.coherentWalk is false and topology.cores is {Cores}; expected one or the other");
    }
}
