using Harness.Scenarios;
using Vcmm.Spec;

namespace Explorer.Scripts;

/// <summary>How large a script is: what comes first counts first.</summary>
/// <param name="Threads">Threads and devices that run beside each other.</param>
/// <param name="Operations">What they do, all together.</param>
/// <param name="Steps">What is done before they begin.</param>
/// <param name="Pages">Pages that operations are about: how many, and how far up.</param>
public readonly record struct ScriptSize(int Threads, int Operations, int Steps, ulong Pages) : IComparable<ScriptSize>
{
    /// <summary>The size of a scenario.</summary>
    public static ScriptSize Of(Scenario scenario)
    {
        ulong pages = 0;
        foreach (Operation operation in scenario.Steps.Concat(scenario.Threads.SelectMany(static thread => thread)).Select(static step => step.Operation)) pages += PagesOf(operation);
        return new(scenario.Threads.Length, scenario.Threads.Sum(static thread => thread.Length), scenario.Steps.Length, pages);
    }

    /// <inheritdoc/>
    public int CompareTo(ScriptSize other) => (Threads, Operations, Steps, Pages).CompareTo((other.Threads, other.Operations, other.Steps, other.Pages));

    /// <inheritdoc/>
    public override string ToString() => $"{Threads} threads, {Operations} operations and {Steps} steps before";

    private static ulong PagesOf(Operation operation) => operation switch
    {
        Reserve o => Length(o.ByteCount),
        ReserveAt o => Length(o.ByteCount) + Place(o.First),
        CreateBound o => Length(o.ByteCount),
        AllocateMemory o => Length(o.ByteCount),
        AllocateContiguous o => Length(o.ByteCount),
        Bind o => Length(o.ByteCount),
        BackPart o => Length(o.ByteCount) + Place(o.Offset) + Place(o.MemoryOffset),
        UnbackPart o => Length(o.ByteCount) + Place(o.Offset),
        FindMappings o => Place(o.Offset),
        FindReservation o => Place(o.Address),
        Translate o => Place(o.Address),
        TranslateTo o => Place(o.Address),
        DeviceAccess o => Place(o.Address),
        CrossingAccess o => Place(o.Boundary),
        CoreAccess o => Place(o.Address),
        _ => 0,
    };

    private static ulong Length(ulong byteCount) => (byteCount + (World.PageBytes - 1)) / World.PageBytes;

    private static ulong Place(ulong address) => address / World.PageBytes;
}
